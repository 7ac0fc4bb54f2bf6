"""A step may be written as one likes: the exponents are those of the function, or a sentence says why not."""

import math
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional

from salnb import covariant_vectors, finite_time_exponents, lyapunov_spectrum, rk4_step, rnn_step
from tests.problems import gaussian, random, seeded
from tests.tolerances import rounding

D = torch.float64


# --- systems from the literature, each by its right-hand side or map, for states (..., N) --------------------------------
def lorenz(s):
    x, y, z = s.unbind(-1)
    return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)


def roessler(s):
    x, y, z = s.unbind(-1)
    return torch.stack([-y - z, x + 0.2 * y, 0.2 + z * (x - 5.7)], -1)


def henon(s):
    x, y = s.unbind(-1)
    return torch.stack([1 - 1.4 * x**2 + y, 0.3 * x], -1)


def ikeda(s):
    x, y = s.unbind(-1)
    turn = 0.4 - 6 / (1 + x**2 + y**2)
    return torch.stack([1 + 0.9 * (x * turn.cos() - y * turn.sin()), 0.9 * (x * turn.sin() + y * turn.cos())], -1)


# What a step's Jacobian has as determinant: the sum of all exponents is known, whatever the trajectory.
SYSTEMS = {
    "Lorenz": (rk4_step(lorenz, 0.01), [1.0, 2.0, 20.0], -41 / 3 * 0.01),
    "Roessler": (rk4_step(roessler, 0.02), [1.0, -3.0, 0.1], None),
    "Henon": (henon, [0.1, 0.2], math.log(0.3)),
    "Ikeda": (ikeda, [0.3, 0.1], math.log(0.81)),
}


def unbatched(step):
    """With elements of dimension 0, which a batch has not."""

    def plain(s):
        assert s.ndim == 1
        return step(torch.stack(list(s)))

    return plain


def by_slices(step):
    """Into a new tensor, entry by entry."""

    def plain(s):
        new, found = torch.empty_like(s), step(s)
        for i in range(s.shape[-1]):
            new[..., i] = found[..., i]
        return new

    return plain


def in_place(step):
    """The argument itself is overwritten, and given back."""

    def plain(s):
        found = step(s.clone())
        for i in range(s.shape[-1]):
            s[..., i].mul_(0.0).add_(found[..., i])
        return s

    return plain


def of_parts(step):
    """Entries of dimension 0 that meet Python's floats, which promotes their tangents."""

    def plain(s):
        return torch.stack([1.0 * entry + 0.0 for entry in step(torch.stack([1.0 * entry for entry in s]))])

    return plain


STEPS = 10


@cache
def in_a_batch(name, k, dtype):
    step, start, _ = SYSTEMS[name]
    return lyapunov_spectrum(step, torch.tensor([start], dtype=dtype), n_steps=STEPS, k=k)


@pytest.mark.parametrize("dtype", [torch.float32, D])
@pytest.mark.parametrize("k", [1, None])
@pytest.mark.parametrize("way", [unbatched, by_slices, in_place, of_parts])
@pytest.mark.parametrize("name", SYSTEMS)
def test_however_it_is_written_a_step_has_the_same_exponents(name, way, k, dtype):
    step, start, volume = SYSTEMS[name]
    state = torch.tensor(start, dtype=dtype)
    expected, before = in_a_batch(name, k, dtype), state.clone()
    found = lyapunov_spectrum(way(step), state, n_steps=STEPS, k=k)
    assert torch.equal(state, before) and found.state.dtype == found.tangents.dtype == dtype
    # The same operations in another order, less than 30 a step. 1e3 is what a difference in the state may grow by in these ten
    # steps, e^0.7 a step: by Henon's map e^0.42 on average, by the others less.
    tolerance = rounding(dtype, 3 * STEPS, 1e3)
    torch.testing.assert_close(found.exponents, expected.exponents[0], rtol=0, atol=tolerance)
    if k is None and volume is not None:
        # Of the flow itself; a Runge-Kutta step multiplies volumes as exp(h tr J) up to (h |J|)^5 / 5!, |J| about 30.
        method = 0.3**5 / 120 if name == "Lorenz" else 0
        assert found.sum().item() == pytest.approx(volume, abs=STEPS * rounding(dtype, 9) + method)
    if name == "Henon":
        assert torch.equal(found.exponents, lyapunov_spectrum(way(step), state, n_steps=STEPS, k=k).exponents)


@pytest.mark.parametrize("way", [by_slices, in_place])
@pytest.mark.parametrize("given", [{"qr_every": "auto"}, {"qr_every": 3, "method": "cholesky"}, {"history": False, "k": 1}])
def test_in_place_in_a_batch_and_at_rare_reductions(way, given):
    step, starts = SYSTEMS["Henon"][0], 0.2 * torch.rand(5, 2, generator=seeded(), dtype=D)
    kept = starts.clone()
    found = lyapunov_spectrum(way(step), starts, n_steps=60, n_warmup=20, **given)
    expected = lyapunov_spectrum(step, starts, n_steps=60, n_warmup=20, **given)
    torch.testing.assert_close(found.exponents, expected.exponents, rtol=0, atol=1e-12)
    assert torch.equal(starts, kept) and torch.equal(found.state, expected.state)


def test_in_place_on_the_way_to_covariant_vectors_and_over_given_steps():
    step, start = SYSTEMS["Lorenz"][0], torch.tensor(SYSTEMS["Lorenz"][1], dtype=D)
    for n_warmup in (0, 6):
        given = {"n_steps": 6, "n_warmup": n_warmup, "n_after": 6}
        found, expected = (covariant_vectors(s, start, **given) for s in (in_place(step), step))
        torch.testing.assert_close(found.states, expected.states, rtol=0, atol=1e-12)
        torch.testing.assert_close(found.vectors, expected.vectors, rtol=0, atol=1e-9)
    pair = [finite_time_exponents(s, start, n_steps=6) for s in (in_place(step), step)]
    torch.testing.assert_close(*pair, rtol=0, atol=1e-12)
    assert start.tolist() == SYSTEMS["Lorenz"][1]


def test_a_step_may_write_on_its_input_as_well():
    def step(x, u):
        u.mul_(2.0)
        u.add_(x)
        return x.copy_(torch.tanh(u))

    inputs, start = random(20, 3), random(3)
    kept = inputs.clone()
    for k in (1, 3):
        found = lyapunov_spectrum(step, start, n_steps=20, inputs=inputs, k=k)
        expected = lyapunov_spectrum(lambda x, u: torch.tanh(2 * u + x), start, n_steps=20, inputs=inputs, k=k)
        torch.testing.assert_close(found.exponents, expected.exponents, rtol=0, atol=1e-13)
        assert torch.equal(inputs, kept)


# --- no derivative -------------------------------------------------------------------------------------------------------
FLAT = {
    "constant": lambda x: torch.ones(5, dtype=x.dtype).expand(x.shape),
    "constant, new": lambda x: torch.zeros_like(x),
    "threshold": lambda x: (x.flip(-1) > 0.1).to(x.dtype),
    "threshold, truth values": lambda x: x > 0.1,
    "sign": lambda x: torch.sign(x - 0.2),
    "one-hot": lambda x: functional.one_hot(x.argmax(-1), 5).to(x.dtype),
    "one-hot, integers": lambda x: functional.one_hot((x.argmax(-1) + 1) % 5, 5),
    "rounded": lambda x: torch.round(3 * x.roll(1, -1)) / 3,
}


@pytest.mark.parametrize("dtype", [torch.float32, D])
@pytest.mark.parametrize("start", ["zeros", "drawn"])
@pytest.mark.parametrize("lead", [(), (3,)])
@pytest.mark.parametrize("kind", FLAT)
def test_what_does_not_change_with_its_argument_has_only_dead_directions(kind, lead, start, dtype):
    state = torch.zeros(*lead, 5, dtype=dtype) if start == "zeros" else random(*lead, 5).to(dtype)
    for given in ({"k": 1}, {"k": 3}, {}, {"qr_every": "auto"}, {"method": "cholesky"}, {"method": "elimination"}):
        found = lyapunov_spectrum(FLAT[kind], state, n_steps=6, **given)
        assert found.exponents.isneginf().all() and found.exponents.shape == (*lead, given.get("k", 5))
        assert found.state.dtype == dtype
    assert finite_time_exponents(FLAT[kind], state, n_steps=3).isneginf().all()


def test_one_thousand_units_of_a_one_hot_code():
    found = lyapunov_spectrum(lambda x: functional.one_hot(x.argmax(-1), 1000), random(1000), n_steps=3, k=500)
    assert found.exponents.isneginf().all()


# --- noise -----------------------------------------------------------------------------------------------------------------
def noisy(x):
    return torch.tanh(2 * x.roll(1, -1)) + 0.3 * torch.randn(3, dtype=x.dtype)


@pytest.mark.parametrize("given", [{}, {"k": 2}, {"k": 1}, {"qr_every": "auto"}, {"n_warmup": 10}, {"jvp": "finite-difference"}])
def test_noise_inside_is_the_noise_that_inputs_would_have_brought(given):
    start, total = torch.ones(3, dtype=D), 50 + given.get("n_warmup", 0)
    torch.manual_seed(4)
    noise = torch.stack([torch.randn(3, dtype=D) for _ in range(total)])
    after = torch.get_rng_state()
    torch.manual_seed(4)
    found = lyapunov_spectrum(noisy, start, n_steps=50, **given)
    assert torch.equal(torch.get_rng_state(), after), "each step draws once, whatever was tried"
    expected = lyapunov_spectrum(lambda x, u: torch.tanh(2 * x.roll(1, -1)) + 0.3 * u, start, n_steps=50, inputs=noise, **given)
    torch.testing.assert_close(found.exponents, expected.exponents, rtol=0, atol=1e-12)
    assert torch.equal(found.state, expected.state)


def test_noise_in_covariant_vectors_and_over_given_steps():
    start = torch.ones(3, dtype=D)
    driven = lambda x, u: torch.tanh(2 * x.roll(1, -1)) + 0.3 * u  # noqa: E731
    for n_warmup in (0, 6):
        torch.manual_seed(4)
        noise = torch.stack([torch.randn(3, dtype=D) for _ in range(n_warmup + 15)])
        torch.manual_seed(4)
        given = {"n_steps": 10, "n_warmup": n_warmup, "n_after": 5}
        found, expected = covariant_vectors(noisy, start, **given), covariant_vectors(driven, start, inputs=noise, **given)
        torch.testing.assert_close(found.vectors, expected.vectors, rtol=0, atol=1e-10)
        assert torch.equal(found.states, expected.states)
    torch.manual_seed(4)
    found = finite_time_exponents(noisy, start, n_steps=6)
    torch.testing.assert_close(found, finite_time_exponents(driven, start, n_steps=6, inputs=noise[:6]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("k", [1, 4])
def test_dropout_inside_drops_the_same_of_state_and_tangents(k):
    weight, keep = gaussian(4, 1.2), 0.5
    layer = nn.Dropout(1 - keep)
    torch.manual_seed(1)
    masks = torch.stack([layer(torch.ones(4, dtype=D)) for _ in range(40)])  # 0 or 2
    assert len(masks.unique(dim=0)) > 5
    torch.manual_seed(1)
    found = lyapunov_spectrum(lambda x: x + 0.1 * layer(torch.tanh(x @ weight.mT)), torch.ones(4, dtype=D), n_steps=40, k=k)
    expected = lyapunov_spectrum(lambda x, u: x + 0.1 * u * torch.tanh(x @ weight.mT), torch.ones(4, dtype=D), n_steps=40, k=k,
                                 inputs=masks)  # fmt: skip
    torch.testing.assert_close(found.exponents, expected.exponents, rtol=0, atol=1e-12)


@pytest.mark.parametrize("jvp", [None, "finite-difference"])
def test_other_noise_and_clocks_are_refused_in_words(jvp):
    own, clock = torch.Generator().manual_seed(0), iter(range(10**6))
    for step in (lambda x: x / 2 + torch.randn(3, generator=own, dtype=D), lambda x: torch.sin(x + 0.1 * next(clock))):
        with pytest.raises(ValueError, match=r"step: gives two answers for one state.*generator other.*pass it as inputs="):
            lyapunov_spectrum(step, torch.ones(3, dtype=D), n_steps=20, jvp=jvp)


# --- other ways of differentiation -------------------------------------------------------------------------------------------
class Backward(torch.autograd.Function):
    """A function that has a backward derivative alone."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.sin(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0].cos()


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("lead", [(), (4,)])
def test_what_has_no_forward_derivative_is_differentiated_backward(lead, k):
    weight, start = gaussian(3, 1.5), random(*lead, 3)
    found = lyapunov_spectrum(lambda x: Backward.apply(x @ weight.mT), start, n_steps=30, k=k)
    expected = lyapunov_spectrum(lambda x: torch.sin(x @ weight.mT), start, n_steps=30, k=k)
    torch.testing.assert_close(found.exponents, expected.exponents, rtol=0, atol=1e-11)
    assert not found.state.requires_grad and not found.exponents.requires_grad


def test_tangents_that_pytorch_promotes_meet_a_product_in_the_states_dtype():
    weight, start = gaussian(2, 1.3).float(), torch.tensor([0.3, 0.4])
    step = lambda x: torch.stack([2.5 * x[0], 0.5 * x[1]]) @ weight.mT  # noqa: E731
    found = lyapunov_spectrum(step, start, n_steps=30)
    expected = lyapunov_spectrum(lambda x: (x * torch.tensor([2.5, 0.5])) @ weight.mT, start, n_steps=30)
    torch.testing.assert_close(found.exponents, expected.exponents, rtol=0, atol=rounding(torch.float32, 60))


def test_a_cell_of_pytorchs_own_called_as_a_function():
    gru = nn.GRU(2, 4, dtype=D)
    inputs, start = random(12, 3, 2), random(3, 4)
    found = lyapunov_spectrum(lambda h, u: gru(u[None], h[None])[1][0], start, n_steps=12, inputs=inputs, k=2)
    expected = lyapunov_spectrum(rnn_step(gru), start, n_steps=12, inputs=inputs, k=2)
    torch.testing.assert_close(found.exponents, expected.exponents, rtol=0, atol=1e-10)


def into_one_buffer():
    buffer = torch.zeros(3, dtype=D)
    return lambda x: torch.mul(x.roll(1), torch.tensor([2.0, 0.5, 3.0], dtype=D), out=buffer)


@pytest.mark.parametrize("k", [1, 3])
def test_what_pytorch_cannot_differentiate_is_refused_in_words_and_right_by_differences(k):
    for step in (into_one_buffer(), lambda x: torch.from_numpy(x.numpy()[[2, 0, 1]] * [2.0, 0.5, 3.0])):
        with pytest.raises(ValueError, match=r'step: PyTorch cannot differentiate it.*torch.stack.*jvp="finite-difference"'):
            lyapunov_spectrum(step, torch.ones(3, dtype=D), n_steps=30, k=k)
        found = lyapunov_spectrum(step, torch.ones(3, dtype=D), n_steps=30, k=k, jvp="finite-difference")
        torch.testing.assert_close(found.exponents, torch.full((k,), math.log(3) / 3, dtype=D), rtol=0, atol=1e-9)
    states = covariant_vectors(into_one_buffer(), torch.ones(3, dtype=D), n_steps=3, n_warmup=0, jvp="finite-difference").states
    assert states.tolist() == [[1.0, 1.0, 1.0], [2.0, 0.5, 3.0], [6.0, 1.0, 1.5]]


def test_the_steps_own_error_is_raised_as_it_is():
    def step(x):
        if x.abs().max() > 50:
            raise ArithmeticError("too large")
        return 2 * x

    with pytest.raises(ArithmeticError, match="too large"):
        lyapunov_spectrum(step, torch.ones(2), n_steps=20)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"step": lambda x: x.float()}, r"step: gives torch.float32 back from a state of torch.float64, .*dtype=x.dtype"),
        ({"step": lambda x: (x, x)}, r"step: gives tuple back, expected a tensor of the state's shape \(3,\)"),
        ({"step": None}, "step: got None, expected a function"),
        ({"jvp": "differences"}, "jvp: got 'differences', expected a function .*\"finite-difference\""),
    ],
)
def test_bad_steps_are_value_errors_in_words(given, message):
    for run in (lyapunov_spectrum, finite_time_exponents, covariant_vectors):
        with pytest.raises(ValueError, match=message):
            run(**{"step": lambda x: x / 2, "state": torch.ones(3, dtype=D), "n_steps": 3, **given})
