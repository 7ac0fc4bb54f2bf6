"""GRU and LSTM, their cells and their layers: the rows of one time step, by autograd of PyTorch's own cells."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from salnb import SAL, SensitivityMonitor, rnn_step
from tests.problems import random
from tests.sal.rows.row_oracle import expected, rounding_of

CELLS = {"gru": (nn.GRU, nn.GRUCell), "lstm": (nn.LSTM, nn.LSTMCell)}


class Whole(nn.Module):
    """A recurrent network with its readout."""

    def __init__(self, kind: str, **settings) -> None:
        super().__init__()
        self.rnn = CELLS[kind][0](3, 4, **settings).double()

    def forward(self, x, state=None):
        return self.rnn(x) if state is None else self.rnn(x, state)


def single(kind: str, rnn: nn.Module, layer: int) -> nn.Module:
    """The cell with the weights of one layer."""
    cell = CELLS[kind][1](getattr(rnn, f"weight_ih_l{layer}").shape[1], 4, bias=rnn.bias).double()
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            parameter.copy_(getattr(rnn, f"{name}_l{layer}"))
    return cell


def trajectory(kind: str, cell: nn.Module, x: torch.Tensor, start=None):
    """States before each step (T, B, n), and those after each, of one layer run step by step."""
    state = x.new_zeros(x.shape[1], 4 * (1 + (kind == "lstm"))) if start is None else start
    before, after = [], []
    for one in x:
        before.append(state)
        parts = cell(one, tuple(state.split(4, -1))) if kind == "lstm" else cell(one, state)
        state = torch.cat(parts, -1) if kind == "lstm" else parts
        after.append(state)
    return torch.stack(before).detach(), torch.stack(after).detach()


def step_map(kind: str, cell: nn.Module, n_in: int):
    """One step as a function of parameters and of one sample: the state and the input, the input being held."""
    size = 4 * (1 + (kind == "lstm"))

    def function(parameters, x):
        x = torch.cat([x[:size], x[size:].detach()]).unsqueeze(0)
        given = (x[:, size:], tuple(x[:, :size].split(4, -1)) if kind == "lstm" else x[:, :size])
        after = torch.func.functional_call(cell, parameters, given)
        return (torch.cat(after, -1) if kind == "lstm" else after).squeeze(0)

    return function


def oracle(kind, cell, before, x):
    """E[s] by the state alone, and its gradient."""
    from tests.sal.rows import row_oracle

    samples, size = torch.cat([before, x], -1).flatten(0, 1), before.shape[-1]
    function = step_map(kind, cell, x.shape[-1])

    def lengths(function, parameters, inputs):
        def of_one(one):
            rows = torch.func.jacrev(lambda state: function(parameters, torch.cat([state, one[size:]])))(one[:size])
            return rows.square().sum(-1).sqrt()

        return torch.stack([of_one(one) for one in inputs])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_oracle, "lengths", lengths)
        mean, gradient = expected(function, cell, samples)
        by_mean = gradient(1 - mean)
    return mean, by_mean


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("settings", [{}, {"bias": False}, {"num_layers": 2}, {"batch_first": True}], ids=str)
def test_every_layer_has_the_rows_of_its_cell_and_moves_along_their_gradient(kind, settings):
    model, x = Whole(kind, **settings), random(6, 5, 3)
    wanted, below = {}, x
    for layer in range(model.rnn.num_layers):
        cell = single(kind, model.rnn, layer)
        before, after = trajectory(kind, cell, below)
        wanted[f"rnn.weight_hh_l{layer}"] = oracle(kind, cell, before, below)
        below = after[..., :4]
    start = copy.deepcopy(model.rnn.state_dict())
    sal = SAL(model, lr=0.1, rule="proportional", layers={"rnn": "rows"})
    model(x.transpose(0, 1) if settings.get("batch_first") else x)
    sal.step()
    assert set(sal.sensitivity) == set(wanted)
    for layer, (name, (mean, gradient)) in enumerate(wanted.items()):
        torch.testing.assert_close(sal.sensitivity[name], mean, **rounding_of(mean))
        for part in ("weight_hh", "bias_hh") if model.rnn.bias else ("weight_hh",):
            moved = getattr(model.rnn, f"{part}_l{layer}").detach() - start[f"{part}_l{layer}"]
            torch.testing.assert_close(moved, 0.1 * gradient[part], **rounding_of(start[f"{part}_l{layer}"]))
        for part in ("weight_ih", "bias_ih") if model.rnn.bias else ("weight_ih",):
            assert torch.equal(getattr(model.rnn, f"{part}_l{layer}"), start[f"{part}_l{layer}"])


@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_in_a_loop_is_the_layer(kind):
    whole = Whole(kind)
    cell, x = single(kind, whole.rnn, 0), random(6, 5, 3)

    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = cell

        def forward(self, x):
            state = None
            for one in x:
                state = self.cell(one, state) if state is not None else self.cell(one)
            return state

    found = []
    for model, name, layer in (whole, "rnn", "rnn.weight_hh_l0"), (Loop(), "cell", "cell"):
        sal = SAL(model, lr=0.05, layers={name: "rows"}, rule="proportional")
        for _ in range(2):
            model(x)
            sal.step()
        found.append(sal.sensitivity[layer])
    torch.testing.assert_close(*found, **rounding_of(found[0]))


@pytest.mark.parametrize("kind", CELLS)
def test_packed_sequences_and_masks_leave_the_padding_out(kind):
    model, x, lengths = Whole(kind, num_layers=2), random(6, 4, 3), [2, 6, 3, 5]
    packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    mask = torch.arange(6).unsqueeze(1) < torch.tensor(lengths)
    found = []
    for way in "packed", "mask":
        sal = SAL(copy.deepcopy(model), lr=0.0, layers={"rnn": "rows"})
        if way == "packed":
            sal._model(packed)
        else:
            with sal.counting(mask):
                sal._model(x)
        sal.step()
        found.append(sal.sensitivity)
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], **rounding_of(found[1][name]))
    single_runs = []
    for sample, length in enumerate(lengths):
        sal = SAL(copy.deepcopy(model), lr=0.0, layers={"rnn": "rows"})
        sal._model(x[:length, sample])  # without a batch dimension
        sal.step()
        single_runs.append((length, sal.sensitivity["rnn.weight_hh_l1"]))
    mean = sum(length * s for length, s in single_runs) / sum(lengths)
    torch.testing.assert_close(found[0]["rnn.weight_hh_l1"], mean, **rounding_of(mean))


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("packed", [False, True])
def test_a_given_state_is_where_the_sequence_begins(kind, packed):
    model, x = Whole(kind), random(4, 3, 3)
    first = [random(1, 3, 4, seed=k) for k in range(1 + (kind == "lstm"))]
    cell = single(kind, model.rnn, 0)
    before, _ = trajectory(kind, cell, x, torch.cat(first, -1)[0])
    mean, _ = oracle(kind, cell, before, x)
    sal = SAL(model, lr=0.0, layers={"rnn": "rows"})
    given = pack_padded_sequence(x, torch.tensor([4, 4, 4])) if packed else x
    model(given, tuple(first) if kind == "lstm" else first[0])
    sal.step()
    torch.testing.assert_close(sal.sensitivity["rnn.weight_hh_l0"], mean, **rounding_of(mean))


@pytest.mark.parametrize("kind", CELLS)
def test_the_monitor_and_the_exponents_step_agree(kind):
    """The Jacobian of the library's own step of the same module has these rows."""
    model, x = Whole(kind), random(5, 6, 3)
    with SensitivityMonitor(model, {"rnn": "rows"}) as monitor:
        model(x)
    step, cell = rnn_step(model.rnn), single(kind, model.rnn, 0)
    before, _ = trajectory(kind, cell, x)
    jacobians = torch.stack([torch.func.vmap(torch.func.jacrev(lambda s, u: step(s, u)))(s, u) for s, u in
                             zip(before, x, strict=True)])  # fmt: skip
    wanted = jacobians.norm(dim=-1).mean().item()
    (row,) = monitor.history
    assert abs(row["mean"] - wanted) < 1e-12 and row["neurons"] == before.shape[-1] and row["dead"] == 0


@pytest.mark.parametrize("kind", CELLS)
def test_units_are_brought_to_target(kind):
    model, x = Whole(kind), random(20, 8, 3)
    sal = SAL(model, lr=0.3, layers={"rnn": "rows"}, rule="proportional", decay=0.0)
    distances = []
    for _ in range(300):
        model(x)
        sal.step()
        distances.append((sal.sensitivity["rnn.weight_hh_l0"] - 1).abs().max())
    assert distances[-1] < distances[0] / 4


@pytest.mark.parametrize("kind", CELLS)
def test_an_empty_batch_is_no_pass(kind):
    model = Whole(kind)
    sal = SAL(model, layers={"rnn": "rows"})
    model(random(4, 3, 3))
    sal.step()
    model(random(4, 0, 3))
    with pytest.raises(RuntimeError, match="no samples"):
        sal.step()


@pytest.mark.parametrize(("settings", "words"), [
    ({"bidirectional": True}, "'?rnn.*bidirectional"), ({"num_layers": 2, "dropout": 0.5}, "rnn.*dropout=0.5"),
])  # fmt: skip
def test_what_has_no_single_step_is_refused(settings, words):
    for kind in CELLS:
        with pytest.raises((ValueError, RuntimeError), match=words):
            SAL(Whole(kind, **settings), layers={"rnn": "rows"})
    with pytest.raises(ValueError, match="proj_size"):
        SAL(Whole("lstm", proj_size=2), layers={"rnn": "rows"})


def test_gates_have_no_rows_to_hold_back():
    model = Whole("gru")
    sal = SAL(model, layers={"rnn": "rows"})
    model(random(4, 3, 3))[0].sum().backward()
    with pytest.raises(RuntimeError, match="gate_gradients_: the units of 'rnn.weight_hh_l0', which is adjusted by rows"):
        sal.gate_gradients_()
