"""Starting again: networks that still struggle after so many learning steps are drawn anew, and learn on within these steps."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def bias_correction(steps: Tensor, betas: tuple[float, float]) -> Tensor:
    r"""What Adam multiplies m/√v with after so many steps: \sqrt{1 − β₂ᵗ} / (1 − β₁ᵗ)."""
    first, second = betas
    return (1 - second**steps).sqrt() / (1 - first**steps)


class Restarts:
    """Draws replicas of a model anew, each with an optimizer that has not seen a step either.

    Adam counts the steps of all replicas as one. So after each step the change of a replica that began later is scaled by the
    ratio of the two bias corrections: it then is, up to Adam's ε, the change that an optimizer of its own would have made.

    Args:
        model: R replicas in leading dimensions. optimizer: Adam over its parameters. build: draws a new model from a generator.
        weights: this generator.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Adam, build: Callable[[torch.Generator], nn.Module],
        weights: torch.Generator, replicas: int,
    ) -> None:  # fmt: skip
        self.model, self.optimizer, self.build, self.weights = model, optimizer, build, weights
        self.began = torch.zeros(replicas, dtype=torch.float64)  # at which learning step each replica began
        self.count = torch.zeros(replicas)

    def restart(self, which: Tensor, step: int) -> None:
        """Draws the replicas ``which`` (R,) anew, after ``step`` learning steps."""
        if not which.any():
            return
        fresh = dict(self.build(self.weights).named_parameters())
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                mask = which.view(-1, *[1] * (p.ndim - 1))
                p.copy_(torch.where(mask, fresh[name], p))
                for moment in ("exp_avg", "exp_avg_sq"):
                    kept = self.optimizer.state[p][moment]
                    kept.copy_(torch.where(mask, 0.0, kept))
        which = which.cpu()
        self.began[which], self.count = float(step), self.count + which.float()

    def before(self) -> list[Tensor] | None:
        """The parameters before an optimizer step, None if all replicas have made as many steps as the optimizer."""
        return [p.detach().clone() for p in self.model.parameters()] if bool((self.began > 0).any()) else None

    def after(self, old: list[Tensor] | None, step: int) -> None:
        """Scales the changes of those that began later; ``step``: learning steps so far, with this one."""
        if old is None:
            return
        betas = self.optimizer.param_groups[0]["betas"]
        factor = bias_correction(step - self.began, betas) / bias_correction(torch.tensor(float(step)).double(), betas)
        with torch.no_grad():
            for p, before in zip(self.model.parameters(), old, strict=True):
                scale = factor.to(p).view(-1, *[1] * (p.ndim - 1))
                p.copy_(torch.where(scale == 1.0, p, before + scale * (p - before)))

    def state_dict(self) -> dict:
        return {"began": self.began, "count": self.count, "weights": self.weights.get_state()}

    def load_state_dict(self, state: dict) -> None:
        self.began, self.count = state["began"], state["count"]
        self.weights.set_state(state["weights"])
