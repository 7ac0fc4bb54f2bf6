"""The product that leaves out the zeros of the triangles that elimination leaves."""

import pytest
import torch

from salnb import TanhRNN, rnn_step, tanh_map
from salnb.lyapunov.orthogonalization import Elimination
from tests.problems import random
from tests.tolerances import within


@pytest.mark.parametrize(("n", "k"), [(5, 5), (64, 64), (65, 65), (150, 150), (150, 70), (150, 2)])
def test_a_frame_that_elimination_left_is_moved_as_the_triangle_that_it_is(n, k):
    frame, _ = Elimination()(random(n, k, seed=1))
    upper, order = frame.factors
    assert torch.equal(frame[order], upper.mT) and torch.equal(upper.triu(), upper)
    step, state = tanh_map(random(n, n), 1.4), random(n, seed=2)
    expected = step.jvp(state, frame.clone())[1]
    torch.testing.assert_close(step.frozen().jvp(state, frame)[1], expected, **within(expected, n))


@pytest.mark.parametrize("n_hidden", [70, (70, 70)])
def test_a_network_of_ours_leaves_the_zeros_out_too(n_hidden):
    rnn = TanhRNN(0, n_hidden, 1, gain=1.2, dtype=torch.float64)
    frame, _ = Elimination()(random(1, 70, 70, seed=1))
    state, step = random(1, 70, seed=2), rnn_step(rnn)
    assert frame.factors[0].shape == (70, 70)
    with torch.no_grad():
        found, expected = step.frozen().jvp(state, frame)[1], step.jvp(state, frame.clone())[1]
    torch.testing.assert_close(found, expected, **within(expected, 70 * len(rnn.recurrent)))


def test_of_several_systems_every_frame_is_moved_whole():
    frame, _ = Elimination()(random(3, 6, 6, seed=1))
    assert not hasattr(frame, "factors")
