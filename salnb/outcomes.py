"""How many networks of a stored run succeeded, and how sure that share is."""

import math
from collections.abc import Mapping


def share_interval(successes: int, n: int) -> tuple[float, float]:
    """95 % interval (Wilson's) of a share of which ``successes`` of ``n`` were seen.

    Args:
        successes: how many of n; n: independent tries, here networks with weights and data of their own.

    Raises:
        ValueError: n below 1, or more successes than tries.

    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927).

    Example:
        >>> [round(bound, 2) for bound in share_interval(16, 16)]
        [0.81, 1.0]
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"successes: got {successes} of n = {n}, expected 0 <= successes <= n and n >= 1")
    z = 1.959963984540054
    middle = (successes + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(successes * (n - successes) / n + z * z / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def difference_interval(a: int, n_a: int, b: int, n_b: int) -> tuple[float, float]:
    """95 % interval of the difference of two shares, a of n_a minus b of n_b, from Wilson's intervals of the two.

    Source: R. G. Newcombe, Statistics in Medicine 17 (1998), method 10.

    Example:
        >>> [round(bound, 2) for bound in difference_interval(8, 8, 2, 8)]
        [0.28, 0.93]
    """
    (low_a, high_a), (low_b, high_b), first, second = share_interval(a, n_a), share_interval(b, n_b), a / n_a, b / n_b
    down, up = math.hypot(first - low_a, high_b - second), math.hypot(high_a - first, second - low_b)
    return first - second - down, first - second + up


def count_held(run: Mapping, threshold: float) -> tuple[int, int]:
    """How many networks of a stored run held more than ``threshold``, and how many there are.

    Example:
        >>> count_held({"held": [1.0, 0.5, 0.99]}, 0.98)
        (2, 3)
    """
    return sum(value > threshold for value in run["held"]), len(run["held"])


def first_success(run: Mapping, threshold: float) -> list[int | None]:
    """The training step at which each network of a stored run first was above ``threshold``; None where it never did.

    Example:
        >>> first_success({"history": {"step": [0, 10], "accuracy": [[0.5, 0.5], [1.0, 0.6]]}}, 0.98)
        [10, None]
    """
    steps, courses = run["history"]["step"], zip(*run["history"]["accuracy"], strict=True)
    return [next((step for step, value in zip(steps, course, strict=True) if value > threshold), None) for course in courses]
