"""nn.RNNCell: a loop over it is the nn.RNN of the same weights, and its sensitivities are those of the formula."""

import pytest
import torch
from torch import nn

from salnb import SAL, SensitivityMonitor, sal_pretrain
from tests.problems import random
from tests.tolerances import close


class Loop(nn.Module):
    def __init__(self, batch_first: bool, given: bool, **options) -> None:
        super().__init__()
        self.cell, self.out = nn.RNNCell(3, 6, **options), nn.Linear(6, 2)
        self.batch_first, self.given = batch_first, given

    def forward(self, x):
        x = x.transpose(0, 1) if self.batch_first else x
        h = torch.full((x.shape[1], 6), 0.3, dtype=x.dtype) if self.given else None
        for step in x:
            h = self.cell(step, h) if h is not None else self.cell(input=step)
        return self.out(h)


def reference(loop: Loop) -> nn.RNN:
    rnn = nn.RNN(3, 6, nonlinearity=loop.cell.nonlinearity, bias=loop.cell.bias, batch_first=loop.batch_first)
    rnn.load_state_dict({f"{name}_l0": value for name, value in loop.cell.state_dict().items()})
    return rnn.to(loop.cell.weight_hh.dtype)


@pytest.mark.parametrize("options", [{}, {"nonlinearity": "relu"}, {"bias": False}], ids=["tanh", "relu", "without bias"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_a_loop_over_a_cell_is_the_rnn_of_the_same_weights(options, batch_first, given):
    torch.manual_seed(0)
    loop, x = Loop(batch_first, given, **options).double(), random(5, 5, 3)  # as many steps as samples
    rnn = reference(loop)
    one, two = SAL(loop, lr=0.05), SAL(rnn, lr=0.05)
    for _ in range(3):
        loop(x)
        rnn(x, torch.full((1, 5, 6), 0.3, dtype=x.dtype) if given else None)
        one.step()
        two.step()
    digits = close(torch.float64, 100)
    torch.testing.assert_close(one.sensitivity["cell"], two.sensitivity["weight_hh_l0"], **digits)
    for name, value in loop.cell.state_dict().items():
        torch.testing.assert_close(value, rnn.state_dict()[f"{name}_l0"], **digits)
    assert list(one.sensitivity) == ["cell"]


def test_the_formula_a_name_one_sample_and_the_monitor():
    torch.manual_seed(0)
    cell, x, h = nn.RNNCell(3, 6).double(), random(4, 3), random(4, 6, seed=2)
    u = x @ cell.weight_ih.mT + cell.bias_ih + h @ cell.weight_hh.mT + cell.bias_hh
    expected = ((1 - u.tanh().square()) * cell.weight_hh.norm(dim=1)).detach()
    sal = SAL(cell, layers=[""], lr=0.0)
    cell(x, h)
    sal.step()
    torch.testing.assert_close(sal.sensitivity[""], expected.mean(0), **close(torch.float64, 10))
    cell(x[0], h[0])
    torch.testing.assert_close(sal.log_sensitivity()[0], expected[0].square().mean().log() / 2, **close(torch.float64, 10))
    with SensitivityMonitor(cell) as monitor:
        cell(x, h)
    assert monitor.history[0]["mean"] == pytest.approx(expected.mean().item(), abs=1e-12)


def test_it_is_brought_to_target_and_its_input_weights_stay():
    torch.manual_seed(0)
    loop = Loop(False, False)
    before = loop.cell.weight_ih.detach().clone()
    sal = SAL(loop, lr=0.02)
    sal_pretrain(loop, lambda: torch.randn(20, 8, 3), sal, steps=300)
    # The one-sided rule stops at the target, late by at most lr / (1 - decay) = 0.2.
    assert bool(((sal.sensitivity["cell"] >= 1) & (sal.sensitivity["cell"] < 1.2)).all())
    assert torch.equal(loop.cell.weight_ih, before)


def test_under_autocast_in_full_precision():
    torch.manual_seed(0)
    loop, x = Loop(False, True), random(5, 4, 3).float()
    loop.cell.weight_hh.data *= 3
    plain = SAL(loop, lr=0.0)
    loop(x)
    plain.step()
    expected = plain.sensitivity["cell"]
    plain.detach()
    sal = SAL(loop, lr=0.0)
    with torch.autocast("cpu", torch.bfloat16):
        loop(x)
    sal.step()
    # The states themselves were rounded to 8 bits on their way through five steps; 1 - h² is not lost on top of that.
    torch.testing.assert_close(sal.sensitivity["cell"], expected, rtol=0.1, atol=0.05)
