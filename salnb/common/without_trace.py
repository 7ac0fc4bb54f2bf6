"""Calling a model for a measurement, so that nothing of it is another afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn


@contextmanager
def without_trace(model: nn.Module, *, gradients: bool = False) -> Iterator[None]:
    """What runs inside changes neither the model's buffers nor the random state; without ``gradients`` it has no graph."""
    buffers = [(module, name, buffer, buffer.clone()) for module in model.modules()
               for name, buffer in module._buffers.items() if buffer is not None]  # fmt: skip
    devices = list({buffer.device for buffer in model.parameters() if buffer.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices), nullcontext() if gradients else torch.no_grad():
        try:
            yield
        finally:
            with torch.no_grad():
                for module, name, buffer, before in buffers:
                    module._buffers[name] = buffer
                    if buffer.shape != before.shape or not torch.equal(buffer, before):
                        buffer.copy_(before)
