"""A look leaves no trace: outputs, gradients, buffers, random state, hooks and modes are as in a run without SAL."""

import copy
import gc

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from salnb import SAL, SensitivityMonitor
from tests.problems import random

from . import networks
from .row_lengths import global_state, hooks_of, rounding_of, row_lengths

TOKENS = torch.arange(24).view(4, 6) % 11
MODELS = {
    "ResNet, DQN on top": (lambda: nn.Sequential(networks.ResNetBlock(), nn.Linear(2, 4), networks.DQN()), (random(4, 3, 6, 6),)),
    "ConvNeXt": (networks.ConvNeXtBlock, (random(4, 3, 6, 6),)), "ViT": (networks.ViTBlock, (random(4, 5, 12),)),
    "GPT": (lambda: networks.GPTBlock(False), (TOKENS,)), "MNIST": (networks.MNISTNet, (random(4, 1, 10, 10),)),
    "LSTM": (lambda: networks.Recurrent(nn.LSTM), (random(6, 5, 4),)), "GAN": (networks.Generator, (30,)),
    "VAE": (networks.VAE, (random(30, 20),)), "experts": (networks.Experts, (random(60, 5),)),
    "encoder": (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2), (random(4, 5, 8),)),
    "in place": (lambda: networks.Hidden(lambda net, u: net.d(F.elu(u, inplace=True)), d=nn.BatchNorm1d(8)), (random(30, 5),)),
    "PReLU and dropout": (lambda: networks.Hidden(lambda net, u: F.dropout(net.act(u), 0.3), act=nn.PReLU(8)), (random(30, 5),)),
}  # fmt: skip


def tensors(output):
    return [output] if isinstance(output, torch.Tensor) else [part for part in output if isinstance(part, torch.Tensor)]


def run(model, arguments):
    """Two passes with gradients; everything that can be compared."""
    torch.manual_seed(5)
    model.zero_grad()
    outputs = []
    for _ in range(2):
        found = tensors(model(*arguments))
        sum(tensor.sum() for tensor in found).backward()
        outputs += [tensor.detach() for tensor in found]
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return outputs, gradients, dict(model.state_dict()), global_state()


def assert_equal(one, other):
    torch.testing.assert_close(one[:3], other[:3], rtol=0, atol=0)
    assert one[3] == other[3]




@pytest.mark.parametrize("watch", ["SAL", "example", "monitor", "both"])
@pytest.mark.parametrize("name", MODELS)
def test_with_and_without_a_look_everything_is_equal_to_the_bit(name, watch):
    make, arguments = MODELS[name]
    plain = make().double()
    watched = copy.deepcopy(plain)
    before = hooks_of(plain)
    expected = run(plain, arguments)
    if watch == "example":
        torch.manual_seed(9)
        state, buffers = global_state(), copy.deepcopy(watched.state_dict())
        sal = SAL(watched, example=arguments)
        assert global_state() == state
        torch.testing.assert_close(dict(watched.state_dict()), dict(buffers), rtol=0, atol=0)
        assert all(p.grad is None for p in watched.parameters())
        assert any(row["watched"] == "yes" for row in sal.report())
        found = run(watched, arguments)
    else:
        sal = SAL(watched) if watch in ("SAL", "both") else None
        if watch in ("monitor", "both"):
            with SensitivityMonitor(watched) as monitor:
                found = run(watched, arguments)
            assert monitor.history
        else:
            found = run(watched, arguments)
    assert_equal(found, expected)
    if sal is not None:
        sal.detach()
    assert hooks_of(watched) == before
    assert_equal(run(watched, arguments)[::3] + ({}, None), run(plain, arguments)[::3] + ({}, None))


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_the_uncompiled_call_in_which_a_compiled_model_is_looked_at_leaves_no_trace():
    torch.compiler.reset()
    plain = networks.Hidden(lambda net, u: F.dropout(net.d(F.gelu(u)), 0.3), d=nn.BatchNorm1d(8))
    watched, arguments = copy.deepcopy(plain), (random(30, 5),)
    found = []
    for model in plain, watched:
        compiled = torch.compile(model, backend="eager")
        sal = SAL(compiled) if model is watched else None
        found.append(run(compiled, arguments))
    assert_equal(*found)
    assert "b" in [row["layer"] for row in sal.report() if row["watched"] == "yes"]
    torch.compiler.reset()


def test_after_the_look_only_what_is_watched_has_a_hook():
    model = networks.Hidden(act=nn.SiLU())
    sal = SAL(model)
    model(random(30, 5))
    assert sorted(hooks_of(model)) == ["", "b"]
    sal.step()


class Stopped(networks.Hidden):
    error = None

    def forward(self, x):
        h = torch.tanh(self.b(torch.tanh(self.a(x))))
        if self.error is not None:
            raise self.error("stopped")
        return self.c(h)


def stop(model, error, *arguments):
    """Runs the model into an exception, of which nothing is left afterwards."""
    model.error = error
    try:
        model(*arguments)
    except BaseException as raised:
        assert type(raised) is error
    else:
        raise AssertionError("the model did not stop")
    finally:
        model.error = None


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("layers", [None, ["b"], {"b": "tanh"}])
def test_after_an_interrupted_first_pass_nothing_is_left_and_the_next_pass_works(error, layers):
    model, x, state = Stopped(), random(30, 5), global_state()
    expected = row_lengths(model, {"b": torch.tanh}, (x,))["b"]
    sal = SAL(model, lr=0.0, layers=layers)
    before = hooks_of(model)
    for _ in range(2):
        stop(model, error, x)
        gc.collect()
        assert global_state() == state
        assert hooks_of(model) == before
        with pytest.raises(RuntimeError, match="no pass"):
            sal.step()
    model(x)
    sal.step()
    torch.testing.assert_close(sal.sensitivity["b"], expected, **rounding_of(expected))
    assert global_state() == state


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_the_same_for_an_example_and_for_the_monitor(error):
    model, x, state = Stopped(), random(30, 5), global_state()
    expected = row_lengths(model, {"b": torch.tanh}, (x,))["b"]
    model.error = error
    # What the model raises is said to come from the example; Ctrl-C goes through as it is.
    with pytest.raises(error, match="^example: Stopped could not be called with it: " if error is ValueError else None):
        SAL(model, example=x)
    model.error = None
    gc.collect()
    assert global_state() == state
    with SensitivityMonitor(model) as monitor:
        stop(model, error, x)
        gc.collect()
        assert global_state() == state and not monitor.history
        model(x)
    assert global_state() == state and [row["layer"] for row in monitor.history] == ["b"]
    torch.testing.assert_close(monitor.history[0]["mean"], expected.mean().item(), **rounding_of(expected))


@pytest.mark.parametrize("inside", [ValueError, KeyboardInterrupt])
def test_an_exception_that_the_model_catches_itself_does_not_confuse(inside):
    class Breaking(nn.Module):
        def forward(self, x):
            raise inside("stopped")

    class Catching(networks.Hidden):
        def forward(self, x):
            u = self.b(torch.tanh(self.a(x)))
            try:
                self.breaking(u)
            except inside:
                pass
            return self.c(self.act(u))

    model, x = Catching(act=nn.SiLU(), breaking=nn.Sequential(Breaking())), random(30, 5)
    expected = row_lengths(model, {"b": F.silu}, (x,))["b"]
    sal = SAL(model, lr=0.0)
    model(x)
    sal.step()
    torch.testing.assert_close(sal.sensitivity["b"], expected, **rounding_of(expected))


def test_the_look_of_a_mode_of_the_users_own_stays_in_force():
    class Counting(torch.overrides.TorchFunctionMode):
        count = 0

        def __torch_function__(self, function, types, arguments=(), keywords=None):
            Counting.count += 1
            return function(*arguments, **(keywords or {}))

    model, x = networks.Hidden(act=nn.SiLU()), random(30, 5)
    expected = row_lengths(model, {"b": F.silu}, (x,))["b"]
    sal = SAL(model, lr=0.0)
    with Counting() as mode:
        model(x)
        assert torch.overrides._get_current_function_mode_stack() == [mode]
    sal.step()
    assert Counting.count > 5
    torch.testing.assert_close(sal.sensitivity["b"], expected, **rounding_of(expected))


def test_a_refused_name_leaves_the_model_as_it_was():
    model, x = networks.Hidden(act=nn.SiLU()), random(30, 5)
    sal, state = SAL(model, layers={"b": "relu"}), global_state()
    for _ in range(2):
        with pytest.raises(ValueError, match="'b' was given 'relu'"):
            model(x)
        assert global_state() == state
    sal.detach()
    assert hooks_of(model) == {}
    model(x)
