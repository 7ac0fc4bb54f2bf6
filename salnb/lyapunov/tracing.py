"""A tangent step recorded once: its list of operations, without all that leads to them, takes a fraction of the time.

To push tangents through a user's step, PyTorch goes through two transforms at every operation, which for a small system takes
far longer than the arithmetic. The operations are always the same, though, unless the step decides by the numbers or remembers
something from call to call. So they are recorded at one call, what does nothing is left out, and the rest is played back. Where
it cannot be known that this is the same function, nothing is recorded, and the step goes on as before.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..common.reachable import Reachable
from .differences import Draws

aten = torch.ops.aten
LARGE = 2**17  # numbers in the tangents beyond which the arithmetic takes longer than what leads to it

# They hand on what they get, or a copy of it: the same thing where nothing is overwritten.
COPIES = {aten.alias.default, aten.detach.default, aten.clone.default, aten.lift_fresh.default, aten._to_copy.default,
          aten.lift_fresh_copy.default, aten.expand.default, aten.view.default, aten._unsafe_view.default,
          aten.permute.default}  # fmt: skip
NUMBERS = {aten.add.Tensor: torch.add, aten.sub.Tensor: torch.sub, aten.mul.Tensor: torch.mul, aten.div.Tensor: torch.div}


class Differs(Exception):
    """What was recorded might not be the function."""


class Tape(TorchDispatchMode):
    """All operations on tensors, in their order: (operation, args, kwargs, result)."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.operations.append((function, args, kwargs or {}, result))
        return result


def recorded(way: Callable, step: Callable, state: Tensor, tangents: Tensor, inputs: tuple) -> Callable | None:
    """``play(state, tangents, *inputs)``, to the last bit what ``way(step, state, tangents, inputs)`` gives, or None.

    It is compared at this state and at one nearby. What the step reads, besides its arguments, must not change by the calls.
    """
    if tangents.numel() > LARGE or not all(isinstance(u, Tensor) for u in inputs):
        return None
    before, draws = Reachable(step), Draws(state.device)
    if not before.seen:
        return None
    try:
        given = [tensor.clone() for tensor in (state, tangents, *inputs)]
        pure = torch.func.functionalize(lambda x, v, *u: way(step, x, v, u))  # nothing is overwritten, and no list is read
        with Tape() as tape:
            results = pure(*given)
        play = Playback(tape.operations, given, results).play
        wave = torch.cos(torch.arange(state.numel(), dtype=torch.float64)).to(state).view(state.shape)
        for point in (state, state + 1e-3 * (1 + state.abs()) * wave):
            draws.rewind()
            expected = way(step, point, tangents, inputs)
            draws.rewind()
            if not identical(play(point, tangents, *inputs), expected):
                return None
    except Exception:  # whatever it is, the step itself is well, and goes on without a recording
        return None
    finally:
        draws.rewind()
    return play if Reachable(step) == before else None


def identical(one: Any, other: Any) -> bool:
    """Whether two tensors, or tuples of them, agree to the last bit, in the type of their numbers and their order in memory."""
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(identical, one, other))
    if one.dtype != other.dtype or one.shape != other.shape or one.stride() != other.stride():
        return False
    return bool(torch.equal(one, other)) or bool(((one == other) | (one.isnan() & other.isnan())).all())


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor that came up in the recording, and its name in the playback."""

    sample: Any
    name: str
    constant: bool


class Playback:
    """The recorded operations as one function: constants worked out, equal work done once, copies and unused work left out."""

    def __init__(self, operations: list[tuple], given: list[Tensor], results: tuple[Tensor, ...]) -> None:
        self.surroundings: dict[str, Any] = {}  # what the function finds outside, by name
        self.numbered: dict[int, Value] = {}  # the tensors by their id; all of them are held by the recording
        self.done: dict[tuple, list[Value]] = {}
        self.lines: list[tuple[list[str], str, list[str], bool]] = []  # new names, line, names that it uses, to be kept
        for number, tensor in enumerate(given):
            self.numbered[id(tensor)] = Value(tensor, f"a{number}", False)
        heads = [value.name for value in self.numbered.values()]
        for operation in operations:
            self._add(*operation)
        # What goes in, or stays from call to call, must not come out: who gets it may write on it.
        ends = [self._copied(self._value(result), given).name for result in results]
        self.play = self._compiled(heads, ends)

    def _value(self, thing: Any) -> Value:
        """A tensor that nothing recorded has made was there before, and is a constant like a number or a function."""
        known = self.numbered.get(id(thing))
        if known is None:
            known = self.numbered[id(thing)] = Value(thing, f"c{len(self.surroundings)}", True)
            self.surroundings[known.name] = thing
        return known

    def _add(self, function: Callable, args: tuple, kwargs: dict, result: Any) -> None:
        used = [self._value(part) for part in tree_leaves((args, kwargs)) if isinstance(part, Tensor)]
        several, checked = isinstance(result, (tuple, list)), result is None  # a check of others' results only raises
        made = [] if checked else list(result) if several else [result]
        random = torch.Tag.nondeterministic_seeded in function.tags
        if not random and all(value.constant for value in used):
            return  # its results are constants as well, be they tensors or numbers
        mutable = function._schema.is_mutable or not all(isinstance(part, Tensor) for part in made)
        if mutable or decided_by_numbers(function.tags, args):
            raise Differs(str(function))
        source = args[1] if function is aten.copy.default else args[0] if function in COPIES else None
        if isinstance(source, Tensor) and source.device == result.device and identical(source, result):
            self.numbered[id(result)] = self._value(source)
            return
        kept = random or checked
        function, args = (function, args) if kept else self._shorter(function, args, kwargs, result)
        expression, words = self._written(function, args, kwargs)
        values = None if kept else self.done.get(expression)
        if values is None:
            names = [f"v{len(self.lines)}_{place}" for place in range(len(made))]
            values = [Value(part, name, False) for part, name in zip(made, names, strict=True)]
            line = expression if checked else f"[{', '.join(names)}] = {expression}" if several else f"{names[0]} = {expression}"
            self.lines.append((names, line, words, kept))
            self.done[expression] = values
        self.numbered.update({id(part): value for part, value in zip(made, values, strict=True)})

    def _shorter(self, function: Callable, args: tuple, kwargs: dict, result: Any) -> tuple[Callable, tuple]:
        """The same under a name that is called in half the time, and with Python's numbers turned into tensors beforehand."""
        candidates = [(getattr(torch, function._schema.name.split("::")[1], None), args)]
        number = len(args) == 2 and isinstance(args[1], (int, float)) and not isinstance(args[1], bool) and not kwargs
        if number and (function in NUMBERS or function is aten.rsub.Scalar) and result.dtype == args[0].dtype:
            second = self._number(args[1], result.dtype)
            candidates.insert(0, (torch.sub, (second, args[0])) if function is aten.rsub.Scalar
                              else (NUMBERS[function], (args[0], second)))  # fmt: skip
        for other, changed in candidates:
            try:
                if other is not None and identical(other(*changed, **kwargs), result):
                    return other, changed
            except (TypeError, ValueError, RuntimeError):
                continue  # it takes its arguments in another way
        return function, args

    def _number(self, number: float, dtype: torch.dtype) -> Tensor:
        key = (repr(number), dtype)
        if key not in self.done:
            self.done[key] = [self._value(torch.tensor(number, dtype=dtype))]
        return self.done[key][0].sample

    def _written(self, function: Callable, args: tuple, kwargs: dict) -> tuple[str, list[str]]:
        """The call as an expression of Python, and the names in it."""
        words = []

        def written(part: Any) -> str:
            if isinstance(part, (tuple, list)):
                return f"[{', '.join(map(written, part))}]"
            if part is None or isinstance(part, (bool, int)):
                return repr(part)
            words.append(self._value(part).name if isinstance(part, Tensor) else self._outside(part))
            return words[-1]

        parts = [*map(written, args), *(f"{key}={written(value)}" for key, value in kwargs.items())]
        return f"{self._outside(function)}({', '.join(parts)})", words

    def _outside(self, thing: Any) -> str:
        """The name of a function, a number or a setting; equal ones have the same."""
        key = ("outside", type(thing), repr(thing) if isinstance(thing, float) else thing)
        if key not in self.done:
            self.done[key] = [Value(thing, f"c{len(self.surroundings)}", True)]
            self.surroundings[self.done[key][0].name] = thing
        return self.done[key][0].name

    def _copied(self, value: Value, given: list[Tensor]) -> Value:
        """The value, in memory that nobody else has."""
        inside = {operation for line in self.lines for operation in line[0]}
        outside = [tensor for tensor in (*given, *self.surroundings.values()) if isinstance(tensor, Tensor)]
        if value.name in inside and not any(torch._C._is_alias_of(value.sample, tensor) for tensor in outside):
            return value
        copy = Value(value.sample, f"v{len(self.lines)}_0", False)
        self.lines.append(([copy.name], f"{copy.name} = {value.name}.clone()", [value.name], False))
        return copy

    def _compiled(self, heads: list[str], ends: list[str]) -> Callable:
        """The lines that the results need, each tensor let go after its last use, as a function of Python."""
        needed, body = set(ends), []
        for names, line, used, always in reversed(self.lines):
            if always or not needed.isdisjoint(names):  # what is drawn moves the generator on, used or not
                last = [name for name in dict.fromkeys(used) if name[0] == "v" and name not in needed]
                needed.update(used)
                body.append(f"    {line}" + "".join(f"; {name} = None" for name in last))
        body = [f"def play({', '.join(heads)}):", *reversed(body), f"    return {', '.join(ends)}"]
        exec("\n".join(body), self.surroundings)  # as torch.fx does, whose own calls take twice as long
        return self.surroundings["play"]


def decided_by_numbers(tags: list, args: tuple) -> bool:
    """Whether the shape of a result depends on the numbers, as it does where a mask picks entries out."""
    if torch.Tag.dynamic_output_shape not in tags and torch.Tag.data_dependent_output not in tags:
        return False
    places = args[1] if len(args) > 1 and isinstance(args[1], (tuple, list)) else [None]
    return any(place is None or place.dtype in (torch.bool, torch.uint8) for place in places) or not places
