"""The recipe of the experiments: when SAL acts beside learning, at what rates, and in which replicas."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

import torch
from torch import Tensor, nn

from ...common.denormals import flushed_denormals
from ...networks.deep import DeepNet
from ...sal.jacobian_rows import RowSAL
from ...sal.optimizer import SAL
from ...sal.rule import check_settings
from .diagnostics import log10_backward_growth

WHEN = ("before", "struggling", "unhealthy", "throughout")
OPTIMIZERS = ("adam", "sgd")


@dataclass(frozen=True)
class Policy:
    """When and how SAL acts beside learning.

    Attributes:
        lr, target, decay, rule, average: as of ``SAL``, for the passes before learning.
        passes: at most so many label-free passes before learning; they end as soon as fewer than ``rest`` of the neurons have
            been below target for ten passes in a row. batch: samples in each.
        when: "before" learning only; "struggling": also after every learning step, in those replicas whose running loss is
            above ``loss_share`` of the loss of guessing; "unhealthy": in those that struggle and in which less than 10 **
            ``decades`` of a random error at the end arrives at the first layer or time step; "throughout": in all.
        learning_lr, learning_target: SAL's rate and target while the network learns. every: learning steps from one SAL step
            to the next. falling: SAL's rate takes the course of the optimizer's and goes to 0 with it.
    """

    lr: float = 2e-3
    target: float = 1.0
    decay: float = 0.9
    rule: str = "one_sided"
    average: str = "mean"
    passes: int = 2000
    rest: float = 0.05
    batch: int = 8
    when: str = "before"
    loss_share: float = 0.5
    learning_lr: float = 1e-3
    learning_target: float = 1.0
    decades: float = -1.0
    every: int = 1
    falling: bool = False

    def __post_init__(self) -> None:
        check_settings(self.lr, self.target, self.decay, self.rule, self.average)
        for name, value, fits, wanted in (
            ("passes", self.passes, isinstance(self.passes, int) and self.passes >= 0, "an integer >= 0"),
            ("batch", self.batch, isinstance(self.batch, int) and self.batch >= 1, "an integer >= 1"),
            ("when", self.when, self.when in WHEN, f"one of {', '.join(WHEN)}"),
            ("rest", self.rest, 0 <= self.rest <= 1, "a share in [0, 1]"),
            ("loss_share", self.loss_share, self.loss_share >= 0, "a share >= 0"),
            ("learning_lr", self.learning_lr, self.learning_lr >= 0, "a rate >= 0"),
            ("learning_target", self.learning_target, self.learning_target > 0, "a sensitivity > 0"),
            ("decades", self.decades, self.decades < 0, "a number of decades < 0"),
            ("every", self.every, isinstance(self.every, int) and self.every >= 1, "an integer >= 1"),
            ("falling", self.falling, isinstance(self.falling, bool), "True or False"),
        ):
            if not fits:
                raise ValueError(f"sal: {name} is {value!r}, expected {wanted}")


# The result of the search for a recipe, see ``book/results/recipes.json`` and the experiment chapters.
DEEP = Policy(lr=4e-3, average="rms", passes=1000, batch=32, when="struggling", learning_lr=3e-4)
LAG = Policy(lr=2e-3, passes=2000, batch=8, when="unhealthy", learning_lr=5e-3, learning_target=1.5, every=5)
# For layer norm, shortcuts and gates: SAL by rows of the Jacobian. A network with layer norm starts above target.
DEEP_ROWS = Policy(lr=0.02, rule="proportional", average="rms", passes=100, rest=0.0, batch=16, when="before")
LAG_ROWS = replace(LAG, average="rms")
DEEP_RATES, LAG_RATES = {"adam": 3e-5, "sgd": 1e-2}, {"adam": 3e-4, "sgd": 3e-3}


def as_policy(sal: bool | Mapping[str, object], default: Policy) -> Policy | None:
    """True: the recipe; a mapping: the recipe with these settings changed; False: no SAL."""
    if isinstance(sal, bool):
        return default if sal else None
    if not isinstance(sal, Mapping):
        raise ValueError(f"sal: got {type(sal).__name__}, expected True, False or a mapping of settings")
    known = [field.name for field in fields(Policy)]
    if unknown := sorted(set(sal) - set(known)):
        raise ValueError(f"sal: got unknown settings {', '.join(map(str, unknown))}, expected some of {', '.join(known)}")
    return Policy(**{**asdict(default), **sal})


def rate(lr: float | None, optimizer: str, recipe: Mapping[str, float]) -> float:
    """The learning rate: the recipe's where none is given."""
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer: got {optimizer!r}, expected one of {', '.join(OPTIMIZERS)}")
    if lr is not None and not lr > 0:
        raise ValueError(f"lr: got {lr!r}, expected a rate > 0")
    return recipe[optimizer] if lr is None else lr


ERROR_SAMPLES = 4  # samples of each replica through which a random error is sent back


def observe(model: nn.Module, sal: SAL | RowSAL, inputs: Tensor) -> None:
    """One pass of the model over these inputs, for SAL to observe; what it has observed since its last step is forgotten."""
    sal.discard()
    if isinstance(sal, RowSAL):
        sal.observe(inputs)
    else:
        model(inputs)


def adjust(sal: SAL | RowSAL, acting: Tensor) -> None:
    """One SAL step in the ``acting`` replicas (R,), from the last pass; the others keep their weights."""
    if acting.all():
        sal.step()
        return
    moved = [p for group in sal.param_groups for p in group["params"]]
    before = [p.detach().clone() for p in moved]
    sal.step()
    with torch.no_grad():
        for p, old in zip(moved, before, strict=True):
            p.copy_(torch.where(acting.view(-1, *[1] * (p.ndim - 1)), p, old))


def sal_after_learning_step(
    model: nn.Module, sal: SAL | RowSAL, policy: Policy, inputs: Tensor, *, running: Tensor, guessing: float,
    generator: torch.Generator,
) -> Tensor:  # fmt: skip
    """One SAL step after a learning step, in the replicas that the policy selects; returns which replicas these are (R,)."""
    acting = torch.ones_like(running, dtype=torch.bool) if policy.when == "throughout" else running > policy.loss_share * guessing
    with flushed_denormals(), torch.no_grad():
        if policy.when == "unhealthy" and acting.any():
            few = inputs[..., :ERROR_SAMPLES, :]
            model.eval()
            acting = acting & (log10_backward_growth(model, few, generator) < policy.decades)
            model.train()
        if acting.any():
            if type(model) is not DeepNet or policy.when == "unhealthy":  # otherwise SAL has observed the learning step
                observe(model, sal, inputs)
            adjust(sal, acting)
    return acting
