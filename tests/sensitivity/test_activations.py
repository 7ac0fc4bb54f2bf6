"""Slope and curvature of each activation against automatic differentiation, at ordinary and at awkward points."""

import pickle

import pytest
import torch
from torch import nn

from salnb.sensitivity.activations import ACTIVATIONS, activation_formulas, from_module
from tests.tolerances import close

MODULES = {
    "Tanh": nn.Tanh(),
    "Sigmoid": nn.Sigmoid(),
    "ReLU": nn.ReLU(),
    "LeakyReLU": nn.LeakyReLU(),
    "LeakyReLU(0.2)": nn.LeakyReLU(0.2),
    "GELU": nn.GELU(),
    "GELU('tanh')": nn.GELU("tanh"),
    "Softplus": nn.Softplus(),
    "Softplus(3, 2)": nn.Softplus(3, 2),
    "Softplus(0.5, 4)": nn.Softplus(0.5, 4),
}
POINTS = [0.0, 1e-8, -1e-8, 0.5, -0.5, 0.7, -0.7517916, 2.0, -2.0, 3.0, -3.0, 8.1, -8.1, 19.9, 20.1, -20.1, 40.0, -40.0]


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_slope_and_curvature_equal_autograd(module, device):
    u = torch.tensor(POINTS, dtype=torch.float64, device=device, requires_grad=True)
    formulas = from_module(module)
    output = module(u)
    slope = torch.autograd.grad(output.sum(), u, create_graph=True)[0]
    curvature = torch.zeros_like(u)
    if slope.requires_grad:
        curvature = torch.autograd.grad(slope.sum(), u, allow_unused=True, materialize_grads=True)[0]
    digits = close(torch.float64, 40)  # a polynomial, a function of the library and their derivatives, at points up to 40
    with torch.no_grad():
        torch.testing.assert_close(formulas.function(u), output, **digits)
        torch.testing.assert_close(formulas.slope(u), slope, **digits)
        torch.testing.assert_close(formulas.curvature(u), curvature, **digits)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nothing_is_nan_far_out_and_dtype_and_device_are_kept(name, device):
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        u = torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4], dtype=dtype, device=device)
        for formula in ACTIVATIONS[name][1:]:
            found = formula(u)
            assert found.dtype == dtype and found.device == u.device and bool(torch.isfinite(found).all())


def test_a_name_means_the_modules_defaults(device):
    u = torch.linspace(-3, 3, 13, dtype=torch.float64, device=device)
    for name, module in {"tanh": nn.Tanh(), "sigmoid": nn.Sigmoid(), "relu": nn.ReLU(), "leaky_relu": nn.LeakyReLU(),
                         "gelu": nn.GELU(), "softplus": nn.Softplus(), "identity": nn.Identity()}.items():  # fmt: skip
        torch.testing.assert_close(activation_formulas(name).function(u), module(u))


def test_identity_has_slope_1_and_no_curvature(device):
    u = torch.linspace(-2, 2, 5, device=device)
    assert from_module(nn.Identity()).slope(u).tolist() == [1.0] * 5
    assert from_module(nn.Identity()).curvature(u).tolist() == [0.0] * 5


def test_equal_settings_are_one_object_so_that_layers_can_be_stacked():
    assert from_module(nn.LeakyReLU(0.2)) is from_module(nn.LeakyReLU(0.2))
    assert from_module(nn.Softplus(2.0)) is from_module(nn.Softplus(2.0))
    assert from_module(nn.Softplus(2.0)) is not from_module(nn.Softplus(3.0))


AUTOMATIC = [
    nn.SiLU(), nn.SiLU(inplace=True), nn.ELU(0.7), nn.SELU(), nn.CELU(2.0), nn.Mish(), nn.Hardtanh(-0.5, 2.0), nn.ReLU6(),
    nn.Hardswish(), nn.Hardsigmoid(), nn.LogSigmoid(), nn.Softsign(), nn.Tanhshrink(), nn.Softshrink(0.3), nn.Hardshrink(0.3),
    nn.Threshold(0.1, -1.0), nn.PReLU(), nn.PReLU(7, 0.1),
]  # fmt: skip


@pytest.mark.parametrize("module", AUTOMATIC, ids=lambda module: str(module).replace(" ", ""))
def test_activations_without_formulas_are_differentiated(module, device):
    module, u = module.to(device), torch.linspace(-3.03, 3.1, 35, dtype=torch.float64, device=device).view(5, 7).requires_grad_()
    formulas, output = from_module(module.double()), module(u * 1)
    slope = torch.autograd.grad(output.sum(), u, create_graph=True)[0]
    curvature = torch.zeros_like(u)
    if slope.requires_grad and not isinstance(module, nn.Hardsigmoid):  # that one is made of straight pieces
        curvature = torch.autograd.grad(slope.sum(), u, allow_unused=True, materialize_grads=True)[0]
    for found, right in ((formulas.function(u.detach()), output), (formulas.slope(u.detach()), slope),
                         (formulas.curvature(u.detach()), curvature)):  # fmt: skip
        torch.testing.assert_close(found, right.detach(), **close(torch.float64, 10))
        assert not found.requires_grad


class Swish(nn.Module):
    """With a parameter, and written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))

    def forward(self, u):
        return u * torch.sigmoid(self.beta * u)


OWN = [torch.sin, nn.functional.silu, "mish", lambda u: u * torch.sigmoid(u), Swish(), torch.tanh, torch.relu]


@pytest.mark.parametrize("given", OWN)
def test_a_function_or_module_of_ones_own_is_differentiated(given):
    u = torch.linspace(-3, 3, 35, dtype=torch.float64, requires_grad=True)
    function = nn.functional.mish if given == "mish" else given
    slope = torch.autograd.grad(function(u).sum(), u)[0]
    torch.testing.assert_close(activation_formulas(given).slope(u.detach()), slope, **close(torch.float64, 10))


def test_a_parameter_of_an_activation_is_read_anew():
    module, u = nn.PReLU(init=0.1).double(), torch.tensor([-1.0, 1.0], dtype=torch.float64)
    formulas = activation_formulas(module)
    with torch.no_grad():
        module.weight.fill_(0.4)
    assert formulas.slope(u).tolist() == [0.4, 1.0]


def test_functions_with_a_known_name_are_the_known_ones():
    assert activation_formulas(torch.tanh) is ACTIVATIONS["tanh"]
    assert activation_formulas(nn.functional.gelu) is ACTIVATIONS["gelu"]
    assert activation_formulas(nn.functional.silu) is activation_formulas(nn.SiLU()) is activation_formulas("silu")


def test_a_subclass_with_a_forward_of_its_own_is_another_function():
    class Half(nn.Tanh):
        def forward(self, u):
            return torch.tanh(u / 2)

    assert from_module(Half()) is None
    u = torch.zeros(1)
    assert activation_formulas(Half()).slope(u).item() == 0.5


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return u.tanh()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient * (1 - ctx.saved_tensors[0].tanh().square())


def test_without_a_second_derivative_it_is_an_error_in_words():
    with pytest.raises(ValueError, match="^activation: apply: autograd gives no second derivative.*give an Activation"):
        activation_formulas(Once.apply)


NEITHER = [
    nn.Softmax(-1), nn.LayerNorm(8), nn.Dropout(), nn.RReLU(), nn.Linear(2, 2), lambda u: u.sum(), lambda u: u / u.max(), 3,
    "swish", None,
]  # fmt: skip


@pytest.mark.parametrize("given", NEITHER)
def test_what_is_no_elementwise_function_is_an_error_in_words(given):
    words = "^activation: (got .*expected one of tanh, .*silu|.* is no elementwise|.* could not be called)"
    with pytest.raises(ValueError, match=words):
        activation_formulas(given)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_functions_can_be_pickled_because_networks_hold_them(name):
    u = torch.linspace(-1, 1, 5)
    assert torch.equal(pickle.loads(pickle.dumps(ACTIVATIONS[name].function))(u), ACTIVATIONS[name].function(u))
