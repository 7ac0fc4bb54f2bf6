"""The stored results of the paper-scale runs, each with its provenance, and functions that run what is missing.

A run is stored as soon as it is done. A run whose settings are stored already is not run again, so that after an interruption
the same command continues.
"""

import json
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ...common.processor import processor
from ...common.progress import progress_bar
from ...common.rounded import rounded
from ...common.version import __version__
from ...notebook.book_files import BOOK, write_atomically
from ...representations.study import plan as geometry
from ...weights.study import plan as spectra
from ..measurements.exponent_under_sal import follow_exponent, predicted_offset
from ..measurements.layer_transmission import layer_growth
from ..measurements.random_spectra import random_spectrum
from ..measurements.spectrum_under_sal import FILE as SPECTRA
from ..measurements.spectrum_under_sal import spectra_jobs, spectra_under_sal
from ..training.sweeps import name_of
from .flossing_runs import FILE as FLOSSING
from .flossing_runs import flossing_is_stored, flossing_jobs, run_flossing
from .own_model import FILE, is_stored, own_model_jobs, run_own_model
from .plan import FLAT, LAYERS, RINGS, Job, label, measurement_jobs, memory_jobs, train_one, training_jobs
from .trained_memory import trained_memory
from .tuned_depth import tuned_depth_jobs
from .tuned_radius import tuned_radius_jobs
from .verdicts import claim_figures as figures_of

FOLDER = BOOK / "results"
PREDICTED = 400  # random matrices of each architecture, so that the prediction errs less than the networks


def provenance() -> dict:
    """Which code and which machine made a result."""
    threads = torch.get_num_threads()
    asked = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=FOLDER.parent)
    return {
        "version": __version__,
        "commit": asked.stdout.strip() or "unknown",
        "torch": str(torch.__version__),
        "machine": f"{platform.machine()} CPU, {threads} thread{'s' if threads > 1 else ''}",
        "processor": processor(),
    }


def read(name: str) -> dict:
    """A stored file by its name, empty if there is none."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(name: str, content: dict) -> None:
    """One line for each run, without spaces, keeps the file small and its differences readable."""
    lines = [f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in content.items()]
    write_atomically(FOLDER / f"{name}.json", "{\n" + ",\n".join(lines) + "\n}\n")


def as_stored(settings: dict) -> dict:
    """Settings in the form that JSON gives back."""
    return json.loads(json.dumps(settings))


def run_all(progress: bool = True) -> None:
    """Runs what is missing or was made with other settings, then the claims' stored figures."""
    for file, name, arguments in progress_bar(list(measurement_jobs()), enabled=progress, label="results"):
        stored = read(file)
        if as_stored(arguments).items() <= stored.get(name, {}).get("settings", {}).items():
            continue
        run = random_spectrum(**arguments) if file == "spectra" else follow_exponent(**arguments).as_json()
        write(file, {**stored, name: {**run, "provenance": provenance()}})
    for n, connectivity in progress_bar(FLAT + RINGS, enabled=progress, label="predictions"):
        stored, name = read("exponent_offsets"), label(n, connectivity)
        if stored.get(name, {}).get("samples") != PREDICTED:
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


def predict(n: int | tuple[int, ...], connectivity: float, samples: int = PREDICTED) -> dict:
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
    train_missing([job for job in training_jobs() if only(job)], progress, n_jobs)


def train_missing(jobs: list[Job], progress: bool, n_jobs: int) -> int:
    """Those of the jobs that are not stored, several at a time, each stored as soon as it is done; returns their number."""
    from joblib import Parallel, delayed

    missing = [job for job in jobs if read(job[0]).get(job[1], {}).get("arguments") != as_stored(job[2])]
    partial, parallel = FOLDER / ".partial", Parallel(n_jobs=n_jobs, return_as="generator_unordered")
    done = parallel(delayed(train_one)(job, partial) for job in missing)
    for (file, name, arguments), run in progress_bar(done, enabled=progress, label="training", total=len(missing)):
        write(file, {**read(file), name: {**run, "provenance": provenance()}})
        (partial / f"{name_of(arguments)}.pt").unlink(missing_ok=True)
    return len(missing)


def remember_all(progress: bool = True, folder: Path | None = None) -> None:
    """Trains the networks of ``memory_jobs`` again where that is missing, and stores how they keep the first pulse.

    ``folder``: for the weights, by default ``.partial``; they are deleted when the measurement is stored, unless it is given.
    """
    place = FOLDER / ".partial" if folder is None else folder
    for name, arguments in progress_bar(list(memory_jobs()), enabled=progress, label="memory"):
        stored = read("working_memory")
        if stored.get(name, {}).get("arguments") == as_stored(arguments):
            continue
        write("working_memory", {**stored, name: {**trained_memory(arguments, place), "provenance": provenance()}})
        if folder is None:
            (place / f"{name_of(arguments)}.pt").unlink(missing_ok=True)


def compare_all(progress: bool = True, n_jobs: int = 1, only: Callable[[geometry.Job], bool] = lambda job: True) -> None:
    """The networks of the part *Geometry* that are missing, several at a time, in a file for each data set."""
    from joblib import Parallel, delayed

    stored = lambda job: read(f"geometry_{job[0]}").get(job[1], {}).get("settings") == as_stored(geometry.settings_of(job))  # noqa: E731
    missing = [job for job in geometry.study_jobs() if only(job) and not stored(job)]
    done = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(delayed(compared)(job) for job in missing)
    for job, run in progress_bar(done, enabled=progress, label="geometry", total=len(missing)):
        file = f"geometry_{job[0]}"
        write(file, {**read(file), job[1]: {**run, "settings": geometry.settings_of(job), "provenance": provenance()}})


def own_model_all(progress: bool = True, only: Callable[[str], bool] = lambda name: True) -> None:
    """The runs of *SAL on your own model* that are missing, one after the other; each is stored as soon as it is done."""
    jobs = [(name, settings) for name, settings in own_model_jobs() if only(name)]
    for name, settings in progress_bar(jobs, enabled=progress, label="own model"):
        if not is_stored(name, settings, read):
            run = run_own_model(name, settings, read)
            write(FILE, {**read(FILE), name: {**run, "provenance": provenance()}})


def flossing_all(progress: bool = True, only: Callable[[str], bool] = lambda name: True) -> None:
    """The runs that compare SAL with gradient flossing and are missing; each is stored as soon as it is done."""
    jobs = [(name, settings) for name, settings in flossing_jobs() if only(name)]
    for name, settings in progress_bar(jobs, enabled=progress, label="flossing"):
        if not flossing_is_stored(name, settings, read):
            run = run_flossing(name, settings, read, FOLDER / ".partial")
            write(FLOSSING, {**read(FLOSSING), name: {**run, "provenance": provenance()}})


def weights_all(progress: bool = True, only: Callable[[str], bool] = lambda name: True) -> None:
    """The runs of *The spectrum of a weight matrix while it learns* that are missing, each stored as soon as it is done."""
    for job in progress_bar([job for job in spectra.jobs() if only(job[0])], enabled=progress, label="weights"):
        stored, settings = read(spectra.FILE), as_stored(spectra.settings_of(job))
        if stored.get(job[0], {}).get("settings") != settings and spectra.ready(job, stored):
            run = spectra.run_one(job, stored)
            write(spectra.FILE, {**read(spectra.FILE), job[0]: {**run, "settings": settings, "provenance": provenance()}})


def spectra_all(progress: bool = True) -> None:
    """What SAL does to the weights' singular values: the runs that are missing."""
    for name, arguments in progress_bar(spectra_jobs(), enabled=progress, label="spectra"):
        if read(SPECTRA).get(name, {}).get("arguments") != arguments:
            began, run = time.perf_counter(), spectra_under_sal(**arguments)
            run |= {"seconds": round(time.perf_counter() - began, 1), "arguments": arguments, "provenance": provenance()}
            write(SPECTRA, {**read(SPECTRA), name: rounded(run)})


def tuned_radius_all(progress: bool = True, n_jobs: int = 1, only: Callable[[Job], bool] = lambda job: True) -> None:
    """The runs of the last verdict that are missing, in time and then in depth: selection, then what was selected is judged."""
    for jobs in (tuned_radius_jobs, tuned_depth_jobs):
        while train_missing([job for job in jobs(read) if only(job)], progress, n_jobs):
            pass  # what has just been stored names the next ones


def compared(job: geometry.Job) -> tuple[geometry.Job, dict]:
    """One of these runs on one thread, with its job, because they end in any order."""
    torch.set_num_threads(1)
    return job, geometry.run_one(job)
