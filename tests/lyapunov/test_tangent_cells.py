"""The analytic tangent steps of PyTorch's recurrent modules equal forward-mode differentiation of the module's own formulas."""

import pytest
import torch
from torch import nn

from salnb import lyapunov_spectrum, rnn_step
from tests.problems import random

KINDS = {
    "RNN tanh": lambda layers, bias: nn.RNN(3, 4, layers, bias=bias),
    "RNN relu": lambda layers, bias: nn.RNN(3, 4, layers, bias=bias, nonlinearity="relu"),
    "GRU": lambda layers, bias: nn.GRU(3, 4, layers, bias=bias),
    "LSTM": lambda layers, bias: nn.LSTM(3, 4, layers, bias=bias),
}
CELLS = {
    "RNNCell": nn.RNNCell,
    "RNNCell relu": lambda *a, **g: nn.RNNCell(*a, nonlinearity="relu", **g),
    "GRUCell": nn.GRUCell,
    "LSTMCell": nn.LSTMCell,
}


def filled(module: nn.Module, device="cpu") -> nn.Module:
    for i, parameter in enumerate(module.double().parameters()):
        parameter.data.copy_(0.7 * random(*parameter.shape, seed=i))
    return module.to(device)


def columns(step, state, tangents, *inputs):
    """One direction after the other by torch.func.jvp of the plain step."""
    pairs = [torch.func.jvp(lambda s: step(s, *inputs), (state,), (tangents[..., i],)) for i in range(tangents.shape[-1])]
    return pairs[0][0], torch.stack([moved for _, moved in pairs], -1)


def check(step, state, k, *inputs) -> None:
    tangents = random(*state.shape, k, seed=7, device=state.device)
    found = step.jvp(state, tangents, *inputs)
    for one, other in zip(found, columns(step, state, tangents, *inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert torch.equal(found[0], step(state, *inputs))


@pytest.mark.parametrize(("layers", "bias"), [(1, True), (2, True), (3, True), (1, False), (2, False)])
@pytest.mark.parametrize("kind", KINDS)
def test_tangents_equal_forward_mode_differentiation(kind, layers, bias, device):
    module = filled(KINDS[kind](layers, bias), device)
    step, n = rnn_step(module), 4 * layers * (2 if kind == "LSTM" else 1)
    for lead in ((), (5,), (2, 3)):
        state = random(*lead, n, device=device)
        for inputs in ((), (random(*lead, 3, seed=1, device=device),), (random(3, seed=1, device=device),)):
            check(step, state, 2, *inputs)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", CELLS)
def test_tangents_of_cells(kind, bias):
    module = filled(CELLS[kind](3, 4, bias=bias))
    state, x = random(2, 8 if "LSTM" in kind else 4), random(2, 3, seed=1)
    check(rnn_step(module), state, 3)
    check(rnn_step(module), state, 3, x)
    own = module(x, state.split(4, -1)) if "LSTM" in kind else module(x, state)
    own = torch.cat(own, -1) if isinstance(own, tuple) else own
    torch.testing.assert_close(rnn_step(module)(state, x), own, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_exponents_sum_to_the_log_determinant_of_autograds_jacobian(kind):
    module = filled(KINDS[kind](2, True))
    if kind == "RNN relu":
        for name, parameter in module.named_parameters():
            parameter.data = parameter.data.abs() * 0.3 if "bias" not in name else parameter.data.abs() + 1  # all units active
    step, state, x = rnn_step(module), random(16 if kind == "LSTM" else 8).abs(), random(5, 3).abs()
    found = lyapunov_spectrum(step, state, n_steps=5, inputs=x).sum().item()
    logs = []
    for u in x:
        logs.append(torch.linalg.slogdet(torch.func.jacrev(lambda s, u=u: step(s, u))(state))[1].item())
        state = step(state, u)
    assert found == pytest.approx(sum(logs) / 5, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_an_input_of_another_width_is_an_error_in_words(kind):
    module = filled(KINDS[kind](1, True))
    state = torch.zeros(8 if kind == "LSTM" else 4).double()
    with pytest.raises(ValueError, match="inputs: got 2 numbers in the last dimension, expected 3 for"):
        rnn_step(module)(state, random(2))
    with pytest.raises(ValueError, match="inputs: got 2 numbers"):
        rnn_step(module).jvp(state, random(len(state), 1), random(2))
    with pytest.raises(ValueError, match="state: got 5 numbers in the last dimension, expected"):
        rnn_step(module).jvp(random(5), random(5, 2))
