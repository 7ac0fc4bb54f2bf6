"""Finite-time exponents are the logs of the product's singular values, to the last digits and for any range."""

import math
import warnings

import pytest
import torch
from torch import nn

from salnb import finite_time_exponents, lyapunov_spectrum, rnn_step, tanh_map
from tests.problems import gaussian, linear_step, random, tanh_step
from tests.tolerances import rounding

mpmath = pytest.importorskip("mpmath")  # torch brings it, by way of sympy


def multiply(x, u):
    return (u @ x.unsqueeze(-1)).squeeze(-1)


def of_product(matrices) -> torch.Tensor:
    """Finite-time exponents of the linear system that is driven by these matrices (T, ..., N, N)."""
    return finite_time_exponents(multiply, torch.zeros(matrices.shape[1:-1], dtype=matrices.dtype), n_steps=len(matrices),
                                 inputs=matrices)  # fmt: skip


def by_many_digits(matrices) -> torch.Tensor:
    """The same with 200 decimal digits, which is enough to multiply the matrices (T, N, N) out."""
    with mpmath.workdps(200):
        product = mpmath.eye(matrices.shape[-1])
        for matrix in matrices:
            product = mpmath.matrix(matrix.tolist()) * product
        values = mpmath.svd_r(product, compute_uv=False)
        logs = [float(mpmath.log(value) / len(matrices)) for value in values]
    return torch.tensor(sorted(logs, reverse=True), dtype=torch.float64)


@pytest.mark.parametrize(("n", "steps"), [(1, 5), (2, 300), (5, 120), (8, 11)])
def test_products_with_a_range_of_a_hundred_decades(n, steps):
    matrices = random(steps, n, n, seed=n) / math.sqrt(n)
    # Each row is accumulated with an error of a few eps a step; that of a mean of logs is as large as that of one step.
    worst = rounding(torch.float64, n, float(torch.linalg.cond(matrices).mean()))
    torch.testing.assert_close(of_product(matrices), by_many_digits(matrices), rtol=0, atol=worst)


def test_where_the_axes_grow_in_another_order_than_the_frame_has_them():
    """The last axis grows by 10 a step, the first shrinks by 10: 400 decades between them after 200 steps."""
    basis = torch.linalg.qr(random(4, 4))[0]
    factors = torch.tensor([0.1, 0.5, 2.0, 10.0]).double()
    matrix = basis @ torch.diag(factors) @ basis.mT
    found = finite_time_exponents(linear_step(matrix), torch.zeros(4).double(), n_steps=200)
    torch.testing.assert_close(found, factors.log().flip(0), rtol=0, atol=rounding(torch.float64, 4, 100))


def test_where_a_triangle_keeps_the_axes_in_the_wrong_order():
    """What is zero below the diagonal stays zero: the slowest axis comes first for good, and its row points along the fastest.

    Beside it nothing is left of the slow axes in numbers of one size, so the rotations must not form any.
    """
    matrix = torch.diag(torch.tensor([0.1, 1.0, 10.0]).double()) + torch.triu(torch.ones(3, 3).double(), 1)
    found = finite_time_exponents(linear_step(matrix), torch.zeros(3).double(), n_steps=60)
    worst = rounding(torch.float64, 3, float(torch.linalg.cond(matrix)))
    torch.testing.assert_close(found, by_many_digits(matrix.expand(60, 3, 3)), rtol=0, atol=worst)


def test_a_shear_grows_at_first_and_not_in_the_long_run():
    """Singular values of [[1, c], [0, 1]] are exp ± arsinh(c / 2), and n steps of it are one with n c."""
    shear = torch.tensor([[1.0, 5.0], [0.0, 1.0]]).double()
    for steps in (1, 10, 1000):
        found = finite_time_exponents(linear_step(shear), torch.zeros(2).double(), n_steps=steps, dt=0.5)
        expected = math.asinh(5 * steps / 2) / (0.5 * steps)
        torch.testing.assert_close(found, torch.tensor([expected, -expected], dtype=torch.float64))


def test_orthogonal_steps_have_none():
    matrices = torch.linalg.qr(random(50, 3, 9, 9))[0]
    assert float(of_product(matrices).abs().max()) < rounding(torch.float64, 9)


@pytest.mark.parametrize("gain", [0.7, 1.0, 2.0])
def test_a_network_over_few_steps_against_the_product_multiplied_out(gain):
    weights, state = gaussian(12, gain, replicas=(2, 3)), random(2, 3, 12)
    step, product, x = tanh_step(weights), torch.eye(12).double(), state
    for _ in range(6):
        x = step(x)
        product = (1 - x.square()).unsqueeze(-1) * weights @ product
    values = torch.linalg.svdvals(product)
    found = finite_time_exponents(step, state, n_steps=6)
    known = rounding(torch.float64, 12) * values[..., :1] / values  # of a value beside the largest, multiplied out
    assert bool(((found - values.log() / 6).abs() < known + rounding(torch.float64, 12)).all())
    assert torch.equal(finite_time_exponents(step, state, n_steps=6, k=2), found[..., :2])


def test_their_sum_is_that_of_a_run_from_any_frame_and_the_first_lies_above_it():
    weights, state = gaussian(20, 1.5, replicas=(4,)), random(4, 20)
    found = finite_time_exponents(tanh_step(weights), state, n_steps=30)
    run = lyapunov_spectrum(tanh_step(weights), state, n_steps=30)
    torch.testing.assert_close(found.sum(-1), run.sum(), rtol=0, atol=20 * rounding(torch.float64, 20, 100))
    assert bool((found.cumsum(-1) + 1e-12 >= run.exponents.cumsum(-1)).all())  # no frame of j tangents can grow more
    assert bool((found[:, 0] > run.exponents[:, 0] + 0.01).all())


def test_systems_do_not_mix_and_neurons_may_be_permuted():
    weights, state, order = gaussian(7, 1.3, replicas=(3,)), random(3, 7), torch.randperm(7)
    found = finite_time_exponents(tanh_step(weights), state, n_steps=9)
    for i in range(3):
        moved = finite_time_exponents(tanh_step(weights[i][order][:, order]), state[i][order], n_steps=9)
        torch.testing.assert_close(moved, found[i], rtol=0, atol=rounding(torch.float64, 7 * 9, 100))


def test_a_module_with_inputs_and_automatic_tangents():
    gru, inputs = nn.GRU(2, 5, dtype=torch.float64), random(8, 1, 2)
    step, start = rnn_step(gru), torch.zeros(1, 5).double()
    found = finite_time_exponents(step, start, n_steps=8, inputs=inputs)
    automatic = finite_time_exponents(lambda h, u: step(h, u), start, n_steps=8, inputs=inputs)
    last = torch.func.jacrev(lambda h: gru(inputs, h[None])[1][0, 0])(start)[:, 0]
    torch.testing.assert_close(found[0], torch.linalg.svdvals(last).log() / 8, rtol=0, atol=1e-6)
    torch.testing.assert_close(automatic, found, rtol=0, atol=rounding(torch.float64, 80, 100))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float32_has_its_own_digits_and_an_answer_in_float64(dtype):
    weights, state = gaussian(6, 1.2), random(6)
    found = finite_time_exponents(tanh_step(weights.to(dtype)), state.to(dtype), n_steps=20)
    exact = finite_time_exponents(tanh_step(weights), state, n_steps=20)
    assert found.dtype == torch.float64
    condition = float(torch.linalg.cond(weights))
    torch.testing.assert_close(found, exact, rtol=0, atol=rounding(dtype, 6, condition**2))


def test_lost_directions_are_minus_infinity_and_lost_states_not_a_number():
    alive = torch.tensor([1.0, 0.0, 0.5, 2.0]).double()
    matrix = alive.unsqueeze(-1) * (torch.eye(4).double() + 0.1 * random(4, 4))
    found = finite_time_exponents(linear_step(matrix), torch.zeros(4).double(), n_steps=12)
    assert torch.isfinite(found[:3]).all() and found[3] == -math.inf
    product = torch.linalg.matrix_power(matrix, 12)
    torch.testing.assert_close(found[:3], torch.linalg.svdvals(product)[:3].log() / 12, rtol=0, atol=1e-6)
    basis = torch.linalg.qr(random(4, 9, 3))[0]
    low = 0.8 * basis @ (basis + 0.1 * random(4, 9, 3, seed=1)).mT  # of rank 3, well conditioned on it, and no row of zeros
    found = finite_time_exponents(tanh_step(low), 0.1 * random(4, 9), n_steps=7)
    assert torch.isfinite(found[:, :3]).all() and found[:, 3:].isneginf().all()
    steep = torch.diag(torch.tensor([1.0, 1e-5, 1e-25]).double())  # alive: on axes of their own no rounding touches them
    found = finite_time_exponents(linear_step(steep), torch.zeros(3).double(), n_steps=30)
    torch.testing.assert_close(found, steep.diagonal().log())
    nothing = finite_time_exponents(tanh_map(torch.zeros(3, 3)), torch.ones(3), n_steps=4)
    assert nothing.tolist() == [-math.inf] * 3
    away = finite_time_exponents(lambda x: x * x, torch.tensor([[10.0], [1.0]]).double(), n_steps=20)
    assert away[0].isnan().all()
    torch.testing.assert_close(away[1], torch.tensor([math.log(2)], dtype=torch.float64))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_steps": 0}, "n_steps: got 0, expected an integer >= 1"),
        ({"k": 4}, "k: got 4, but a state of 3 units"),
        ({"state": torch.tensor([math.nan])}, "state: got NaN"),
        ({"state": torch.ones(3).half()}, "state: got dtype torch.float16"),
        ({"inputs": torch.ones(3, 3)}, "inputs: got 3 time steps, expected n_warmup . n_steps = 2"),
        ({"step": lambda x: x[:1]}, r"step: got state shape \(1,\) back from \(3,\)"),
        ({"dt": -1.0}, "dt: got -1.0, expected a time per step > 0"),
    ],
)
def test_bad_input_is_an_error_in_words(given, message):
    with pytest.raises(ValueError, match=message):
        finite_time_exponents(**{"step": lambda x: x / 2, "state": torch.ones(3), "n_steps": 2, **given})


@pytest.mark.parametrize("hand_written", [True, False])
@pytest.mark.parametrize("lacks", ["a row", "a column", "both", "rank"])
def test_what_the_weights_lack_is_lost_and_the_rest_is_that_of_the_product(lacks, hand_written):
    """A product may lose more than each of its factors: what J_1 leaves may lie in the kernel of J_2."""
    for seed in range(6):
        weight, start = gaussian(12, 1.0, seed=seed), random(12, seed=seed)
        if lacks == "rank":
            weight = weight[:, :9] @ weight[:9]
        if lacks in ("a row", "both"):
            weight[6] = 0
        if lacks in ("a column", "both"):
            weight[:, 4] = 0
        step = tanh_map(weight, 1.5)
        state, product = start, torch.eye(12, dtype=torch.float64)
        for _ in range(4):
            state, product = step.jvp(state, product)
        exact = torch.linalg.svdvals(product)
        # Rows and columns of zeros leave 11 dimensions; with both, {x_6 = 0} holds the kernel e_4, and the product leaves 10.
        left = {"a row": 11, "a column": 11, "both": 10, "rank": 9}[lacks]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of a step that nobody knows, it says what it cannot tell
            known = step if hand_written else lambda x, w=weight: torch.tanh(1.5 * x @ w.mT)
            found = finite_time_exponents(known, start, n_steps=4)
        # The singular value decomposition is right to eps of the largest; four QR steps of 12 columns add their own roundings.
        tolerance = 4 * 12 * 8 * 2.2e-16 * exact[0] / exact[:left] / 4
        assert ((found[:left] - exact[:left].log() / 4).abs() < tolerance).all()
        assert not torch.isfinite(found[left:]).any()
        assert not hand_written or (found[left:] == -torch.inf).all()


def test_nothing_is_said_of_directions_that_nobody_asked_for(recwarn):
    """In float32 the weakest of 24 directions are lost on the way; the leading ones are those of float64, without a word."""
    weight, start = gaussian(24, 1.0, seed=1), random(24)
    full = finite_time_exponents(tanh_map(weight), start, n_steps=40, k=4)
    half = finite_time_exponents(tanh_map(weight.float()), start.float(), n_steps=40, k=4)
    assert not recwarn
    # Every step's Jacobian off by 24 roundings of its size, which the gaps between the leading ones leave as they are.
    torch.testing.assert_close(half, full, rtol=0, atol=rounding(torch.float32, 24 * 8))
