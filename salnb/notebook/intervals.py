"""95 % confidence intervals: of a mean over seeds, of a share of successes, and of the difference of two shares."""

import math
from collections.abc import Iterable

import numpy as np


def confidence_interval(values: Iterable[float]) -> tuple[float, float]:
    """95 % confidence interval (Student's t) of the mean over independent seeds."""
    sample = np.asarray(values if isinstance(values, np.ndarray) else [float(v) for v in values], dtype=float).ravel()
    if sample.size < 2 or not np.isfinite(sample).all():
        raise ValueError(f"values: got {sample.tolist()[:8]}, expected at least two finite numbers, one per seed")
    from scipy import stats

    half = stats.t.ppf(0.975, sample.size - 1) * sample.std(ddof=1) / math.sqrt(sample.size)
    return float(sample.mean() - half), float(sample.mean() + half)


def share_interval(successes: int, n: int) -> tuple[float, float]:
    """95 % confidence interval (Wilson's) of a share, from ``successes`` in ``n`` tries.

    Args:
        successes: number of successful tries. n: number of independent tries, here networks, each with its own weights and data.

    Raises:
        ValueError: n below 1, or more successes than tries.

    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927).

    Example:
        >>> [round(bound, 2) for bound in share_interval(16, 16)]
        [0.81, 1.0]
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"successes: got {successes} of n = {n}, expected 0 <= successes <= n and n >= 1")
    from scipy import stats

    interval = stats.binomtest(successes, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def difference_interval(a: int, n_a: int, b: int, n_b: int) -> tuple[float, float]:
    """95 % confidence interval of the difference of two shares, a of n_a minus b of n_b, from Wilson's intervals of both.

    Source: R. G. Newcombe, Statistics in Medicine 17 (1998), method 10.

    Example:
        >>> [round(bound, 2) for bound in difference_interval(8, 8, 2, 8)]
        [0.28, 0.93]
    """
    (low_a, high_a), (low_b, high_b), first, second = share_interval(a, n_a), share_interval(b, n_b), a / n_a, b / n_b
    down, up = math.hypot(first - low_a, high_b - second), math.hypot(high_a - first, second - low_b)
    return first - second - down, first - second + up
