"""Which matrices of a model are looked at: their names, their values now, and which of them follow each other."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..networks.linear import ReplicaLinear
from .rank import matricize

Pairs = Iterable[tuple[str, str]]


@dataclass(frozen=True)
class WatchedMatrix:
    """A weight as a matrix (..., m, n).

    ``value`` gives it as it is now. ``kernel``: the sizes of a convolution's kernel. ``chained``: whether it is the weight of a
    layer that reads the outputs of another one and gives its own to the next.
    """

    name: str
    value: Callable[[], Tensor]
    kernel: tuple[int, ...] = ()
    chained: bool = False


def is_norm(module: nn.Module) -> bool:
    return "Norm" in type(module).__name__ and not parametrize.is_parametrized(module)


def watched_weight(name: str, module: nn.Module, leaf: str) -> WatchedMatrix:
    """How one parameter of a module is read, by the kind of the module."""
    kind = parametrize.type_before_parametrizations(module)
    read = lambda: getattr(module, leaf)  # noqa: E731
    if leaf == "weight" and isinstance(module, ReplicaLinear):
        return WatchedMatrix(name, module.connected_weight, chained=True)
    if leaf == "weight" and issubclass(kind, nn.modules.conv._ConvNd):
        swapped = issubclass(kind, nn.modules.conv._ConvTransposeNd)
        return WatchedMatrix(name, lambda: matricize(read(), transposed=swapped), tuple(module.kernel_size), chained=True)
    if leaf == "weight" and issubclass(kind, nn.Bilinear):
        return WatchedMatrix(name, lambda: matricize(read()))
    if leaf == "weight" and issubclass(kind, nn.Embedding):  # stored (tokens, d): what the next layer reads are its right vectors
        return WatchedMatrix(name, lambda: read().transpose(-2, -1), chained=True)
    return WatchedMatrix(name, read, chained=leaf == "weight" and issubclass(kind, nn.Linear))


def catalog(model: nn.Module) -> dict[str, WatchedMatrix]:
    """All weights with two dimensions or more by their names; no biases and no normalizations.

    A parametrized weight has the name of the module and "weight", and is looked at as the model uses it. A parameter that two
    modules share counts once.
    """
    found, seen = {}, set()
    for place, module in model.named_modules():
        if is_norm(module) or isinstance(module, parametrize.ParametrizationList):
            continue
        own = list(module._parameters)
        own += list(module.parametrizations) if parametrize.is_parametrized(module) else []
        for leaf in own:
            parametrized = leaf not in module._parameters
            parameter = module.parametrizations[leaf].original if parametrized and hasattr(
                module.parametrizations[leaf], "original") else module._parameters.get(leaf)  # fmt: skip
            if "bias" in leaf or parameter is None and not parametrized or id(parameter) in seen and parameter is not None:
                continue
            name = f"{place}.{leaf}".lstrip(".")
            if isinstance(parameter, nn.parameter.UninitializedParameter):
                raise ValueError(f"{name}: this lazy layer has no weight yet; call the model once before it is watched")
            if parametrized or parameter.ndim >= 2 and parameter.is_floating_point():
                seen.add(id(parameter))
                found[name] = watched_weight(name, module, leaf)
    return found


def chosen(model: nn.Module, parameters: Iterable[str] | None) -> list[WatchedMatrix]:
    """The matrices of these names, or all."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: got {type(model).__name__}, expected a torch.nn.Module")
    known = catalog(model)
    if isinstance(parameters, str):
        raise TypeError(f"parameters: got the word {parameters!r}, expected a list of names such as [{parameters!r}]")
    names = list(known) if parameters is None else list(parameters)
    for name in names:
        if name not in known:
            listed = ", ".join(list(known)[:8]) + (", ..." if len(known) > 8 else "")
            raise ValueError(f"parameters: got {name!r}, which is no weight matrix of this model; it has {listed or 'none'}")
    if not names:
        raise ValueError("model: has no weight with two dimensions or more; expected at least one matrix to look at")
    return [known[name] for name in dict.fromkeys(names)]


def fits(first: WatchedMatrix, second: WatchedMatrix) -> bool:
    """Whether the second could read the outputs of the first."""
    rows, columns = first.value().shape, second.value().shape
    return rows[-2] * max(1, int(torch.tensor(second.kernel).prod())) == columns[-1] and rows[:-2] == columns[:-2]


def chosen_pairs(matrices: list[WatchedMatrix], pairs: Pairs | None) -> list[tuple[str, str]]:
    """The pairs whose alignment is looked at: those given, or each linear or convolutional layer with the one registered next."""
    known = {matrix.name: matrix for matrix in matrices}
    if pairs is None:
        chain = [matrix for matrix in matrices if matrix.chained]
        with torch.no_grad():
            return [(a.name, b.name) for a, b in zip(chain, chain[1:], strict=False) if fits(a, b)]
    found = []
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2 or not all(name in known for name in pair):
            raise ValueError(f"pairs: got {pair!r}, expected two of the watched names: {', '.join(known)}")
        first, second = (known[name] for name in pair)
        with torch.no_grad():
            if not fits(first, second):
                shapes = tuple(first.value().shape), tuple(second.value().shape)
                raise ValueError(f"pairs: {pair[1]} {shapes[1]} cannot read the outputs of {pair[0]} {shapes[0]}, as it has "
                                 "another number of inputs")  # fmt: skip
        found.append((first.name, second.name))
    return found
