"""States of every layer of an nn.RNN, before and after each step, against a loop over layers and time written by hand."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from salnb import SAL
from salnb.sal.passes.rnn_states import rnn_observations
from tests.problems import SEED, autograd_sensitivity, random, unrolled_rnn
from tests.tolerances import close, rounding


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", ["time first", "batch first", "unbatched"])
@pytest.mark.parametrize("given_state", [True, False])
def test_recurrent_inputs_and_outputs(nonlinearity, bias, layers, kind, given_state, device):
    rnn = nn.RNN(3, 5, layers, nonlinearity=nonlinearity, bias=bias, batch_first=kind == "batch first").to(device).double()
    x, state = random(6, 4, 3, device=device), random(layers, 4, 5, seed=1, device=device).tanh() if given_state else None
    if kind == "unbatched":
        x, state = x[:, :1], None if state is None else state[:, :1]
    expected = unrolled_rnn(rnn, x, state)
    given = {"time first": x, "batch first": x.transpose(0, 1), "unbatched": x[:, 0]}[kind]
    start = state[:, 0] if kind == "unbatched" and state is not None else state
    with torch.no_grad():
        found = rnn_observations(rnn, given, start, rnn(given, start)[0])
    assert len(found) == layers
    function = torch.tanh if nonlinearity == "tanh" else torch.relu
    for pair, (before, pre) in zip(found, expected, strict=True):
        for tensor, other in zip(pair, (before, function(pre)), strict=True):
            # Six steps of up to three layers, each with two products of at most five terms.
            torch.testing.assert_close(tensor, other, **close(torch.float64, 6 * 3 * (5 + 5)))


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_a_model_may_change_the_output_of_its_rnn_in_place(nonlinearity, device):
    """The slopes follow from the output, so SAL keeps a copy of it."""

    class Model(nn.Module):
        def __init__(self, inplace: bool) -> None:
            super().__init__()
            torch.manual_seed(SEED)
            self.rnn, self.after = nn.RNN(3, 5, nonlinearity=nonlinearity), nn.LeakyReLU(inplace=inplace)

        def forward(self, inputs):
            return self.after(self.rnn(inputs)[0])

    found = []
    for inplace in (False, True):
        model = Model(inplace).to(device)
        sal = SAL(model, lr=0.1)
        model(random(6, 4, 3, device=device).float()).sum().backward()
        sal.step()
        found.append([*sal.sensitivity.values(), *model.parameters()])
    torch.testing.assert_close(*found, rtol=0, atol=0)  # the same operations on the same tensors


LENGTHS = (3, 7, 1, 5)


def by_sequence(rnn: nn.RNN, sequences: list[torch.Tensor], start: torch.Tensor | None) -> list[tuple[torch.Tensor, ...]]:
    """For each layer what its recurrent weights read (S, N) and U (S, N), each sequence being run on its own."""
    found = [unrolled_rnn(rnn, x.unsqueeze(1), None if start is None else start[:, i : i + 1]) for i, x in enumerate(sequences)]
    return [tuple(torch.cat([seen[layer][k][:, 0] for seen in found]) for k in (0, 1)) for layer in range(rnn.num_layers)]


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("given_state", [True, False])
@pytest.mark.parametrize("presorted", [True, False])
def test_packed_sequences_count_their_valid_steps(nonlinearity, bias, layers, given_state, presorted, device):
    rnn = nn.RNN(3, 5, layers, nonlinearity=nonlinearity, bias=bias).to(device).double()
    lengths = sorted(LENGTHS, reverse=True) if presorted else LENGTHS
    sequences = [random(length, 3, seed=i, device=device) for i, length in enumerate(lengths)]
    start = random(layers, 4, 5, seed=9, device=device).tanh() if given_state else None
    function, expected = torch.tanh if nonlinearity == "tanh" else torch.relu, {}
    for layer, (before, pre) in enumerate(by_sequence(rnn, sequences, start)):
        weight, theta = getattr(rnn, f"weight_hh_l{layer}"), getattr(rnn, f"bias_hh_l{layer}", None)
        s, by_weight, by_bias = autograd_sensitivity(weight, before, pre, function)
        moved = (weight + 0.1 * by_weight).detach(), None if theta is None else (theta + 0.1 * by_bias).detach()
        expected[layer] = s.mean(0), 0.5 * s.square().mean().log(), *moved
    sal = SAL(rnn, lr=0.1, target=1e9)
    output, last = rnn(pack_sequence(sequences, enforce_sorted=presorted), start)
    logs = sal.log_sensitivity()
    sal.step()
    exact = close(torch.float64, 7 * 3 * (5 + 5) + 16)  # seven steps of up to three layers, and sums over 16 steps in all
    for layer, (mean, log, weight, theta) in expected.items():
        torch.testing.assert_close(sal.sensitivity[f"weight_hh_l{layer}"], mean, **exact)
        torch.testing.assert_close(logs[layer], log, **exact)
        torch.testing.assert_close(getattr(rnn, f"weight_hh_l{layer}").detach(), weight, **exact)
        if theta is not None:
            torch.testing.assert_close(getattr(rnn, f"bias_hh_l{layer}").detach(), theta, **exact)


def test_packed_and_padded_passes_are_pooled_and_the_output_is_untouched(device):
    rnn, plain = (nn.RNN(3, 5, 2).to(device).double() for _ in range(2))
    plain.load_state_dict(rnn.state_dict())
    sequences = [random(length, 3, seed=i, device=device) for i, length in enumerate(LENGTHS)]
    batch = random(6, 2, 3, seed=8, device=device)
    sal = SAL(rnn, lr=0.0)
    packed = pack_sequence(sequences, enforce_sorted=False)
    for found, wanted in zip(rnn(packed), plain(packed), strict=True):
        assert torch.equal(found.data, wanted.data)
    rnn(batch)
    sal.step()
    for layer, (_, pre) in enumerate(by_sequence(rnn, [*sequences, batch[:, 0], batch[:, 1]], None)):
        wanted = ((1 - torch.tanh(pre).square()) * getattr(rnn, f"weight_hh_l{layer}").norm(dim=1)).mean(0).detach()
        torch.testing.assert_close(sal.sensitivity[f"weight_hh_l{layer}"], wanted, **close(torch.float64, 7 * 2 * (5 + 5) + 28))


def test_packed_sequences_under_autocast_keep_the_digits_of_the_slopes(device):
    """Saturated neurons: in bfloat16 h is exactly 1 and 1 − h² would be 0."""
    rnn = nn.RNN(3, 5, 2).to(device)
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.mul_(0.1)
        rnn.bias_hh_l0.fill_(6.0), rnn.bias_hh_l1.fill_(6.0)
    sequences = [random(length, 3, seed=i, device=device).float() for i, length in enumerate(LENGTHS)]
    packed = pack_sequence(sequences, enforce_sorted=False)
    sal = SAL(rnn, lr=0.0)
    rnn(packed)
    exact = sal.log_sensitivity()
    sal.discard()
    with torch.autocast(device.type, dtype=torch.bfloat16):
        rnn(packed)
    assert (exact < -9).all()
    # In bfloat16 a pre-activation up to 8 is off by as many units, and log f' by twice that.
    torch.testing.assert_close(sal.log_sensitivity(), exact, rtol=0, atol=rounding(torch.bfloat16, 1, 8))
