"""A search with known odds selects as often as probability says, and never judges by what it selected with."""

import pytest

from salnb.experiments.results.search_cost import held_after_search
from tests.tolerances import sampling

MIXED = {"good": [True] * 12 + [False] * 4, "bad": [True] * 4 + [False] * 12}


def test_one_trial_is_a_start_by_chance():
    """It is tried whatever comes of it; the share of its other networks is on average its own."""
    found = held_after_search(MIXED, 1, draws=4000)
    assert abs(found - 0.5) < sampling(0.3, 4000)


def test_two_trials_select_by_their_outcomes():
    """By hand: good and bad succeed with 3/4 and 1/4; a tie is decided by chance; then those left over judge."""
    found = held_after_search(MIXED, 2, draws=20000)
    left = lambda held, tried: (held - tried) / 15  # noqa: E731
    odds = [(3 / 4 * 3 / 4, left(12, 1)), (1 / 4 * 1 / 4, left(4, 1)),  # only the one or the other succeeds
            (3 / 4 * 1 / 4, (left(12, 1) + left(4, 1)) / 2), (1 / 4 * 3 / 4, (left(12, 0) + left(4, 0)) / 2)]  # fmt: skip
    assert abs(found - sum(p * share for p, share in odds)) < sampling(0.35, 20000)


def test_more_trials_select_better_up_to_the_best():
    shares = [held_after_search(MIXED, budget) for budget in (1, 2, 8, 24)]
    assert shares == sorted(shares) and shares[-1] > 0.7
    # exchangeable networks: those left over of a start have its share on average, however many were tried
    alone = held_after_search({"good": MIXED["good"]}, 8, draws=4000)
    assert abs(alone - 0.75) < sampling(0.5 / 8**0.5, 4000)


@pytest.mark.parametrize(("starts", "budget"), [({}, 1), (MIXED, 0), (MIXED, 31), ({"a": [True]}, 1)])
def test_a_budget_that_cannot_be_is_refused(starts, budget):
    with pytest.raises(ValueError, match=f"budget: got {budget}"):
        held_after_search(starts, budget)
