"""Sensitivity adjustment learning (SAL), a local rule per neuron, as an optimizer beside the one that learns the task."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..common.table import Table
from .gating import RowGate, refuse_without_rows
from .hooks import Observation
from .layers import LEFT_OUT, UNSEEN, WATCHED, WatchedLayer
from .look.looking import call_with
from .look.survey import groups, survey
from .passes.distributed import process_group, summed_over
from .passes.masks import check_mask
from .passes.no_pass import why_no_pass
from .passes.pooling import pooled
from .passes.recording import PassRecorder
from .passes.sums import HALVES, Sums, working_dtype
from .report import is_frozen, is_watched, report_rows, warning_of
from .rows.row_step import RowStack, row_stack
from .rule import check_settings
from .update import Measure, Stack, stack_layers

NOTHING: dict = {}


class SAL(torch.optim.Optimizer):
    r"""Moves each neuron's weights along its sensitivity's gradient until the sensitivity's running average is 1.

    .. math:: \bar s \leftarrow \beta \bar s + (1 - \beta)\,\mathrm{E}[s], \qquad
        \Delta w = \eta\,\nabla_w \mathrm{E}[s], \quad \Delta\theta = \eta\,\partial_\theta \mathrm{E}[s]

    for neurons whose average is below target (``"one_sided"``), or with the factor target − s̄, up and down, for all
    (``"proportional"``). Use: forward, backward, ``optimizer.step()``, ``sal.step()``.

    A pass is one call of ``model`` in training mode. All passes since the last step count, sample by sample. In the first pass in
    which a layer runs, SAL sees which function takes its output, and decides; ``print(sal)`` shows a row for each layer.

    Args:
        model: the module whose calls are the passes.
        lr: η >= 0. target: > 0. decay: β in [0, 1), per step. The average trails the sensitivity by about
            η / (1 − β), and the one-sided rule overshoots by that much.
        rule: "one_sided" or "proportional".
        layers: names, or {name: activation} with the activation's name, function, module or ``Activation``, or {name:
            (activation, other layers)} where it acts on a sum: ``{"b": ("tanh", "a")}`` for ``tanh(a(x) + b(h))``, since b alone
            does not see the sum. What is named and cannot be watched is an error. Default: every Linear and convolution whose
            output goes to one activation and nowhere else, save those that read the input and the readouts; nn.RNN;
            nn.RNNCell; DeepNet; TanhRNN. A convolution has a neuron for each channel and place, with the kernel for weights. A
            BatchNorm in between counts if its statistics are frozen (``eval()``), LayerNorm and RMSNorm over the neurons do;
            of those γ and β are moved, too. {name: "rows"} takes any other layer: a GRU, an LSTM or a cell (by its state), a
            Linear or convolution whose weight is parametrized, or a module with one tensor in, (S, ..., M), and one out,
            (S, ..., N). The sensitivity of a unit is the length of its row of the Jacobian, of large modules by random tangents;
            all parameters move along its gradient. The module is called once more at each step. Names replace the default.
        average: "mean" (E[s], the paper's) or "rms" (the root of E[s²]); for ReLU the two differ much, and past
            the edge of chaos a recurrent network's mean falls below 1 again: "one_sided" may then climb on without end.
        example: inputs for one look at once, which leaves no trace in buffers and random state: a tensor, a tuple of arguments
            or a dictionary of them. Without it the look is the first pass.

    Raises:
        TypeError: a model that is none. ValueError: a setting out of range, a named layer that cannot be watched (at the
        first pass, if only that shows it). RuntimeError: ``step()`` without a pass, or no layer that can be watched.

    Source: Shibata et al., Neural Networks 143 (2021). Acting only below target follows the authors' later work; the
    defaults, "proportional", "rms", gating, and rows of a Jacobian in place of a slope times weights are this project's; what
    the paper claims of exponents and gradients is claimed for plain neurons only.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
        >>> sal = SAL(net)
        >>> _ = net(torch.zeros(4, 2))
        >>> sal.step()
    """

    def __init__(
        self, model: nn.Module, *, lr: float = 2e-3, target: float = 1.0, decay: float = 0.9, rule: str = "one_sided",
        layers: Iterable[str] | Mapping[str, object] | None = None, average: str = "mean", example: object = None,
    ) -> None:  # fmt: skip
        check_settings(lr, target, decay, rule, average)
        if not isinstance(layers, Iterable | None):
            raise TypeError(f"layers: got {layers!r}, expected names, or a dictionary of names and activations")
        layers = layers if layers is None or isinstance(layers, str | Mapping) else list(layers)
        found = survey(model, layers)
        settings = dict(lr=lr, target=target, decay=decay, rule=rule, average=average)
        super().__init__(groups(found.layers), settings)
        self._model, self._given, self._settings = model, layers, settings
        self._rows, self._layers = found.rows, found.layers
        self._recorder = PassRecorder(model, self._layers, guard=True)
        self._log_sensitivity: Tensor | None = None
        self._gate: RowGate | None = None
        self._reduced: tuple[int, list[Sums | None]] | None = None
        self._stepped = False
        if example is not None:
            try:
                self._recorder.look_at(*call_with(model, example))
                self._some_layer()
            except BaseException:
                self.detach()
                raise

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Does nothing: the gradients belong to the optimizer that learns the task."""

    def detach(self) -> None:
        """Removes the hooks; the model is as it was before SAL was attached."""
        self._recorder.remove()

    def discard(self) -> None:
        """Forgets the passes since the last ``step()``."""
        self._recorder.forget()
        self._recorder.discarded = True

    @contextmanager
    def counting(self, mask: Tensor) -> Iterator[None]:
        """Of the passes inside the ``with`` block only the samples count where ``mask`` is True: padding does not.

        Args:
            mask: boolean, of the shape of a watched layer's output without its neurons (the last dimension; of a convolution
                the channels); for an ``nn.RNN`` with ``batch_first=True`` (B, T), as its output.

        Raises:
            TypeError, ValueError: no boolean tensor, or a shape that does not fit a watched layer (at the pass).
        """
        before, self._recorder.mask = self._recorder.mask, check_mask(mask)
        try:
            yield
        finally:
            self._recorder.mask = before

    @property
    def skipped_passes(self) -> int:
        """How many passes were left out because they had NaN or infinite numbers in a watched layer."""
        return self._recorder.skipped

    @property
    def sensitivity(self) -> "Sensitivities":
        """The running average s̄ (..., N) of each watched layer that has been observed, by name.

        Any other name raises a KeyError that says why there is none.
        """
        averages = {layer.name: self._average(layer) for layer in self._watched()}
        found = Sensitivities({name: average for name, average in averages.items() if average is not None})
        found.reasons = {row["layer"]: row["why"] for row in self.report()}
        return found

    def report(self) -> Table:
        """A row for each Linear, convolution and recurrent layer: whether it is watched, its activation, and why not.

        Below it stands a warning where the model normalizes its signals, since SAL has cost accuracy there.
        """
        table = report_rows(self._rows)
        table.note = warning_of(self._model)
        return table

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self._settings.items())
        return f"SAL({type(self._model).__name__}, {settings})\n{self.report()!r}"

    def _repr_html_(self) -> str:
        return self.report()._repr_html_()

    def _is_watched(self, layer: WatchedLayer) -> bool:
        """Whether it is watched; after ``load_state_dict`` and in a copy also what was watched there, before any pass."""
        restored = layer.status == UNSEEN and self._average(layer) is not None
        return is_watched(layer) or restored and (layer.named or not is_frozen(layer))

    def _watched(self) -> list[WatchedLayer]:
        return [layer for layer in self._layers if self._is_watched(layer)]

    def _some_layer(self) -> None:
        """A RuntimeError with the report if every layer has been left out."""
        if all(layer.status == LEFT_OUT for layer in self._layers):
            raise RuntimeError("SAL: no layer of this model can be watched. Name layers with layers=[...] or "
                               f"layers={{name: activation}} if you know better\n{self.report()!r}")  # fmt: skip

    def _average(self, layer: WatchedLayer) -> Tensor | None:
        return self.state.get(layer.weight, {}).get("sensitivity")

    def share_below_target(self) -> Tensor:
        """Share of neurons (L, ...) of the watched layers whose running average is below target; NaN where none ran yet."""
        groups_of = zip(self._layers, self.param_groups, strict=True)
        pairs = [(self._average(layer), group["target"], layer) for layer, group in groups_of
                 if self._is_watched(layer)]  # fmt: skip
        if all(average is None for average, _, _ in pairs) and not self._recorder.skipped:
            raise RuntimeError("SAL: nothing has been observed yet; call the model in training mode, then step()")
        return torch.stack([
            layer.weight.new_full(layer.replicas, math.nan, dtype=torch.float32) if average is None
            else (average < target).float().mean(-1) for average, target, layer in pairs
        ])  # fmt: skip

    def log_sensitivity(self) -> Tensor:
        """Log RMS sensitivity (L, ...), in nats per layer or time step, over all samples and neurons since the last step.

        Right after a step it is that of the passes which the step used. NaN for a layer that did not run in them.
        """
        if not self._recorder.passes and self._log_sensitivity is not None:
            return self._log_sensitivity
        with torch.no_grad():
            return self._in_order([(members, measure) for members, _, measure in self._measure(*self._usable())])

    def step(self, closure: Callable[[], object] | None = None) -> object:
        """One change of every watched layer along the gradient of its mean sensitivity over all passes since the last step.

        The passes are used up. A layer that ran in none of them stays as it is, and so does what is frozen. Neurons that
        ``gate_gradients_`` held back are first put back to where they were, so that neither momentum nor Adam has moved them.

        Args:
            closure: called first, with gradients enabled; its result is returned.

        Raises:
            RuntimeError: there was no pass since the last step, with the cause; nothing is changed then.
        """
        with torch.enable_grad():
            loss = None if closure is None else closure()
        recorder = self._recorder
        with torch.no_grad():
            usable = self._usable()  # raises before anything is changed
            gate, self._gate = self._gate, None
            if gate is not None and gate.owner == recorder.number:  # else another pass came in between
                gate.put_back()
            measured = []
            for members, stack, measure in self._measure(*usable, moving=True):
                for i, average in zip(members, measure.average.unbind(0), strict=True):
                    self.state[self._layers[i].weight]["sensitivity"] = average
                layers = [self._layers[i] for i in members]
                if stack.apply(measure.average, layers, [self.state[layer.weight] for layer in layers]):
                    recorder.moved_after = recorder.number
                measured.append((members, measure))
            self._log_sensitivity = self._in_order(measured)
        recorder.forget()
        self._stepped = True
        return loss

    def gate_gradients_(self) -> None:
        """Optional, between ``backward()`` and ``optimizer.step()``: neurons below target learn by SAL alone this time.

        Their gradients (recurrent or hidden weights, biases and, in an RNN, input weights) become 0, and their weights
        are remembered: ``sal.step()`` puts them back, because momentum and Adam move a weight whose gradient is zero.

        Raises:
            RuntimeError: there was no pass since the last step.
        """
        gate = RowGate(self._recorder.number)
        refuse_without_rows(self._layers)
        with torch.no_grad():
            for members, stack, measure in self._measure(*self._usable()):
                for rows, i in zip((measure.average < stack.target).unbind(0), members, strict=True):
                    gate.hold(rows, (*self._layers[i].parameters, *self._layers[i].others))
        self._gate = gate

    def _usable(self) -> tuple[list[int], list[list[Observation]], list[Sums | None]]:
        """Which layers ran in the passes since the last step, their calls in the last pass and the sums over those before.

        Where several processes train together, everything is in the sums, which are those of all processes.
        """
        recorder = self._recorder
        self._some_layer()
        observations = recorder.observations()
        if recorder.finished is not None and recorder.skip_if_not_finite(observations):
            recorder.finished, observations = None, [[] for _ in self._layers]
        sums = recorder.sums
        if (group := recorder.group or process_group(self._model)) is not None:
            recorder.add_up()
            observations = [[] for _ in self._layers]
            if self._reduced is None or self._reduced[0] != recorder.number:  # gating and the step ask for the same sums
                self._reduced = recorder.number, summed_over(group, self._layers, recorder.sums)
            sums = self._reduced[1]
        else:
            for i, layer in enumerate(self._layers):
                if observations[i] and (layer.is_convolution or layer.row_map is not None):
                    found, sums = pooled(self._layers[i], observations[i]), [*sums]
                    sums[i] = found if sums[i] is None else sums[i] + found
                    observations[i] = []
        # What another process has seen running is moved here, too, so that the weights stay equal.
        ran = [i for i, layer in enumerate(self._layers)
               if (observations[i] or sums[i] is not None) and (is_watched(layer) or group is not None)]  # fmt: skip
        if not ran:
            frozen = any(layer.status == WATCHED and is_frozen(layer) for layer in self._layers)
            # With skipped passes or frozen layers there is nothing to learn, and nothing wrong with the loop.
            if not recorder.skipped_now and not (recorder.passes and frozen):
                raise RuntimeError(f"SAL: there is no pass to use: {why_no_pass(self._model, recorder, self._stepped)}")
        return ran, observations, sums

    def _measure(
        self, ran: list[int], observations: list[list[Observation]], sums: list[Sums | None], moving: bool = False
    ) -> Iterator[tuple[list[int], Stack | RowStack, Measure]]:
        """Measures the layers that ran, one stack after the other."""
        group = self._recorder.group or process_group(self._model)
        add_up, by_rows = None if group is None else partial(dist.all_reduce, group=group), []
        for i in ran:
            if (layer := self._layers[i]).row_map is not None:
                stack = row_stack(layer, sums[i], self.param_groups[i], self.state[layer.weight], add_up)
                by_rows.append(([i], stack, stack.measure(moving=moving)))
        for _, stack, measure in by_rows if moving else ():  # all of them before one moves: they may share a LayerNorm
            stack.plan(measure.average)
        yield from by_rows
        ran = [i for i in ran if self._layers[i].row_map is None]
        layers = [self._layers[i] for i in ran]
        stacks = stack_layers(
            layers, [observations[i] for i in ran], [self.param_groups[i] for i in ran],
            [self._average(layer) for layer in layers], [sums[i] for i in ran],
            self._roundings(layers),
        )  # fmt: skip
        for members, stack in stacks:
            yield [ran[j] for j in members], stack, stack.measure()

    def _roundings(self, layers: list[WatchedLayer]) -> list[dict]:
        """Where the layers of a half type keep what rounding takes away; nothing is looked up for the others."""
        return [self.state[layer.weight] if layer.weight.dtype in HALVES else NOTHING for layer in layers]

    def _in_order(self, measured: list[tuple[list[int], Measure]]) -> Tensor:
        """The log-sensitivities (L, ...) of the watched layers in their order; NaN for those that did not run."""
        members = [i for these, _ in measured for i in these]
        everything = len(members) == len(self._layers)
        watched = sorted(members) if everything else [i for i, layer in enumerate(self._layers) if self._is_watched(layer)]
        if members and members == watched:
            return torch.cat([measure.log_sensitivity for _, measure in measured])
        found = {i: one for these, measure in measured for i, one in zip(these, measure.log_sensitivity, strict=True)}
        for i, weight in ((i, self._layers[i].weight) for i in watched if i not in found):
            found[i] = weight.new_full(self._layers[i].replicas, math.nan, dtype=working_dtype(weight.dtype))
        return torch.stack([found[i] for i in watched]) if watched else torch.empty(0)

    # --- saving and copying

    def load_state_dict(self, state_dict: dict) -> None:
        """Goes on from a ``state_dict()`` of a SAL on a model of the same layers.

        Raises:
            ValueError: other layers, or running averages of another shape.
        """
        check_state(state_dict, self._layers, self.param_groups)
        super().load_state_dict(state_dict)
        by_index = [parameter for group in self.param_groups for parameter in group["params"]]
        for index, state in state_dict["state"].items():  # PyTorch casts it to the parameter's type, which may be a half type
            for name, value in state.items():
                if isinstance(value, Tensor):
                    self.state[by_index[index]][name] = value.detach().clone().to(by_index[index].device)

    def __getstate__(self) -> dict:
        return {"model": self._model, "settings": self._settings, "layers": self._given, "state": self.state_dict()}

    def __setstate__(self, state: dict) -> None:
        if "model" not in state:  # PyTorch calls this from load_state_dict
            super().__setstate__(state)
            return
        self.__init__(state["model"], **state["settings"], layers=state["layers"])
        self.load_state_dict(state["state"])


def check_state(state_dict: dict, layers: list[WatchedLayer], own_groups: list[dict]) -> None:
    """A ValueError if a ``state_dict`` belongs to other layers than these."""
    try:
        names = [group.get("name") for group in state_dict["param_groups"]]
        stored, sizes = state_dict["state"], [len(group["params"]) for group in state_dict["param_groups"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"state_dict: got {type(state_dict).__name__} without 'state' and 'param_groups'; expected "
                         "sal.state_dict()") from error  # fmt: skip
    own = [group["name"] for group in own_groups]
    if names != own:
        raise ValueError(f"state_dict: got the layers {', '.join(map(str, names))}, but this SAL has {', '.join(own)}; "
                         "load the state of a SAL on a model of the same layers")  # fmt: skip
    for name, size, group in zip(own, sizes, own_groups, strict=True):
        if size != len(group["params"]):
            raise ValueError(f"state_dict: the layer {name!r} has {size} parameters there and {len(group['params'])} here; load "
                             "the state of a SAL on a model of the same layers")  # fmt: skip
    firsts = [group["params"][0] if group["params"] else None for group in state_dict["param_groups"]]
    for layer, first in zip(layers, firsts, strict=True):
        average = stored.get(first, {}).get("sensitivity")
        neurons = layer.neurons
        if average is not None and neurons is not None and average.shape != neurons:
            raise ValueError(f"state_dict: the running average of {layer.name!r} has shape {tuple(average.shape)}, but the layer "
                             f"has {neurons} neurons")  # fmt: skip


class Sensitivities(dict):
    """Running averages by the names of the watched layers; for other layers the KeyError gives the reason."""

    reasons: Mapping[str, str] = {}

    def __missing__(self, name: str) -> Tensor:
        if name in self.reasons:
            raise KeyError(f"{name!r} has no sensitivity: {self.reasons[name] or 'it has not been observed yet'}")
        raise KeyError(f"the model has no layer {name!r} that could be watched; there are {', '.join(self.reasons)}")
