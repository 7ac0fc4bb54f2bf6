"""The product that leaves out the zeros of the triangles that elimination leaves."""

import pytest
import torch

from salnb import tanh_map
from salnb.frames import Elimination
from tests.problems import random


@pytest.mark.parametrize(("n", "k"), [(5, 5), (64, 64), (65, 65), (150, 150), (150, 70), (150, 2)])
def test_a_frame_that_elimination_left_is_moved_as_the_triangle_that_it_is(n, k):
    frame, _ = Elimination()(random(n, k, seed=1))
    upper, order = frame.factors
    assert torch.equal(frame[order], upper.mT) and torch.equal(upper.triu(), upper)
    step, state = tanh_map(random(n, n), 1.4), random(n, seed=2)
    torch.testing.assert_close(step.frozen().jvp(state, frame)[1], step.jvp(state, frame.clone())[1], rtol=1e-12, atol=1e-12)


def test_of_several_systems_every_frame_is_moved_whole():
    frame, _ = Elimination()(random(3, 6, 6, seed=1))
    assert not hasattr(frame, "factors")
