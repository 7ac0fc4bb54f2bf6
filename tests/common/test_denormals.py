"""Denormal numbers count as 0 inside, and as before afterwards."""

import pytest
import torch

from salnb import covariant_vectors, lyapunov_spectrum
from salnb.common.denormals import flushed_denormals, flushing


@pytest.fixture(params=[False, True])
def before(request):
    if not torch.set_flush_denormal(request.param):
        pytest.skip("this processor cannot flush denormals")
    yield request.param
    torch.set_flush_denormal(False)


def test_flushed_inside_and_as_before_afterwards_also_after_an_exception(before):
    tiny = torch.tensor([1e-310], dtype=torch.float64)
    with flushed_denormals():
        assert flushing() and not bool(tiny * 0.5)
        with flushed_denormals():
            pass
        assert flushing(), "the inner one must leave the outer one's setting"
    assert flushing() == before
    with pytest.raises(KeyError), flushed_denormals():
        raise KeyError
    assert flushing() == before


def test_a_run_flushes_and_restores_also_when_the_step_fails(before):
    inside = []

    def step(x):
        inside.append(flushing())
        if len(inside) > 3:
            raise ArithmeticError
        return x / 2

    step.jvp = lambda x, tangents: (step(x), tangents)
    lyapunov_spectrum(step, torch.ones(2), n_steps=3)
    assert inside == [True] * 3 and flushing() == before
    with pytest.raises(ArithmeticError):
        lyapunov_spectrum(step, torch.ones(2), n_steps=3)
    assert flushing() == before
    covariant_vectors(lambda x: x / 2, torch.ones(2), n_steps=2, n_warmup=2, n_after=2)
    assert flushing() == before
