"""The measured numbers of the claims ledger, computed from the stored runs alone."""

import math
from collections.abc import Callable

import numpy as np

from ...notebook.claims import group_figures
from ...notebook.intervals import difference_interval
from ...representations.study.verdicts import geometry_groups
from ...weights.study.verdicts import weights_groups
from ..measurements.spectrum_under_sal import FILE as SPECTRA
from ..measurements.spectrum_under_sal import spectra_groups
from .flossing_runs import flossing_groups
from .held_accuracy import pooled
from .own_model import own_model_groups
from .plan import LAYERS, TASKS


def mismatch(run: dict, offset: float, *, edge: float = -0.05) -> np.ndarray:
    """Exponent minus (log-sensitivity + predicted offset), a mean per network over its looks below ``edge``."""
    exponent, log_sensitivity = np.array(run["exponent"]), np.array(run["log_sensitivity"])
    below = exponent < edge
    return ((exponent - log_sensitivity - offset) * below).sum(0) / below.sum(0)


def transmission_groups(layers: dict) -> dict[str, list[float]]:
    """The log growth in the stored layers by activation, width and direction; no groups as long as a planned layer is missing."""
    named = [(f"{s['activation']}, {s['width']}", f"{s['activation']}, N = {s['width']}", s) for s in LAYERS]
    if not all(layers.get(run, {}).get("settings") == settings for run, _, settings in named):
        return {}
    return {f"{group}, {way}": layers[run][way] for run, group, _ in named for way in ("forward", "backward")}


def claim_figures(read: Callable[[str], dict]) -> dict:
    """The measured side of the ledger; ``read`` gives the stored results by name."""
    runs, offsets, layers = read("exponent_architectures"), read("exponent_offsets"), read("transmission")
    gaps = {name: mismatch(run, offsets[name]["mean"]) for name, run in runs.items()}
    full = {name: gaps[name] for name in runs if "+" not in name and name.endswith(", 1")}
    spelled = lambda groups: {name.replace(", ", " neurons, connectivity "): v for name, v in groups.items()}  # noqa: E731
    grouped = {
        "lyapunov-match": (runs.values(), spelled(full)),
        "architectures": (runs.values(), spelled(gaps)),
        "edge-of-chaos": (runs.values(), spelled({name: run["exponent"][-1] for name, run in runs.items()})),
        "moderate-transmission": (layers.values(), transmission_groups(layers)),
        **geometry_groups(read),
        **own_model_groups(read),
        **flossing_groups(read),
        **weights_groups(read),
        **spectra_groups(read(SPECTRA)),
    }
    origin = lambda made: {"seconds": math.ceil(sum(run["seconds"] for run in made)),  # noqa: E731
                           "device": next(iter(made))["provenance"]["machine"]}  # fmt: skip
    by_group = {name: {**group_figures(name, groups), **origin(made)} for name, (made, groups) in grouped.items() if groups}
    return by_group | share_figures(read)


HELD = {"depth": 0.95, "lag": 0.98}
TUNED = ("0.8", "0.9", "1", "1.1", "1.2", "1.3")
# What is compared: the file, the runs with SAL, the runs without (the best of them where they are one radius each).
SHARES = {
    "depth-300": ("depth", [f"{task}, SAL" for task in TASKS], [[f"{task}, gain 0.5" for task in TASKS]]),
    "lag-300": ("lag", ["xor, SAL from 0.5"], [["xor, gain 0.5"]]),
    "beats-spectral-radius": ("lag", ["xor, SAL from 0.5"], [[f"xor, gain {radius}"] for radius in TUNED]),
}


def share_figures(read: Callable[[str], dict]) -> dict:
    """Share of networks that held, with SAL minus without; only of claims whose runs are all stored."""
    figures = {}
    for claim, (file, ours, rivals) in SHARES.items():
        runs = read(file)
        if not all(name in runs for names in (ours, *rivals) for name in names):
            continue
        counts = [pooled(runs, names, HELD[file]) for names in rivals]
        mine, best = pooled(runs, ours, HELD[file]), max(counts, key=lambda count: count[0] / count[1])
        made = [runs[name] for names in (ours, *rivals) for name in names]
        figures[claim] = {
            "mean": round(mine[0] / mine[1] - best[0] / best[1], 6),
            "interval": [round(bound, 6) for bound in difference_interval(*mine, *best)], "seeds": mine[1] + best[1],
            "with": list(mine), "without": list(best), "seconds": math.ceil(sum(run["seconds"] for run in made)),
            "device": made[0]["provenance"]["machine"],
        }  # fmt: skip
    return figures
