"""Which layers a model has, which of them SAL might watch, and which it certainly cannot, before any pass."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ...networks.deep import DeepNet
from ...networks.linear import ReplicaLinear
from ...networks.recurrent import TanhRNN
from ...sensitivity.activations import Activation, activation_formulas, from_module
from ..layers import LEFT_OUT, UNSEEN, WatchedLayer, replica_layers, rnn_cell_layer, rnn_layers, stored_weight
from ..rows.gated_maps import GATED
from ..rows.normalization import FREEZE
from .by_rows import ROWS, by_rows, gated_layers, refuse_overlap
from .functions import BETWEEN, WEIGHTED

CONVOLUTIONS = (nn.modules.conv._ConvNd,)
OURS = (DeepNet, TanhRNN)


@dataclass
class Survey:
    """All layers of a model in its order: those that may be watched, and rows for the others."""

    layers: list[WatchedLayer] = field(default_factory=list)
    rows: list[tuple[str, str, WatchedLayer | str]] = field(default_factory=list)  # name, kind, and the layer or the reason

    def add(self, kind: str, layer: WatchedLayer) -> None:
        self.layers.append(layer)
        self.rows.append((layer.name, kind, layer))

    def leave_out(self, name: str, kind: str, reason: str) -> None:
        self.rows.append((name, kind, reason))


def plain_name(name: str) -> str:
    """The name without what ``torch.compile`` puts between."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def refuse_models(model: nn.Module) -> None:
    """A model of which no layer can be observed or moved is refused at once."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: got {type(model).__name__}, expected an nn.Module")
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError("model: got a torch.jit.ScriptModule, which does not call the hooks that SAL observes with; give the "
                        "model from which it was made, and compile it with torch.jit after training")  # fmt: skip
    for name, module in model.named_modules():
        kinds = {type(parameter).__name__ for parameter in module.parameters(recurse=False)} | {type(module).__name__}
        if kinds & {"FullyShardedDataParallel", "FSDPModule", "DTensor", "FlatParameter"}:
            raise ValueError(f"model: the weights of {name or type(module).__name__} are sharded over processes (FSDP, DTensor), "
                             "so that no process holds a neuron's whole row; use DistributedDataParallel")  # fmt: skip


def weight_fault(module: nn.Module) -> str | None:
    """Why the weight of this Linear is nothing that SAL could move."""
    if isinstance(module._parameters.get("weight"), nn.parameter.UninitializedParameter):
        return "is lazy and has no weights yet; call the model once before SAL is attached"
    if isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear):
        return "a part of MultiheadAttention, which uses its weight without calling it: not supported"
    if torch.nn.utils.parametrize.is_parametrized(module, "weight"):
        kinds = ", ".join(type(part).__name__.strip("_") for part in module.parametrizations.weight)
        return f"its weight is parametrized ({kinds}); SAL moves plain weights only, or by rows: layers={{name: 'rows'}}"
    if isinstance(module._parameters.get("weight"), nn.Parameter):
        return None
    if isinstance(module._parameters.get("weight_orig"), nn.Parameter) and isinstance(module._buffers.get("weight_mask"), Tensor):
        return None  # pruned: the zeros are missing connections
    return ("its weight is computed from other parameters before every call; SAL moves plain weights only. Those of "
            "torch.nn.utils.parametrizations it also moves by rows: layers={name: 'rows'}")  # fmt: skip


def is_computed(fault: str) -> bool:
    """Whether the weight can be measured, though not moved."""
    return "parametrized" in fault or "computed from" in fault


def _unseen(name: str, module: nn.Module, **given) -> WatchedLayer:
    """A layer that is still to be looked at. Where PyTorch's pruning is in force, the pruned connections are missing ones."""
    weight, mask = module._parameters.get("weight"), None
    if isinstance(module, ReplicaLinear):
        mask = module.mask
    elif torch.nn.utils.parametrize.is_parametrized(module, "weight"):
        weight, given["only_measured"] = stored_weight(module), True
    elif weight is None and "weight_mask" not in module._buffers:
        weight, given["only_measured"] = stored_weight(module), True
    elif weight is None:
        weight, mask = module.weight_orig, module.weight_mask
    bias = module._parameters.get("bias")  # one that is computed from other parameters is measured, not moved
    return WatchedLayer(name, module, weight, bias, mask=mask, status=UNSEEN, **given)


def _default(model: nn.Module, measure_only: bool) -> Survey:
    found, owned = Survey(), set()
    for path, module in model.named_modules():
        name = plain_name(path)
        if module in owned:
            continue
        if isinstance(module, OURS):
            owned |= _ours(found, name, module)
        elif isinstance(module, torch.jit.ScriptModule):
            found.leave_out(name, module.original_name, "compiled by torch.jit: its parts run no hooks")
            owned |= set(module.modules())
        elif isinstance(module, nn.RNN):
            try:
                for layer in rnn_layers(name, module):
                    found.add("RNN", layer)
            except (ValueError, RuntimeError) as error:
                found.leave_out(name, "RNN", str(error))
        elif isinstance(module, nn.RNNCell):
            found.add("RNNCell", rnn_cell_layer(name, module))
        elif isinstance(module, WEIGHTED):
            fault = weight_fault(module)
            if fault is not None and not (measure_only and is_computed(fault)):
                found.leave_out(name, type(module).__name__, fault)
            else:
                found.add(type(module).__name__, _unseen(name, module))
        elif isinstance(module, ReplicaLinear):
            found.leave_out(name, "ReplicaLinear", "a part of a network of its own; name it, with its activation")
        elif isinstance(module, (*CONVOLUTIONS, *GATED)):
            way = ", but by rows: layers={name: 'rows'}" if isinstance(module, GATED) else ""
            found.leave_out(name, type(module).__name__, f"not supported: {type(module).__name__}{way}")
    return found


def _ours(found: Survey, name: str, network: DeepNet | TanhRNN) -> set[nn.Module]:
    """The layers of one of the library's networks."""
    watched = {layer.module: layer for layer in replica_layers(name, network)}
    as_written = type(network).forward in (DeepNet.forward, TanhRNN.forward)
    for path, part in network.named_modules():
        if part in watched:
            layer = watched[part]
            if not as_written:
                layer.status = UNSEEN
            found.add("ReplicaLinear", layer)
        elif isinstance(part, ReplicaLinear):
            reason = "readout" if part is network.readout else "reads the input"
            found.leave_out(f"{name}.{path}" if name else path, "ReplicaLinear", reason)
    return {part for part in network.modules() if isinstance(part, ReplicaLinear)}


def _take_apart(activation: object) -> tuple[object, list[str]]:
    """What stands behind a name in ``layers=``: the activation, and the names of the layers whose outputs are added."""
    if isinstance(activation, tuple | list) and not isinstance(activation, Activation) and activation:
        return activation[0], list(activation[1:])
    return activation, []


def static_activation(model: nn.Module, module: nn.Module) -> Activation | None:
    """The activation module that directly follows this one in a Sequential, where that can be seen without a pass."""
    for owner in model.modules():
        if isinstance(owner, nn.Sequential) and type(owner).forward is nn.Sequential.forward:
            parts = [part for part in owner._modules.values() if not isinstance(part, nn.Identity)]
            for one, after in zip(parts, parts[1:], strict=False):
                if one is module and (found := from_module(after)) is not None:
                    return found
    return None


def _by_name(model: nn.Module, name: str, activation: object, measure_only: bool) -> list[tuple[str, WatchedLayer]]:
    rows, activation = activation == ROWS, None if activation == ROWS else activation
    modules = {plain_name(path): module for path, module in model.named_modules()}
    owner, _, last = name.rpartition(".")
    if name not in modules and isinstance(modules.get(owner), (nn.RNN, nn.GRU, nn.LSTM)) and last.startswith("weight_hh"):
        kind = modules[owner]
        every = rnn_layers(owner, kind) if isinstance(kind, nn.RNN) else gated_layers(owner, kind) if rows else []
        if found := [layer for layer in every if layer.name == name]:
            return [(type(kind).__name__, found[0])]
    if name not in modules:
        raise ValueError(f"layers: the model has no layer named {name!r}; it has {', '.join(n for n in modules if n)}")
    module = modules[name]
    if isinstance(module, nn.RNN):
        return [("RNN", layer) for layer in rnn_layers(name, module)]
    if isinstance(module, OURS):
        return [("ReplicaLinear", layer) for layer in replica_layers(name, module)]
    if isinstance(module, nn.RNNCell):
        return [("RNNCell", rnn_cell_layer(name, module))]
    if rows and not isinstance(module, (*WEIGHTED, ReplicaLinear)):
        return [(type(module).__name__, layer) for layer in by_rows(name, module)]
    if not isinstance(module, (*WEIGHTED, ReplicaLinear)):
        raise ValueError(
            f"layers: {name!r} is a {type(module).__name__}; SAL acts on Linear, Conv1d, Conv2d, Conv3d, nn.RNN and nn.RNNCell "
            "and on DeepNet and TanhRNN, where each neuron has one slope and one row of weights. On any other layer it acts by "
            f"rows of its Jacobian: layers={{{name!r}: 'rows'}}"
        )
    fault = None if isinstance(module, ReplicaLinear) else weight_fault(module)
    if fault is not None and not (measure_only and is_computed(fault) or rows and "parametrized" in fault):
        raise ValueError(f"layers: {name!r}: {fault}")
    activation, others = _take_apart(activation)
    activation = activation if activation is not None else getattr(module, "activation", None)
    if wrong := [other for other in others if not isinstance(modules.get(other), nn.Linear)]:
        raise ValueError(f"layers: {wrong[0]!r}, to be added to {name!r}, is no Linear of the model")
    try:
        given = None if activation is None else activation_formulas(activation)
    except ValueError as error:
        raise ValueError(f"layers: {name!r}: {error}") from error
    adds = tuple(modules[other] for other in others)
    inputs = tuple(parameter for other in adds for parameter in other.parameters(recurse=False))
    if adds and given is None:
        raise ValueError(f"layers: {name!r}: got no activation of the sum; say layers={{{name!r}: ('tanh', {others[0]!r})}}")
    seen = static_activation(model, module)
    if given is not None and seen is not None and not adds and given is not seen:
        from .verdicts import named, same

        if not same(given, seen):
            raise ValueError(f"layers: {name!r} was given {given.name!r}, but the module behind it is "
                             f"{named(seen, given)}; give that one, or only the name: layers=[{name!r}]")  # fmt: skip
    layer = _unseen(name, module, named=True, given=given, adds=adds, others=inputs, by_rows=rows)
    return [(type(module).__name__, layer)]


def _in_order(name: str, module: nn.Sequential) -> list[tuple[str, nn.Module]]:
    """The parts of a Sequential in the order in which they run, nested ones unfolded, without those that do nothing."""
    parts = []
    for child_name, child in module._modules.items():  # named_children() leaves out a module that is used a second time
        path = f"{name}.{child_name}" if name else child_name
        nested = isinstance(child, nn.Sequential) and type(child).forward is nn.Sequential.forward
        parts += _in_order(path, child) if nested else [] if isinstance(child, nn.Identity) else [(plain_name(path), child)]
    return parts


def judge_sequential(model: nn.Module, layers: list[WatchedLayer], measure_only: bool) -> None:
    """Leaves out what a plain Sequential shows without a pass: a layer that reads the input, the readout, what is normalized."""
    if not (isinstance(model, nn.Sequential) and type(model).forward is nn.Sequential.forward):
        return
    parts, by_module = _in_order("", model), {layer.module: layer for layer in layers}
    weighted = [part for _, part in parts if any(parameter.ndim >= 2 for parameter in part.parameters())]
    for (_, part), (_, after) in zip(parts, [*parts[1:], ("", None)], strict=True):
        layer = by_module.get(part)
        if layer is None or sum(other is part for _, other in parts) > 1:
            continue
        batch = isinstance(after, nn.modules.batchnorm._BatchNorm)
        open_yet = isinstance(after, nn.LayerNorm) or batch and (measure_only or not after.training)
        between = isinstance(after, BETWEEN) and not open_yet
        reason = (
            "reads the input" if part is weighted[0] else "readout" if part is weighted[-1]
            else f"{type(after).__name__} stands between it and its activation" + (f": {FREEZE}" if batch else "") if between
            else "no activation takes its output" if isinstance(after, nn.Linear) else ""
        )  # fmt: skip
        if reason:
            layer.status, layer.reason = LEFT_OUT, reason


def survey(model: nn.Module, layers: Iterable[str] | Mapping[str, object] | None = None, *, measure_only: bool = False) -> Survey:
    """The layers that may be watched: all that could be (default), or those that were named; rows for all the others.

    Raises:
        TypeError, ValueError: a model that cannot be watched, a name that is none, two layers with one weight.
    """
    refuse_models(model)
    found = _default(model, measure_only)
    if layers is not None:
        named = {layers: None} if isinstance(layers, str) else layers if isinstance(layers, Mapping) else dict.fromkeys(layers)
        if wrong := [name for name in named if not isinstance(name, str)]:
            raise TypeError(f"layers: got {wrong[0]!r} among the names, expected names as model.named_modules() gives them")
        chosen = Survey()
        for name, activation in named.items():
            for kind, layer in _by_name(model, plain_name(name), activation, measure_only):
                layer.named = True
                chosen.add(kind, layer)
        listed = {layer.name for layer in chosen.layers}
        listed |= {*named, *(one.name.rpartition(".")[0] for one in chosen.layers if one.rnn_layer is not None)}  # of its parts
        for name, kind, what in found.rows:
            if name not in listed:
                owner = next((one.name for one in chosen.layers if one.whole and name.startswith(f"{one.name}.")), None)
                reason = what if isinstance(what, str) else "not named in layers="
                chosen.leave_out(name, kind, reason if owner is None else f"a part of {owner!r}, which is named by rows")
        found = chosen
    by_weight: dict[nn.Parameter, list[WatchedLayer]] = {}
    for layer in found.layers:
        by_weight.setdefault(layer.weight, []).append(layer)
    for sharing in by_weight.values():
        if len(sharing) > 1 and layers is not None:
            names = ", ".join(layer.name for layer in sharing)
            raise ValueError(f"layers: two of {names} share one weight; name only one of them")
        for layer in sharing if len(sharing) > 1 else ():
            layer.status, layer.reason = LEFT_OUT, f"shares its weight with {next(o.name for o in sharing if o is not layer)}"
    if layers is None:
        judge_sequential(model, found.layers, measure_only)
    else:
        refuse_overlap(found.layers)
    if all(layer.status == LEFT_OUT for layer in found.layers):
        rows = [(name, kind, what if isinstance(what, str) else what.reason) for name, kind, what in found.rows]
        raise ValueError(
            f"model: found no layer to act on in {type(model).__name__}; by default these are the trainable Linear layers "
            "and convolutions whose output an activation takes (not those that read the input or are read out), nn.RNN, "
            "nn.RNNCell, DeepNet and TanhRNN. Name others with layers=[...] or layers={name: activation}"
            + "".join(f"\n  {name or 'the model'} ({kind}): {reason}" for name, kind, reason in rows[:12])
            + (f"\n  … and {len(rows) - 12} more" if len(rows) > 12 else "")
        )
    return found


def groups(layers: list[WatchedLayer]) -> list[dict]:
    """A parameter group for each layer; a weight or bias that several layers share stands in the first one's only."""
    seen, found = set(), []
    for layer in layers:
        own = [parameter for parameter in layer.parameters if id(parameter) not in seen]
        seen |= {id(parameter) for parameter in own}
        found.append({"params": own, "name": layer.name})
    return found
