"""Passes that SAL refuses, each in words and without changing anything."""

import pytest
import torch
from torch import nn

from salnb import SAL, DeepNet
from tests.sal.passes.test_recording import NO_PASS, watched


def test_without_a_pass_it_is_an_error():
    _, sal, _ = watched()
    for call in (sal.step, sal.gate_gradients_, sal.log_sensitivity):
        with pytest.raises(RuntimeError, match=NO_PASS + "the Sequential has not been called since SAL was attached"):
            call()


def test_a_pass_without_samples_is_an_error_that_changes_nothing():
    net = DeepNet(2, 4, 1, 3, gain=0.5)
    sal = SAL(net)
    net(torch.zeros(0, 2))
    with pytest.raises(RuntimeError, match=NO_PASS + "the last pass had no samples.*skip empty batches"):
        sal.step()
    assert bool(torch.isfinite(net.hidden[1].weight).all()) and sal.sensitivity == {}


def test_dropout_in_training_mode_is_refused():
    rnn = nn.RNN(2, 3, 2, dropout=0.3)
    with pytest.raises(ValueError, match=r"\(RNN\): .*got dropout=0.3 in training mode.*; call .eval\(\) or set dropout=0"):
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
