"""How far two right answers may lie apart, each by a derivation that a test names instead of a number that was green once.

A verdict must not depend on the processor, the number of threads or the seed (``SALNB_TEST_SEED``). So a tolerance is one of

- ``rounding``, ``within``, ``close``, ``astray``: the same numbers computed in another order or by another instruction set;
- ``sampling``, ``spread``, ``scatter``: an average or a standard deviation over random draws;
- ``counted``: how many of n independent draws fall into a class;
- no tolerance: an identity that holds bit by bit, where both sides are the same operations on the same shapes.
"""

import math
from collections.abc import Iterable

import torch
from scipy import stats
from torch import Tensor

SAFETY = 4  # what tanh, exp and log of any library may be off by, in units of the last place
SIGMAS = 5  # a normal number is farther out than this once in 1.7 million draws
ALARM = 2 * stats.norm.sf(SIGMAS)  # which is the share of seeds at which a right answer is called wrong: 5.7e-7


def rounding(dtype: torch.dtype, operations: float, scale: float = 1.0) -> float:
    """How far two computations of one number may lie apart: SAFETY · eps · operations · scale.

    ``operations`` is the length of the longest chain from what is given to the result. A sum of n products counts n, whatever its
    order: n roundings of at most eps/2 of the terms' absolute sum, in each of the two results. ``scale`` is the largest absolute
    sum on the way: where a result is a small difference of large numbers, the size of those; where errors grow, that growth.

    >>> rounding(torch.float64, 100) < 1e-13
    True
    """
    return SAFETY * torch.finfo(dtype).eps * operations * scale


def within(expected: Tensor, operations: float, scale: float | None = None, terms: int = 1) -> dict[str, float]:
    """``rounding`` as keywords of ``assert_close`` and ``allclose``; the scale is the largest entry of what is expected.

    Small entries are compared at that scale, too: they are sums of terms that cancel. Where all entries are sums of ``terms``
    terms with random signs, the absolute sum is larger than the sum by the root of their number.

    >>> within(torch.tensor([1.0, -2.0]), 10)["atol"] == rounding(torch.float32, 10, 2.0)
    True
    """
    if scale is None:
        scale = expected.detach()[torch.isfinite(expected)].abs().max().item()
    return {"rtol": 0.0, "atol": rounding(expected.dtype, operations, scale * math.sqrt(terms))}


def close(dtype: torch.dtype, operations: float, scale: float = 1.0) -> dict[str, float]:
    """``rounding`` as keywords of ``assert_close``, for numbers of very different sizes: relative, and at ``scale`` absolute.

    >>> close(torch.float32, 10)["rtol"] == rounding(torch.float32, 10)
    True
    """
    return {"rtol": rounding(dtype, operations), "atol": rounding(dtype, operations, scale)}


def astray(found: Iterable[Tensor], exact: Iterable[Tensor]) -> float:
    """How much of these tensors is wrong: the largest |found − exact| / |exact|, in lengths, of any of them.

    Of a way of computing that is known to be right, against itself in double precision, it says which digits this very problem
    leaves; another way may lose as many, a few times over.

    >>> astray([torch.tensor([1.5, 0.0])], [torch.tensor([1.0, 0.0])])
    0.5
    """
    pairs = [(a.detach().double(), b.detach().double()) for a, b in zip(found, exact, strict=True)]
    return max(float((a - b).norm() / b.norm()) for a, b in pairs if b.any())


def sampling(std: float, n: float, sigmas: float = SIGMAS) -> float:
    """How far the mean of n independent draws lies from the true one, at most: ``sigmas`` standard errors.

    >>> sampling(2.0, 100)
    1.0
    """
    return sigmas * std / math.sqrt(n)


def spread(n: int, kurtosis: float = 3.0, sigmas: float = SIGMAS) -> float:
    """How far the *variance* of n draws lies from the true one, relative to it; a standard deviation lies half as far.

    Var(s²)/σ⁴ = (kurtosis − 1)/n; the kurtosis is 3 for normal draws and 1.8 for uniform ones.

    >>> round(spread(20_000), 6)
    0.05
    """
    return sigmas * math.sqrt((kurtosis - 1) / n)


def scatter(values: Tensor, alarm: float = ALARM) -> float:
    """How far the mean of these few measurements lies from the true one, by their own scatter: Student's quantile · std / √n.

    >>> 5 < scatter(torch.tensor([-1.0, 0.0, 1.0, 2.0])) / 0.6455 < 200
    True
    """
    n = values.numel()
    return stats.t.isf(alarm / 2, n - 1).item() * values.double().std().item() / math.sqrt(n)


def counted(share: float, n: int, alarm: float = ALARM) -> tuple[int, int]:
    """The fewest and the most of n independent draws that fall into a class of this share, by binomial quantiles.

    >>> counted(0.5, 10)
    (0, 10)
    >>> low, high = counted(0.5, 1000)
    >>> 400 < low < 500 < high < 600
    True
    """
    draws = stats.binom(n, share)
    return int(draws.ppf(alarm / 2)), int(draws.isf(alarm / 2))
