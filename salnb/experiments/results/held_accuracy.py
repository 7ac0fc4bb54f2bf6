"""How many networks of a stored run kept their accuracy until the end, and when each first reached it."""

from collections.abc import Mapping


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


def pooled(runs: dict, names: list[str], threshold: float) -> tuple[int, int]:
    """How many networks of these runs held, and how many there are."""
    counts = [count_held(runs[name], threshold) for name in names]
    return sum(held for held, _ in counts), sum(n for _, n in counts)
