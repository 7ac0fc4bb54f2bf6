"""SAL for layers whose units are not a function of one weighted sum: layer norm, shortcuts, gates.

The length of ∂y_i/∂x, row i of a layer's Jacobian, is the sensitivity |f'|·‖w‖ where y_i = f(w·x + θ), and it has a meaning
for any other layer too. Random tangents measure it: for a standard normal v, E[(J v)_i²] is the square of that length.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from ..networks.layer_maps import WithMaps
from .rule import check_settings, next_average, pull


def row_squares(function: Callable[[Tensor], Tensor], states: Tensor, probes: Tensor) -> Tensor:
    """Squared length (R, N) of each row of the Jacobian, the mean over states (R, B, M) and probes (P, R, B, M).

    Differentiable. Exact where the probes are the M unit vectors times the root of M; unbiased where they are standard normal.
    J v is taken as the derivative of uᵀJ by u, two passes backward: half the time of ``torch.func.jvp`` for layers this small.
    """
    with torch.enable_grad():
        states = states.detach().requires_grad_()
        outputs = function(states)
        weights = torch.zeros_like(outputs, requires_grad=True)
        (back,) = torch.autograd.grad(outputs, states, weights, create_graph=True)
        grown = [torch.autograd.grad(back, weights, probe, create_graph=True)[0] for probe in probes]
        return torch.stack([tangent.square().mean(-2) for tangent in grown]).mean(0)


class RowSAL:
    r"""Moves a layer's parameters along the gradient of its units' sensitivities, each the RMS length of a Jacobian's row.

    .. math:: \bar s_i^2 \leftarrow \beta \bar s_i^2 + (1 - \beta)\,\mathrm{E}\lVert \partial y_i / \partial x \rVert^2, \qquad
        \Delta p = \eta \sum_i a_i\, \partial_p \bar s_i

    with a_i = 1 below target ("one_sided") or target − s̄_i ("proportional"). For f(W x + θ) s̄ is that of SAL's average="rms",
    but for the noise of the probes. Used as ``SAL``, with ``observe(inputs)`` in place of a call of the model.

    Args:
        model: has ``maps``, see ``WithMaps``. lr, target, decay, rule: as of ``SAL``. probes: random tangents per state.
        generator: of the probes and of the choice of time steps.

    Source: this project's; the paper defines sensitivity for a weighted sum and a function of it.

    Example:
        >>> from salnb.networks import CellRNN
        >>> sal = RowSAL(CellRNN("gru", 1, 8, 2, scale=30, replicas=2), lr=0.1)
        >>> sal.observe(torch.zeros(30, 2, 4, 1))
        >>> sal.step()
        >>> sal.log_sensitivity().shape
        torch.Size([1, 2])
    """

    def __init__(
        self, model: WithMaps, *, lr: float, target: float = 1.0, decay: float = 0.9, rule: str = "proportional",
        probes: int = 1, generator: torch.Generator | None = None,
    ) -> None:  # fmt: skip
        check_settings(lr, target, decay, rule, "rms")
        if not isinstance(probes, int) or probes < 1:
            raise ValueError(f"probes: got {probes!r}, expected an integer >= 1")
        self.model, self.decay, self.rule, self.probes = model, decay, rule, probes
        self.param_groups = [{"params": list(model.parameters()), "lr": lr, "target": target}]
        self.generator = torch.Generator().manual_seed(0) if generator is None else generator
        self.average: Tensor | None = None  # (L, R, N)
        self._inputs: Tensor | None = None

    def observe(self, inputs: Tensor) -> None:
        """Takes the inputs for the next ``step()``, which uses the states to which they lead."""
        self._inputs = inputs

    def discard(self) -> None:
        """Forgets the observed inputs."""
        self._inputs = None

    def detach(self) -> None:
        """There are no hooks to remove."""

    def share_below_target(self) -> Tensor:
        """Share of units (L, R) whose running average is below target."""
        if self.average is None:
            raise RuntimeError("RowSAL: nothing has been observed yet; observe(inputs), then step()")
        return (self.average < self.param_groups[0]["target"]).float().mean(-1)

    def log_sensitivity(self) -> Tensor:
        """Log RMS sensitivity (L, R) by the running averages."""
        return 0.5 * self.average.square().mean(-1).log()

    def _measured(self) -> Iterator[tuple[Tensor, list[nn.Parameter]]]:
        for function, states, parameters in self.model.maps(self._inputs, self.generator):
            shape = (self.probes, *states.shape)
            drawn = torch.randn(shape, generator=self.generator, dtype=states.dtype).to(states.device)
            yield row_squares(function, states, drawn), parameters

    def step(self) -> None:
        """One change of every map along the gradient of its sensitivities at the observed inputs, which are then used up.

        Raises:
            RuntimeError: nothing has been observed.
        """
        if self._inputs is None:
            raise RuntimeError("RowSAL: nothing has been observed; observe(inputs), then step()")
        (group,), averages, changes = self.param_groups, [], []
        target = torch.as_tensor(group["target"])
        with torch.enable_grad():
            for i, (squares, parameters) in enumerate(self._measured()):
                root = squares.detach().sqrt()
                average = next_average(None if self.average is None else self.average[i], root, root.square(),
                                       torch.as_tensor(self.decay), "rms")  # fmt: skip
                # The gradient of s̄ = sqrt(E[s²]); a unit that nothing moves has none.
                amount = torch.where(average > 0, pull(average, target, self.rule) / (2 * average), 0.0)
                changes.append((parameters, torch.autograd.grad((amount * squares).sum(), parameters, materialize_grads=True)))
                averages.append(average)
        with torch.no_grad():
            for parameters, gradients in changes:
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.add_(gradient, alpha=group["lr"])
        self.average, self._inputs = torch.stack(averages), None

    def state_dict(self) -> dict:
        return {"average": self.average, "probes": self.generator.get_state(), "groups": [
            {k: v for k, v in group.items() if k != "params"} for group in self.param_groups]}  # fmt: skip

    def load_state_dict(self, state: dict) -> None:
        self.average = state["average"]
        self.generator.set_state(state["probes"])
        for group, stored in zip(self.param_groups, state["groups"], strict=True):
            group.update(stored)
