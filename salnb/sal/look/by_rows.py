"""Layers that the user named with "rows": the lengths of the rows of their Jacobian are their sensitivities."""

from collections.abc import Iterable

import torch
from torch import nn

from ...lyapunov.steps import refuse_unsupported
from ..layers import WatchedLayer, join_names
from ..rows.gated_maps import GATED, GatedMap
from ..rows.module_maps import ModuleMap

ROWS = "rows"


def gated_layers(name: str, module: nn.Module) -> list[WatchedLayer]:
    """The layers of a GRU or LSTM, or its cell, each as a map of its state."""
    if torch.nn.utils.parametrize.is_parametrized(module) or not isinstance(next(iter(module.parameters()), None), nn.Parameter):
        raise ValueError(f"layers: the weights of {name!r} are parametrized; of a {type(module).__name__} SAL moves plain "
                         "weights only")  # fmt: skip
    if isinstance(module, nn.GRUCell | nn.LSTMCell):
        return [WatchedLayer(name, module, module.weight_hh, module.bias_hh, row_map=GatedMap(module, None))]
    refuse_unsupported(module, f"{name or 'the model'}")
    return [
        WatchedLayer(join_names(name, f"weight_hh_l{layer}"), module, getattr(module, f"weight_hh_l{layer}"),
                     getattr(module, f"bias_hh_l{layer}", None), rnn_layer=layer, row_map=GatedMap(module, layer))
        for layer in range(module.num_layers)
    ]  # fmt: skip


def by_rows(name: str, module: nn.Module) -> list[WatchedLayer]:
    """A GRU, an LSTM, a cell of theirs, or any module as a map from its input to its output.

    Raises:
        ValueError: a module that holds no parameter, or one that PyTorch does not call.
    """
    plain = any(type(module).forward is kind.forward for kind in GATED) and "forward" not in vars(module)
    if isinstance(module, GATED) and plain:
        return gated_layers(name, module)
    row_map = ModuleMap(name, module)
    if not row_map.parameters:
        raise ValueError(f"layers: {name!r} is a {type(module).__name__} without parameters, so that SAL could move nothing; "
                         "name a module that has some")  # fmt: skip
    if isinstance(module, nn.ModuleList | nn.ModuleDict):
        raise ValueError(f"layers: {name!r} is a {type(module).__name__}, which is not called itself; name its parts")
    return [WatchedLayer(name, module, row_map.parameters[0], None, row_map=row_map, whole=True)]


def refuse_overlap(layers: Iterable[WatchedLayer]) -> None:
    """A ValueError if a parameter would be moved by two of these layers, one of which is a module by rows."""
    owner: dict[int, WatchedLayer] = {}
    listed = list(layers)
    for layer in listed:
        for parameter in layer.parameters:
            first = owner.setdefault(id(parameter), layer)
            if first is not layer and (first.row_map is not None or layer.row_map is not None):
                raise ValueError(f"layers: {layer.name!r} and {first.name!r} share parameters, which both would move; name only "
                                 "one of them")  # fmt: skip
