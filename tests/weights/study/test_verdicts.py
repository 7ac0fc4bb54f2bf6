"""The claims' figures on runs that are made up, so that the right answer is known."""

import math

import numpy as np
import pytest
from scipy import stats

from salnb.experiments.measurements.spectrum_under_sal import CLAIMS
from salnb.notebook import claims
from salnb.weights.study.plan import jobs
from salnb.weights.study.verdicts import MEASURES, correlations, spearman, times, weights_groups
from tests.problems import random


def grokked(known: int | None, half: int | None, fitted: int = 3, fall: float = 0.4) -> dict:
    """One network, looked at in ten steps each: fitted from one look on, known from another, its rank falling in one step."""
    looks = range(40)
    rank = [0.9 if half is None or i < half else 0.9 - fall for i in looks]
    return {"steps": [10 * i for i in looks], "fitted": [[float(i >= fitted)] for i in looks],
            "tested": [[float(known is not None and i >= known)] for i in looks], "rank": [[r] for r in rank]}  # fmt: skip


def test_times_of_a_network_that_groks():
    assert times(grokked(10, 20)) == [{"memorized": 30, "known": 100, "half": 200, "fall": pytest.approx(-0.4)}]
    assert times(grokked(None, 20))[0]["known"] is None
    assert times(grokked(10, None))[0]["half"] is None and times(grokked(10, 20, fall=0.04))[0]["half"] is None
    assert times(grokked(10, 20, fitted=50))[0] == {"memorized": None, "known": None, "half": None, "fall": None}


def test_ranks_are_compared_as_scipy_does():
    x, y = random(12).round(decimals=0).numpy(), random(12, seed=1).numpy()  # with ties
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert math.isnan(spearman(np.ones(5), y[:5])) and math.isnan(spearman(np.array([1.0, math.nan]), y[:2]))
    run = {"pairs": {str(i): {"barrier": [b, 1.0], "agreement": [1 - b if b is not None else 0.0, i]} for i, b in
                     enumerate((0.1, 0.5, None, 0.3))}}  # fmt: skip
    assert correlations(run, "agreement")[0] == pytest.approx(-1)  # a loss that overflowed is the highest barrier


def runs_of(job: tuple) -> dict:
    """A run as the plan's functions return it, with numbers that tell which run they are of."""
    name, function, settings = job
    matrices = ("hidden.0.weight", "hidden.1.weight", "hidden.2.weight", "readout.weight")
    if function.__name__ == "grok":
        one = grokked(10, 12)
        return {key: [value * 8 if isinstance(value, list) else value for value in values] for key, values in one.items()}
    base = settings.get("decay", 0.0) * 100 + 0.2 * settings.get("permuted", False) + 0.01 * ("norms" in settings)
    eight = [0.001 * i for i in range(8)]
    if function.__name__ == "learn":
        return {"rank": {m: [[0.8] * 8, [0.7 - base + e for e in eight]] for m in matrices}, "accuracy": [0.9] * 8,
                "fitted": [1.0] * 8, "top half": [0.89 + e for e in eight],
                "rank of the change": {m: [0.3 + base + e for e in eight] for m in matrices},
                "alignment": {"hidden.1.weight -> hidden.2.weight": [0.5 - base + e for e in eight]}}  # fmt: skip
    if function.__name__ == "draw_tickets":
        size = {"largest": 0.5, "random": 0.1, "equal energy": 0.3}
        middle = lambda value: {m: [value + e for e in eight] for m in matrices[1:3]}  # noqa: E731
        return {"agreement": {f"{kind}, 0.05": middle(value) for kind, value in size.items()}}
    apart = lambda i: [(i - 3.0) ** 2 + e for e in eight]  # noqa: E731
    return {"pairs": {str(i): {"barrier": [i + 0.0] * 8, "agreement": [-i + 0.0] * 8, "distance": apart(i)} for i in range(10)}}


def test_every_claim_is_measured_from_the_plan_with_all_its_groups():
    stored = {job[0]: {**runs_of(job), "seconds": 1.0} for job in jobs()}
    found = weights_groups(lambda file: stored)
    assert set(found) == set(MEASURES) == set(claims.ledger("neighbours")) - set(CLAIMS)
    count = {claim: len(groups) for claim, (_, groups) in found.items()}
    assert count["weights-rank-falls"] == 8 and count["weights-decay-beyond-norm"] == 4 and count["weights-labels-rank"] == 4
    mean = {claim: {name: sum(v) / len(v) for name, v in groups.items()} for claim, (_, groups) in found.items()}
    expect = {"weights-rank-falls": -0.1 + 0.0035, "weights-top-half": -0.01 + 0.0035, "weights-decay-lowers-rank": -0.1,
              "weights-decay-beyond-norm": -0.09, "weights-rank-falls-with-knowing": math.log(1.2),
              "weights-knowing-lowers-rank": -0.4,
              "weights-labels-rank": 0.2, "weights-labels-change": -0.2, "weights-labels-alignment": 0.2, "weights-tickets": 0.4,
              "weights-tickets-beyond-energy": 0.2, "weights-barrier": -1.0}  # fmt: skip
    for claim, value in expect.items():
        assert all(m == pytest.approx(value) for m in mean[claim].values()), claim
    assert all(m > 0.3 for m in mean["weights-barrier-beyond-distance"].values())
    assert {run for run in map(id, found["weights-tickets"][0])} == {id(stored[f"{d}, tickets"]) for d in ("digits", "mnist1d")}


def test_networks_that_did_not_fit_their_labels_do_not_count():
    stored = {job[0]: {**runs_of(job), "seconds": 1.0} for job in jobs()}
    stored["digits, 64 neurons, permuted labels"]["fitted"] = [1.0] * 7 + [0.9]
    groups = weights_groups(lambda file: stored)["weights-labels-rank"][1]
    assert {name: len(values) for name, values in groups.items() if "hidden.1" in name} == {
        "64 neurons, hidden.1.weight": 7, "256 neurons, hidden.1.weight": 8}  # fmt: skip


def test_a_claim_waits_for_its_runs_and_for_six_networks():
    stored = {job[0]: {**runs_of(job), "seconds": 1.0} for job in jobs()}
    del stored["mnist1d, tickets"]
    assert "weights-tickets" not in weights_groups(lambda file: stored)
    stored["addition, 90 %, no decay"]["tested"] = [[0.0] * 3 + [v] * 5 for v in (0.0, 1.0) for _ in range(20)]
    assert "weights-knowing-lowers-rank" not in weights_groups(lambda file: stored)  # five networks know the sum
    assert weights_groups(lambda file: {}) == {}
