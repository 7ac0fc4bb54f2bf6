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


@pytest.mark.parametrize("module", [nn.Softmax(-1), nn.Hardtanh(), nn.ReLU6(), nn.PReLU(), nn.ELU(), nn.Linear(2, 2)])
def test_an_unknown_module_is_none_and_by_lookup_an_error_that_lists_the_known_ones(module):
    assert from_module(module) is None
    with pytest.raises(ValueError, match="activation: got .*expected one of tanh, sigmoid, relu, leaky_relu, gelu, softplus"):
        activation_formulas(module)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_functions_can_be_pickled_because_networks_hold_them(name):
    u = torch.linspace(-1, 1, 5)
    assert torch.equal(pickle.loads(pickle.dumps(ACTIVATIONS[name].function))(u), ACTIVATIONS[name].function(u))
