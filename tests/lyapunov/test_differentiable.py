"""Gradients of finite-time exponents: against finite differences, autograd of the whole product, and known answers."""

import pytest
import torch
from torch import nn

from salnb import finite_time_exponents, rnn_step
from tests.problems import random
from tests.tolerances import close


def tanh_step(weight):
    return lambda h: torch.tanh(torch.einsum("...nm,...bm->...bn", weight, h))


def by_product(weight, state, n_steps, k, inputs=None):
    """log σ_i / T of the product of all Jacobians, which autograd follows as a whole."""
    def run(h):
        for t in range(n_steps):
            h = torch.tanh(weight @ h + (0.0 if inputs is None else inputs[t]))
        return h

    jacobian = torch.func.jacrev(run)(state)
    return torch.linalg.svdvals(jacobian)[:k].log() / n_steps


@pytest.mark.parametrize("k", [1, 3, 6])
def test_the_gradient_is_that_of_the_singular_values_of_the_product(k):
    weight = (1.3 * random(6, 6) / 6**0.5).requires_grad_()
    state = random(6, seed=1)
    exponents = finite_time_exponents(lambda h: torch.tanh(weight @ h), state, n_steps=10, k=k, create_graph=True)
    plain = finite_time_exponents(lambda h: torch.tanh(weight @ h), state, n_steps=10, k=k)
    assert torch.equal(exponents.detach(), plain) and not plain.requires_grad
    coefficients = random(k, seed=2)
    (found,) = torch.autograd.grad((coefficients * exponents).sum(), weight)
    (wanted,) = torch.autograd.grad((coefficients * by_product(weight, state, 10, k)).sum(), weight)
    # The product as a whole loses the digits of its smallest singular value against its largest.
    lost = float(torch.exp(10 * (plain[0] - plain[-1])))
    torch.testing.assert_close(found, wanted, **close(torch.float64, 1000 * lost, float(wanted.abs().max())))


def test_against_finite_differences():
    weight, state, inputs = random(5, 5) / 2, random(5, seed=1), random(10, 5, seed=2)
    def exponents(w, graph=False):
        step = lambda h, u: torch.tanh(w @ h + u)  # noqa: E731
        return finite_time_exponents(step, state, n_steps=10, k=2, inputs=inputs, create_graph=graph)
    free = weight.clone().requires_grad_()
    found = torch.stack([torch.autograd.grad(one, free, retain_graph=True)[0] for one in exponents(free, True)])
    step = 1e-6
    for i in range(5):
        for j in range(5):
            moved = torch.zeros(5, 5, dtype=torch.float64)
            moved[i, j] = step
            difference = (exponents(weight + moved) - exponents(weight - moved)) / (2 * step)
            torch.testing.assert_close(found[:, i, j], difference, rtol=1e-6, atol=1e-7)


def test_a_scale_of_the_weights_moves_every_exponent_of_a_linear_map_by_its_logarithm():
    """log σ_i of (g A)^T is T log g + …: the derivative by g is 1/g for each."""
    matrix, gain = random(4, 4), torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    step = lambda x: x @ (gain * matrix).mT  # noqa: E731
    exponents = finite_time_exponents(step, random(3, 4, seed=1), n_steps=40, create_graph=True, dt=0.5)
    for one in exponents.flatten():
        (by_gain,) = torch.autograd.grad(one, gain, retain_graph=True)
        torch.testing.assert_close(by_gain, 1 / (0.5 * gain.detach()), **close(torch.float64, 1000))


def test_replicas_have_gradients_of_their_own():
    weights, state = random(3, 5, 5) / 2, random(3, 2, 5, seed=1)
    free = weights.clone().requires_grad_()
    together = finite_time_exponents(tanh_step(free), state, n_steps=8, k=2, create_graph=True)
    assert together.shape == (3, 2, 2)
    together.square().sum().backward()
    for r in range(3):
        alone = weights[r].clone().requires_grad_()
        finite_time_exponents(tanh_step(alone), state[r], n_steps=8, k=2, create_graph=True).square().sum().backward()
        torch.testing.assert_close(free.grad[r], alone.grad, **close(torch.float64, 1000, float(alone.grad.abs().max())))


@pytest.mark.parametrize("window", [1, 3, 4, 12, 50])
def test_a_window_cuts_the_gradient_as_detached_states_and_frames_do(window):
    """By hand: the run in pieces, each from the state and frame that the piece before has left as numbers."""
    weight, state, n_steps = random(5, 5) / 2, random(5, seed=1), 12
    free = weight.clone().requires_grad_()
    step = lambda h: torch.tanh(free @ h)  # noqa: E731
    found = finite_time_exponents(step, state, n_steps=n_steps, k=2, create_graph=True, window=window)
    (gradient,) = torch.autograd.grad(found.sum(), free)
    jacobian = torch.func.jacrev(lambda h: [h := torch.tanh(weight @ h) for _ in range(n_steps)][-1])(state)
    frame, h, total = torch.linalg.svd(jacobian)[2][:2].mT, state, 0.0
    for t in range(n_steps):
        if t % window == 0:
            h, frame = h.detach(), frame.detach()
        following = step(h)
        slope = (1 - following.square()).unsqueeze(-1)
        frame, triangle = torch.linalg.qr(slope * (free @ frame))
        total, h = total + triangle.diagonal().abs().log().sum(), following
    (wanted,) = torch.autograd.grad(total / n_steps, free)
    lost = float(torch.exp(n_steps * (found[0] - found[1]).detach().abs())) * 100
    torch.testing.assert_close(gradient, wanted, **close(torch.float64, 1000 * lost, float(wanted.abs().max())))


def test_memory_is_that_of_one_window():
    """What autograd has saved when the run is over does not grow with the steps, but with a window's."""
    weight = (random(40, 40) / 7).requires_grad_()

    def saved(window):
        total = 0

        def pack(tensor):
            nonlocal total
            total += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            finite_time_exponents(lambda h: torch.tanh(weight @ h), random(40), n_steps=60, k=3, create_graph=True, window=window)
        return total

    assert saved(10) < saved(None) / 5


def test_parameters_of_a_module_and_the_start_have_gradients():
    rnn, state = nn.RNN(2, 4).double(), random(4).requires_grad_()
    inputs = random(10, 2, seed=1)
    exponents = finite_time_exponents(rnn_step(rnn), state, n_steps=10, k=1, inputs=inputs, create_graph=True)
    exponents.sum().backward()
    for name, parameter in [*rnn.named_parameters(), ("state", state)]:
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_it_lengthens_the_exponents_when_their_square_is_descended():
    """Gradient flossing in small: the leading exponents come to 0."""
    torch.manual_seed(0)
    rnn = nn.RNN(1, 8, bias=False).double()
    optimizer, inputs, distances = torch.optim.Adam(rnn.parameters(), 1e-2), torch.zeros(20, 1).double(), []
    for _ in range(100):
        optimizer.zero_grad()
        exponents = finite_time_exponents(rnn_step(rnn), 0.1 * random(8), n_steps=20, k=4, inputs=inputs, create_graph=True)
        exponents.square().sum().backward()
        optimizer.step()
        distances.append(exponents.detach().abs().max())
    assert distances[-1] < distances[0] / 5


def test_what_has_no_gradient_is_refused_in_words():
    weight = random(3, 3)
    with pytest.raises(RuntimeError, match="create_graph: nothing that step uses asks for a gradient"):
        finite_time_exponents(lambda h: torch.tanh(weight @ h), random(3), n_steps=3, create_graph=True)
    free = weight.clone().requires_grad_()
    with pytest.raises(ValueError, match="window: got 2 without create_graph=True"):
        finite_time_exponents(lambda h: torch.tanh(free @ h), random(3), n_steps=3, window=2)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="window"):
            finite_time_exponents(lambda h: torch.tanh(free @ h), random(3), n_steps=3, create_graph=True, window=wrong)


def test_a_lost_direction_has_the_gradient_zero():
    scale = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    matrix = torch.tensor([[1.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    exponents = finite_time_exponents(lambda x: x @ (scale * matrix).mT, random(2), n_steps=5, create_graph=True)
    assert exponents[1] == -torch.inf
    (by_scale,) = torch.autograd.grad(exponents[0], scale, retain_graph=True)
    torch.testing.assert_close(by_scale, 1 / scale.detach(), **close(torch.float64, 100))
    (by_scale,) = torch.autograd.grad(exponents[1], scale)
    assert by_scale == 0
