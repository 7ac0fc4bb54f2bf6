"""Every way to write an activation: the right slope without a name, or a refusal, and a name is checked."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from salnb import SAL, Activation, SensitivityMonitor
from tests.problems import random

from .networks import Hidden
from .row_lengths import assert_refused, assert_seen, by_monitor, by_sal, rounding_of, row_lengths

X = (random(30, 5),)
FUNCTIONS = {  # what forward does with b's output: the same function, without working in place
    "F.gelu": (F.gelu, None), "gelu of tanh": (lambda u: F.gelu(u, approximate="tanh"), None), "torch.tanh": (torch.tanh, None),
    "F.tanh": (F.tanh, torch.tanh), "tanh_": (torch.tanh_, torch.tanh), "relu_": (torch.relu_, torch.relu),
    "u.relu()": (lambda u: u.relu(), None), "u.relu_()": (lambda u: u.relu_(), torch.relu),
    "u.tanh()": (lambda u: u.tanh(), None),
    "u.sigmoid_()": (lambda u: u.sigmoid_(), torch.sigmoid), "F.sigmoid": (F.sigmoid, None), "expit": (torch.special.expit, None),
    "F.relu inplace": (lambda u: F.relu(u, inplace=True), F.relu), "F.relu6": (F.relu6, None),
    "F.elu inplace": (lambda u: F.elu(u, 0.7, inplace=True), lambda u: F.elu(u, 0.7)), "F.elu_": (F.elu_, F.elu),
    "F.leaky inplace": (lambda u: F.leaky_relu(u, 0.3, True), lambda u: F.leaky_relu(u, 0.3)),
    "F.silu inplace": (lambda u: F.silu(u, inplace=True), F.silu), "F.mish": (F.mish, None), "F.selu": (F.selu, None),
    "F.celu": (lambda u: F.celu(u, alpha=1.3), None),
    "F.hardtanh_": (lambda u: F.hardtanh_(u, -0.2, 0.3), lambda u: F.hardtanh(u, -0.2, 0.3)),
    "F.softsign": (F.softsign, None), "F.softplus": (lambda u: F.softplus(u, 2.0, 0.5), None), "F.hardswish": (F.hardswish, None),
    "F.hardsigmoid": (F.hardsigmoid, None), "F.logsigmoid": (F.logsigmoid, None), "F.tanhshrink": (F.tanhshrink, None),
    "F.softshrink": (lambda u: F.softshrink(u, 0.1), None), "F.hardshrink": (lambda u: F.hardshrink(u, 0.1), None),
    "F.threshold": (lambda u: F.threshold(u, 0.1, -1.0), None), "clamp(min=0)": (lambda u: u.clamp(min=0), None),
    "clamp_": (lambda u: u.clamp_(0), torch.relu), "clamp": (lambda u: torch.clamp(u, -0.3, 0.3), None), "sin": (torch.sin, None),
    "other shape": (lambda u: F.gelu(u.view(5, 6, 8).transpose(0, 1)).transpose(0, 1).reshape(30, 8), F.gelu),
    "other type": (lambda u: torch.tanh(u.float()).double(), None),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "other type"])
def test_a_function_is_known_by_what_it_does(name):
    function, plain = FUNCTIONS[name]
    model = Hidden(lambda net, u: function(u))
    assert_seen(model, {"b": plain or function}, X, why={"a": "reads the input", "c": "readout"})
    assert_seen(model, {"b": plain or function}, X, layers=["b"])


class Swish(nn.Module):
    def forward(self, u):
        return u * torch.sigmoid(u)


class LearnedSwish(nn.Module):
    """Its parameter is one number; what it writes to itself must not be what the look has tried it with."""

    def __init__(self):
        super().__init__()
        self.beta, self.calls, self.last = nn.Parameter(torch.tensor(1.7)), 0, None

    def forward(self, u):
        self.calls, self.last = self.calls + 1, u.detach()
        return u * torch.sigmoid(self.beta * u)


class OwnGradient(torch.autograd.Function):
    @staticmethod
    def forward(context, u):
        context.save_for_backward(u)
        return u.clamp(min=0) + 0.3 * u.clamp(max=0)

    @staticmethod
    def backward(context, gradient):
        (u,) = context.saved_tensors
        return gradient * torch.where(u > 0, 1.0, 0.3)


class OwnGradientModule(nn.Module):
    def forward(self, u):
        return OwnGradient.apply(u)


MODULES = [
    nn.ReLU(), nn.ReLU(inplace=True), nn.Tanh(), nn.Sigmoid(), nn.GELU(), nn.GELU("tanh"), nn.LeakyReLU(0.2),
    nn.LeakyReLU(0.2, True),
    nn.PReLU(), nn.PReLU(8), nn.SiLU(), nn.SiLU(inplace=True), nn.ELU(0.5), nn.ELU(inplace=True), nn.SELU(), nn.CELU(2.0),
    nn.Mish(),
    nn.Hardtanh(-0.2, 0.3), nn.Softsign(), nn.ReLU6(), nn.Softplus(2, 1.0), nn.Hardswish(), nn.Hardsigmoid(), nn.LogSigmoid(),
    nn.Tanhshrink(), nn.Softshrink(0.1), nn.Hardshrink(0.1), nn.Threshold(0.1, 0.5), Swish(), LearnedSwish(), OwnGradientModule(),
    nn.Sequential(nn.Identity(), nn.Tanh()), nn.Sequential(nn.ELU(), nn.Identity()),
]  # fmt: skip


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module).replace("\n", ""))
def test_a_module_is_known_by_what_it_does(module):
    plain = copy.deepcopy(module).double()
    if getattr(plain, "inplace", False):
        plain.inplace = False
    model = Hidden(act=copy.deepcopy(module))
    assert_seen(model, {"b": plain}, X)
    assert_seen(model, {"b": plain}, X, layers={"b": plain})


@pytest.mark.parametrize("module", [m for m in MODULES[:-6] if not isinstance(m, nn.PReLU)], ids=str)
def test_a_module_that_is_no_part_of_the_model_is_seen_as_well(module):
    plain = copy.deepcopy(module)
    if getattr(plain, "inplace", False):
        plain.inplace = False
    assert_seen(Hidden(lambda net, u: module(u)), {"b": plain}, X)


def test_a_function_kept_in_an_attribute_or_a_table_is_seen():
    model = Hidden(lambda net, u: net.act_fn(net.table["relu"](u) if net.use_table else u))
    model.act_fn, model.table, model.use_table = F.gelu, {"relu": torch.relu}, False
    assert_seen(model, {"b": F.gelu}, X)


@pytest.mark.parametrize("act", [nn.PReLU(), nn.PReLU(8), LearnedSwish()], ids=str)
def test_what_an_activation_learns_is_read_anew_at_every_pass(act):
    model = Hidden(act=copy.deepcopy(act))
    sal = SAL(model, lr=0.0, decay=0.0)
    for k in range(3):
        with torch.no_grad():
            next(model.act.parameters()).add_(0.2 * k)
        expected = row_lengths(model, {"b": model.act}, X)["b"]
        model(*X)
        sal.step()
        torch.testing.assert_close(sal.sensitivity["b"], expected, **rounding_of(expected))


@pytest.mark.parametrize("act", [nn.PReLU(8), nn.Tanh(), Swish()], ids=str)
def test_the_same_activation_after_every_call_of_a_layer_is_one(act):
    class Twice(Hidden):
        def forward(self, x):
            return self.c(self.act(self.b(self.act(self.b(torch.tanh(self.a(x)))))))

    assert_seen(Twice(act=act), {"b": act}, X)


def own(u: Tensor) -> Tensor:
    return torch.where(u > 0, u, 0.1 * u)


scripted = torch.jit.script(own)
OWN = {  # not to be told without a name, but found right with one: the function, and words for what is seen of it
    "x · sigmoid(x)": (lambda u: u * torch.sigmoid(u), "sigmoid and a product"),
    "where": (own, "where"), "maximum": (lambda u: torch.maximum(u, torch.zeros_like(u)), "maximum"),
    "power": (lambda u: u**2, "pow"),
    "torch.jit": (scripted, "torch.jit"), "autograd.Function": (OwnGradient.apply, "product|clamp"),
    "relu squared": (lambda u: F.relu(u) ** 2, None), "two steps": (lambda u: torch.tanh(2 * u), "product .* tanh"),
    "softcap": (lambda u: 5 * torch.tanh(u / 5), "division stands between it and tanh"),
}  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_a_function_of_the_readers_own_is_right_when_it_is_named(name):
    function, words = OWN[name]
    model = Hidden(lambda net, u: function(u))
    assert_seen(model, {"b": function}, X, layers={"b": function})
    if words is not None:
        assert_seen(model, {}, X, why={"b": words})
        assert_refused(model, X, {"b": "tanh"} if name not in ("two steps", "softcap") else {"b": "relu"}, "'b'.*was given")
        assert_refused(model, X, ["b"], "'b' cannot be watched")


def test_a_scripted_module_is_right_when_it_is_named_and_else_says_why_not():
    module = torch.jit.script(Swish())
    model = Hidden(act=module)
    assert_seen(model, {"b": Swish()}, X, layers={"b": Swish()})
    assert_seen(model, {}, X, why={"b": "torch.jit", "act": "torch.jit"})


@pytest.mark.parametrize("layers", [None, ["b"], {"b": nn.RReLU()}, {"b": "relu"}, {"b": "leaky_relu"}])
@pytest.mark.parametrize("model", [Hidden(act=nn.RReLU()), Hidden(lambda net, u: F.rrelu(u, training=True))])
def test_a_randomized_slope_is_refused_in_training_mode(model, layers):
    if layers is None:
        assert_seen(model, {}, X, why={"b": "rrelu"})
    else:
        assert_refused(model, X, layers, "'b'.*(rrelu|chance)")


def test_a_randomized_slope_is_its_mean_in_evaluation_mode():
    model = Hidden(act=nn.RReLU(0.1, 0.3)).eval()
    found, _ = by_monitor(model, X, layers={"b": nn.LeakyReLU(0.2)})
    expected = row_lengths(model, {"b": nn.LeakyReLU(0.2)}, X)["b"]
    torch.testing.assert_close(found["b"], expected.mean().item(), **rounding_of(expected))


@pytest.mark.parametrize(("act", "given", "right"), [
    (nn.Tanh(), "relu", "tanh"), (nn.SiLU(), "gelu", "silu"), (nn.ReLU6(), "relu", "relu6"),
    (nn.LeakyReLU(0.2), "leaky_relu", "other settings"),
    (nn.GELU("tanh"), "gelu", "other settings"), (nn.Softplus(2.0), "softplus", "other settings"),
    (nn.Hardtanh(-9, 9), "identity", "hardtanh"),
    (nn.ELU(0.5), nn.ELU(), "other settings"), (nn.Tanh(), lambda u: u * torch.sigmoid(u), "tanh"),
])  # fmt: skip
def test_a_wrong_name_is_refused_with_the_right_one(act, given, right):
    assert_refused(Hidden(act=act), X, {"b": given}, f"'b' was given .*{right}")
    plain = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 8), act, nn.Linear(8, 3)).double()
    assert_refused(plain, X, {"2": given}, f"'2' was given .*{right}")


@pytest.mark.parametrize("given", ["relu", nn.ReLU(), torch.relu, F.relu, Tensor.relu, lambda u: u.clamp(min=0),
                                   nn.ReLU(inplace=True),
                                   Activation("mine", torch.relu, lambda u: (u > 0).to(u.dtype), torch.zeros_like)])  # fmt: skip
def test_a_right_name_is_taken_in_any_form(given):
    assert_seen(Hidden(act=nn.ReLU()), {"b": torch.relu}, X, layers={"b": given})


class Once(torch.autograd.Function):
    """A gradient that cannot be differentiated again."""

    @staticmethod
    def forward(context, u):
        context.save_for_backward(u)
        return torch.tanh(u)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        return gradient * (1 - context.saved_tensors[0].tanh() ** 2)


class OnceModule(nn.Module):
    def forward(self, u):
        return Once.apply(u)


def test_an_activation_without_a_second_derivative_is_refused_in_words():
    assert_refused(Hidden(act=OnceModule()), X, {"b": OnceModule()}, "'b'.*no second derivative")
    known = Activation("mine", torch.tanh, lambda u: 1 - torch.tanh(u) ** 2,
                       lambda u: -2 * torch.tanh(u) * (1 - torch.tanh(u) ** 2))
    assert_seen(Hidden(act=OnceModule()), {"b": torch.tanh}, X, layers={"b": known})


@pytest.mark.parametrize("given", [nn.Softmax(-1), nn.LayerNorm(8), nn.Dropout(0.5), lambda u: u.mean(), lambda u: u[:, :1],
                                   nn.Linear(8, 8),
                                   lambda u: u / u.norm(), "swish", 3, nn.GLU()])  # fmt: skip
def test_what_is_no_elementwise_function_is_refused_by_name(given):
    assert_refused(Hidden(act=nn.Tanh()), X, {"b": given}, "layers: 'b': activation: ")


@pytest.mark.parametrize("module", [LearnedSwish(), Swish(), OwnGradientModule(), nn.PReLU()], ids=str)
def test_trying_a_module_leaves_it_as_the_pass_left_it(module):
    plain, watched = Hidden(act=copy.deepcopy(module)), Hidden(act=copy.deepcopy(module))
    watched.load_state_dict(plain.state_dict())
    sal = SAL(watched)
    torch.testing.assert_close(plain(*X), watched(*X), rtol=0, atol=0)
    assert [row["watched"] for row in sal.report()] == ["no", "yes", "no"]
    if isinstance(module, LearnedSwish):
        assert watched.act.calls == plain.act.calls == 1
        torch.testing.assert_close(watched.act.last, plain.act.last, rtol=0, atol=0)


def test_a_number_of_another_type_is_still_the_same_activation():
    """u.float() rounds; the activation and its slope are those at the double's u, to float32."""
    model = Hidden(lambda net, u: torch.tanh(u.float()).double())
    expected = row_lengths(model, {"b": torch.tanh}, X)["b"]
    for found in by_sal(model, X)[0]["b"].mean(), by_monitor(model, X)[0]["b"]:
        torch.testing.assert_close(float(found), expected.mean().item(), **rounding_of(expected.float()))


def test_slopes_of_a_prelu_along_another_dimension_are_not_the_neurons():
    """With as many time steps as neurons PReLU(6) fits a (B, T, N) tensor, but PyTorch lays its slopes along T."""
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.PReLU(6), nn.Linear(6, 2)).double()
    with SensitivityMonitor(model) as monitor:
        model(random(3, 6, 4))
    assert not monitor.history and "prelu" in str(monitor.summary())
    sal = SAL(model)
    model(random(3, 6, 4))
    with pytest.raises(RuntimeError, match="prelu"):
        sal.step()
    with pytest.raises(ValueError, match="layers: '2' cannot be watched: the slopes of its prelu lie along dimension 1"):
        SAL(model, layers={"2": model[3]}, example=random(3, 6, 4))
