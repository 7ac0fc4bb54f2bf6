"""Whether calling a function changes anything that its next call may read: a counter, a memory, a list that it writes into.

What a function reads is followed through its closure, the globals that it names, its defaults and the attributes of objects, as
far as these are of kinds whose contents can be seen. An iterator, an open file or a cache in C has contents that cannot, and then
nothing is said.
"""

import dis
import functools
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType

import numpy as np
import torch
from torch import Tensor, nn

VALUES = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), range, slice, np.generic,
          torch.dtype, torch.device, torch.layout, torch.memory_format)  # fmt: skip
COLLECTIONS = (tuple, list, set, frozenset)
# Packages whose functions remember nothing that would change what they give for tensors.
STEADY = {"builtins", "torch", "math", "cmath", "numpy", "operator", "salnb", "collections", "functools", "typing", "abc",
          "types"}  # fmt: skip
AT_MOST = 20_000  # things looked at
HEAP = 1 << 9  # Python's flag of a class that was made while the program ran
BYTES = 1_000_000  # of one tensor or array, whose contents are compared


class Unseen(Exception):
    """Something of which nobody can tell whether it has changed."""


class Reachable:
    """All that ``function`` can read, as it is now; equal to what it is later as long as nothing of it has changed.

    ``seen`` is False where something has contents that cannot be seen.
    """

    def __init__(self, function: Callable) -> None:
        self._held: dict[int, object] = {}  # while they are held, no other thing gets their numbers
        try:
            self.marks, self.seen = list(self._walk(function)), True
        except Unseen:
            self.marks, self.seen = [], False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reachable) and self.seen and other.seen and self.marks == other.marks

    __hash__ = None

    def _walk(self, start: object) -> Iterator[tuple]:
        waiting = [start]
        while waiting:
            thing = waiting.pop()
            if isinstance(thing, VALUES):
                yield type(thing).__name__, repr(thing)
                continue
            yield "is", id(thing)
            if id(thing) in self._held:
                continue
            self._held[id(thing)] = thing
            if len(self._held) > AT_MOST:
                raise Unseen
            value, parts = _opened(thing)
            yield "has", value, len(parts)
            waiting += parts


def _opened(thing: object) -> tuple[object, list]:
    """What is to be compared in a thing itself, and the things that it holds."""
    if isinstance(thing, Tensor):
        if thing.is_inference() or thing.layout != torch.strided:  # has no count of its changes
            raise Unseen
        small = thing.numel() * thing.element_size() <= BYTES  # changes through .data are not counted
        contents = thing.detach().reshape(-1).cpu().view(torch.uint8).numpy().tobytes() if small else b""
        return (thing._version, thing.data_ptr(), contents), []
    if isinstance(thing, np.ndarray):
        if thing.dtype.hasobject or thing.nbytes > BYTES:
            raise Unseen
        return (thing.shape, thing.tobytes()), []
    if isinstance(thing, dict):
        return type(thing), [*thing.keys(), *thing.values()]
    if isinstance(thing, COLLECTIONS):
        return type(thing), list(thing)
    if isinstance(thing, FunctionType):
        return _of_function(thing)
    if isinstance(thing, MethodType):
        return "method", [thing.__func__, thing.__self__]
    if isinstance(thing, functools.partial):
        return "partial", [thing.func, thing.args, thing.keywords]
    if isinstance(thing, BuiltinFunctionType):
        own = thing.__self__
        return "builtin", [] if own is None or isinstance(own, ModuleType) else [own]
    if isinstance(thing, (staticmethod, classmethod)):
        return "method", [thing.__func__]
    if isinstance(thing, property):
        return "property", [f for f in (thing.fget, thing.fset) if f is not None]
    if _steady(thing):
        return "steady", []
    if isinstance(thing, type):
        return "class", [*thing.__bases__, *_attributes(vars(thing))]
    if isinstance(thing, torch.jit.ScriptModule):
        raise Unseen
    plain = hasattr(thing, "__dict__") and not hasattr(type(thing), "__slots__") and _made_of_python(thing)
    if isinstance(thing, nn.Module) or plain:
        return "object", [type(thing), *_attributes(vars(thing))]
    raise Unseen


def _attributes(own: dict) -> list:
    """Names and values; of what Python itself keeps there, under names like __doc__, only functions."""
    return [part for name, value in own.items() if not name.startswith("__") or isinstance(value, FunctionType)
            for part in (name, value)]  # fmt: skip


def _made_of_python(thing: object) -> bool:
    """Whether its attributes are all there is to it, as is so for a class written in Python that has no ancestor in C."""
    ancestors = [ancestor for ancestor in type(thing).__mro__ if ancestor is not object]
    return all(ancestor.__flags__ & HEAP and not _steady(ancestor) for ancestor in ancestors)


def _steady(thing: object) -> bool:
    """A module or class of a package that remembers nothing, or one of PyTorch's operations."""
    if isinstance(thing, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        return True
    if isinstance(thing, ModuleType):
        return thing.__name__.split(".")[0] in STEADY
    return isinstance(thing, type) and (thing.__module__ or "").split(".")[0] in STEADY


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of all functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _of_function(function: FunctionType) -> tuple[object, list]:
    if (function.__module__ or "").split(".")[0] in STEADY - {"salnb"}:
        return function.__code__, [cell.cell_contents for cell in function.__closure__ or ()]  # such as torch.vmap(step) holds
    names = set()
    for code in _codes(function.__code__):
        names.update(code.co_names)
        imported = {str(i.argval).split(".")[0] for i in dis.get_instructions(code) if i.opname == "IMPORT_NAME"}
        if not imported <= STEADY:
            raise Unseen
    parts = [function.__defaults__, function.__kwdefaults__, vars(function)]
    for cell in function.__closure__ or ():
        try:
            parts.append(cell.cell_contents)
        except ValueError:  # empty as yet
            raise Unseen from None
    for name in sorted(names & function.__globals__.keys()):
        value = function.__globals__[name]
        if isinstance(value, ModuleType) and not _steady(value):
            # Of a module of the user's own, what the function names.
            parts += [vars(value)[inner] for inner in sorted(names & vars(value).keys())]
        else:
            parts.append(value)
    return function.__code__, parts
