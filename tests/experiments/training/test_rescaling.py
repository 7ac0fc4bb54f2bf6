"""Rows divided once by their mean sensitivity on one batch."""

import pytest
import torch

from salnb import TanhRNN
from salnb.experiments import train_lag
from salnb.experiments.training import rescale_rows_
from salnb.sensitivity import neuron_sensitivity


def net(n_hidden=6, gain=0.5):
    return TanhRNN(2, n_hidden, 1, gain=gain, replicas=(3,), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_each_row_is_divided_by_the_sensitivity_that_the_library_measures():
    rnn, inputs = net(), torch.randn(7, 3, 4, 2, generator=torch.Generator().manual_seed(1)).double()
    before = rnn.recurrent[0].weight.detach().clone()
    states = torch.cat([torch.zeros(1, 3, 4, 6).double(), rnn(inputs)[1].detach()])
    drives = rnn.input(inputs)
    seen = [neuron_sensitivity(before, rnn.recurrent[0](h, x).detach(), activation="tanh")
            for h, x in zip(states, drives, strict=False)]  # fmt: skip
    expected = torch.stack(seen).mean((0, 2))
    found = rescale_rows_(rnn, inputs)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(rnn.recurrent[0].weight.detach(), before / expected.unsqueeze(-1), rtol=1e-12, atol=0)


def test_what_no_factor_brings_to_1_is_refused():
    with pytest.raises(ValueError, match="net: got a ring of 2 layers"):
        rescale_rows_(net((4, 4)), torch.zeros(3, 3, 1, 2).double())
    dead = net()
    with torch.no_grad():
        dead.recurrent[0].weight[1, 2] = 0.0
    kept = dead.recurrent[0].weight.detach().clone()
    with pytest.raises(ValueError, match="mean sensitivity of 0"):
        rescale_rows_(dead, torch.zeros(3, 3, 1, 2).double())
    assert torch.equal(dead.recurrent[0].weight, kept)
    with pytest.raises(ValueError, match="rescale: got True with gru"):
        train_lag(lag=5, cell="gru", rescale=True, steps=2)

    for unclear in ("yes", None, float("nan"), 1):
        with pytest.raises(ValueError, match=f"rescale: got {unclear!r}, expected True or False"):
            train_lag(lag=5, rescale=unclear, steps=2)


@pytest.mark.parametrize(
    ("given", "inputs", "error", "words"),
    [
        (torch.nn.RNN(2, 4), torch.zeros(3, 3, 1, 2).double(), TypeError, "net: got RNN, expected a salnb.networks.TanhRNN"),
        (None, [[1.0]], TypeError, "inputs: got list, expected a tensor"),
        (None, torch.zeros(3, 3, 1, 2), ValueError, "inputs: got dtype torch.float32, expected torch.float64"),
        (None, torch.zeros(0, 3, 1, 2).double(), ValueError, "inputs: got shape .*, which holds no number"),
        (None, torch.full((3, 3, 1, 2), torch.nan).double(), ValueError, "inputs: got 18 of 18 numbers that are NaN"),
        (None, torch.zeros(3, 3, 1, 5).double(), ValueError, "inputs: got shape .*, expected"),
    ],
)
def test_a_stranger_is_told_what_is_wrong(given, inputs, error, words):
    with pytest.raises(error, match=words):
        rescale_rows_(net() if given is None else given, inputs)


def test_training_from_there_resumes_to_the_same_bits(tmp_path):
    settings = dict(lag=6, n_hidden=8, replicas=2, steps=6, sal=False, rescale=True)
    whole = train_lag(**settings, generator=torch.Generator().manual_seed(2), path=tmp_path / "run.pt", save_every=0.0)
    again = train_lag(**settings, generator=torch.Generator().manual_seed(2), path=tmp_path / "run.pt")
    other = train_lag(**{**settings, "rescale": False}, generator=torch.Generator().manual_seed(2))
    assert whole.settings["rescale"] is True and "rescale" not in other.settings
    assert torch.equal(whole.accuracy, again.accuracy) and torch.equal(whole.stopped, again.stopped)
    assert not torch.equal(whole.history["log_sensitivity"], other.history["log_sensitivity"])
