"""Passes that SAL refuses, each in words and without changing anything."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from salnb import SAL, DeepNet
from tests.sal.test_recording import NO_PASS, watched


def test_without_a_pass_it_is_an_error():
    _, sal, _ = watched()
    for call in (sal.step, sal.gate_gradients_, sal.log_sensitivity):
        with pytest.raises(RuntimeError, match=NO_PASS):
            call()


def test_a_watched_layer_that_never_ran_is_an_error_that_changes_nothing():
    class Lazy(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return torch.tanh(self.used(x))

    model = Lazy()
    sal = SAL(model, layers={"used": "tanh", "idle": "tanh"})
    before = model.used.weight.clone()
    model(torch.ones(2, 3))
    with pytest.raises(RuntimeError, match="SAL: the layers idle are watched but did not run in the last pass; .*layers="):
        sal.step()
    assert torch.equal(model.used.weight, before) and sal.sensitivity == {}


def test_a_pass_without_samples_is_an_error_that_changes_nothing():
    net = DeepNet(2, 4, 1, 3, gain=0.5)
    sal = SAL(net)
    net(torch.zeros(0, 2))
    with pytest.raises(RuntimeError, match="SAL: the last pass had no samples.*skip empty batches"):
        sal.step()
    assert bool(torch.isfinite(net.hidden[1].weight).all()) and sal.sensitivity == {}


def test_packed_sequences_are_refused():
    rnn = nn.RNN(2, 3)
    sal = SAL(rnn)
    with pytest.raises(TypeError, match="SAL: nn.RNN was called with a PackedSequence.*Pad the sequences"):
        rnn(pack_sequence([torch.ones(3, 2), torch.ones(2, 2)]))
    rnn(torch.ones(3, 1, 2))  # the recorder is in order again
    sal.step()


def test_dropout_in_training_mode_is_refused():
    rnn = nn.RNN(2, 3, 2, dropout=0.3)
    with pytest.raises(RuntimeError, match="SAL on the model: got dropout=0.3 in training mode"):
        SAL(rnn)
    sal = SAL(rnn.eval())
    rnn(torch.ones(3, 1, 2))
    rnn.train()
    with pytest.raises(RuntimeError, match="SAL: dropout=0.3 in training mode.*set dropout=0"):
        rnn(torch.ones(3, 1, 2))
    holder = nn.Sequential(rnn).train()
    rnn.eval()  # the part is in eval mode, so its dropout does nothing
    sal = SAL(holder)
    holder(torch.ones(3, 1, 2))
    sal.step()
