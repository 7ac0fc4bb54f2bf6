"""Sensitivity adjustment learning (SAL), a local rule per neuron, as an optimizer beside the one that learns the task."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from .hooks import Observation
from .layers import WatchedLayer, find_layers
from .recording import PassRecorder
from .rule import check_settings
from .update import Measure, Stack, stack_layers, write_back


class RowGate:
    """Holds back the rows of parameters for one optimizer step.

    A gradient of 0 is not enough: momentum and Adam move a weight whose gradient is zero, and so does weight decay. The
    rows are therefore remembered as well, and ``put_back`` restores them.
    """

    def __init__(self, owner: object) -> None:
        self.owner = owner  # the pass in which the rows were chosen
        self._saved: list[tuple[Tensor, nn.Parameter, Tensor]] = []

    def hold(self, rows: Tensor, parameters: Iterable[nn.Parameter]) -> None:
        """Zeroes the gradients of the given rows (..., N), True where held, and remembers the weights."""
        for parameter in parameters:
            held = rows.unsqueeze(-1) if parameter.ndim > rows.ndim else rows
            self._saved.append((held, parameter, parameter.clone()))
            if parameter.grad is not None:
                parameter.grad.masked_fill_(held, 0.0)

    def put_back(self) -> None:
        """Restores the remembered rows."""
        for held, parameter, before in self._saved:
            parameter.copy_(torch.where(held, before, parameter))


class SAL(torch.optim.Optimizer):
    r"""Moves each neuron's weights along its sensitivity's gradient until the sensitivity's running average is 1.

    .. math:: \bar s \leftarrow \beta \bar s + (1 - \beta)\,\mathrm{E}[s], \qquad
        \Delta w = \eta\,\nabla_w \mathrm{E}[s], \quad \Delta\theta = \eta\,\partial_\theta \mathrm{E}[s]

    for neurons whose average is below target (``"one_sided"``), or with the factor target − s̄, up and down, for all
    (``"proportional"``). Use: forward, backward, ``optimizer.step()``, ``sal.step()``; one change per call of the model.

    Args:
        model: the module whose calls are the passes.
        lr: η >= 0. target: > 0. decay: β in [0, 1), per pass. The average trails the sensitivity by about
            η / (1 − β), and the one-sided rule overshoots by that much.
        rule: "one_sided" or "proportional".
        layers: names, or {name: activation} where forward calls the activation as a function, or {name: (activation, other
            layers)} where it acts on a sum: ``{"b": ("tanh", "a")}`` for ``tanh(a(x) + b(h))``, since b alone does not see
            the sum. Default: every Linear that a known activation module follows, save the one that reads the input and
            the readout; nn.RNN; DeepNet; TanhRNN.
        average: "mean" (E[s], the paper's) or "rms" (the root of E[s²]); for ReLU the two differ much, and past
            the edge of chaos a recurrent network's mean falls below 1 again: "one_sided" may then climb on without end.

    Raises:
        ValueError: a setting out of range, a layer that cannot be watched. RuntimeError: ``step()`` without a pass.

    Source: Shibata et al., Neural Networks 143 (2021). Acting only below target follows the authors' later work; the
    defaults, "proportional", "rms" and gating are this project's.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
        >>> sal = SAL(net)
        >>> _ = net(torch.zeros(4, 2))
        >>> sal.step()
    """

    def __init__(
        self, model: nn.Module, *, lr: float = 2e-3, target: float = 1.0, decay: float = 0.9, rule: str = "one_sided",
        layers: Iterable[str] | Mapping[str, object] | None = None, average: str = "mean",
    ) -> None:  # fmt: skip
        check_settings(lr, target, decay, rule, average)
        self._layers = find_layers(model, layers)
        groups = [{"params": layer.parameters, "name": layer.name} for layer in self._layers]
        super().__init__(groups, dict(lr=lr, target=target, decay=decay, rule=rule, average=average))
        self._recorder = PassRecorder(model, self._layers)
        self._log_sensitivity: Tensor | None = None
        self._gate: RowGate | None = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Does nothing: the gradients belong to the optimizer that learns the task."""

    def detach(self) -> None:
        """Removes the hooks; the model is as it was before SAL was attached."""
        self._recorder.remove()

    @property
    def sensitivity(self) -> dict[str, Tensor]:
        """The running average s̄ (..., N) of each layer that has been observed."""
        averages = {a.name: self._average(a) for a in self._layers}
        return {name: average for name, average in averages.items() if average is not None}

    def _average(self, layer: WatchedLayer) -> Tensor | None:
        return self.state.get(layer.weight, {}).get("sensitivity")

    def share_below_target(self) -> Tensor:
        """Share of neurons (L, ...) whose running average is below target."""
        averages = [self._average(layer) for layer in self._layers]
        if any(average is None for average in averages):
            raise RuntimeError("SAL: nothing has been observed yet; call the model in training mode, then step()")
        pairs = zip(averages, self.param_groups, strict=True)
        return torch.stack([(average < group["target"]).float().mean(-1) for average, group in pairs])

    def log_sensitivity(self) -> Tensor:
        """Log RMS sensitivity (L, ...) of the last pass over its samples and neurons, in nats per layer or time step."""
        if self._recorder.finished is None and self._log_sensitivity is not None:
            return self._log_sensitivity
        with torch.no_grad():
            measured = self._measure(self._recorder.observations())
            return self._in_order([(members, measure) for members, _, measure in measured])

    def step(self, closure: Callable[[], object] | None = None) -> object:
        """One change of every watched layer along the gradient of its mean sensitivity over the last pass.

        The pass is used up. Neurons that ``gate_gradients_`` held back are first put back to where they were, so
        that neither momentum nor Adam has moved them.

        Raises:
            RuntimeError: there was no pass since the last step, or a watched layer did not run in it; nothing is changed then.
        """
        with torch.enable_grad():
            loss = None if closure is None else closure()
        with torch.no_grad():
            observations = self._recorder.observations()
            gate, self._gate = self._gate, None
            if gate is not None and gate.owner is self._recorder.finished:  # else another pass came in between
                gate.put_back()
            measured = []
            for members, stack, measure in self._measure(observations):
                for i, average in zip(members, measure.average.unbind(0), strict=True):
                    self.state[self._layers[i].weight]["sensitivity"] = average
                moving, weight, by_bias = stack.move(measure.average)
                if moving:
                    write_back([self._layers[members[j]] for j in moving], weight, by_bias)
                measured.append((members, measure))
            self._log_sensitivity = self._in_order(measured)
        self._recorder.finished = None
        return loss

    def gate_gradients_(self) -> None:
        """Optional, between ``backward()`` and ``optimizer.step()``: neurons below target learn by SAL alone this time.

        Their gradients (recurrent or hidden weights, biases and, in an RNN, input weights) become 0, and their weights
        are remembered: ``sal.step()`` puts them back, because momentum and Adam move a weight whose gradient is zero.

        Raises:
            RuntimeError: there was no pass since the last step.
        """
        gate = RowGate(self._recorder.finished)
        with torch.no_grad():
            for members, stack, measure in self._measure(self._recorder.observations()):
                for rows, i in zip((measure.average < stack.target).unbind(0), members, strict=True):
                    gate.hold(rows, (*self._layers[i].parameters, *self._layers[i].others))
        self._gate = gate

    def _measure(self, observations: list[list[Observation]]) -> Iterator[tuple[list[int], Stack, Measure]]:
        averages = [self._average(layer) for layer in self._layers]
        for members, stack in stack_layers(self._layers, observations, self.param_groups, averages):
            yield members, stack, stack.measure()

    def _in_order(self, measured: list[tuple[list[int], Measure]]) -> Tensor:
        logs, members = torch.cat([measure.log_sensitivity for _, measure in measured]), [i for m, _ in measured for i in m]
        order = sorted(range(len(members)), key=members.__getitem__)
        return logs if order == members else logs[order]
