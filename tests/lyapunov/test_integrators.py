"""The Runge–Kutta step: exact solutions, its order, inputs, dtypes, and the exponents of Lorenz's system."""

import math

import numpy as np
import pytest
import torch

from salnb import lyapunov_spectrum, rk4_step
from tests.digits import kept
from tests.problems import lorenz_rk4, random
from tests.tolerances import close


def lorenz(s):
    x, y, z = s.unbind(-1)
    return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)


def test_a_linear_flow_is_its_exponential_up_to_the_fifth_power():
    """One step is the series of exp(A dt) up to (A dt)^4 / 24, exactly."""
    matrix, x = random(4, 4), random(5, 4, seed=1)
    series, term = torch.eye(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    for k in range(1, 5):
        term = term @ matrix * 0.1 / k
        series = series + term
    found = rk4_step(lambda x: x @ matrix.mT, 0.1)(x)
    torch.testing.assert_close(found, x @ series.mT, **close(torch.float64, 100, float(x.abs().max())))


def test_halving_the_step_divides_the_error_by_sixteen():
    """dx/dt = −x² from 1: x(t) = 1 / (1 + t)."""
    errors = []
    for n in 20, 40, 80:
        x, step = torch.ones(1, dtype=torch.float64), rk4_step(lambda x: -(x**2), 1 / n)
        for _ in range(n):
            x = step(x)
        errors.append(abs(x.item() - 0.5))
    for one, half in zip(errors, errors[1:], strict=False):
        assert 14 < one / half < 18


def test_backward_is_the_way_back():
    x = random(3)
    there = rk4_step(lorenz, 1e-3)(x)
    torch.testing.assert_close(rk4_step(lorenz, -1e-3)(there), x, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dt", [0.01, np.float64(0.01), np.float32(0.01)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_state_keeps_its_dtype(dt, dtype):
    step = rk4_step(lambda x, u: u - x, dt)
    assert step(torch.ones(2, 3, dtype=dtype), torch.ones(3, dtype=dtype)).dtype == dtype


def test_lorenz_has_the_exponents_of_the_step_written_by_hand():
    """Their sum is the divergence of the field, −(10 + 1 + 8/3), up to the method's error.

    Those of the hand-written step are compared with the literature in test_exact_systems.py.
    """
    x, by_hand = torch.tensor([0.0, 0.0, 25.0], dtype=torch.float64) + 6 * random(20, 3), lorenz_rk4(0.01)
    for _ in range(500):  # onto the attractor
        x = by_hand(x)
    given = {"n_steps": 40, "n_warmup": 60, "dt": 0.01}
    ours, expected = (lyapunov_spectrum(step, x, **given) for step in (rk4_step(lorenz, 0.01), by_hand))
    # A step is off by (A dt)^5 / 120, where the rates of A are below 30: for each of three directions and per unit of time.
    assert float((ours.sum() + 41 / 3).abs().max()) < 3 * 30**5 * 0.01**4 / 120
    # The same steps in another order of operations. What rounding does to either on this run, both may do.
    digits = 2 * kept(by_hand, x, **given).exponents
    torch.testing.assert_close(ours.exponents, expected.exponents, rtol=0, atol=digits)
    assert digits < 1e-6


def test_an_input_stays_the_same_during_the_step():
    """dx/dt = u: x grows by u dt."""
    inputs = random(7, 2)
    step, x = rk4_step(lambda x, u: u + 0 * x, 0.5), torch.zeros(2, dtype=torch.float64)
    for u in inputs:
        x = step(x, u)
    torch.testing.assert_close(x, 0.5 * inputs.sum(0), **close(torch.float64, 30, 5))
    spectrum = lyapunov_spectrum(rk4_step(lambda x, u: u - x, 0.5), x, n_steps=7, inputs=inputs, dt=0.5)
    exact = math.log(1 - 0.5 + 0.5**2 / 2 - 0.5**3 / 6 + 0.5**4 / 24) / 0.5
    torch.testing.assert_close(spectrum.exponents, torch.full((2,), exact, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("field", "dt", "error", "words"), [
    ("x", 0.1, TypeError, "field: got str"), (lorenz, "0.1", TypeError, "dt: got '0.1'"), (lorenz, True, TypeError, "True"),
    (lorenz, 0.0, ValueError, "dt: got 0.0"), (lorenz, math.inf, ValueError, "got inf"), (lorenz, math.nan, ValueError, "nan"),
])  # fmt: skip
def test_what_is_no_flow_is_refused(field, dt, error, words):
    with pytest.raises(error, match=words):
        rk4_step(field, dt)
