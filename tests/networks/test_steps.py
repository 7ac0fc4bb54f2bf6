"""A module's step, repeated, is its own forward; the analytic tangent step is its forward-mode derivative."""

import pytest
import torch
from torch import nn

from salnb import TanhRNN, rnn_step
from tests.problems import random, seeded
from tests.tolerances import within

CLOSE = {"rtol": 1e-6, "atol": 1e-6}  # of a single step with weights of size 0.5: what the docstring promises
MODULES = {
    "RNN tanh": lambda layers, bias: nn.RNN(3, 5, layers, bias=bias),
    "RNN relu": lambda layers, bias: nn.RNN(3, 5, layers, bias=bias, nonlinearity="relu"),
    "GRU": lambda layers, bias: nn.GRU(3, 5, layers, bias=bias),
    "LSTM": lambda layers, bias: nn.LSTM(3, 5, layers, bias=bias),
}


def filled(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights larger than PyTorch's own, so that a missing term shows."""
    for i, parameter in enumerate(module.parameters()):
        parameter.data.copy_(random(*parameter.shape, seed=seed + i) * 0.5)
    return module


def states_of(module: nn.Module, x, state):
    """The whole state after each step as the module's forward says, one step at a time: (T, B, all units)."""
    rows = []
    for t in range(len(x)):
        _, state = module(x[t : t + 1], state)
        parts = [*state[0], *state[1]] if isinstance(state, tuple) else [*state]
        rows.append(torch.cat(parts, -1))
    return torch.stack(rows)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("kind", MODULES)
def test_rnn_step_equals_the_modules_forward(kind, layers, bias, device):
    module = filled(MODULES[kind](layers, bias)).to(device)
    x, lstm = random(6, 4, 3, device=device).float(), kind == "LSTM"
    start = random(2 if lstm else 1, layers, 4, 5, seed=1, device=device).float().tanh()
    expected = states_of(module, x, (start[0], start[1]) if lstm else start[0])
    step, state = rnn_step(module), torch.cat([part for block in start for part in block], -1)
    for t in range(6):
        state = step(state, x[t])
        # Sums of 3 + 5 products and two biases, layer after layer and step after step; rectified states may grow on the way.
        torch.testing.assert_close(state, expected[t], **within(expected[: t + 1], 10 * layers * (t + 1)))
    final = module(x, (start[0], start[1]) if lstm else start[0])[0]
    hidden = state[..., (layers - 1) * 5 : layers * 5]
    torch.testing.assert_close(hidden, final[-1], **within(expected, 10 * layers * 6))


@pytest.mark.parametrize("kind", MODULES)
def test_without_inputs_they_count_as_0_and_batch_dimensions_are_free(kind, device):
    module = filled(MODULES[kind](2, True)).to(device)
    size = 20 if kind == "LSTM" else 10
    state = random(2, 3, 4, size, device=device).float().tanh()
    found, step = rnn_step(module)(state), rnn_step(module)
    torch.testing.assert_close(found, step(state, torch.zeros(2, 3, 4, 3, device=device)), **CLOSE)
    torch.testing.assert_close(found[1, 2], step(state[1, 2]), **CLOSE)
    torch.testing.assert_close(found[1, 2, 3], step(state[1, 2, 3]), **CLOSE)


@pytest.mark.parametrize("cell", [nn.RNNCell(3, 5), nn.RNNCell(3, 5, nonlinearity="relu"), nn.GRUCell(3, 5), nn.LSTMCell(3, 5)])
def test_cells(cell):
    filled(cell)
    x, h, c = random(4, 3).float(), random(4, 5, seed=1).float().tanh(), random(4, 5, seed=2).float()
    if isinstance(cell, nn.LSTMCell):
        torch.testing.assert_close(rnn_step(cell)(torch.cat([h, c], -1), x), torch.cat(cell(x, (h, c)), -1), **CLOSE)
    else:
        torch.testing.assert_close(rnn_step(cell)(h, x), cell(x, h), **CLOSE)


def test_the_step_uses_the_weights_as_they_are_at_the_call(device):
    module = filled(nn.RNN(3, 5)).to(device)
    step, state = rnn_step(module), random(4, 5, device=device).float()
    before = step(state)
    module.weight_hh_l0.data.mul_(2)
    assert not torch.allclose(step(state), before)
    torch.testing.assert_close(step(state), module(torch.zeros(1, 4, 3, device=device), state[None])[1][0], **CLOSE)


def tanh_rnn(n_hidden, replicas, device, connectivity=1.0, n_in=3) -> TanhRNN:
    given = {"gain": 1.3, "connectivity": connectivity, "generator": seeded(), "dtype": torch.float64}
    rnn = TanhRNN(n_in, n_hidden, 1, replicas=replicas, **given)
    return filled(rnn).to(device)


CASES = [(5, (), (4,)), (5, (3,), (4,)), (5, (), ()), (5, (), (2, 4)), ((4, 5), (2, 3), ()), ((4, 6, 5), (3,), (2, 4))]


@pytest.mark.parametrize("connectivity", [1.0, 0.5])
@pytest.mark.parametrize(("n_hidden", "replicas", "batch"), CASES)
def test_tanh_rnn_with_replicas_then_any_batch_dimensions(n_hidden, replicas, batch, connectivity, device):
    rnn = tanh_rnn(n_hidden, replicas, device, connectivity)
    x, start = random(4, *replicas, *batch, 3, device=device), random(*replicas, *batch, 5, seed=1, device=device)
    step, state = rnn_step(rnn), start
    fold = (*replicas, -1)
    expected = rnn(x.reshape(4, *fold, 3), start.reshape(*fold, 5))[1]
    for t in range(4):
        state = step(state, x[t])
        assert state.shape == start.shape
        torch.testing.assert_close(state, expected[t].reshape(start.shape))
    torch.testing.assert_close(step(start), step(start, torch.zeros_like(x[0])))
    torch.testing.assert_close(step(start, x[0].reshape(-1, 3)[0]), step(start, x[0].reshape(-1, 3)[0].expand_as(x[0])))


@pytest.mark.parametrize("connectivity", [1.0, 0.5])
@pytest.mark.parametrize(("n_hidden", "replicas", "batch"), CASES)
def test_analytic_tangent_step_equals_forward_mode_differentiation(n_hidden, replicas, batch, connectivity, device):
    step = rnn_step(tanh_rnn(n_hidden, replicas, device, connectivity))
    state, x = random(*replicas, *batch, 5, device=device), random(*replicas, *batch, 3, seed=1, device=device)
    tangents = random(*replicas, *batch, 5, 3, seed=2, device=device)
    for drive in ((), (x,)):
        following, moved = step.jvp(state, tangents, *drive)
        for k in range(3):
            direct = torch.func.jvp(lambda s, given=drive: step(s, *given), (state,), (tangents[..., k],))
            torch.testing.assert_close(following, direct[0], rtol=1e-13, atol=1e-13)
            torch.testing.assert_close(moved[..., k], direct[1], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: rnn_step(nn.RNN(3, 5, bidirectional=True)), ValueError, "rnn_step: got a bidirectional RNN"),
        (lambda: rnn_step(nn.GRU(3, 5, bidirectional=True)), ValueError, "bidirectional GRU.*bidirectional=False"),
        (lambda: rnn_step(nn.LSTM(3, 5, proj_size=2)), ValueError, "rnn_step: got proj_size=2.*use proj_size=0"),
        (lambda: rnn_step(nn.RNN(3, 5, 2, dropout=0.1)), RuntimeError, "dropout=0.1 in training mode.*eval"),
        (lambda: rnn_step(nn.Linear(3, 5)), TypeError, "module: got Linear, expected TanhRNN, nn.RNN, nn.GRU, nn.LSTM"),
        (lambda: rnn_step(nn.RNN(3, 5, 2))(torch.zeros(5)), ValueError, "state: got 5 numbers .* expected 10"),
        (lambda: rnn_step(TanhRNN(3, 5, 1, gain=1.0))(torch.zeros(2, 4)), ValueError, "state: got 4 units, expected 5"),
        (
            lambda: rnn_step(TanhRNN(3, 5, 1, gain=1.0, replicas=(2,)))(torch.zeros(3, 5)),
            ValueError,
            r"state: got shape \(3, 5\), expected \(2,\) replicas first",
        ),
    ],
)
def test_bad_input_is_an_error_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_dropout_is_fine_in_eval_mode_and_refused_when_training_begins():
    module = nn.GRU(3, 5, 2, dropout=0.5).eval()
    step = rnn_step(module)
    assert step(torch.zeros(1, 10)).shape == (1, 10)
    module.train()
    with pytest.raises(RuntimeError, match="dropout=0.5 in training mode"):
        step(torch.zeros(1, 10))
