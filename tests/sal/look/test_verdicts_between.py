"""What stands between a layer and its activation is refused by name and reported without; what only looks on changes nothing."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from tests.problems import random

from .networks import Hidden
from .row_lengths import assert_refused, assert_seen, by_monitor

X = (random(30, 5),)


def changed(u, change):
    change(u)
    return F.relu(u)


BETWEEN = {  # what forward does with b's output, modules that it needs, and the word for what stands between
    "Dropout": (lambda net, u: F.relu(net.d(u)), {"d": nn.Dropout(0.3)}, "Dropout stands"),
    "F.dropout": (lambda net, u: F.relu(F.dropout(u, 0.3)), {}, "dropout stands"),
    "BatchNorm": (lambda net, u: F.relu(net.d(u)), {"d": nn.BatchNorm1d(8)}, "BatchNorm1d stands.*eval"),
    "F.batch_norm": (lambda net, u: F.relu(F.batch_norm(u, None, None, training=True)), {}, "BatchNorm stands"),
    "LayerNorm of all samples": (lambda net, u: F.relu(F.layer_norm(u, (30, 8))), {}, "LayerNorm stands.*more than"),
    "LayerNorm of the samples": (lambda net, u: F.relu(F.layer_norm(u.mT, (30,)).mT), {}, "LayerNorm stands"),
    "two": (lambda net, u: F.relu(F.layer_norm(net.d(u), (8,))), {"d": nn.LayerNorm(8)}, "LayerNorm and LayerNorm stand"),
    "LayerNorm and dropout": (lambda net, u: F.relu(F.dropout(net.d(u))), {"d": nn.LayerNorm(8)}, "LayerNorm .*dropout"),
    "LayerNorm and sum": (lambda net, u: F.relu(net.d(u) + net.kept), {"d": nn.LayerNorm(8)}, "LayerNorm .*sum"),
    "before LayerNorm": (lambda net, u: F.relu(net.d(u + 1)), {"d": nn.LayerNorm(8)}, "sum"),
    "LayerNorm and U": (lambda net, u: F.relu(net.d(u)) + u, {"d": nn.LayerNorm(8)}, "goes to"),
    "GroupNorm": (lambda net, u: F.relu(net.d(u)), {"d": nn.GroupNorm(2, 8)}, "GroupNorm stands"),
    "normalize": (lambda net, u: F.relu(F.normalize(u)), {}, "a normalization stands"),
    "block": (lambda net, u: net.d(u), {"d": nn.Sequential(nn.GroupNorm(2, 8), nn.ReLU())}, "GroupNorm stands"),
    "scale": (lambda net, u: F.relu(0.5 * u), {}, "product .* stands"),
    "division": (lambda net, u: F.relu(u / 2), {}, "division stands"),
    "sign": (lambda net, u: F.relu(-u), {}, "neg stands"), "residual": (lambda net, u: F.relu(u + net.kept), {}, "sum stands"),
    "residual in place": (lambda net, u: F.relu(u.add_(net.kept)), {}, "sum stands"),
    "shift": (lambda net, u: F.relu(u - 1), {}, "sum stands"),
    "clamp": (lambda net, u: torch.tanh(u.round()), {}, "round stands"),
    "slice": (lambda net, u: F.pad(F.relu(u[:, :4]), (0, 4)), {}, "part"),
    "halves": (lambda net, u: torch.cat([F.relu(part) for part in u.chunk(2, -1)], -1), {}, "split stands"),
    "index": (lambda net, u: F.relu(u[:, torch.arange(7, -1, -1)]), {}, "part"),
    "in place": (lambda net, u: changed(u, lambda u: u.mul_(2)), {}, "product"),
    "assignment": (lambda net, u: changed(u, lambda u: u.__setitem__((slice(None), 0), 0.0)), {}, "assignment"),
    "data": (lambda net, u: changed(u, lambda u: u.data.mul_(2)), {}, "product"),
    "zeros": (lambda net, u: changed(u, lambda u: u.zero_()), {}, "zero"),
    "detached": (lambda net, u: changed(u, lambda u: u.detach().add_(1)), {}, "sum"),
    "a row": (lambda net, u: changed(u, lambda u: u[0].mul_(2)), {}, "part"),
    "a view": (lambda net, u: changed(u, lambda u: u.view(-1).mul_(2)), {}, "product"),
    "a copy": (lambda net, u: changed(u, lambda u: u.copy_(u.flip(0))), {}, "copy"),
    "transposed": (lambda net, u: changed(u, lambda u: u.t().mul_(2)), {}, "product"),
    "masked": (lambda net, u: F.relu(u.masked_fill(u > 1, 1.0)), {}, "masked_fill"),
    "softmax": (lambda net, u: torch.softmax(u, -1), {}, "softmax"),
    "GLU": (lambda net, u: F.glu(torch.cat([u, u.flip(-1)], -1)), {}, "concatenation"),
    "nothing": (lambda net, u: u, {}, "the next linear layer"),
    "attention": (lambda net, u: F.scaled_dot_product_attention(u[None], u[None], u[None])[0], {}, "part|attention"),
}  # fmt: skip


@pytest.mark.parametrize("name", BETWEEN)
def test_what_stands_between_is_refused_by_name_and_reported_without(name):
    between, parts, words = BETWEEN[name]
    model = Hidden(between, **copy.deepcopy(parts))
    model.register_buffer("kept", random(30, 8, seed=3))
    assert_seen(model, {}, X, why={"a": "reads the input", "b": words, "c": "readout"})
    for layers in {"b": "relu"}, {"b": "tanh"}, {"b": nn.SiLU()}, ["b"]:
        assert_refused(model, X, layers, f"'b'.*(cannot be watched|was given).*({words})")


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_a_dropout_that_does_nothing_now_is_no_identity(p):
    """Where it stands between, the layer is left out also in evaluation mode, and refused where it is named."""
    model = Hidden(lambda net, u: F.relu(net.d(u)), d=nn.Dropout(p)).eval()
    assert_seen(model, {}, X, why={"b": "Dropout stands"}, sal=False)
    with pytest.raises(ValueError, match="'b' was given 'relu'.*Dropout stands"):
        by_monitor(model, X, layers={"b": "relu"})


class Logging(nn.Module):
    """a → tanh → b → relu → c, and b's output is written down on the way."""

    def __init__(self, log):
        super().__init__()
        self.a, self.b, self.c, self.log, self.kept = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3), log, {}
        self.act = nn.ReLU()
        self.double()

    def forward(self, x):
        u = self.b(torch.tanh(self.a(x)))
        before = self.log(u)
        h = self.act(u)
        self.kept = {"before": before, "after": self.log(u), "h": h, "dead": (h == 0).float().mean()}
        return self.c(h)


LOGS = {
    "detach": lambda u: u.detach(), "mean": lambda u: u.abs().mean(), "share": lambda u: (u > 0).float().mean().item(),
    "norm": lambda u: u.norm().item(),
    "histogram": lambda u: torch.histc(u.detach(), 5), "nan": lambda u: bool(u.isnan().any()),
    "numpy": lambda u: u.detach().numpy().sum(),
    "sigmoid": lambda u: torch.sigmoid(u).mean(), "tanh": lambda u: torch.tanh(u.detach()), "relu": lambda u: F.relu(u).sum(),
    "list": lambda u: u.tolist(),
    "clone": lambda u: u.clone(), "std": lambda u: (u.std(0), u.var(), u.max(), u.argmax(-1)),
    "scaled": lambda u: (2 * u.detach()).cpu().numpy(),
    "svd": lambda u: torch.linalg.svdvals(u.detach()), "print": lambda u: f"{u.shape} {u.dtype} {u}",
    "quantile": lambda u: u.quantile(0.5),
}  # fmt: skip


@pytest.mark.parametrize("name", LOGS)
def test_what_only_looks_on_does_not_confuse(name):
    assert_seen(Logging(LOGS[name]), {"b": torch.relu}, X, why={"a": "reads the input", "c": "readout"})
    assert_seen(Logging(LOGS[name]), {"b": torch.relu}, X, layers=["b"])


def test_an_output_that_is_returned_as_well_still_has_its_activation():
    class Returned(Hidden):
        def forward(self, x):
            u = self.b(torch.tanh(self.a(x)))
            return {"logits": self.c(F.relu(u)), "hidden": u, "all": [u, u.detach()]}

    assert_seen(Returned(), {"b": torch.relu}, X, why={"c": "readout"})


class Two(Hidden):
    """Both functions of b's output reach the model's output."""

    def __init__(self, one, other):
        super().__init__()
        self.one, self.other = one, other

    def forward(self, x):
        u = self.b(torch.tanh(self.a(x)))
        return self.c(self.one(u) + self.other(u))


@pytest.mark.parametrize(("other", "words"), [
    (torch.tanh, "relu and tanh"), (torch.square, "relu and square"), (lambda u: u, "relu and a sum"),
    (lambda u: F.relu(-u), "relu and neg"),
    (lambda u: u.mean(), "relu and mean"), (lambda u: torch.tanh(2 * u), "relu and a product"),
])  # fmt: skip
def test_an_output_with_two_uses_has_no_activation_but_by_name(other, words):
    model = Two(torch.relu, other)
    assert_seen(model, {}, X, why={"b": f"its output goes to {words}"})
    assert_refused(model, X, ["b"], f"'b' cannot be watched: its output goes to {words}")
    assert_seen(model, {"b": torch.relu}, X, layers={"b": "relu"})  # the reader says which of the two
    assert_refused(model, X, {"b": "sigmoid"}, "'b' was given 'sigmoid'")


def test_one_activation_taken_twice_is_one():
    assert_seen(Two(torch.relu, lambda u: 2 * F.relu(u)), {"b": torch.relu}, X)


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.gate, self.value, self.c = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.double()

    def forward(self, x):
        h = torch.tanh(self.a(x))
        return self.c(F.silu(self.gate(h)) * self.value(h))


def test_of_a_gated_unit_the_gate_has_an_activation_and_the_value_none():
    assert_seen(Gated(), {"gate": F.silu}, X, why={"value": "no activation takes its output; it goes to a product"})
    assert_refused(Gated(), X, {"value": "silu"}, "'value' was given 'silu'.*product")


def test_two_layers_after_each_other_are_told_apart():
    """The residual sum of one layer is the input of the next: each has its own row."""

    class Deep(Hidden):
        def __init__(self):
            super().__init__()
            self.d = nn.Linear(8, 8).double()

        def forward(self, x):
            h = torch.tanh(self.a(x))
            h = h + F.relu(self.b(h))
            return self.c(F.gelu(h + self.d(h)))

    assert_seen(Deep(), {"b": torch.relu}, X, why={"d": "sum stands between it and gelu"})


# --- hooks of the user's -------------------------------------------------------------------------------------------------
def doubled(module, arguments, output):
    return 2 * output


def with_hook(part, register, hook, **given):
    model = Hidden(act=nn.ReLU())
    getattr(getattr(model, part), register)(hook, **given)
    return model


@pytest.mark.parametrize("hook", [doubled, lambda m, i, o: o + 0.0 * i[0], lambda m, i, o: F.dropout(o, 0.1), lambda m, i,
                                  o: o * 1])
def test_a_hook_that_makes_another_output_of_the_layer_is_refused(hook):
    """Also one that does not change the numbers yet, as a LoRA's whose second factor is 0 at the start."""
    model = with_hook("b", "register_forward_hook", hook)
    assert_seen(model, {}, X, why={"b": "F.linear|weight · input"})
    assert_refused(model, X, {"b": "relu"}, "'b' cannot be watched: its output is not")


@pytest.mark.parametrize("hook", [lambda m, i, o: None, lambda m, i, o: o, lambda m, i, o: o.clone(), lambda m, i,
                                  o: o.mean() and None])
def test_a_hook_that_only_looks_on_changes_nothing(hook):
    for part in "abc":
        assert_seen(with_hook(part, "register_forward_hook", hook), {"b": torch.relu}, X)
    assert_seen(with_hook("act", "register_forward_hook", hook), {"b": torch.relu}, X)


def test_a_hook_before_the_layer_changes_its_input():
    """The sensitivity is that to what the weights multiply."""
    assert_seen(with_hook("b", "register_forward_pre_hook", lambda m, i: (2 * i[0],)), {"b": torch.relu}, X)


def test_hooks_around_the_activation():
    before = with_hook("act", "register_forward_pre_hook", lambda m, i: (2 * i[0],))
    assert_seen(before, {}, X, why={"b": "product .* stands between it and relu"})
    assert_refused(before, X, {"b": "relu"}, "'b' was given 'relu'.*product")
    assert_seen(with_hook("act", "register_forward_hook", doubled), {"b": torch.relu}, X)  # as 2 · relu(u) in forward


def test_a_global_hook_is_seen_as_well():
    handle = nn.modules.module.register_module_forward_hook(lambda m, i, o: 3 * o if isinstance(m, nn.Linear) else None)
    try:
        assert_seen(Hidden(act=nn.ReLU()), {}, X, why={"b": "F.linear|weight · input"})
    finally:
        handle.remove()
