"""What finding a start costs: the share of networks that hold after a search with so many trial runs, from stored runs."""

from collections.abc import Mapping, Sequence

import numpy as np


def held_after_search(starts: Mapping[object, Sequence[bool]], budget: int, *, draws: int = 2000, seed: int = 0) -> float:
    r"""The expected share of networks that hold at the start which a search with ``budget`` trial runs selects.

    In each draw the trial runs are spread over the starts as evenly as can be, each start's first ones in a random order. Of the
    starts that were tried the one with the largest share of successes is selected, of equal ones by chance, and judged by its
    *other* networks: none is counted that helped to select.

    Args:
        starts: for each start (a gain, a rate, both) whether each of its networks held. budget: trial runs in all.
        draws: random orders to average over. seed: of these orders.

    Raises:
        ValueError: no start, a budget below 1 or one that leaves no network of a start to judge by.

    Example:
        >>> held_after_search({"good": [True] * 16, "bad": [False] * 16}, 2)
        1.0
        >>> round(held_after_search({"good": [True] * 16, "bad": [False] * 16}, 1), 1)  # one trial: it tells only of one start
        0.5
    """
    outcomes = [np.asarray(held, dtype=bool) for held in starts.values()]
    if not outcomes or budget < 1:
        raise ValueError(f"budget: got {budget} for {len(outcomes)} starts, expected at least 1 of each")
    most = -(-budget // len(outcomes))
    if most >= min(map(len, outcomes)):
        raise ValueError(f"budget: got {budget}, up to {most} trial runs of a start that has {min(map(len, outcomes))} networks; "
                         "expected a budget that leaves some to judge by")  # fmt: skip
    random, found = np.random.default_rng(seed), []
    for _ in range(draws):
        trials = np.full(len(outcomes), budget // len(outcomes))
        trials[random.permutation(len(outcomes))[: budget % len(outcomes)]] += 1
        orders = [held[random.permutation(len(held))] for held in outcomes]
        shares = np.array([order[:n].mean() if n else -1.0 for order, n in zip(orders, trials, strict=True)])
        best = random.choice(np.flatnonzero(shares == shares.max()))
        found.append(orders[best][trials[best] :].mean())
    return float(np.mean(found))
