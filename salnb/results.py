"""`make results`: every paper-scale run of the book, one after the other, each stored as soon as it is done.

Running it again continues where it was interrupted: a run whose settings are stored already is not run again.
"""

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed

from . import __version__
from .claims import write_atomically
from .experiments import follow_exponent, predicted_offset
from .matrix import Job, train_one, training_jobs
from .progress import progress_bar
from .spectra import SPECTRA, random_spectrum
from .sweeps import name_of
from .transmission import layer_growth
from .verdicts import claim_figures as figures_of
from .verdicts import mismatch as mismatch

FOLDER = Path(__file__).parent.parent / "book" / "results"
FLAT = [(n, connectivity) for n in (50, 100, 200, 400) for connectivity in (1.0, 0.3, 0.1)]
TWO, THREE = (100, 100), (100, 100, 100)
RINGS = [(TWO, 1.0), (TWO, 0.3), ((60, 140), 1.0), (THREE, 1.0), (THREE, 0.3), ((50, 100, 150), 1.0)]
RATES = [(1e-3, 0.9), (2e-3, 0.9), (5e-3, 0.9), (2e-2, 0.9), (2e-3, 0.0), (2e-3, 0.98), (5e-4, 0.99), (2e-3, 0.99), (5e-3, 0.99)]
LAYERS = [dict(width=width, activation="tanh", average="mean", size=0.5, replicas=16, samples=1000, seed=400 + width)
          for width in (16, 64, 256)]  # fmt: skip
TARGETS = (0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 2.0)


def label(n_hidden: int | tuple[int, ...], connectivity: float) -> str:
    """A short name of an architecture: "100, 0.3" or "100+100, 1"."""
    return f"{n_hidden if isinstance(n_hidden, int) else '+'.join(map(str, n_hidden))}, {connectivity:g}"


def jobs() -> Iterator[tuple[str, str, dict]]:
    """All runs: (file, name in it, arguments of what makes it). Every run has seeds of its own."""
    common = dict(replicas=10, n_passes=720, n_looks=13, look_steps=800, warmup=300)
    for i, (n, connectivity) in enumerate(FLAT + RINGS):
        yield "exponent_architectures", label(n, connectivity), dict(common, n_hidden=n, connectivity=connectivity, seed=100 + i)
    for i, (lr, decay) in enumerate(RATES):
        for j, rule in enumerate(("one_sided", "proportional")):
            # The proportional pull weakens as s nears its target, so it gets four times the passes to arrive.
            n_passes = max(200, round((2.0 if rule == "one_sided" else 8.0) / lr))
            yield "exponent_rules", f"{rule}, {lr:g}, {decay:g}", dict(
                common, rule=rule, lr=lr, decay=decay, n_passes=n_passes, n_looks=7, seed=200 + 2 * i + j)  # fmt: skip
    for i, target in enumerate(TARGETS):
        yield "exponent_targets", f"{target:g}", dict(
            common, target=target, n_passes=round((target + 0.4) / 2e-3), n_looks=5, seed=300 + i)  # fmt: skip
    yield from (("spectra", name, settings) for name, settings in SPECTRA.items())


def provenance() -> dict:
    """Which code and which machine made a result."""
    threads = torch.get_num_threads()
    asked = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=FOLDER.parent)
    return {
        "version": __version__,
        "commit": asked.stdout.strip() or "unknown",
        "torch": str(torch.__version__),
        "machine": f"{platform.machine()} CPU, {threads} thread{'s' if threads > 1 else ''}",
    }


def read(name: str) -> dict:
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(name: str, content: dict) -> None:
    """One line per list of numbers keeps the file small and its differences readable."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items()]
    write_atomically(FOLDER / f"{name}.json", "{\n" + ",\n".join(lines) + "\n}\n")


def as_stored(settings: dict) -> dict:
    """Settings in the form that JSON gives back."""
    return json.loads(json.dumps(settings))


def run_all(progress: bool = True) -> None:
    """Runs what is missing or was made with other settings, then the claims' stored figures."""
    for file, name, arguments in progress_bar(list(jobs()), enabled=progress, label="results"):
        stored = read(file)
        if as_stored(arguments).items() <= stored.get(name, {}).get("settings", {}).items():
            continue
        run = random_spectrum(**arguments) if file == "spectra" else follow_exponent(**arguments).as_json()
        write(file, {**stored, name: {**run, "provenance": provenance()}})
    for n, connectivity in progress_bar(FLAT + RINGS, enabled=progress, label="predictions"):
        stored, name = read("exponent_offsets"), label(n, connectivity)
        if name not in stored:
            write("exponent_offsets", {**stored, name: {**predict(n, connectivity), "provenance": provenance()}})
    for settings in progress_bar(LAYERS, enabled=progress, label="layers"):
        stored, name = read("transmission"), f"{settings['activation']}, {settings['width']}"
        if stored.get(name, {}).get("settings") != settings:
            write("transmission", {**stored, name: {**transmit(settings), "provenance": provenance()}})
    write("claims", claim_figures())


def transmit(settings: dict) -> dict:
    """Log growth through single layers at sensitivity 1, forward and backward, one number per network."""
    began, growth = time.perf_counter(), layer_growth(**settings)
    numbers = {name: [round(v, 5) for v in values.tolist()] for name, values in growth._asdict().items()}
    return {**numbers, "seconds": round(time.perf_counter() - began, 2), "settings": settings}


def predict(n: int | tuple[int, ...], connectivity: float, samples: int = 100) -> dict:
    """The finite-size offset of fresh random matrices: its mean and where 90 % of them lie."""
    began, drawn = time.perf_counter(), predicted_offset(n, connectivity=connectivity, samples=samples).numpy()
    low, high = np.quantile(drawn, (0.05, 0.95))
    return {"mean": float(drawn.mean()), "low": low, "high": high, "samples": samples,
            "seconds": round(time.perf_counter() - began, 1)}  # fmt: skip


def claim_figures() -> dict:
    """The measured side of the ledger, from the stored runs alone."""
    return figures_of(read)


def train_all(progress: bool = True, n_jobs: int = 1, only: Callable[[Job], bool] = lambda job: True) -> None:
    """The training runs that are missing, several at a time; what an interrupted one had reached lies in ``.partial``."""
    stored = lambda job: read(job[0]).get(job[1], {}).get("arguments") == as_stored(job[2])  # noqa: E731
    missing = [job for job in training_jobs() if only(job) and not stored(job)]
    partial, parallel = FOLDER / ".partial", Parallel(n_jobs=n_jobs, return_as="generator_unordered")
    done = parallel(delayed(train_one)(job, partial) for job in missing)
    for (file, name, arguments), run in progress_bar(done, enabled=progress, label="training", total=len(missing)):
        write(file, {**read(file), name: {**run, "provenance": provenance()}})
        (partial / f"{name_of(arguments)}.pt").unlink(missing_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="training runs at a time (default: one per core)")
    given = parser.parse_args()
    torch.set_num_threads(1)  # networks of this size gain nothing from a second thread, and lose much on a busy machine
    run_all(progress=not given.quiet)
    train_all(progress=not given.quiet, n_jobs=given.jobs)
    write("claims", claim_figures())
