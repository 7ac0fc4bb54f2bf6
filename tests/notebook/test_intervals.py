"""Intervals of a mean, of a share and of a difference of shares, against tables and independent implementations."""

import math

import numpy as np
import pytest
from scipy import stats

from salnb.notebook.intervals import confidence_interval, difference_interval, share_interval


# 97.5 % of Student's t with n - 1 degrees of freedom, as every table has it.
@pytest.mark.parametrize("n, quantile", [(2, 12.706), (3, 4.303), (4, 3.182), (5, 2.776), (10, 2.262), (31, 2.042), (401, 1.966)])
def test_the_interval_of_a_mean_has_the_quantile_of_the_tables(n, quantile):
    sample = np.random.default_rng(n).normal(3.0, 2.0, n)
    low, high = confidence_interval(sample)
    half = quantile * math.sqrt(((sample - sample.mean()) ** 2).sum() / (n - 1) / n)
    # A table has three decimals, so that its quantile is off by half of the last one, relative to at least 1.96.
    assert [low, high] == pytest.approx([sample.mean() - half, sample.mean() + half], abs=5e-4 / 1.96 * half)


def test_confidence_interval_against_scipy():
    sample = np.random.default_rng(0).normal(3.0, 2.0, 12)
    wanted = stats.t.interval(0.95, 11, loc=sample.mean(), scale=stats.sem(sample))
    assert confidence_interval(sample) == pytest.approx(wanted, rel=1e-13)  # a handful of roundings of numbers about 3


@pytest.mark.parametrize("values", [[1.0], [], [1.0, math.nan], [math.inf, 0.0]])
def test_confidence_interval_refuses_what_has_none(values):
    with pytest.raises(ValueError, match="at least two finite numbers"):
        confidence_interval(values)


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
