"""Denormal numbers (too small for full precision) slow a processor down up to a hundredfold; heavy loops round them to 0."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def flushing() -> bool:
    """Whether this thread rounds denormal numbers to 0 at present; PyTorch sets the switch but cannot be asked."""
    smallest = torch.tensor([torch.finfo(torch.float64).tiny], dtype=torch.float64)
    return not bool(smallest * 0.5)


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Denormals count as 0 inside, and as before afterwards, also after an exception. Only the calling thread is concerned."""
    before = flushing()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
