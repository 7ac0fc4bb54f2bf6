"""The measured side of the claims ledger, from the stored runs alone."""

import math
from collections.abc import Callable

import numpy as np

from .claims import confidence_interval


def mismatch(run: dict, offset: float, *, edge: float = -0.05) -> np.ndarray:
    """Exponent minus (log-sensitivity + predicted offset), a mean per network over its looks below ``edge``."""
    exponent, log_sensitivity = np.array(run["exponent"]), np.array(run["log_sensitivity"])
    below = exponent < edge
    return ((exponent - log_sensitivity - offset) * below).sum(0) / below.sum(0)


def claim_figures(read: Callable[[str], dict]) -> dict:
    """The measured side of the ledger; ``read`` gives the stored results by name."""
    runs, offsets, layers = read("exponent_architectures"), read("exponent_offsets"), read("transmission").values()
    gaps = {name: mismatch(run, offsets[name]["mean"]) for name, run in runs.items()}
    flat = [name for name in runs if "+" not in name]
    values = {
        "lyapunov-match": (runs.values(), np.concatenate([gaps[name] for name in flat if name.endswith(", 1")])),
        "architectures": (runs.values(), np.array([gap.mean() for gap in gaps.values()])),
        "edge-of-chaos": (runs.values(), np.concatenate([np.array(run["exponent"])[-1] for run in runs.values()])),
        "moderate-transmission": (layers, np.concatenate([np.add(run["forward"], run["backward"]) / 2 for run in layers])),
    }
    rounded = lambda v: round(float(v), 6)  # noqa: E731
    return {
        name: {"mean": rounded(v.mean()), "interval": [rounded(b) for b in confidence_interval(v)], "seeds": len(v),
               "lowest": rounded(v.min()), "highest": rounded(v.max()), "seconds": math.ceil(sum(run["seconds"] for run in made)),
               "device": next(iter(made))["provenance"]["machine"]}
        for name, (made, v) in values.items()
    }  # fmt: skip
