"""SAL while a network learns: in which replicas it acts, and that the others keep their weights."""

import torch
from torch import Tensor, nn

from .denormals import flushed_denormals
from .health import arriving
from .networks import DeepNet
from .policy import Policy
from .row_sal import RowSAL
from .sal import SAL

HEALTH_SAMPLES = 4  # of each replica, through which a random error is sent back


def observe(model: nn.Module, sal: SAL | RowSAL, inputs: Tensor) -> None:
    """Lets SAL see what the model makes of these inputs."""
    if isinstance(sal, RowSAL):
        sal.observe(inputs)
    else:
        model(inputs)


def adjust(sal: SAL | RowSAL, acting: Tensor) -> None:
    """One SAL step in the ``acting`` replicas (R,), from the pass that is waiting; the others keep their weights."""
    if acting.all():
        sal.step()
        return
    moved = [p for group in sal.param_groups for p in group["params"]]
    before = [p.detach().clone() for p in moved]
    sal.step()
    with torch.no_grad():
        for p, old in zip(moved, before, strict=True):
            p.copy_(torch.where(acting.view(-1, *[1] * (p.ndim - 1)), p, old))


def keep_sensitive(model: nn.Module, sal: SAL | RowSAL, policy: Policy, inputs: Tensor, *, running: Tensor, guessing: float,
                   generator: torch.Generator) -> Tensor:  # fmt: skip
    """SAL after a learning step, in the replicas where the policy asks for it; returns which (R,)."""
    acting = torch.ones_like(running, dtype=torch.bool) if policy.when == "throughout" else running > policy.loss_share * guessing
    with flushed_denormals(), torch.no_grad():
        if policy.when == "unhealthy" and acting.any():
            few = inputs[..., :HEALTH_SAMPLES, :]
            model.eval()
            acting = acting & (arriving(model, few, generator) < policy.decades)
            model.train()
        if acting.any():
            if type(model) is not DeepNet or policy.when == "unhealthy":  # SAL's pass; elsewhere the learning step's has been one
                observe(model, sal, inputs)
            adjust(sal, acting)
    return acting
