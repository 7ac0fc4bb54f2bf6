"""Rounding denormal numbers to 0: numbers too small for full precision make a processor up to a hundred times slower."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def flushing() -> bool:
    """Whether this thread rounds denormal numbers to 0 now. PyTorch has no function that tells, so a small product shows it."""
    smallest = torch.tensor([torch.finfo(torch.float64).tiny], dtype=torch.float64)
    return not bool(smallest * 0.5)


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Inside the block the calling thread rounds denormal numbers to 0; after it, the earlier setting holds again.

    The earlier setting is also restored after an exception.
    """
    before = flushing()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
