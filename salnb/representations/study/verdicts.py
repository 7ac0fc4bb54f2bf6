"""The measured side of the claims about geometry: paired differences over splits, by data set, from the stored runs alone."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from .data import SETS
from .plan import DECAYS, TARGETS

Runs = Mapping[str, dict]
FEWEST = 6  # splits of a group: fewer decide nothing
OURS, BACKPROPAGATION, DECAY = "Krotov–Hopfield", "backpropagation", "decay 0.0005"
# Of each activation, the network without a penalty, and how the names of the others begin.
FAMILIES = {"ReLU": ("backpropagation", ""), "tanh": ("tanh", "tanh, ")}


def values_of(run: dict, key: str) -> np.ndarray:
    """One number per split; what is stored as None is infinite."""
    return np.array([math.inf if value is None else value for value in run[key]], dtype=float)


def difference(runs: Runs, ours: str, other: str, key: str, *, logarithm: bool = False) -> list[float]:
    """Ours minus the other's, of each split."""
    first, second = values_of(runs[ours], key), values_of(runs[other], key)
    return ((np.log(first) - np.log(second)) if logarithm else first - second).tolist()


def at_same_robustness(runs: Runs, network: str, family: str, key: str) -> np.ndarray:
    """What this network has of ``key`` beyond weight decay at the same critical ‖Δx‖₂ under PGD; NaN outside its range.

    Weight decay is a curve with a point for each strength, from none on, and straight lines between them over log ‖Δx‖₂.
    """
    plain, prefix = FAMILIES[family]
    curve = [runs[plain], *(runs[f"{prefix}decay {strength:g}"] for strength in DECAYS)]
    place, height = (np.stack([values_of(run, name) for run in curve]) for name in ("pgd", key))
    here, level = np.log(values_of(runs[network], "pgd")), values_of(runs[network], key)
    found = []
    for split in range(len(here)):
        order = np.argsort(place[:, split])
        found.append(np.interp(here[split], np.log(place[order, split]), height[order, split], left=math.nan, right=math.nan))
    with np.errstate(invalid="ignore"):  # a spectrum without an exponent is infinite here, and so is not compared
        return level - np.array(found)


def on_the_frontier(runs: Runs, family: str, key: str) -> list[float]:
    """The mean over all targets of the sensitivity penalty, for the splits in which at least one lies on decay's curve."""
    prefix = FAMILIES[family][1]
    gaps = np.stack([at_same_robustness(runs, f"{prefix}sensitivity {target:g}", family, key) for target in TARGETS])
    inside = np.isfinite(gaps).any(0)
    return np.nanmean(gaps[:, inside], 0).tolist() if inside.sum() >= FEWEST else []


MEASURES: dict[str, Callable[[Runs], list[float]]] = {
    "power-law": lambda runs: runs[OURS]["r2"],
    "power-law-learned": lambda runs: difference(runs, OURS, "exemplars", "alpha"),
    "local-beats-backpropagation": lambda runs: difference(runs, OURS, BACKPROPAGATION, "pgd", logarithm=True),
    "local-beats-decay": lambda runs: difference(runs, OURS, DECAY, "pgd", logarithm=True),
    "local-noise": lambda runs: difference(runs, OURS, DECAY, "noise", logarithm=True),
    "local-less-accurate": lambda runs: difference(runs, OURS, BACKPROPAGATION, "accuracy"),
    "decay-beats-jacobian": lambda runs: difference(runs, DECAY, "Jacobian", "pgd", logarithm=True),
    "steeper-is-more-robust": lambda runs: difference(runs, "exponent 3", "exponent 1", "pgd", logarithm=True),
    "local-smoother": lambda runs: difference(runs, OURS, "backpropagation, power 4.5", "roughness", logarithm=True),
}
BY_FAMILY = {"one-frontier": "accuracy", "exponent-floats": "alpha"}


def geometry_groups(read: Callable[[str], Runs]) -> dict[str, tuple[list[dict], dict[str, list[float]]]]:
    """For each claim the runs behind it and its groups; none as long as a run of any data set is missing."""
    runs = {name: read(f"geometry_{name}") for name in SETS}
    try:
        groups = {claim: {name: measured(runs[name]) for name in SETS} for claim, measured in MEASURES.items()}
        for claim, key in BY_FAMILY.items():
            found = {f"{name}, {family}": on_the_frontier(runs[name], family, key) for name in SETS for family in FAMILIES}
            groups[claim] = {group: values for group, values in found.items() if values}
    except KeyError:
        return {}
    made = [run for of_set in runs.values() for run in of_set.values()]
    return {claim: (made, of_claim) for claim, of_claim in groups.items()}
