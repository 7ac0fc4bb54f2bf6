"""Where exponents go wrong in other tools: dead directions, low precision, overflow, bad input."""

import math

import pytest
import torch

from salnb import lyapunov_spectrum
from tests.problems import gaussian, linear_step, random, seeded, tanh_step


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_direction_that_dies_has_minus_infinity_not_nan(k, dtype, device):
    diagonal = torch.tensor([0.0, 0.5, 0.0, 0.0], dtype=dtype, device=device)
    found = lyapunov_spectrum(lambda x: x * diagonal, torch.ones_like(diagonal), n_steps=30, k=k, n_warmup=3)
    assert found.exponents.tolist() == pytest.approx([math.log(0.5)] + [-math.inf] * (k - 1))
    assert not found.history.isnan().any()


@pytest.mark.parametrize("every", [1, 2, "auto"])
def test_full_spectrum_with_units_of_slope_exactly_0(every, device):
    """Saturated tanh units have slope 0 in floating point: as many exponents are minus infinity, the others are the rest's."""
    alive = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0], dtype=torch.float64, device=device)
    matrix = alive.unsqueeze(-1) * gaussian(6, 1.0, device=device)
    found = lyapunov_spectrum(linear_step(matrix), random(6, device=device), n_steps=400, n_warmup=100, qr_every=every)
    assert found.exponents[4:].tolist() == [-math.inf] * 2
    rest = matrix[alive > 0][:, alive > 0]
    assert found.exponents[:4].sum().item() == pytest.approx(torch.linalg.slogdet(rest)[1].item(), abs=1e-6)


def test_large_gain_saturates_units_without_nan():
    step, state = tanh_step(gaussian(20, 60.0, replicas=(4,))), random(4, 20)
    found = lyapunov_spectrum(step, state, n_steps=50, n_warmup=5).exponents
    assert not found.isnan().any() and found.isneginf().any()
    assert bool((found[..., :-1] >= found[..., 1:]).all())


@pytest.mark.parametrize("k", [1, 2, 3])
def test_all_directions_dead(k):
    found = lyapunov_spectrum(lambda x: 0 * x + 1, random(3), n_steps=5, k=k)
    assert found.exponents.tolist() == [-math.inf] * k and bool(torch.isfinite(found.tangents).all())


def test_float32_agrees_with_float64_and_exponents_are_float64(device):
    matrix, state = gaussian(30, 0.9, device=device), random(30, device=device)
    double = lyapunov_spectrum(tanh_step(matrix), state, n_steps=500, n_warmup=50)
    single = lyapunov_spectrum(tanh_step(matrix.float()), state.float(), n_steps=500, n_warmup=50)
    assert single.exponents.dtype == torch.float64 and single.state.dtype == torch.float32
    assert single.exponents.device == state.device
    torch.testing.assert_close(single.exponents, double.exponents, rtol=0, atol=2e-4)


def test_an_overflow_on_the_way_is_nan_not_a_number():
    found = lyapunov_spectrum(lambda x: x * x, torch.full((1,), 10.0), n_steps=20)
    assert not torch.isfinite(found.exponents).any()


def test_nothing_is_seeded_changed_or_tracked(device):
    matrix, state = gaussian(5, 1.2, device=device).requires_grad_(), random(5, device=device)
    before, random_state = state.clone(), torch.get_rng_state()
    found = lyapunov_spectrum(tanh_step(matrix), state, n_steps=5, k=2)
    assert torch.equal(state, before) and torch.equal(torch.get_rng_state(), random_state)
    assert not found.exponents.requires_grad
    again = lyapunov_spectrum(tanh_step(matrix), state, n_steps=5, k=2)
    assert torch.equal(found.exponents, again.exponents)
    other = lyapunov_spectrum(tanh_step(matrix), state, n_steps=5, k=2, generator=seeded(3))
    assert not torch.equal(found.exponents, other.exponents)


def test_tangents_at_the_end_are_orthonormal_and_the_run_can_go_on_from_its_state():
    step, state = tanh_step(gaussian(6, 1.5)), random(6)
    found = lyapunov_spectrum(step, state, n_steps=30, k=3, qr_every=7)
    torch.testing.assert_close(found.tangents.mT @ found.tangents, torch.eye(3).double())
    for _ in range(30):
        state = step(state)
    torch.testing.assert_close(found.state, state)
    assert found.n_steps == 30 and found.dt == 1.0


def step(x):
    return x / 2


S = torch.ones(3)
GOOD = {"step": step, "state": S, "n_steps": 4}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"state": torch.tensor([1.0, math.nan])}, "state: got NaN or infinite entries, expected finite numbers"),
        ({"state": torch.tensor([1.0, math.inf])}, "state: got NaN or infinite entries"),
        ({"state": torch.ones(3, dtype=torch.int64)}, "state: got tensor.* expected a floating-point tensor"),
        ({"state": [1.0, 2.0]}, r"state: got \[1.0, 2.0\], expected a floating-point tensor"),
        ({"state": torch.tensor(1.0)}, r"state: got tensor.* expected a floating-point tensor \(\.\.\., N\)"),
        ({"state": torch.ones(3).half()}, "state: got dtype torch.float16, .* expected torch.float32 or torch.float64; convert"),
        ({"state": torch.ones(3).bfloat16()}, "state: got dtype torch.bfloat16"),
        ({"k": 4}, "k: got 4, but a state of 3 units has only that many exponents; use k <= 3"),
        ({"k": 0}, "k: got 0, expected an integer >= 1"),
        ({"n_steps": 0}, "n_steps: got 0, expected an integer >= 1"),
        ({"n_steps": 2.5}, "n_steps: got 2.5, expected an integer"),
        ({"n_warmup": -1}, "n_warmup: got -1, expected an integer >= 0"),
        ({"qr_every": 0}, "qr_every: got 0, expected an integer >= 1 or 'auto'"),
        ({"qr_every": "often"}, "qr_every: got 'often', expected an integer >= 1 or 'auto'"),
        ({"dt": 0.0}, "dt: got 0.0, expected a time per step > 0"),
        ({"inputs": torch.ones(5, 3), "n_warmup": 2}, "inputs: got 5 time steps, expected n_warmup . n_steps = 6"),
        ({"step": lambda x: torch.cat([x, x])}, r"step: got state shape \(6,\) back from \(3,\), expected no change"),
        ({"step": lambda x: x[:1]}, r"step: got state shape \(1,\) back from \(3,\)"),
        ({"step": lambda x: x[:1], "k": 1}, r"step: got state shape \(1,\) back from \(3,\)"),
        ({"jvp": lambda x, d: (x[:2], d)}, r"step: got state shape \(2,\) back from \(3,\)"),
    ],
)
def test_bad_input_is_a_value_error_in_words(given, message):
    with pytest.raises(ValueError, match=message):
        lyapunov_spectrum(**{**GOOD, **given})
