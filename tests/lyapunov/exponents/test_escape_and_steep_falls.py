"""Systems that leave the finite numbers, and directions that a step shrinks below the digits: NaN for them, and no others."""

import itertools
import math
import warnings

import pytest
import torch

from salnb import covariant_vectors, finite_time_exponents, lyapunov_spectrum
from tests.problems import lorenz_rk4, random

D = torch.float64
MATRIX = 0.8 * torch.tensor([[1.1, 0.3, 0.0], [0.2, 0.5, 0.1], [0.0, 0.4, 0.3]], dtype=D)
CALM, WILD = torch.tensor([[0.1, 0.2, 0.3], [0.3, -0.1, 0.2]], dtype=D), torch.tensor([[9.0, 9, 9], [5, 5, 5]], dtype=D)
METHODS = ("auto", "householder", "cholesky", "elimination")


def cubic(x):
    return x @ MATRIX.mT + 0.1 * x**3


def to_infinity(x):
    """The state ends at infinity, where tangents stay finite."""
    return torch.where(x.abs() > 1e50, math.inf, x @ MATRIX.mT + 0.1 * x**3)


@pytest.mark.filterwarnings("ignore:qr_every")  # the last steps before the end of the finite numbers spread the tangents far
@pytest.mark.parametrize("step", [cubic, to_infinity])
@pytest.mark.parametrize(("method", "every", "history"), list(itertools.product(METHODS, (1, 2, "auto"), (True, False))))
def test_what_escapes_has_no_exponents_and_leaves_the_others_alone(method, every, history, step):
    given = {"n_steps": 20, "method": method, "qr_every": every, "history": history}
    found = lyapunov_spectrum(step, torch.cat([CALM, WILD]), **given)
    alone = lyapunov_spectrum(step, CALM, **given)
    assert found.exponents[2:].isnan().all()
    torch.testing.assert_close(found.exponents[:2], alone.exponents, rtol=0, atol=1e-9 if method != "cholesky" else 1e-7)
    # A processor may sum the rows of a larger batch in another order: in each of 20 steps of a map that contracts, half a unit
    # in the last place for each of at most 16 operations on numbers below 1.
    rounding = 20 * 16 * torch.finfo(D).eps / 2
    torch.testing.assert_close(found.state[:2], alone.state, rtol=0, atol=rounding)
    if history:
        assert not found.history[:, :2].isnan().any()


def test_what_escapes_over_given_steps_and_on_the_way_to_covariant_vectors():
    found = finite_time_exponents(cubic, torch.cat([WILD, CALM]), n_steps=30)
    assert found[:2].isnan().all()
    torch.testing.assert_close(found[2:], finite_time_exponents(cubic, CALM, n_steps=30), rtol=0, atol=1e-13)
    pair = [covariant_vectors(cubic, x, n_steps=5).vectors[:, :2] for x in (torch.cat([CALM, WILD]), CALM)]
    torch.testing.assert_close(*pair, rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_a_steep_fall_that_no_rounding_touches_has_its_value(method):
    matrix = torch.tensor([[2.0, 1.0], [0.0, 1e-7]])
    found = lyapunov_spectrum(lambda x: x @ matrix.T, torch.zeros(2), n_steps=50, method=method)
    assert found.exponents.tolist() == pytest.approx([math.log(2), math.log(1e-7)], abs=1e-6)


def sampled_lorenz(time: float, h: float = 0.04):
    def flow(s):
        x, y, z = s.unbind(-1)
        return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)

    def step(s):
        for _ in range(round(time / h)):
            a = flow(s)
            b = flow(s + h / 2 * a)
            c = flow(s + h / 2 * b)
            s = s + h / 6 * (a + 2 * b + 2 * c + flow(s + h * c))
        return s

    return step


def test_a_flow_sampled_within_its_digits_has_all_exponents():
    found = lyapunov_spectrum(sampled_lorenz(0.4), torch.tensor([[1.0, 1.0, 20.0]]), n_steps=5, dt=0.4)
    assert found.sum().item() == pytest.approx(-41 / 3, abs=0.1)


def test_a_flow_looked_at_once_a_unit_of_time_in_pytorchs_default_dtype():
    """A direction that shrinks by e^-14.6 between two reductions is alive: its exponent, or NaN and a warning, never -inf."""
    start = torch.tensor([[1.0, 1.0, 20.0]])
    exact = lyapunov_spectrum(lorenz_rk4(0.04), start.double(), n_steps=50, dt=0.04, history=False).exponents[0]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        stroboscopic = lyapunov_spectrum(sampled_lorenz(1.0), start, n_steps=2, dt=1.0).exponents[0]
        rare = lyapunov_spectrum(sampled_lorenz(0.04), start, n_steps=50, dt=0.04, qr_every=25).exponents[0]
    for found, words in ((stroboscopic, "step: 1 of 3 directions"), (rare, "qr_every: 25 steps")):
        # float32 moves the state by 1e-7 a step, and 2 units of time let that grow by e^2 or so, in the fastest stretches e^7.
        torch.testing.assert_close(found[:2], exact[:2], rtol=0, atol=0.05)
        told = [warning for warning in said if words in str(warning.message)]
        assert abs(found[2] - exact[2]) < 0.3 or (told and not found[2].isneginf())


def test_a_flow_sampled_beyond_its_digits_has_nan_and_a_warning_and_never_minus_infinity():
    start = torch.tensor([[1.0, 1.0, 20.0]])
    with pytest.warns(RuntimeWarning, match="step: 1 of 3 directions shrink in one step .* torch.float32 hold") as seen:
        found = lyapunov_spectrum(sampled_lorenz(1.4), start, n_steps=3, dt=1.4)
    ours = [warning for warning in seen if warning.category is RuntimeWarning]  # PyTorch has others, at its first derivative
    assert len(ours) == 1 and ours[0].filename == __file__
    # The same flow by single steps with the derivative written by hand, as long and in double precision.
    exact = lyapunov_spectrum(lorenz_rk4(0.04), start.double(), n_steps=3 * 35, dt=0.04, history=False).exponents
    assert exact.sum().item() == pytest.approx(-41 / 3, abs=0.1)  # of the flow; Runge-Kutta's is (0.04 |J|)^5 / 5! / 0.04
    assert found.exponents[0, 2].isnan() and found.exponents[0, :2].tolist() == pytest.approx(exact[0, :2].tolist(), abs=0.3)
    with pytest.warns(RuntimeWarning, match="step: 1 of 3 directions shrink in one step"):
        over = finite_time_exponents(sampled_lorenz(1.4), start, n_steps=2, dt=1.4)
    assert over[0, 2].isnan() and torch.isfinite(over[0, :2]).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_matrix_below_its_digits_in_general_position(method):
    basis = torch.linalg.qr(random(5, 5))[0]
    matrix = basis @ torch.diag(torch.tensor([2.0, 1.0, 0.5, 1e-21, 1e-24]).double()) @ basis.mT
    with pytest.warns(RuntimeWarning, match="step: 2 of 5 directions"):
        found = lyapunov_spectrum(lambda x: x @ matrix.mT, torch.zeros(5).double(), n_steps=200, n_warmup=100, method=method)
    assert found.exponents[:3].tolist() == pytest.approx([math.log(2), 0.0, math.log(0.5)], abs=1e-9)
    assert found.exponents[3:].isnan().all() and not found.exponents.isneginf().any()
