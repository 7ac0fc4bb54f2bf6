"""States of every layer of an nn.RNN, before and after each step, against a loop over layers and time written by hand."""

import pytest
import torch
from torch import nn

from salnb import SAL
from salnb.sal.recording import rnn_observations
from tests.problems import SEED, random, unrolled_rnn
from tests.tolerances import close


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
