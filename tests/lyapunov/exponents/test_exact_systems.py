"""Exponents against systems whose spectrum is known exactly (references.md), and what the arguments promise."""

import math

import pytest
import torch

from salnb import lyapunov_spectrum
from tests.digits import kept
from tests.problems import (
    CAT,
    LOG_2,
    cat_map,
    gaussian,
    henon,
    linear_step,
    logistic,
    lorenz_rk4,
    random,
    seeded,
    skew_product,
    tanh_step,
)
from tests.tolerances import rounding, sampling, scatter


def exponents(*arguments, **given) -> list[float]:
    return lyapunov_spectrum(*arguments, **{"history": False, **given}).exponents.tolist()


def orthogonal(n: int, device) -> torch.Tensor:
    return torch.linalg.qr(random(n, n))[0].to(device)


def test_diagonal_map_to_1e_12(device):
    diagonal = torch.tensor([0.3, -2.0, 1.0, 0.9], dtype=torch.float64, device=device)
    found = exponents(lambda x: x * diagonal, torch.ones_like(diagonal), n_steps=100)
    assert found == pytest.approx(sorted(diagonal.abs().log().tolist(), reverse=True), abs=1e-12)


def test_linear_map_gives_the_logs_of_the_eigenvalue_moduli(device):
    basis = random(4, 4, device=device)
    matrix = basis @ torch.diag(torch.tensor([1.5, -0.9, 0.5, 0.2], dtype=torch.float64, device=device)) @ basis.inverse()
    found = exponents(linear_step(matrix), torch.zeros(4, dtype=torch.float64, device=device), n_steps=2000, n_warmup=200)
    digits = rounding(torch.float64, 4, float(torch.linalg.cond(basis)) ** 2)  # once for the matrix, once for its directions
    assert found == pytest.approx([math.log(m) for m in (1.5, 0.9, 0.5, 0.2)], abs=digits)


def test_a_rotating_pair_of_eigenvalues_gives_its_modulus_twice():
    matrix = 0.7 * torch.tensor([[math.cos(1), -2 * math.sin(1)], [math.sin(1) / 2, math.cos(1)]], dtype=torch.float64)
    found = exponents(linear_step(matrix), torch.zeros(2).double(), n_steps=5000)
    # In the right coordinates, (x, 2y), it is 0.7 times a rotation: a length comes back from there changed by at most 2.
    assert found == pytest.approx([math.log(0.7)] * 2, abs=LOG_2 / 5000)


def test_orthogonal_linear_network_has_all_exponents_0_to_1e_14(device):
    matrix = orthogonal(20, device)
    found = exponents(linear_step(matrix), random(20, device=device), n_steps=300)
    assert max(map(abs, found)) < 1e-14


def test_triangular_map_reads_its_diagonal(device):
    matrix = torch.diag(torch.tensor([2.0, 1.1, 0.6, 0.1], dtype=torch.float64)).to(device)
    matrix += torch.triu(random(4, 4, device=device), 1)
    found = exponents(linear_step(matrix), torch.zeros(4, dtype=torch.float64, device=device), n_steps=50)
    assert found == pytest.approx([math.log(m) for m in (2.0, 1.1, 0.6, 0.1)], abs=1e-12)


@pytest.mark.parametrize("slope", [0.5, -0.9, 3.0])
def test_skew_product_has_ln_2_and_the_log_of_the_driven_slope(slope):
    start = torch.cat([0.1 + 0.8 * torch.rand(500, 1, generator=seeded()).double(), torch.zeros(500, 1).double()], -1)
    found = lyapunov_spectrum(skew_product(slope), start, n_steps=100, n_warmup=20).exponents
    for i, expected in enumerate(sorted((LOG_2, math.log(abs(slope))), reverse=True)):
        assert found[:, i].mean().item() == pytest.approx(expected, abs=scatter(found[:, i]))


def test_logistic_map_at_4_has_ln_2(device):
    start = 0.01 + 0.98 * torch.rand(400, 1, generator=seeded()).double().to(device)
    found = lyapunov_spectrum(logistic(4.0), start, n_steps=1000, n_warmup=50, history=False).exponents
    assert found.mean().item() == pytest.approx(LOG_2, abs=scatter(found)) and scatter(found) < 1e-3


@pytest.mark.parametrize("r", [1.3, 2.0001, 2.7])
def test_logistic_map_at_a_fixed_point_has_ln_2_minus_r(r):
    found = exponents(logistic(r), torch.tensor([0.3]).double(), n_steps=20, n_warmup=300)
    # The slope r(1 − 2x) is a difference of numbers of size r: near r = 2 its relative error is that of x over |2 − r|.
    assert found == pytest.approx([math.log(abs(2 - r))], abs=rounding(torch.float64, 2, r / abs(2 - r)))


def test_cat_map_to_1e_14_after_50_warm_up_steps(device):
    start = torch.tensor([0.2, 0.7], dtype=torch.float64, device=device)
    assert exponents(cat_map, start, n_steps=100, n_warmup=50) == pytest.approx([CAT, -CAT], abs=1e-13)


def test_henon_and_its_exact_sum():
    start = torch.tensor([0.1, 0.1]).double() + 0.01 * random(1000, 2)
    spectrum = lyapunov_spectrum(henon, start, n_steps=200, n_warmup=50, history=False)
    digits = kept(henon, start, n_steps=200, n_warmup=50, history=False).sum
    torch.testing.assert_close(spectrum.sum(), torch.full((1000,), math.log(0.3), dtype=torch.float64), rtol=0, atol=digits)
    for i, expected in enumerate((0.41922, -1.62319)):
        known = scatter(spectrum.exponents[:, i]) + 1e-5  # of the starts, and of the published digits
        assert spectrum.exponents[:, i].mean().item() == pytest.approx(expected, abs=known) and known < 5e-3
    # The error of a single run, from its 32 blocks, is of the size of the scatter between runs: no more is claimed here.
    assert 0.5 < (spectrum.stderr.mean(0)[0] / spectrum.exponents.std(0)[0]).item() < 2


def test_lorenz_by_runge_kutta_steps_in_nats_per_unit_time():
    dt, state = 0.01, torch.tensor([0.0, 0.0, 25.0]).double() + 6 * random(1000, 3)
    step = lorenz_rk4(dt)
    for _ in range(1500):  # onto the attractor, and for long enough to leave its slow spirals
        state = step(state)
    spectrum = lyapunov_spectrum(step, state, n_steps=700, n_warmup=1000, qr_every=10, dt=dt, history=False)
    # A Runge-Kutta step takes e^x for 1 + x + … + x⁴/24. Along the flow's fastest direction x is about −0.22 at most.
    truncation = 22.8 * 0.228**4 / 120
    dimension = spectrum.kaplan_yorke_dimension()
    for values, expected in [*zip(spectrum.exponents.unbind(-1), (0.9056, 0.0, -14.5723), strict=True), (dimension, 2.062)]:
        known = scatter(values) + truncation + 5e-4  # of the starts, of the step, and of the published digits
        assert values.mean().item() == pytest.approx(expected, abs=known) and known < 0.1
    assert spectrum.sum().mean().item() == pytest.approx(-(10 + 1 + 8 / 3), abs=truncation)  # exact for the flow itself


def test_tanh_network_below_gain_1_has_the_log_of_the_spectral_radius(device):
    matrix = gaussian(40, 0.6, replicas=(5,), device=device)
    start = 1e-3 * random(5, 40, device=device)
    found = lyapunov_spectrum(tanh_step(matrix), start, n_steps=2000, n_warmup=1000, k=2, history=False).exponents[:, 0]
    values, vectors = torch.linalg.eig(matrix.cpu())
    # J = V Λ V⁻¹: in n steps a length grows by ρⁿ, but for the factor by which V stretches it on the way there and back.
    bounded = float(torch.linalg.cond(vectors).log().max()) / 2000
    torch.testing.assert_close(found, values.abs().amax(-1).log().to(device), rtol=0, atol=bounded)
    assert bounded < 0.01


def test_sum_over_a_run_is_the_mean_log_determinant(device):
    matrix, state = gaussian(12, 2.0, replicas=(3,), device=device), random(3, 12, device=device)
    step, logs = tanh_step(matrix), []
    found, digits = lyapunov_spectrum(step, state, n_steps=60).sum(), kept(step, state, n_steps=60).sum
    jacobians = []
    for _ in range(60):
        state = step(state)
        jacobians.append((1 - state.square()).unsqueeze(-1) * matrix)
        logs.append(torch.linalg.slogdet(jacobians[-1])[1])
    exact = rounding(torch.float64, 12, float(torch.linalg.cond(torch.stack(jacobians)).mean(0).max()))
    torch.testing.assert_close(found, torch.stack(logs).mean(0), rtol=0, atol=digits + exact)


@pytest.mark.parametrize(("gain", "value"), [(1.5, 0.065217), (2.0, 0.154724)])
def test_chaotic_tanh_network_lies_just_below_the_mean_field_value(gain, value):
    """A network of 500 lies 0 to 0.019 below the value for infinitely many (references.md), give or take these eight draws."""
    matrix = gaussian(500, gain, replicas=(8,)).float()
    start = random(8, 500).float()
    found = lyapunov_spectrum(tanh_step(matrix), start, n_steps=300, n_warmup=100, k=1, history=False).exponents
    error = sampling(found.std().item(), 8)
    assert -error < value - found.mean().item() < 0.019 + error and error < 0.03
