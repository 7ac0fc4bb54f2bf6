"""Shares of successes and their intervals, against an independent implementation."""

import numpy as np
import pytest
from scipy import stats

from salnb.outcomes import count_held, difference_interval, first_success, share_interval


@pytest.mark.parametrize("k, n", [(0, 16), (1, 16), (8, 16), (15, 16), (16, 16), (3, 8)])
def test_the_interval_holds_the_shares_that_the_score_test_does_not_refuse(k, n):
    low, high = share_interval(k, n)
    shares = np.linspace(1e-6, 1 - 1e-6, 200_001)
    kept = shares[np.abs(k / n - shares) <= 1.959963984540054 * np.sqrt(shares * (1 - shares) / n)]
    assert abs(kept.min() - low) < 6e-6 and abs(kept.max() - high) < 6e-6  # the spacing of the grid, and where it begins


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    covered = sum(stats.binom.pmf(k, 16, 0.8) for k in range(17) if share_interval(k, 16)[0] <= 0.8 <= share_interval(k, 16)[1])
    # Summed exactly, without a draw. It cannot be 0.95: the two values of k next to those that are covered have 2 to 3 % each.
    assert 0.95 - 0.03 < covered < 0.95 + 0.03


def test_newcombe_s_own_example():
    # 56 of 70 against 48 of 80, Newcombe 1998, table II, method 10.
    low, high = difference_interval(56, 70, 48, 80)
    assert round(low, 4) == 0.0524 and round(high, 4) == 0.3339


@pytest.mark.parametrize("k, n", [(-1, 4), (5, 4), (0, 0)])
def test_impossible_counts_are_refused(k, n):
    with pytest.raises(ValueError, match="successes"):
        share_interval(k, n)


def test_counting():
    run = {"held": [0.98, 1.0, 0.99], "history": {"step": [0, 5, 9], "accuracy": [[0.5, 1, 0.5], [0.99, 1, 0.98], [0.9, 1, 0.6]]}}
    assert count_held(run, 0.98) == (2, 3) and first_success(run, 0.98) == [5, 0, None]
