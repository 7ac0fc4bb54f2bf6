"""The measured side of the claims about weight spectra: a number for each network, by group, from the stored runs alone."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from .data import SETS
from .plan import DECAY, DENSITY, FILE, WIDTHS, held
from .training import MATRICES, MIDDLE

Runs = Mapping[str, dict]
Groups = dict[str, list[float]]
PLAIN, DECAYED = "decay 0", f"decay {DECAY:g}"
MEMORIZED, KNOWN, LEAST_FALL = 0.99, 0.5, 0.05  # shares of right answers, on the pairs to fit and to test; a fall of the rank
FITTED = 0.99  # share of the labels to fit that a network must have learned to count


def array(values: list) -> np.ndarray:
    """Stored lists, in which None stands for what was not finite."""
    return np.array(values, dtype=float)


def last_ranks(run: dict, name: str) -> np.ndarray:
    """Effective rank (R,) of a matrix at the end."""
    return array(run["rank"][name])[-1]


def minus(first: np.ndarray, second: np.ndarray) -> list[float]:
    return (first - second).tolist()


def rank_falls(runs: Runs) -> Groups:
    """Effective rank after learning minus before, without decay."""
    plain = {data: runs[f"{data}, {PLAIN}"]["rank"] for data in SETS}
    return {f"{data}, {name}": minus(*array(plain[data][name])[[-1, 0]]) for data in SETS for name in MATRICES}


def top_half(runs: Runs) -> Groups:
    """Accuracy with the top half of the directions minus that with all of them."""
    plain = {data: runs[f"{data}, {PLAIN}"] for data in SETS}
    return {data: minus(array(run["top half"]), array(run["accuracy"])) for data, run in plain.items()}


def decay_lowers(runs: Runs) -> Groups:
    """Effective rank with weight decay minus without."""
    last = lambda data, decay, name: last_ranks(runs[f"{data}, {decay}"], name)  # noqa: E731
    return {f"{data}, {name}": minus(last(data, DECAYED, name), last(data, PLAIN, name)) for data in SETS for name in MIDDLE}


def beyond_norm(runs: Runs) -> Groups:
    """Effective rank with weight decay minus that of networks with the same norms and no decay, the middle matrices' mean."""
    mean = lambda run: np.mean([last_ranks(run, name) for name in MIDDLE], 0)  # noqa: E731
    return {f"{data}, {control}": minus(mean(runs[f"{data}, {DECAYED}"]), mean(runs[f"{data}, {control}"]))
            for data in SETS for control in held(DECAY)}  # fmt: skip


def first(condition: np.ndarray) -> int | None:
    """The first place where it is true."""
    return int(condition.argmax()) if condition.any() else None


def times(run: dict) -> list[dict[str, float | None]]:
    """For each network the steps at which it had memorized, at which it knew half of the test pairs, and at which the rank had
    made half of its fall since memorizing, None where that did not happen; and the fall itself."""
    steps, fitted, tested, rank = (array(run[key]) for key in ("steps", "fitted", "tested", "rank"))
    found = []
    for r in range(rank.shape[1]):
        memorized, known = first(fitted[:, r] >= MEMORIZED), first(tested[:, r] >= KNOWN)
        if memorized is None:
            found.append({"memorized": None, "known": None, "half": None, "fall": None})
            continue
        start, end = rank[memorized, r], rank[-5:, r].mean()
        half = first(rank[memorized:, r] < (start + end) / 2) if start - end >= LEAST_FALL else None
        found.append({"memorized": steps[memorized], "known": None if known is None else steps[known],
                      "half": None if half is None else steps[memorized + half], "fall": float(end - start)})  # fmt: skip
    return found


def falls_with_knowing(runs: Runs) -> Groups:
    """ln of the step of half of the fall over the step at which half of the test pairs are known, where both happened."""
    return {share: [math.log(t["half"] / t["known"]) for t in times(runs[f"addition, {share}"]) if t["half"] and t["known"]]
            for share in ("30 %, decay 1", "90 %, decay 1")}  # fmt: skip


def known_without_fall(runs: Runs) -> Groups:
    """The change of the rank since memorizing, without decay, in networks that come to know the sum."""
    run = runs["addition, 90 %, no decay"]
    tested = array(run["tested"])[-5:].mean(0)
    found = [t["fall"] for t, share in zip(times(run), tested, strict=True) if share > 0.9]
    return {"90 %, no decay": [fall for fall in found if fall is not None]}


def labels(runs: Runs, what: Callable[[dict, str], np.ndarray], names: tuple[str, ...]) -> Groups:
    """True minus permuted labels, for each width, of the networks that fit both."""
    found = {}
    for width in WIDTHS:
        true, permuted = (runs[f"digits, {width} neurons, {kind} labels"] for kind in ("true", "permuted"))
        fit = (array(true["fitted"]) > FITTED) & (array(permuted["fitted"]) > FITTED)
        found |= {f"{width} neurons, {name}": minus(what(true, name)[fit], what(permuted, name)[fit]) for name in names}
    return found


def tickets(runs: Runs, control: str) -> Groups:
    """Agreement with the dense network, of the mask of the largest weights minus another mask."""
    of = lambda data, kind, name: array(runs[f"{data}, tickets"]["agreement"][f"{kind}, {DENSITY:g}"][name])  # noqa: E731
    return {f"{data}, {name}": minus(of(data, "largest", name), of(data, control, name)) for data in SETS for name in MIDDLE}


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks with the mean for equal values."""
    order = values.argsort(kind="stable")
    found = np.empty(len(values))
    found[order] = np.arange(len(values))
    return np.array([found[values == value].mean() for value in values])


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Rank correlation; NaN where one of them is constant or has no number."""
    if np.isnan([x, y]).any():
        return math.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.corrcoef(ranks(x), ranks(y))[0, 1])


def correlations(run: dict, key: str) -> list[float]:
    """For each trunk the rank correlation of the barrier with ``key``, over its pairs of branches."""
    pairs = run["pairs"].values()
    barrier, other = (np.stack([array(pair[name]) for pair in pairs]) for name in ("barrier", key))
    barrier = np.where(np.isfinite(barrier), barrier, np.inf)  # a loss that overflows on the way is a high barrier
    return [spearman(barrier[:, r], other[:, r]) for r in range(barrier.shape[1])]


def beyond_distance(run: dict) -> list[float]:
    """By how much the agreement's correlation with the barrier is stronger than that of the distance of the weights."""
    return [abs(a) - abs(b) for a, b in zip(correlations(run, "agreement"), correlations(run, "distance"), strict=True)]


ALIGNED = (f"{MIDDLE[0]} -> {MIDDLE[1]}",)
MEASURES: dict[str, Callable[[Runs], Groups]] = {
    "weights-rank-falls": rank_falls,
    "weights-top-half": top_half,
    "weights-decay-lowers-rank": decay_lowers,
    "weights-decay-beyond-norm": beyond_norm,
    "weights-rank-falls-with-knowing": falls_with_knowing,
    "weights-knowing-lowers-rank": known_without_fall,
    "weights-labels-rank": lambda runs: labels(runs, last_ranks, MIDDLE),
    "weights-labels-change": lambda runs: labels(runs, lambda run, name: array(run["rank of the change"][name]), MIDDLE),
    "weights-labels-alignment": lambda runs: labels(runs, lambda run, name: array(run["alignment"][name]), ALIGNED),
    "weights-tickets": lambda runs: tickets(runs, "random"),
    "weights-tickets-beyond-energy": lambda runs: tickets(runs, "equal energy"),
    "weights-barrier": lambda runs: {data: correlations(runs[f"{data}, branches"], "agreement") for data in SETS},
    "weights-barrier-beyond-distance": lambda runs: {data: beyond_distance(runs[f"{data}, branches"]) for data in SETS},
}
FEWEST = 6  # networks of a group: fewer decide nothing


class Used(dict):
    """Stored runs that remember which of them were asked for."""

    def __init__(self, runs: Runs) -> None:
        super().__init__(runs)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> dict:
        self.names.add(name)
        return super().__getitem__(name)


def weights_groups(read: Callable[[str], Runs]) -> dict[str, tuple[list[dict], Groups]]:
    """For each claim the runs behind it and its groups of at least six networks; none as long as a run of it is missing."""
    stored, found = read(FILE), {}
    for claim, measured in MEASURES.items():
        runs = Used(stored)
        try:
            groups = {name: [v for v in values if math.isfinite(v)] for name, values in measured(runs).items()}
        except KeyError:
            continue
        groups = {name: values for name, values in groups.items() if len(values) >= FEWEST}
        if groups:
            found[claim] = ([stored[name] for name in sorted(runs.names)], groups)
    return found
