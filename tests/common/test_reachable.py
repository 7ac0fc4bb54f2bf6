"""Whether a call changes what the next one reads, for functions that remember in every way that Python has."""

import functools
import itertools
import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from salnb.common.reachable import Reachable

X = torch.ones(3)
calls, noted = 0, []


def with_a_global(x):
    global calls
    calls += 1
    return x


def with_a_default(x, kept=[]):  # noqa: B006
    kept.append(1)
    return x


def with_an_attribute(x):
    with_an_attribute.count = getattr(with_an_attribute, "count", 0) + 1
    return x


def with_a_list_elsewhere(x):
    noted.append(x.sum())
    return x


def in_its_closure():
    count = 0

    def step(x):
        nonlocal count
        count += 1
        return x

    return step


class Counting:
    def __init__(self):
        self.count = 0

    def __call__(self, x):
        self.count += 1
        return x

    def method(self, x):
        return self(x)


class CountingForAll:
    count = 0

    def __call__(self, x):
        type(self).count += 1
        return x


class Writing(nn.Module):
    """Into a buffer: counted by PyTorch, through .data not counted, or as a new tensor, which may lie where the old one was."""

    def __init__(self, way):
        super().__init__()
        self.way, self.number = way, torch.zeros(3)
        self.register_buffer("memory", torch.zeros(3))

    def forward(self, x):
        if self.way == "in place":
            self.memory.add_(1)
        elif self.way == "data":
            self.memory.data.add_(1)
        elif self.way == "new":
            self.memory = self.memory + 1
        else:
            self.number = x.clone()
        return x


def into_an_array():
    kept = np.zeros(3)

    def step(x):
        kept[0] += 1
        return x

    return step


def with_a_hook():
    layer, seen = nn.Linear(3, 3), []
    layer.register_forward_hook(lambda module, given, result: seen.append(result))
    return layer


REMEMBERING = [
    with_a_global, with_a_default, with_an_attribute, with_a_list_elsewhere, in_its_closure(), Counting(), Counting().method,
    CountingForAll(), *map(Writing, ("in place", "data", "new", "other")), into_an_array(), with_a_hook(), nn.BatchNorm1d(3),
    functools.partial(lambda f, x: f(x), Counting()), torch.vmap(Counting()), nn.Sequential(Writing("in place")),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(REMEMBERING)))
def test_what_remembers_is_not_the_same_after_a_call(number):
    function = REMEMBERING[number]
    function(torch.ones(2, 3))  # what is made at the first call only is no memory
    before = Reachable(function)
    assert before.seen and before == Reachable(function)
    for _ in range(2):
        function(torch.ones(2, 3))
        assert Reachable(function) != before


@dataclass
class Parameters:
    gain: float = 0.5


PARAMETERS, WEIGHT, TABLE = Parameters(), torch.randn(3, 3), {"a": [1.0, np.float64(2.0)], "b": (None, slice(1))}


def plain(x):
    return torch.tanh(PARAMETERS.gain * WEIGHT @ x) * np.exp(TABLE["a"][1])


class Slotted:
    __slots__ = ("gain",)


class Static:
    gain = 2.0

    @staticmethod
    def half(x):
        return x / 2

    @classmethod
    def twice(cls, x):
        return cls.gain * x

    @property
    def both(self):
        return lambda x: self.half(self.twice(x))


static = Static()


def by_attributes(x):
    return static.both(x)


STEADY = [plain, by_attributes, nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.ReLU()), torch.tanh, Static.twice,
          functools.partial(torch.mul, 2.0), torch.vmap(plain)]  # fmt: skip


@pytest.mark.parametrize("number", range(len(STEADY)))
def test_what_remembers_nothing_is_the_same_after_a_call(number):
    function = STEADY[number]
    before = Reachable(function)
    function(torch.eye(3))
    assert before.seen and Reachable(function) == before


def with_an_import(x):
    import random

    return x * random.random()


def unseen():
    counter, slotted, cached = itertools.count(), Slotted(), functools.lru_cache(len)
    numbers, generator = iter([1, 2, 3]), torch.Generator()
    large = np.zeros(200_000)
    yield lambda x: x * next(counter)
    yield lambda x: x * slotted.gain
    yield lambda x: x * cached("")
    yield lambda x: x * next(numbers)
    yield lambda x: x * torch.rand(3, generator=generator)
    yield lambda x: x * large[0]
    yield lambda x: x * random.random()
    yield with_an_import
    yield torch.jit.script(nn.Linear(3, 3))


@pytest.mark.parametrize("number", range(9))
def test_what_cannot_be_seen_is_said_to_be_so(number):
    function = list(unseen())[number]
    assert not Reachable(function).seen
    assert Reachable(function) != Reachable(function)


def test_an_empty_cell_and_very_much():
    def outer():
        def step(x):
            return later

        found = Reachable(step)
        later = 1
        return found

    assert not outer().seen
    much = [[i] for i in range(30_000)]
    assert not Reachable(lambda x: much).seen
