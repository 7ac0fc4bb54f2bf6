"""Under autocast, without gradients, checkpointed, compiled, on nested tensors, in half types: the same numbers, to rounding."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from salnb import SAL, SensitivityMonitor
from tests.problems import random

from .networks import DQN, GPTBlock, Hidden
from .row_lengths import assert_seen, by_monitor, by_sal, inputs_of, rounding_of, row_lengths

X = (random(30, 5),)
LARGEST_CURVATURE = {torch.tanh: 0.77, F.silu: 0.5, F.gelu: 0.8}


# --- gradients on and off ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad, nullcontext])
@pytest.mark.parametrize("function", [F.gelu, torch.relu_, lambda u: F.elu(u, inplace=True), lambda u: u * torch.sigmoid(u)])
def test_without_gradients_the_numbers_are_the_same(context, function):
    model = Hidden(lambda net, u: function(u))
    named = None if function in (F.gelu, torch.relu_) else {"b": function}
    plain = torch.relu if function is torch.relu_ else function
    with context():
        assert_seen(model, {"b": plain}, X, layers=named)
        assert_seen(model, {"b": plain}, X, layers=["b"] if named is None else {"b": plain}, why={"a": "not named"})


def test_a_frozen_model_is_measured():
    model = Hidden(act=nn.SiLU()).requires_grad_(False)
    assert_seen(model, {"b": F.silu}, X, why={"a": "reads the input", "c": "readout"}, sal=False)


def test_evaluation_mode_is_measured_and_is_no_pass_of_sal():
    model = Hidden(act=nn.SiLU(), d=nn.BatchNorm1d(3)).eval()
    assert_seen(model, {"b": F.silu}, X, why={"a": "reads the input", "c": "readout"}, sal=False)
    sal = SAL(model)
    model(*X)
    with pytest.raises(RuntimeError, match="evaluation mode"):
        sal.step()


# --- few digits ----------------------------------------------------------------------------------------------------------
def assert_to_few_digits(model, function, arguments, dtype, layers, roundings):
    """Each term of u is rounded so many times to ``dtype``, which moves u by at most Δ and the slope by |f''| Δ."""
    found, mean = by_sal(model, arguments, layers=layers)[0], by_monitor(model, arguments, layers=layers)[0]
    assert list(found) == list(mean) == ["b"] and found["b"].dtype == torch.float32
    exact = copy.deepcopy(model).double()
    x = inputs_of(model, ["b"], arguments)["b"][0].double()
    u = exact.b(x)
    slope = torch.autograd.grad(function(u).sum(), u)[0]
    with torch.no_grad():
        length = exact.b.weight.norm(dim=1)
        moved = roundings * torch.finfo(dtype).eps / 2 * F.linear(x.abs(), exact.b.weight.abs(), exact.b.bias.abs()).max()
        expected = slope.abs().mean(0) * length
        limit = (LARGEST_CURVATURE[function] * moved * length.max()).item()
        assert limit < 0.1 * expected.max()
        torch.testing.assert_close(found["b"].double(), expected, rtol=0, atol=limit)
        torch.testing.assert_close(mean["b"], expected.mean().item(), rtol=0, atol=limit)


@pytest.mark.parametrize("layers", [None, ["b"], "function"])
@pytest.mark.parametrize("function", list(LARGEST_CURVATURE))
def test_under_autocast(function, layers):
    """The input, the weight, the bias, the product and the sum are rounded."""
    model, x = Hidden(lambda net, u: function(u)).float(), (X[0].float(),)
    with torch.autocast("cpu", torch.bfloat16):
        assert_to_few_digits(model, function, x, torch.bfloat16, {"b": function} if layers == "function" else layers, 4)


@pytest.mark.parametrize("layers", [None, ["b"], "function"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("function", list(LARGEST_CURVATURE))
def test_a_model_of_a_half_type(dtype, function, layers):
    """The product and the sum are rounded."""
    model, x = Hidden(lambda net, u: function(u)).to(dtype), (X[0].to(dtype),)
    assert_to_few_digits(model, function, x, dtype, {"b": function} if layers == "function" else layers, 2)


def test_a_function_of_the_readers_own_is_recognized_in_few_digits():
    model = Hidden(lambda net, u: u * torch.sigmoid(u))
    for dtype, context in (torch.float32, torch.autocast("cpu", torch.bfloat16)), (torch.bfloat16, nullcontext()):
        prepared = copy.deepcopy(model).to(dtype)
        x = (X[0].to(prepared.a.weight.dtype),)
        with context:
            assert list(by_sal(prepared, x, layers={"b": lambda u: u * torch.sigmoid(u)})[0]) == ["b"]
            assert by_sal(prepared, x)[0] == {}


def test_attention_under_autocast():
    model, tokens = GPTBlock(True), (torch.arange(24).view(4, 6) % 11,)
    with torch.autocast("cpu", torch.bfloat16):
        found, reasons = by_sal(model, tokens)
    assert list(found) == ["c_fc"] and "readout" in reasons["lm_head"]


# --- checkpoints ---------------------------------------------------------------------------------------------------------
class Checkpointed(Hidden):
    def __init__(self, reentrant):
        super().__init__()
        self.block = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.SiLU()).double()
        self.reentrant = reentrant

    def forward(self, x):
        h = torch.tanh(self.a(x))
        u = checkpoint(self.b, h, use_reentrant=self.reentrant)
        h = checkpoint(lambda u: F.relu(u), u, use_reentrant=self.reentrant)
        return self.c(checkpoint_sequential(self.block, 2, h, use_reentrant=self.reentrant))


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpointed_pass_counts_once_and_is_seen_through(reentrant):
    functions = {"b": torch.relu, "block.0": torch.tanh, "block.2": F.silu}
    model = Checkpointed(reentrant)
    assert_seen(model, functions, X, why={"a": "reads the input", "c": "readout"})
    assert_seen(model, functions, X, layers=list(functions))
    expected = row_lengths(model, functions, X)
    watched = copy.deepcopy(model)
    sal = SAL(watched, lr=0.0, decay=0.0)
    with SensitivityMonitor(model) as monitor:
        for _ in range(2):  # the backward pass runs the layers once more
            model(*X).sum().backward()
            watched(*X).sum().backward()
            sal.step()
    assert [(row["layer"], row["passes"]) for row in monitor.summary()] == [(name, 2) for name in functions]
    for name, lengths in expected.items():
        torch.testing.assert_close(sal.sensitivity[name], lengths, **rounding_of(lengths))


# --- torch.func and torch.compile ----------------------------------------------------------------------------------------
def test_transforms_are_no_pass_and_the_next_call_is():
    model = Hidden(act=nn.SiLU())
    expected = row_lengths(model, {"b": F.silu}, X)["b"]
    sal, x = SAL(model, lr=0.0), X[0]
    other = {name: 2 * p.detach() for name, p in model.named_parameters()}
    torch.func.vmap(model)(x), torch.func.jacrev(model)(x[:2]), torch.func.jvp(model, (x,), (x,))
    torch.func.grad(lambda p: torch.func.functional_call(model, p, (x,)).sum())(dict(model.named_parameters()))
    torch.func.functional_call(model, other, (x,))
    assert not sal.sensitivity
    with pytest.raises(RuntimeError, match="functional_call"):
        sal.step()
    model(x)
    sal.step()
    torch.testing.assert_close(sal.sensitivity["b"], expected, **rounding_of(expected))


def test_a_functional_call_with_the_models_own_weights_is_a_pass():
    model = Hidden(act=nn.SiLU())
    expected = row_lengths(model, {"b": F.silu}, X)["b"]
    sal = SAL(model, lr=0.0)
    torch.func.functional_call(model, dict(model.named_parameters()), X)
    sal.step()
    torch.testing.assert_close(sal.sensitivity["b"], expected, **rounding_of(expected))


@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("way", ["before", "after", "in place", "a part"])
@pytest.mark.parametrize("layers", [None, ["b"], {"b": "silu"}])
def test_a_compiled_model_is_looked_at_uncompiled(way, layers):
    torch.compiler.reset()
    model = Hidden(act=nn.SiLU())
    expected = row_lengths(model, {"b": F.silu}, X)["b"]
    if way == "a part":
        model.act = torch.compile(model.act, backend="eager")
    called = model
    if way == "before":
        called = model = torch.compile(model, backend="eager")
    sal = SAL(model, lr=0.0, layers=layers)
    if way == "after":
        called = torch.compile(model, backend="eager")
    elif way == "in place":
        model.compile(backend="eager")
    called(*X)
    sal.step()
    torch.testing.assert_close(sal.sensitivity["b"], expected, **rounding_of(expected))
    torch.compiler.reset()


# --- nested tensors ------------------------------------------------------------------------------------------------------
PARTS = [random(length, 5, seed=length) for length in (3, 1, 6)]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.jagged, torch.strided])
@pytest.mark.parametrize("layers", [None, ["b"], {"b": "relu"}])
def test_of_a_nested_tensor_only_the_samples_that_exist_count(layout, layers):
    model = Hidden(lambda net, u: F.relu(u))
    expected = row_lengths(model, {"b": torch.relu}, (torch.cat(PARTS),))["b"]
    model_of_nested, watched = copy.deepcopy(model), copy.deepcopy(model)
    sal = SAL(watched, lr=0.0, layers=layers)
    with SensitivityMonitor(model_of_nested, layers) as monitor:
        model_of_nested(torch.nested.nested_tensor(PARTS, layout=layout))
    watched(torch.nested.nested_tensor(PARTS, layout=layout))
    sal.step()
    torch.testing.assert_close(sal.sensitivity["b"], expected, **rounding_of(expected))
    torch.testing.assert_close(monitor.history[0]["mean"], expected.mean().item(), **rounding_of(expected))
    if layers is None:
        assert [row["why"] for row in sal.report()] == ["reads the input", "", "readout"]


class Encoded(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.embed, self.encoder, self.head = nn.Linear(5, 8), encoder, nn.Linear(8, 2)

    def forward(self, x, padding):
        return self.head(self.encoder(self.embed(x), src_key_padding_mask=padding))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("inside", [True, False])
def test_in_an_encoder_in_evaluation_mode_padding_does_not_count(context, inside):
    """There PyTorch works on nested tensors, and so it does under the monitor, in the first pass and in the next."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2).double().eval()
    model = Encoded(encoder).double().eval() if inside else encoder
    prefix = "encoder." if inside else ""
    padding = torch.tensor([[False, False, True, True], [False] * 4, [False, True, True, True]])
    x = random(3, 4, 5 if inside else 8)
    names = [f"{prefix}layers.{i}.linear1" for i in (0, 1)]
    keywords = {"padding": padding} if inside else {"src_key_padding_mask": padding}
    seen = inputs_of(model, names, (x,), keywords)  # with gradients, so that padding is there
    with context():
        with SensitivityMonitor(model) as monitor:
            model(x, **keywords)
            model(x, **keywords)
    for name in names:
        module = model.get_submodule(name)
        u = module(seen[name][0][~padding])
        expected = (u > 0).double().mean(0) * module.weight.norm(dim=1)
        means = [row["mean"] for row in monitor.history if row["layer"] == name]
        assert len(means) == 2
        for mean in means:
            torch.testing.assert_close(mean, expected.mean().item(), **rounding_of(expected.detach()))


# --- one look for many passes --------------------------------------------------------------------------------------------
def test_later_passes_run_as_without_a_look():
    """What the first pass has shown holds: no function is watched any more, and the numbers follow the inputs."""
    model, plain = DQN().double(), DQN().double()
    plain.load_state_dict(model.state_dict())
    sal = SAL(model, lr=0.0, decay=0.0)
    for k in range(3):
        x = random(20, 4, seed=k)
        expected = row_lengths(plain, {"layer2": torch.relu}, (x,))["layer2"]
        model(x)
        assert torch.overrides._get_current_function_mode_stack() == []
        sal.step()
        torch.testing.assert_close(sal.sensitivity["layer2"], expected, **rounding_of(expected))
