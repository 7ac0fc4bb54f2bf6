"""The sensitivities of a running network, a table row for each layer. The network is not changed."""

import math
from types import TracebackType

import torch
from torch import Tensor, nn

from ..common.table import Table
from ..sensitivity.formulas import neuron_sensitivity
from .layers import WatchedLayer
from .look.survey import survey
from .passes.no_pass import why_no_pass
from .passes.pooling import pooled, pre_activations
from .passes.recording import PassRecorder
from .report import report_rows
from .rows.keeping import Kept
from .rows.linear_maps import LinearMap
from .rows.row_step import parts_of, working

COLUMNS = ("layer", "neurons", "mean", "rms", "log_sensitivity", "below_half", "saturated", "dead")
SATURATED = 0.05  # a neuron is called saturated while its mean slope is below this share of the largest slope it could have
LARGEST_SLOPE = {"sigmoid": 0.25, "gelu": 1.129, "silu": 1.0999, "mish": 1.0885, "selu": 1.7581, "hardswish": 1.5,
                 "hardsigmoid": 1 / 6}  # for all other known activations it is 1


def largest_slope(layer: WatchedLayer, like: Tensor) -> float | Tensor:
    """The largest slope that the activation could have, or (N,) behind a BatchNorm, which scales each neuron's."""
    if layer.norm is None or layer.norm.kind != "batch":
        return LARGEST_SLOPE.get(layer.activation.name, 1.0)
    inner = layer.activation.slope.keywords["inner"]
    return LARGEST_SLOPE.get(inner.name, 1.0) * layer.norm.scale_and_shift(like.dtype)[0].abs()


def layer_row(layer: WatchedLayer, sensitivity: Tensor, slope: Tensor | None) -> dict[str, object]:
    """One layer in one pass; sensitivity and slope (..., S, N) over samples and neurons, replicas side by side.

    Without a slope, of a layer by rows, a unit is dead whose row is 0 for every sample, and none can be called saturated.
    """
    per_neuron = sensitivity.mean(-2)
    steepness = per_neuron if slope is None else slope.abs().mean(-2)
    rms = sensitivity.square().mean().sqrt()
    saturated = math.nan if slope is None else (
        ((steepness > 0) & (steepness < SATURATED * largest_slope(layer, slope))).double().mean().item())  # fmt: skip
    return {
        "layer": layer.name,
        "neurons": sensitivity.shape[-1],
        "mean": sensitivity.mean().item(),
        "rms": rms.item(),
        "log_sensitivity": rms.log().item(),
        "below_half": (per_neuron < 0.5).double().mean().item(),
        "saturated": saturated,
        "dead": (steepness == 0).double().mean().item(),
    }


def measured_rows(layer: WatchedLayer, kept: Kept) -> tuple[Tensor, Tensor | None]:
    """Sensitivities (S, N) of a layer by rows, and the slopes where it has an activation of its own."""
    generator, found, slopes = torch.Generator().manual_seed(0), [], []
    for x, _ in parts_of(kept):
        x = working(x, layer.row_map)
        found.append(layer.row_map.sensitivities(x, generator)[0].detach().flatten(0, -2))
        if isinstance(layer.row_map, LinearMap):
            slopes.append(layer.row_map.slopes(x).flatten(0, -2))
    return torch.cat(found), torch.cat(slopes) if slopes else None


class SensitivityMonitor:
    r"""Watches the sensitivities of a model's layers from inside a ``with`` block.

    Args:
        model: any model; calls in training and in evaluation mode both count. It looks at the first pass as ``SAL`` does, and
            also measures layers that are frozen or whose weights are parametrized.
        layers: as in ``SAL``.

    Attributes:
        history: one row per pass and layer, with the pass's number. Shares are shares of neurons: ``below_half`` with a mean
            sensitivity below 0.5, ``saturated`` with a mean slope below 5 % of the activation's largest, ``dead`` with slope 0
            for every sample. Replicas are counted as further neurons.

    Raises:
        ValueError: as in ``SAL``, for layers that cannot be watched.

    Example:
        >>> from salnb import DeepNet
        >>> net = DeepNet(2, 8, 1, depth=3, gain=0.5)
        >>> with SensitivityMonitor(net) as monitor:
        ...     _ = net(torch.ones(4, 2))
        >>> [row["layer"] for row in monitor.summary()]
        ['hidden.1', 'hidden.2']
    """

    def __init__(self, model: nn.Module, layers=None) -> None:
        found = survey(model, layers, measure_only=True)
        self.history = Table()
        self._model, self._rows, self._layers = model, found.rows, found.layers
        self._recorder: PassRecorder | None = None
        self._passes = 0

    def __enter__(self) -> "SensitivityMonitor":
        if self._recorder is not None:
            raise RuntimeError("SensitivityMonitor: it is watching already; leave its with block first")
        self._recorder = PassRecorder(self._model, self._layers, in_evaluation=True, on_pass=self._add)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.history.empty = self._reason()
        self._recorder.remove()
        self._recorder = None

    def report(self) -> Table:
        """A row for each Linear, convolution and recurrent layer: whether it is measured, its activation, and why not."""
        return report_rows(self._rows, frozen_too=True)

    def _reason(self) -> str:
        """Why there is no row yet."""
        if self._recorder is not None and not self._recorder.passes:
            return f"no pass seen: {why_no_pass(self._model, self._recorder, False)}"
        if self._recorder is not None and not self._passes:
            return f"no layer of this model could be measured:\n{self.report()!r}"
        return self.history.empty

    @torch.no_grad()
    def _add(self) -> None:
        calls = self._recorder.observations()
        self._recorder.finished = None
        for layer, observed in zip(self._layers, calls, strict=True):
            if not observed:
                continue
            if layer.row_map is not None:
                row = layer_row(layer, *measured_rows(layer, pooled(layer, observed)))
                self.history.append({"pass": self._passes, **row})
                continue
            pre_activation = pre_activations(layer, observed)
            weight = layer.effective_weight().to(pre_activation.dtype)
            weight = weight.flatten(1) if layer.is_convolution else weight
            sensitivity = neuron_sensitivity(weight, pre_activation, layer.activation)
            row = layer_row(layer, sensitivity, layer.activation.slope(pre_activation))
            self.history.append({"pass": self._passes, **row})
        self._passes += any(calls)

    def summary(self) -> Table:
        """A row per layer: the means over all passes seen so far. Without rows the table says why there are none."""
        rows = Table(empty=self._reason())
        for layer in self._layers:
            seen = [row for row in self.history if row["layer"] == layer.name]
            if seen:
                mean = {name: sum(row[name] for row in seen) / len(seen) for name in COLUMNS[2:]}
                rows.append({"layer": layer.name, "neurons": seen[0]["neurons"], "passes": len(seen), **mean})
        return rows
