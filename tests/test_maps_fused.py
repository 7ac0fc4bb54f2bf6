"""The two faster products of ``tanh_map``: states with one tangent of each, and the triangles that elimination leaves."""

import pytest
import torch

from salnb import covariant_vectors, lyapunov_spectrum, tanh_map
from salnb.frames import Elimination
from tests.problems import random


@pytest.mark.parametrize("gain", [1.3, "many"])
@pytest.mark.parametrize("lead", [(4,), (3, 4), ()])
def test_one_product_for_states_and_tangents_follows_both(lead, gain, device):
    gain = torch.linspace(0.5, 2.0, 4, device=device) if gain == "many" and lead else 1.3
    shapes = (6, 6), (*lead, 6), (*lead, 6, 1)
    weight, state, tangents = (random(*shape, seed=i, device=device) for i, shape in enumerate(shapes))
    fused, plain = tanh_map(weight, gain, fused=True).frozen(), tanh_map(weight, gain)
    truth = [(state, tangents)]
    for _ in range(5):
        truth.append(plain.jvp(*truth[-1]))
    found, before = (state, tangents), None
    for t, expected in enumerate(truth[1:]):
        given = (found[0], found[1].clone()) if t == 2 else found  # as where a growth has been taken out
        before, kept, found = given, [part.clone() for part in given], fused.jvp(*given)
        for part, wanted in zip((*found, *before), (*expected, *kept), strict=True):  # what went in is there for one more call
            torch.testing.assert_close(part, wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(fused.jvp(state, tangents)[1], truth[1][1], rtol=1e-12, atol=1e-12)  # elsewhere, again


@pytest.mark.parametrize("qr_every", [1, 7, "auto"])
def test_one_product_gives_the_same_exponents_and_the_callers_own_state(qr_every):
    step, start = random(8, 8) / 2, random(5, 8, seed=1)
    settings = dict(n_steps=150, n_warmup=20, k=1, qr_every=qr_every, history=False)
    gains = torch.tensor([0.3, 0.5, 0.8, 1e-30, 0.9], dtype=torch.float64)
    plain, fused = (lyapunov_spectrum(tanh_map(step, gains, fused=fused), start, **settings) for fused in (False, True))
    torch.testing.assert_close(fused.exponents, plain.exponents, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(fused.state, plain.state, rtol=1e-10, atol=1e-12)
    more = lyapunov_spectrum(tanh_map(step, gains, fused=True), start, resume=fused, **settings | {"n_warmup": 0})
    wanted = lyapunov_spectrum(tanh_map(step, gains), start, resume=plain, **settings | {"n_warmup": 0})
    torch.testing.assert_close(more.exponents, wanted.exponents, rtol=1e-10, atol=1e-10)


def test_steps_that_are_done_again_begin_where_they_began():
    step, start = tanh_map(random(16, 16), 20.0, fused=True), 1e-30 * random(5, 16, seed=1)  # calm, then suddenly saturated
    settings = dict(n_steps=400, k=1, history=False)
    often, rarely = (lyapunov_spectrum(step, start, qr_every=every, **settings) for every in (1, "auto"))
    assert torch.equal(often.state, rarely.state)  # chaos would tell the smallest difference
    torch.testing.assert_close(rarely.exponents, often.exponents, rtol=1e-10, atol=1e-10)


def test_covariant_vectors_keep_every_state_of_a_step_that_writes_over_its_own():
    weight, start = random(6, 6) / 2, random(3, 6, seed=1)
    plain, fused = (covariant_vectors(tanh_map(weight, fused=fused), start, n_steps=8, k=1) for fused in (False, True))
    torch.testing.assert_close(fused.states, plain.states, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(fused.local, plain.local, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("k", [2, 6])
def test_with_more_tangents_nothing_changes(k):
    weight, start = random(6, 6), random(3, 6, seed=1)
    plain, fused = (lyapunov_spectrum(tanh_map(weight, fused=fused), start, n_steps=30, k=k) for fused in (False, True))
    assert torch.equal(plain.exponents, fused.exponents)


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
