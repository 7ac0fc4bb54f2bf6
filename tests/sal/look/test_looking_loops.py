"""Recurrent loops written by hand: the sum a(x_t) + b(h) goes to the activation, in every layout."""

import copy

import pytest
import torch
from torch import nn

from salnb import SAL, SensitivityMonitor
from tests.problems import random

from .networks import HandLoop
from .row_lengths import assert_refused, assert_seen, by_monitor, by_sal, rounding_of

LAYOUTS = [(batch_first, at_once, batch) for batch_first in (False, True) for at_once in (False, True) for batch in (6, 9)]
STEPS = 6


def sequences(batch_first, batch, steps=STEPS):
    return random(batch, steps, 5) if batch_first else random(steps, batch, 5)


def recurrent_lengths(model, x):
    """E[‖∂h_t/∂h_{t-1}‖] by autograd, step by step."""
    x = x.transpose(0, 1) if model.batch_first else x
    h, found = x.new_zeros(x.shape[1], 8), []
    for step in x:
        before = h.detach().requires_grad_()
        h = model.function(model.a(step) + model.b(before))
        found.append(torch.stack([torch.autograd.grad(h[:, i].sum(), before,
                                                      retain_graph=True)[0].norm(dim=-1) for i in range(8)], -1))
    return torch.cat(found).mean(0)


def assert_lengths(model, x, layers):
    expected = recurrent_lengths(model, x)
    found = by_sal(model, (x,), layers=layers)[0]
    assert list(found) == ["b"]
    torch.testing.assert_close(found["b"], expected, **rounding_of(expected))
    mean = by_monitor(model, (x,), layers=layers)[0]
    torch.testing.assert_close(mean, {"b": expected.mean().item()}, **rounding_of(expected))


@pytest.mark.parametrize(("batch_first", "at_once", "batch"), LAYOUTS)
@pytest.mark.parametrize("function", [torch.tanh, torch.relu, nn.SiLU()], ids=["tanh", "relu", "silu"])
def test_a_loop_is_right_when_what_is_added_is_named(batch_first, at_once, batch, function):
    """Also with as many sequences as steps, where the shapes do not tell time from batch."""
    model = HandLoop(batch_first, at_once, function).double()
    assert_lengths(model, sequences(batch_first, batch), {"b": (function, "a")})


@pytest.mark.parametrize(("batch_first", "at_once", "batch"), LAYOUTS)
def test_without_what_is_added_it_is_refused_and_reported(batch_first, at_once, batch):
    model, x = HandLoop(batch_first, at_once).double(), (sequences(batch_first, batch),)
    assert_seen(model, {}, x, why={"a": "reads the input", "b": "sum stands between it and tanh", "c": "readout"})
    for layers in ["b"], {"b": "tanh"}, {"b": torch.tanh}:
        assert_refused(model, x, layers, "'b'.*a sum stands between it and tanh")
    assert_refused(model, x, {"b": ("relu", "a")}, "'b' was given 'relu', but the sum goes to 'tanh'")
    assert_refused(model, x, {"b": ("tanh", "c")}, "'b': what goes to tanh is not the sum")
    assert_refused(model, x, {"b": ("tanh", "nothing")}, "'nothing', to be added to 'b', is no Linear of the model")


@pytest.mark.parametrize("batch_first", [False, True])
def test_the_layout_that_was_found_holds_for_later_passes(batch_first):
    """Of other lengths, where the shapes would say something else."""
    plain = HandLoop(batch_first, True).double()
    model, watched = copy.deepcopy(plain), copy.deepcopy(plain)
    sal = SAL(watched, lr=0.0, decay=0.0, layers={"b": ("tanh", "a")})
    with SensitivityMonitor(model, {"b": ("tanh", "a")}) as monitor:
        for batch, steps in (7, 7), (3, 6), (6, 3), (1, 4), (5, 5):
            x = sequences(batch_first, batch, steps)
            expected = recurrent_lengths(plain, x)
            model(x), watched(x)
            sal.step()
            torch.testing.assert_close(sal.sensitivity["b"], expected, **rounding_of(expected))
            torch.testing.assert_close(monitor.history[-1]["mean"], expected.mean().item(), **rounding_of(expected))


class Residual(HandLoop):
    """Something else stands in the sum, which no name covers."""

    def forward(self, x):
        h, along = x.new_zeros(x.shape[0 if self.batch_first else 1], 8), 1 if self.batch_first else 0
        for step in x.unbind(along):
            h = self.function(self.a(step) + self.b(h) + 0.5 * h)
        return self.c(h)


class Scaled(HandLoop):
    def forward(self, x):
        h = x.new_zeros(x.shape[1], 8)
        for step in x:
            h = self.function(0.5 * (self.a(step) + self.b(h)))
        return self.c(h)


class Normalized(HandLoop):
    def __init__(self, *given):
        super().__init__(*given)
        self.norm = nn.LayerNorm(8)

    def forward(self, x):
        h = x.new_zeros(x.shape[1], 8)
        for step in x:
            h = self.function(self.norm(self.a(step) + self.b(h)))
        return self.c(h)


@pytest.mark.parametrize("kind", [Residual, Scaled, Normalized])
def test_a_sum_with_something_else_is_refused(kind):
    model, x = kind(False, False).double(), (sequences(False, 6),)
    assert_refused(model, x, {"b": ("tanh", "a")}, "'b'.*(is not the sum|no tanh was seen)")
    assert_seen(model, {}, x, why={"b": "stands? between it and tanh"})


class Leaky(HandLoop):
    """A leak behind the activation is the state's, not the neuron's: the neuron is tanh of the sum."""

    def forward(self, x):
        h = x.new_zeros(x.shape[1], 8)
        for step in x:
            h = 0.5 * h + 0.5 * self.function(self.a(step) + self.b(h))
        return self.c(h)


def test_a_leak_behind_the_activation():
    model, x = Leaky(False, False).double(), sequences(False, 6)
    found = by_sal(model, (x,), layers={"b": ("tanh", "a")})[0]["b"]
    h, lengths = x.new_zeros(6, 8), []
    for step in x:
        new = torch.tanh(model.a(step) + model.b(h))
        lengths.append((1 - new**2) * model.b.weight.norm(dim=1))
        h = 0.5 * h + 0.5 * new
    expected = torch.cat(lengths).mean(0).detach()
    torch.testing.assert_close(found, expected, **rounding_of(expected))


def test_a_loop_with_a_readout_at_every_step():
    class Readouts(HandLoop):
        def forward(self, x):
            h, outputs = x.new_zeros(x.shape[1], 8), []
            for step in x:
                h = self.function(self.a(step) + self.b(h))
                outputs.append(self.c(h))
            return torch.stack(outputs)

    model = Readouts(False, False).double()
    assert_lengths(model, sequences(False, 6), {"b": ("tanh", "a")})
    assert_seen(model, {}, (sequences(False, 6),), why={"c": "readout"})
