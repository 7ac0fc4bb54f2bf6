"""The sensitivities of a running network, a table row for each layer. The network is not changed."""

from types import TracebackType

import torch
from torch import Tensor, nn

from ..sensitivity.formulas import neuron_sensitivity
from .layers import WatchedLayer, find_layers
from .recording import PassRecorder
from .update import samples_of

COLUMNS = ("layer", "neurons", "mean", "rms", "log_sensitivity", "below_half", "saturated", "dead")
SATURATED = 0.05  # a neuron is called saturated while its mean slope is below this share of the largest slope it could have
LARGEST_SLOPE = {"sigmoid": 0.25, "gelu": 1.129}  # for all other known activations it is 1


class Table(list):
    """Rows as plain dictionaries, which ``pandas.DataFrame`` takes as they are; a notebook shows them as a table."""

    def _cells(self) -> list[list[str]]:
        return [[f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()] for row in self]

    def __repr__(self) -> str:
        if not self:
            return "(no pass seen yet)"
        lines = [list(self[0]), *self._cells()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)

    def _repr_html_(self) -> str:
        if not self:
            return "<p>no pass seen yet</p>"
        head = "".join(f"<th>{name}</th>" for name in self[0])
        body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>" for cells in self._cells())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def layer_row(layer: WatchedLayer, sensitivity: Tensor, slope: Tensor) -> dict[str, object]:
    """One layer in one pass; sensitivity and slope (..., S, N) over samples and neurons, replicas side by side."""
    per_neuron, steepness = sensitivity.mean(-2), slope.abs().mean(-2)
    rms = sensitivity.square().mean().sqrt()
    largest = LARGEST_SLOPE.get(layer.activation.name, 1.0)
    return {
        "layer": layer.name,
        "neurons": sensitivity.shape[-1],
        "mean": sensitivity.mean().item(),
        "rms": rms.item(),
        "log_sensitivity": rms.log().item(),
        "below_half": (per_neuron < 0.5).double().mean().item(),
        "saturated": ((steepness > 0) & (steepness < SATURATED * largest)).double().mean().item(),
        "dead": (steepness == 0).double().mean().item(),
    }


class SensitivityMonitor:
    r"""Watches the sensitivities of a model's layers from inside a ``with`` block.

    Args:
        model: any model that ``SAL`` could be attached to; calls in training and in evaluation mode both count.
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
        self.history = Table()
        self._model, self._layers = model, find_layers(model, layers)
        self._recorder: PassRecorder | None = None
        self._passes = 0

    def __enter__(self) -> "SensitivityMonitor":
        if self._recorder is not None:
            raise RuntimeError("SensitivityMonitor: it is watching already; leave its with block first")
        self._recorder = PassRecorder(self._model, self._layers, in_evaluation=True, on_pass=self._add)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._recorder.remove()
        self._recorder = None

    @torch.no_grad()
    def _add(self) -> None:
        calls = self._recorder.observations()
        self._recorder.finished = None
        for layer, observed in zip(self._layers, calls, strict=True):
            pre_activation = samples_of(layer, observed)[1]
            sensitivity = neuron_sensitivity(layer.weight, pre_activation, layer.activation)
            row = layer_row(layer, sensitivity, layer.activation.slope(pre_activation))
            self.history.append({"pass": self._passes, **row})
        self._passes += 1

    def summary(self) -> Table:
        """A row per layer: the means over all passes seen so far."""
        rows = Table()
        for layer in self._layers:
            seen = [row for row in self.history if row["layer"] == layer.name]
            if seen:
                mean = {name: sum(row[name] for row in seen) / len(seen) for name in COLUMNS[2:]}
                rows.append({"layer": layer.name, "neurons": seen[0]["neurons"], "passes": len(seen), **mean})
        return rows
