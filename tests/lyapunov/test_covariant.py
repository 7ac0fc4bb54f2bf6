"""Covariant vectors are carried into each other by the tangent map, and grow at the exponents' rates."""

import math

import pytest
import torch

from salnb import CovariantVectors, covariant_vectors, lyapunov_spectrum, rnn_step
from salnb.networks.recurrent import TanhRNN
from tests.digits import kept
from tests.problems import gaussian, henon, linear_step, lorenz_rk4, random, seeded, tanh_step
from tests.tolerances import rounding, scatter


def check_covariance(step, found: CovariantVectors, inputs=None, dt=1.0, atol=1e-8) -> None:
    """J v_t is parallel to v_{t+1}, longer by exp(dt local); the states are those of the step."""
    for t in range(len(found.local)):
        given = () if inputs is None else (inputs[t],)
        for i in range(found.vectors.shape[-1]):
            direction = (found.vectors[t, ..., i],)
            following, moved = torch.func.jvp(lambda s, given=given: step(s, *given), (found.states[t],), direction)
            torch.testing.assert_close(following, found.states[t + 1], rtol=1e-12, atol=1e-12)
            size = torch.linalg.vector_norm(moved, dim=-1)
            torch.testing.assert_close(size.log() / dt, found.local[t, ..., i], rtol=0, atol=atol)
            inner = (moved / size.unsqueeze(-1) * found.vectors[t + 1, ..., i]).sum(-1)
            torch.testing.assert_close(inner, torch.ones_like(inner), rtol=0, atol=atol)  # the same sign, too
    sizes = torch.linalg.vector_norm(found.vectors, dim=-2)
    torch.testing.assert_close(sizes, torch.ones_like(sizes), rtol=0, atol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_chaotic_network_carries_its_vectors_along(k):
    step = tanh_step(gaussian(4, 2.0, replicas=(3,), seed=5))
    found = covariant_vectors(step, random(3, 4), n_steps=12, k=k, n_warmup=50, n_after=40)
    assert found.states.shape == (12, 3, 4) and found.vectors.shape == (12, 3, 4, k) and found.local.shape == (11, 3, k)
    check_covariance(step, found)


@pytest.mark.parametrize("n_warmup", [0, 1, 5])
def test_inputs_belong_to_their_steps_and_the_warm_up_has_its_length(n_warmup):
    rnn = TanhRNN(2, 5, 1, gain=1.5, generator=seeded(), dtype=torch.float64)
    step, inputs, state = rnn_step(rnn), random(n_warmup + 10 + 30, 1, 2), random(1, 5)
    found = covariant_vectors(step, state, n_steps=10, n_warmup=n_warmup, n_after=30, inputs=inputs, k=3)
    for u in inputs[:n_warmup]:
        state = step(state, u).detach()
    torch.testing.assert_close(found.states[0], state)
    with torch.no_grad():
        check_covariance(step, found, inputs[n_warmup:])


@pytest.mark.parametrize("n_warmup", [0, 1, 2, 60])
def test_a_constant_non_normal_matrix_has_its_eigenvectors(n_warmup):
    basis, factors = random(4, 4, seed=3), torch.tensor([3.0, -1.2, 0.5, 0.1]).double()
    step = linear_step(basis @ torch.diag(factors) @ basis.inverse())
    found = covariant_vectors(step, torch.zeros(4).double(), n_steps=3, n_warmup=n_warmup, n_after=60)
    expected = basis / torch.linalg.vector_norm(basis, dim=0)
    inner = (found.vectors * expected).sum(-2).abs()
    aligned = slice(None) if n_warmup == 60 else slice(3, 4)  # on the way back the last vector forgets any frame: they span all
    # A step spreads the directions by 3 / 0.1, and the basis tells them apart as well as it is conditioned.
    digits = rounding(torch.float64, 4, 30 * float(torch.linalg.cond(basis)) ** 2)
    torch.testing.assert_close(inner[:, aligned], torch.ones(3, 4).double()[:, aligned], rtol=0, atol=digits)
    if n_warmup == 60:
        torch.testing.assert_close(found.exponents(), factors.abs().log(), rtol=0, atol=digits)
        angle = math.acos(min(1.0, abs(float(expected[:, 0] @ expected[:, 2]))))
        close = digits / math.sin(angle)  # arccos is steep where two directions nearly coincide
        torch.testing.assert_close(found.angles(0, 2), torch.full((3,), angle, dtype=torch.float64), rtol=0, atol=close)
        torch.testing.assert_close(found.angles(), found.angles(1, 0))


def test_henon_grows_as_much_as_by_the_qr_method():
    start = torch.tensor([0.1, 0.1]).double() + 0.01 * random(50, 2)

    def jvp(z, tangents):
        x, (a, b) = z[..., :1], tangents.unbind(-2)
        return henon(z), torch.stack([b - 2.8 * x * a, 0.3 * a], -2)

    found = covariant_vectors(henon, start, jvp=jvp, n_steps=301, n_warmup=60, n_after=60)
    spectrum = lyapunov_spectrum(henon, start, jvp=jvp, n_steps=300, n_warmup=60)
    assert torch.equal(found.states[-1], spectrum.state)  # in chaos another state would be another trajectory
    digits = kept(henon, start, n_steps=300, n_warmup=60).exponents
    torch.testing.assert_close(found.exponents()[:, 0], spectrum.exponents[:, 0], rtol=0, atol=digits)  # the first is Q's first
    # the second differs by the angle at both ends only: a bounded log over 300 steps
    ends = found.angles()[[0, -1]].sin().log()
    second = spectrum.exponents[:, 1] - (ends[1] - ends[0]) / 300
    digits = digits + rounding(torch.float64, 2, 1 / float(found.angles().sin().min()) ** 2)  # where the two nearly touch
    torch.testing.assert_close(found.exponents()[:, 1], second, rtol=0, atol=digits)
    for values, expected in zip(found.exponents().unbind(-1), (0.41922, -1.62319), strict=True):
        assert values.mean().item() == pytest.approx(expected, abs=scatter(values) + 1e-5)
    assert found.angles().max() <= math.pi / 2


def test_the_neutral_direction_of_a_flow_is_the_flow():
    dt, state = 0.01, torch.tensor([1.0, 1.0, 25.0]).double() + random(2, 3)
    step = lorenz_rk4(dt)
    for _ in range(500):
        state = step(state)
    # The gap above the neutral direction is 0.9 in the long run: 30 units of time align it to e⁻²⁷, and to e⁻¹⁵ in a slow phase.
    found = covariant_vectors(step, state, n_steps=40, n_warmup=3000, n_after=3000, dt=dt)
    x, y, z = found.states.unbind(-1)
    flow = torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)
    inner = (found.vectors[..., 1] * flow).sum(-1).abs() / torch.linalg.vector_norm(flow, dim=-1)
    truncation = 22.8 * 0.228**4 / 120  # of a Runge-Kutta step along the fastest direction, per unit time
    assert float(inner.min()) > 1 - truncation**2
    growth = torch.linalg.vector_norm(flow, dim=-1).log().diff(dim=0) / dt
    torch.testing.assert_close(found.local[..., 1], growth, rtol=0, atol=truncation)


def test_a_short_way_back_still_gives_unit_vectors_that_are_carried_along():
    step = tanh_step(gaussian(4, 2.0, seed=5))
    for n_after in (0, 1):
        check_covariance(step, covariant_vectors(step, random(4), n_steps=5, n_warmup=30, n_after=n_after))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_automatic_and_analytic_tangents_and_precision(dtype, device):
    matrix, state = gaussian(4, 1.8, seed=2, device=device).to(dtype), random(4, device=device).to(dtype)
    given = {"n_steps": 6, "n_warmup": 30, "n_after": 30, "k": 2}
    own = covariant_vectors(tanh_step(matrix), state, **given)
    plain = covariant_vectors(lambda x: torch.tanh(matrix @ x), state, jvp=tanh_step(matrix).jvp, **given)
    automatic = covariant_vectors(lambda x: torch.tanh(matrix @ x), state, **given)
    for other in (plain, automatic):
        close = {"rtol": 0, "atol": 1e-3 if dtype == torch.float32 else 1e-9}
        torch.testing.assert_close(own.vectors.abs(), other.vectors.abs(), **close)
    assert own.vectors.dtype == dtype and own.local.dtype == torch.float64


GOOD = {"step": lambda x: x / 2, "state": torch.ones(3), "n_steps": 4}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_steps": 1}, "n_steps: got 1, expected an integer >= 2"),
        ({"n_steps": 2.0}, "n_steps: got 2.0, expected an integer >= 2"),
        ({"inputs": torch.ones(7, 3)}, r"inputs: got 7 time steps, expected n_warmup \+ n_steps \+ n_after = 204"),
        ({"k": 4}, "k: got 4, but a state of 3 units"),
        ({"state": torch.tensor([math.nan])}, "state: got NaN"),
        ({"state": torch.ones(3).half()}, "state: got dtype torch.float16"),
        ({"n_warmup": -1}, "n_warmup: got -1, expected an integer >= 0"),
        ({"n_after": -1}, "n_after: got -1, expected an integer >= 0"),
        ({"dt": 0.0}, "dt: got 0.0, expected a time per step > 0"),
        ({"step": lambda x: x * torch.tensor([1.0, 0.5, 0.0])}, "k: a direction dies on the way.*use a smaller k"),
    ],
)
def test_bad_input_is_an_error_in_words(given, message):
    with pytest.raises(ValueError, match=message):
        covariant_vectors(**{**GOOD, **given})
