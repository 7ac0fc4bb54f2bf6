"""Whether a layer is what it seems: its output must be weight · input + bias, now and whatever its other parts become."""

import types

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)
from torch.nn.utils import parametrizations, parametrize, prune

from tests.problems import random

from .networks import Hidden
from .row_lengths import assert_refused, assert_seen, by_monitor, rounding_of, row_lengths

X = (random(30, 5),)


class LoRA(nn.Linear):
    """The second factor is 0 at the start: the output is that of a Linear until it has learned."""

    def __init__(self, *sizes, scale=0.0):
        super().__init__(*sizes)
        self.down, self.up = nn.Parameter(torch.randn(2, sizes[0])), nn.Parameter(scale * torch.randn(sizes[1], 2))


class LoRABeside(LoRA):
    def forward(self, x):
        return super().forward(x) + (x @ self.down.T) @ self.up.T


class LoRAInWeight(LoRA):
    def forward(self, x):
        return F.linear(x, self.weight + self.up @ self.down, self.bias)


class LoRAInPlace(LoRA):
    def forward(self, x):
        output = super().forward(x)
        output += F.linear(F.linear(x, self.down), self.up)
        return output


class LoRAFirst(LoRA):
    def forward(self, x):
        return F.linear(F.linear(x, self.down), self.up) + super().forward(x)


class ShiftedBias(nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.shift = nn.Parameter(torch.zeros(sizes[1]))

    def forward(self, x):
        return super().forward(x) + self.shift


class OtherBias(ShiftedBias):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.bias.data.zero_()

    def forward(self, x):
        return F.linear(x, self.weight, self.shift)


class EqualLinear(nn.Linear):
    scale = 0.35

    def forward(self, x):
        return F.linear(x, self.weight * self.scale, self.bias)


class EqualLinearOfOne(EqualLinear):
    scale = 1.0


class Standardized(nn.Linear):
    def forward(self, x):
        w = self.weight
        return F.linear(x, (w - w.mean(1, keepdim=True)) / (w.std(1, keepdim=True) + 1e-5), self.bias)


class Masked(nn.Linear):
    share = 0.5

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("mask", torch.zeros(sizes[1], sizes[0]).bernoulli_(self.share))

    def forward(self, x):
        return F.linear(x, self.weight * self.mask, self.bias)


class MaskedByOnes(Masked):
    share = 1.0


class Scaled(nn.Linear):
    def forward(self, x):
        return 0.5 * super().forward(x)


class WithActivation(nn.Linear):
    def forward(self, x):
        return F.relu(super().forward(x))


class Noisy(nn.Linear):
    def forward(self, x):
        return F.linear(x, self.weight + 0.1 * torch.randn_like(self.weight), self.bias)


class Transposed(nn.Linear):
    def forward(self, x):
        return F.linear(x, self.weight.T, self.bias)


OTHERS = [LoRABeside, LoRAInWeight, LoRAInPlace, LoRAFirst, ShiftedBias, OtherBias, EqualLinear, EqualLinearOfOne, Standardized,
          Masked,
          MaskedByOnes, Scaled, WithActivation, Noisy, Transposed]  # fmt: skip


def with_layer(layer):
    model = Hidden(act=nn.ReLU())
    model.b = layer.double()
    return model


@pytest.mark.parametrize("kind", OTHERS)
def test_a_subclass_that_computes_something_else_is_left_out_and_refused_by_name(kind):
    model = with_layer(kind(8, 8))
    assert_seen(model, {}, X, why={"b": "its output is not"})
    for layers in ["b"], {"b": "relu"}, {"b": nn.ReLU()}:
        assert_refused(model, X, layers, "'b' cannot be watched: its output is not")


class Plain(nn.Linear):
    def forward(self, x):
        return F.linear(x, self.weight, self.bias)


class Super(nn.Linear):
    """With further parameters, which the output does not depend on."""

    def __init__(self, *sizes, **given):
        super().__init__(*sizes, **given)
        self.unused = nn.Parameter(torch.zeros(3))
        self.register_buffer("mask", torch.zeros(2))

    def forward(self, x):
        self.last = x.detach()
        return super().forward(x.view(-1, 8)).view(x.shape)


class Product(nn.Linear):
    def forward(self, x):
        return x @ self.weight.T + self.bias if self.bias is not None else torch.matmul(x, self.weight.t())


class Cast(nn.Linear):
    def forward(self, x):
        return F.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


class BiasApart(nn.Linear):
    def forward(self, x):
        return F.linear(x, self.weight) + self.bias if self.bias is not None else F.linear(x, self.weight)


class ByKeyword(nn.Linear):
    def forward(self, input):
        return F.linear(input, weight=self.weight, bias=self.bias)


@pytest.mark.parametrize("kind", [nn.Linear, Plain, Super, Product, Cast, BiasApart, ByKeyword])
@pytest.mark.parametrize("bias", [True, False])
def test_a_subclass_that_is_a_linear_layer_is_watched(kind, bias):
    model = with_layer(kind(8, 8, bias=bias))
    assert_seen(model, {"b": torch.relu}, X, why={"c": "readout"})
    assert_seen(model, {"b": torch.relu}, X, layers={"b": "relu"})


def test_a_forward_that_is_replaced_on_one_layer_is_looked_at():
    model = with_layer(nn.Linear(8, 8))
    model.b.forward = types.MethodType(lambda self, x: F.linear(x, self.weight, self.bias), model.b)
    assert_seen(model, {"b": torch.relu}, X)
    model.b.forward = types.MethodType(lambda self, x: F.linear(x, self.weight, self.bias) + 0 * x.sum(), model.b)
    assert_seen(model, {}, X, why={"b": "its output is not"})


def test_a_wrapper_with_a_linear_layer_beside_it():
    """Of LoRA as a module of its own the sum goes to the activation: no part of it has one."""

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.base, self.down, self.up = nn.Linear(8, 8), nn.Linear(8, 2, bias=False), nn.Linear(2, 8, bias=False)
            nn.init.zeros_(self.up.weight)

        def forward(self, x):
            return self.base(x) + 0.5 * self.up(self.down(x))

    model = with_layer(Wrapper())
    assert_seen(model, {}, X, why={"b.base": "sum stands between it and relu", "b.down": "next linear layer", "b.up": "product"})
    assert_refused(model, X, {"b.base": "relu"}, "'b.base' was given 'relu'.*sum")


def test_the_weights_of_attention_are_no_layer():
    model = with_layer(nn.Linear(8, 8))
    model.d = nn.MultiheadAttention(8, 2).double()
    assert_seen(model, {"b": torch.relu}, X, why={"d.out_proj": "MultiheadAttention"})
    assert_refused(model, X, {"d.out_proj": "relu"}, "'d.out_proj'.*MultiheadAttention")


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


@pytest.mark.parametrize(("change", "words"), [
    (lambda layer: parametrizations.weight_norm(layer), "WeightNorm"),
    (lambda layer: parametrizations.spectral_norm(layer), "SpectralNorm"),
    (lambda layer: parametrize.register_parametrization(layer, "weight", Doubled()), "Doubled"),
])  # fmt: skip
def test_a_parametrized_weight_is_measured_by_the_monitor_and_left_alone_by_sal(change, words):
    model = with_layer(nn.Linear(8, 8))
    change(model.b)
    with pytest.raises(ValueError, match=f"'b'.*{words}"):
        assert_seen(model, {}, X, layers={"b": "relu"})
    model.train()
    weight = model.eval().b.weight.detach().clone()  # in evaluation mode the power iteration of a spectral norm stands still
    found, _ = by_monitor(model, X)
    plain = with_layer(nn.Linear(8, 8))
    plain.load_state_dict({**{k: v for k, v in model.state_dict().items() if k[0] in "ac"}, "b.weight": weight,
                           "b.bias": model.b.bias})
    expected = row_lengths(plain, {"b": torch.relu}, X)["b"]
    torch.testing.assert_close(found["b"], expected.mean().item(), **rounding_of(expected))


def test_of_a_pruned_layer_the_connections_that_are_left_count():
    model = with_layer(nn.Linear(8, 8))
    with torch.no_grad():  # a leaf, so that the model can be copied
        prune.random_unstructured(model.b, "weight", 0.5)
    plain = with_layer(nn.Linear(8, 8))
    plain.load_state_dict({**{k: v for k, v in model.state_dict().items() if k[0] in "ac"},
                           "b.weight": model.b.weight_orig * model.b.weight_mask, "b.bias": model.b.bias})  # fmt: skip
    expected = row_lengths(plain, {"b": torch.relu}, X)["b"]
    found, _ = by_monitor(model, X)
    torch.testing.assert_close(found["b"], expected.mean().item(), **rounding_of(expected))


def test_a_layer_whose_weight_is_shared_is_refused():
    model = with_layer(nn.Linear(8, 8))
    model.d = nn.Linear(8, 8).double()
    model.d.weight = model.b.weight
    assert_refused(model, X, {"b": "relu", "d": "relu"}, "'?b, d'? share one weight|share one weight")
