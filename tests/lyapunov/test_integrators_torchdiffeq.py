"""What the docstring of rk4_step says of torchdiffeq."""

import math

import pytest
import torch
import torchdiffeq
from torch import nn

from salnb import finite_time_exponents, lyapunov_spectrum, rk4_step
from tests.problems import lorenz_rk4
from tests.tolerances import rounding

D, DT, STEPS = torch.float64, 0.02, 3
START = torch.tensor([[1.0, 1.0, 20.0], [-2.0, 1.0, 25.0]], dtype=D)


def field(s):
    x, y, z = s.unbind(-1)
    return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)


def step_of(rule=field, *, integrate=torchdiffeq.odeint, dt=DT, **given):
    function = nn.Module()
    function.forward = lambda t, x: rule(x)  # the adjoint method wants a module
    return lambda x: integrate(function, x, torch.tensor([0.0, dt], dtype=x.dtype), **given)[-1]


def run(step, state=START, **given):
    return lyapunov_spectrum(step, state, **{"n_steps": STEPS, "dt": DT, **given}).exponents


@pytest.fixture(scope="module")
def flow():
    """The flow itself: by steps of 0.001 with a derivative written by hand, each off by (0.001 · 30)^5 / 5!, 2e-10."""
    return run(lorenz_rk4(DT / 20), n_steps=20 * STEPS, dt=DT / 20)


# Off by (h |A|)^5 / 5! in each of three directions, where the rates of A are below 30.
RK4 = 3 * (30 * DT) ** 5 / 120 / DT


def local(rtol: float = 1e-7, atol: float = 1e-9) -> float:
    """What an adaptive step may be off by, for states of a size below 30; the default is torchdiffeq's own."""
    return atol + 30 * rtol


def adaptive(order: int, **tolerance: float) -> float:
    """What exponents may be off by: in each of three directions, at every step, by the derivative of the step's error.

    The error is a polynomial of degree order + 1 in a state of a size of at least 1, so that its derivative is that many times as
    large.
    """
    return 3 * (order + 1) * local(**tolerance) / DT


@pytest.mark.parametrize(("given", "known"), [
    ({"method": "rk4"}, RK4),
    ({}, adaptive(5)),
    ({"method": "dopri5", "rtol": 1e-6, "atol": 1e-6}, adaptive(5, rtol=1e-6, atol=1e-6)),
    ({"method": "dopri8"}, adaptive(8)),
    ({"integrate": torchdiffeq.odeint_adjoint, "adjoint_params": ()}, adaptive(5)),
], ids=["rk4", "default", "dopri5", "dopri8", "adjoint"])  # fmt: skip
def test_its_integrators_are_steps(given, known, flow):
    step = step_of(**given)
    torch.testing.assert_close(run(step), flow, rtol=0, atol=known)
    if given.get("method") == "rk4":
        torch.testing.assert_close(run(step, START[0]), flow[0], rtol=0, atol=known)


def test_fixed_steps_by_differences_too():
    step = step_of(method="rk4")
    # A tangent is right to 4e-11 of its size, times third derivatives of a step of at most a hundred.
    torch.testing.assert_close(run(step, START[0], jvp="finite-difference"), run(step, START[0]), rtol=0, atol=4e-9 / DT)


def test_one_long_adaptive_step_is_many_short_ones():
    long, short = (run(step_of(dt=dt), START[0], n_steps=n, dt=dt) for dt, n in ((0.1, 1), (0.02, 5)))
    torch.testing.assert_close(long, short, rtol=0, atol=adaptive(5))


@pytest.mark.parametrize("method", ["dopri5", "bosh3"])
def test_a_coarse_tolerance_is_refused_in_words(method):
    with pytest.raises(ValueError, match="step: its derivative by PyTorch is not that of the function"):
        run(step_of(method=method, rtol=1e-3, atol=1e-3, dt=0.1), START[0], dt=0.1)


@pytest.mark.filterwarnings("ignore:The following arguments have no effect")  # SciPy's, of what torchdiffeq hands on
def test_scipys_solvers_are_refused_in_words_and_right_by_differences(flow):
    step = step_of(method="scipy_solver", options={"solver": "RK45"}, rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match='step: .*jvp="finite-difference"'):
        run(step, START[0])
    # A difference divides the error of its two ends by their distance, 2 eps^(1/3) of the state's size, which is 20.
    known = local(1e-9, 1e-9) / (2 * 20 * torch.finfo(D).eps ** (1 / 3)) / DT
    torch.testing.assert_close(run(step, START[0], jvp="finite-difference"), flow[0], rtol=0, atol=known)


def test_gradients_of_exponents_need_fixed_steps():
    rate = torch.tensor(28.0, dtype=D, requires_grad=True)

    def rule(s):
        x, y, z = s.unbind(-1)
        return torch.stack([10 * (y - x), x * (rate - z) - y, x * y - 8 / 3 * z], -1)

    def gradient(step):
        first = finite_time_exponents(step, START[0], n_steps=3, dt=DT, k=1, create_graph=True)
        return torch.autograd.grad(first.sum(), rate)[0]

    # torchdiffeq's "rk4" is the 3/8 rule, which has another error of the same size as the classical one.
    torch.testing.assert_close(gradient(step_of(rule, method="rk4")), gradient(rk4_step(rule, DT)), rtol=0, atol=RK4)
    with pytest.raises(RuntimeError, match="create_graph: nothing that step uses asks for a gradient.*detaches"):
        gradient(step_of(rule))


def test_a_linear_flow_has_its_rates_by_any_of_them():
    """dx/dt = A x with a diagonal A: exact but for the method, which takes e^a for 1 + a + … + a^4 / 24 where a = -3 dt."""
    rates = torch.tensor([0.5, -1.0, -3.0], dtype=D)
    for given, known in (({"method": "rk4"}, (3 * DT) ** 5 / 120 * math.exp(3 * DT) / DT), ({}, adaptive(5))):
        found = run(step_of(lambda x: rates * x, **given), START[0] / 20)
        torch.testing.assert_close(found, rates, rtol=0, atol=known + rounding(D, 100) / DT)
