"""The report on a model's layers."""

from collections.abc import Sequence

from torch import nn

from ..common.table import Table
from .layers import UNSEEN, WATCHED, WatchedLayer


def warning_of(model: nn.Module) -> str:
    """What to expect of SAL on a model that normalizes its signals; an empty word for other models."""
    names = {type(part).__name__ for part in model.modules()}
    kinds = sorted(name for name in names if "Norm" in name and not name.startswith(("_", "Parametrized")))
    if not kinds:
        return ""
    return (f"Note: this model normalizes its signals ({', '.join(kinds)}), which keeps them at their size. SAL has little to "
            "mend there,\nand has made such a model worse. Train it once without SAL, and once with one line of Xavier or He."
            )  # fmt: skip


def is_frozen(layer: WatchedLayer) -> bool:
    """Whether neither the weight nor the bias may be moved now."""
    return not any(parameter.requires_grad for parameter in layer.parameters)


def is_watched(layer: WatchedLayer) -> bool:
    """Whether SAL measures this layer: a frozen one only if it was named."""
    return layer.status == WATCHED and (layer.weight.requires_grad or layer.named or not is_frozen(layer))


def why_not(layer: WatchedLayer) -> str:
    """Why a layer is not watched, or what is to be known of one that is."""
    if layer.status == UNSEEN:
        return "did not run yet"
    if layer.status == WATCHED and is_frozen(layer):
        return "frozen (requires_grad=False)" + (": measured, not moved" if layer.named else "")
    if layer.status == WATCHED and layer.row_map is None and not layer.weight.requires_grad:
        return "its weight is frozen: only its bias is moved"
    return layer.reason


def activation_in_words(layer: WatchedLayer | None) -> str:
    """The activation's name, and the normalization before it."""
    if layer is None or layer.activation is None:
        return "by rows" if layer is not None and layer.row_map is not None else ""
    if layer.norm is None or layer.norm.kind == "batch":  # a BatchNorm is a part of the activation, and of its name
        return layer.activation.name
    return f"{layer.activation.name} of {'LayerNorm' if layer.norm.kind == 'layer' else 'RMSNorm'}"


def report_rows(rows: Sequence[tuple[str, str, WatchedLayer | str]], *, frozen_too: bool = False) -> Table:
    """A row per layer of the model: name, kind, whether it is watched, the activation that takes its output, and why not."""
    table = Table(empty="the model has no Linear, convolution or recurrent layer")
    for name, kind, what in rows:
        layer = what if isinstance(what, WatchedLayer) else None
        seen = layer is not None and (layer.status == WATCHED if frozen_too else is_watched(layer))
        table.append({
            "layer": name or "(the model)",
            "kind": kind,
            "watched": "yes" if seen else "no",
            "activation": activation_in_words(layer),
            "why": what if layer is None else "" if seen and frozen_too else why_not(layer),
        })  # fmt: skip
    return table
