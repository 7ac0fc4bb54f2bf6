"""A derivative that is not the function's own is found out at the start; finite differences have the digits that they promise."""

import math
from functools import cache

import pytest
import torch

from salnb import covariant_vectors, finite_time_exponents, lyapunov_spectrum, rk4_step
from salnb.lyapunov.differences import difference_tangent_step, reach
from tests.problems import gaussian, lorenz_rk4, random

D = torch.float64


def right_hand_side(s):
    x, y, z = s
    return [10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z]


REBUILT = {
    "torch.tensor": lambda s: torch.tensor(right_hand_side(s), dtype=s.dtype),
    "item": lambda s: torch.tensor(right_hand_side([v.item() for v in s]), dtype=s.dtype),
    "float": lambda s: torch.tensor(right_hand_side([float(v) for v in s]), dtype=s.dtype),
    "data": lambda s: torch.stack(right_hand_side(s.data)),
    "detach": lambda s: torch.stack(right_hand_side(s)).detach(),
    "one of three": lambda s: torch.stack([*right_hand_side(s)[:2], right_hand_side(s)[2].detach()]),
}


RUNS = {
    "spectrum": lambda step, x, **given: lyapunov_spectrum(step, x, n_steps=100, dt=0.01, **given).exponents,
    "one": lambda step, x, **given: lyapunov_spectrum(step, x, n_steps=100, dt=0.01, k=1, **given).exponents,
    "finite time": lambda step, x, **given: finite_time_exponents(step, x, n_steps=60, dt=0.01, **given),
    "covariant": lambda step, x, **given: covariant_vectors(step, x, n_steps=40, n_warmup=60, dt=0.01, **given).exponents(),
}


@cache
def by_hand(run):
    return RUNS[run](lorenz_rk4(0.01), torch.ones(3, dtype=D))


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("way", REBUILT)
def test_a_step_that_cuts_the_derivative_is_refused_and_right_by_differences(way, run):
    step, start = rk4_step(REBUILT[way], 0.01), torch.ones(3, dtype=D)
    with pytest.raises(ValueError, match=r'step: its derivative by PyTorch is not that.*torch.stack\(.*jvp="finite-difference"'):
        RUNS[run](step, start)
    # Tangents right to 4e-11 each and a growth of e^5 on the way, per time unit of 100 steps.
    torch.testing.assert_close(RUNS[run](step, start, jvp="finite-difference"), by_hand(run), rtol=0, atol=1e-6)


def test_the_exponents_of_the_commonest_way_to_write_lorenz():
    found = lyapunov_spectrum(rk4_step(REBUILT["torch.tensor"], 0.01), torch.ones(3, dtype=D), n_steps=500, dt=0.01,
                              jvp="finite-difference")  # fmt: skip
    assert found.exponents.tolist() == pytest.approx([0.044, -0.628, -13.083], abs=6e-4)


@pytest.mark.parametrize(
    ("h", "dtype"), [(0.1, D), (1e-2, D), (1e-4, D), (1e-6, D), (1e-2, torch.float32), (1e-3, torch.float32)]
)
def test_it_is_seen_however_short_the_step(h, dtype):
    """A cut flow moves tangents by the identity: the error is h times the flow's Jacobian."""
    step = rk4_step(lambda s: torch.stack(right_hand_side(s)).detach(), h)
    with pytest.raises(ValueError, match="step: its derivative by PyTorch is not that of the function"):
        lyapunov_spectrum(step, torch.tensor([1.0, 2.0, 20.0], dtype=dtype), n_steps=3)


def test_at_an_extremum_it_is_seen_next_to_it():
    with pytest.raises(ValueError, match="step: its derivative by PyTorch is not"):
        lyapunov_spectrum(lambda x: (4 * x * (1 - x)).detach(), torch.tensor([0.5], dtype=D), n_steps=20)


def test_one_system_of_a_batch_is_enough():
    def step(x):
        new = x.sin()
        return torch.cat([new[:2], new[2:].detach()])

    with pytest.raises(ValueError, match="step: its derivative by PyTorch is not"):
        lyapunov_spectrum(step, random(3, 4), n_steps=5)


class Surrogate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (1 - ctx.saved_tensors[0].abs()).clamp_min(0)


def test_a_backward_pass_of_another_function_is_seen():
    with pytest.raises(ValueError, match="step: its derivative by PyTorch is not.*backward pass is not the function's own"):
        lyapunov_spectrum(Surrogate.apply, random(4), n_steps=5)


NETWORK, DEEP = gaussian(300, 1.5), gaussian(300, 1.5, seed=1)
FAIR = {
    "ReLU": lambda x: torch.relu(x @ NETWORK.to(x)),
    "two layers of ReLU": lambda x: torch.relu(x @ NETWORK.to(x)) @ DEEP.to(x),
    "ReLU and leak": lambda x: 0.9 * x + 0.1 * torch.relu(torch.relu(x @ NETWORK.to(x)) @ DEEP.to(x)),
    "absolute value": lambda x: (x @ NETWORK.to(x)).abs() - 0.5,
    "saturated": lambda x: torch.tanh(300 * (x @ NETWORK.to(x))),
    "hard tanh": lambda x: torch.clamp(3 * (x @ NETWORK.to(x)), -1, 1),
    "sawtooth": lambda x: (2.0 * x) % 1,
    "sorted": lambda x: (x @ NETWORK.to(x)).sort(-1)[0].tanh(),
    "threshold with leak": lambda x: 0.9 * x + (x @ NETWORK.to(x) > 0),
    "stiff": lambda x: 1e6 * torch.sin(1e-3 * x) + 1e-6,
    "large numbers": lambda x: 1e8 + torch.sin(x - 1e8),
    "rotation": lambda x: x.roll(1, -1),
    "square root": lambda x: (x.abs() + 1e-3).sqrt(),
}


@pytest.mark.parametrize("dtype", [torch.float32, D])
@pytest.mark.parametrize("start", ["zeros", "drawn", "tiny", "large"])
@pytest.mark.parametrize("kind", FAIR)
def test_kinks_jumps_and_bends_are_no_false_alarm(kind, start, dtype):
    if kind == "large numbers" and dtype == torch.float32:
        pytest.skip("in float32 this function is a constant, and its derivative by PyTorch is not 0")
    state = {"zeros": 0.0, "drawn": 1.0, "tiny": 1e-9, "large": 1e4}[start] * random(6, 300).to(dtype)
    for k in (1, 3):
        found = lyapunov_spectrum(FAIR[kind], state, n_steps=2, k=k)
        assert found.exponents.shape == (6, k)


def test_a_flow_over_many_turns_is_no_false_alarm():
    """A change grows by e^9 in time 10, too much for a difference to follow, so nothing is said."""

    def long(x):
        for _ in range(250):
            x = rk4_step(lambda s: torch.stack(right_hand_side(s.unbind(-1)), -1), 0.04)(x)
        return x

    assert lyapunov_spectrum(long, torch.tensor([1.0, 2.0, 20.0], dtype=D), n_steps=1, k=1).exponents.item() > 5


def test_a_start_on_the_border_of_where_the_step_is_defined():
    def step(x):
        if bool((x < 0).any()):
            raise RuntimeError("negative")
        return (x + 1).log()

    assert torch.isfinite(lyapunov_spectrum(step, torch.zeros(3, dtype=D), n_steps=5).exponents).all()
    assert lyapunov_spectrum(lambda x: x * x.log(), torch.ones(3, dtype=D), n_steps=1).exponents.abs().max() < 1e-12


def test_the_check_leaves_no_trace():
    kept, state = torch.get_rng_state(), random(5)
    before = state.clone()
    lyapunov_spectrum(lambda x: x.sin(), state, n_steps=4)
    assert torch.equal(torch.get_rng_state(), kept) and torch.equal(state, before)


def test_numbers_of_float32_inside_a_step_of_float64_leave_differences_no_digits():
    step = rk4_step(lambda s: torch.tensor([v.item() for v in right_hand_side(s)]), 0.01)  # float32 by default
    with pytest.raises(ValueError, match="step: finite differences over two distances disagree.*float32"):
        lyapunov_spectrum(step, torch.ones(3, dtype=D), n_steps=50, jvp="finite-difference")


@pytest.mark.parametrize("dtype", [torch.float32, D])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
def test_tangents_by_differences_keep_the_digits_that_they_promise(lead, size, dtype):
    """Rounding of two values over their distance, and a sixth of the third derivative, each eps^(2/3), in units of the size."""
    weight = gaussian(6, 1.5).to(dtype)
    step = lambda x: size * torch.tanh(x / size @ weight.mT)  # noqa: E731
    state, tangents = size * random(*lead, 6).to(dtype), torch.linalg.qr(random(*lead, 6, 3, seed=1))[0].to(dtype)
    following, moved = difference_tangent_step(step)(state, 1e-3 * tangents)
    assert torch.equal(following, step(state)) and moved.dtype == dtype
    slope = 1 - (following / size).square()
    exact = 1e-3 * slope.unsqueeze(-1) * (weight @ tangents)
    # Summing six products and a tanh: 8 roundings in each value; a third derivative of 2, of |w|^3 x max over largest entry.
    bend = 2 / 6 * float(weight.abs().sum(-1).max()) ** 3 * float((state / size).abs().max()) ** 2
    worst = 1e-3 * reach(dtype) ** 2 * (8 + bend)
    assert float((moved - exact).abs().max()) < worst


def test_a_tangent_of_zero_stays_zero_and_a_dead_state_is_not_a_number():
    step = difference_tangent_step(lambda x: x * x)
    assert step(torch.ones(2), torch.zeros(2, 1))[1].tolist() == [[0.0], [0.0]]
    assert step(torch.zeros(2), torch.eye(2))[1].abs().max() < 1e-4
    assert not torch.isfinite(step(torch.tensor([math.inf, 1.0]), torch.eye(2))[1]).all()


@pytest.mark.parametrize("start", [[0.2, 0.7], [0.5, 0.0], [0.3, 0.4]])
def test_a_trajectory_that_lands_on_a_jump_has_the_difference_of_its_own_side(start):
    """The cat map on a grid of tenths meets the jump of the remainder exactly; its exponents are ±2 ln of the golden ratio."""
    matrix, state = torch.tensor([[2.0, 1.0], [1.0, 1.0]], dtype=torch.float64), torch.tensor(start, dtype=torch.float64)
    found = lyapunov_spectrum(lambda x: (x @ matrix) % 1, state, n_steps=200, n_warmup=20, jvp="finite-difference")
    golden = 2 * math.log((1 + 5**0.5) / 2)
    # One-sided differences of a linear map are as exact as central ones: eps / h of the state's size, 4e-11, in every step.
    torch.testing.assert_close(found.exponents.tolist(), [golden, -golden], rtol=0, atol=1e-9)
