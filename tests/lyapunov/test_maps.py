"""An nn.Sequential as a map of its own output, its tangent step by hand or by differentiation."""

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import nn

from salnb import TanhRNN, lyapunov_spectrum, rnn_step, tanh_map
from tests.problems import random, sequential

SHARED, TWICE = nn.Tanh(), nn.Linear(5, 5)
MODULES = {
    "tanh": lambda: sequential(5, 7, 5),
    "ends with its activation": lambda: sequential(5, 7, 5, activation=nn.Sigmoid).append(nn.Tanh()),
    "begins with an activation": lambda: nn.Sequential(nn.GELU(), nn.Linear(5, 5)),
    "two activations": lambda: nn.Sequential(nn.Linear(5, 5), nn.Softplus(2.0), nn.GELU("tanh"), nn.Linear(5, 5, bias=False)),
    "leaky, with Identity": lambda: nn.Sequential(nn.Linear(5, 4), nn.LeakyReLU(0.2), nn.Identity(), nn.Linear(4, 5)),
    "ReLU in place": lambda: nn.Sequential(nn.Linear(5, 9), nn.ReLU(inplace=True), nn.Linear(9, 5), nn.ReLU(inplace=True)),
    "in place first": lambda: nn.Sequential(nn.LeakyReLU(0.5, inplace=True), nn.Linear(5, 5), nn.Tanh()),
    "LayerNorm": lambda: nn.Sequential(nn.Linear(5, 5), nn.LayerNorm(5), nn.Tanh()),
    "a Sequential inside": lambda: nn.Sequential(sequential(5, 6, 5), nn.Tanh(), nn.Linear(5, 5)),
    "one activation used twice": lambda: nn.Sequential(nn.Linear(5, 6), SHARED, nn.Linear(6, 5), SHARED),
    "one layer used twice": lambda: nn.Sequential(TWICE, nn.Tanh(), TWICE),
}


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
@pytest.mark.parametrize("kind", MODULES)
def test_state_and_tangents_are_the_modules_own(kind, lead, device):
    module = MODULES[kind]().double().to(device)
    step, state, tangents = rnn_step(module), random(*lead, 5, device=device), random(*lead, 5, 2, seed=1, device=device)
    before = state.clone()
    expected = module(state.clone())
    following, moved = step.jvp(state, tangents)
    assert torch.equal(state, before), "the module's in-place activation must not reach the caller's state"
    torch.testing.assert_close(following, expected, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(step(state), expected, rtol=1e-14, atol=1e-14)
    assert torch.equal(state, before)
    for i in range(2):
        direct = torch.func.jvp(lambda s: module(s.clone()), (before,), (tangents[..., i],))[1]
        torch.testing.assert_close(moved[..., i], direct, rtol=1e-12, atol=1e-12)


def test_linear_layers_and_activations_have_tangents_by_hand_others_by_differentiation():
    for kind in MODULES:
        by_hand = rnn_step(MODULES[kind]()).jvp.__qualname__.startswith("sequential_step")
        assert by_hand == (kind not in ("LayerNorm", "a Sequential inside"))


def test_exponents_of_a_map_of_layers():
    module = sequential(5, 8, 5, dtype=torch.float64)
    found = lyapunov_spectrum(rnn_step(module), random(3, 5), n_steps=30)
    plain = lyapunov_spectrum(lambda x: module(x), random(3, 5), n_steps=30)
    torch.testing.assert_close(found.exponents, plain.exponents, rtol=1e-10, atol=1e-10)
    assert found.exponents.shape == (3, 5)


@pytest.mark.parametrize("give", [lambda s: s(torch.zeros(4)), lambda s: s.jvp(torch.zeros(4), torch.zeros(4, 1))])
def test_a_module_of_other_outputs_than_inputs_is_refused_in_words(give):
    with pytest.raises(ValueError, match=r"module: gives shape \(3,\) back from \(4,\), expected the same"):
        give(rnn_step(nn.Sequential(nn.Linear(4, 3))))


def test_dropout_in_training_mode_is_refused_in_words_also_later_and_deep_inside():
    module = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.2))).eval()
    step = rnn_step(module)
    assert step(torch.ones(4)).shape == (4,)
    module.train()
    with pytest.raises(RuntimeError, match="rnn_step: got dropout in training mode.*call .eval()"):
        step(torch.ones(4))
    module[0][1].p = 0.0
    assert step(torch.ones(4)).shape == (4,)


def test_the_step_follows_the_weights():
    module = sequential(4, 4, dtype=torch.float64)
    step, state = rnn_step(module), random(4)
    before = step.jvp(state, torch.eye(4).double())[1]
    module[0].weight.data.mul_(2)
    torch.testing.assert_close(step.jvp(state, torch.eye(4).double())[1], 2 * before)


@pytest.mark.parametrize("k", [1, 3, 6])
@pytest.mark.parametrize("gain", [1.0, 1.7, "many"])
@pytest.mark.parametrize("lead", [(), (4,), (3, 4)])
def test_a_bare_matrix_as_a_map_and_its_tangents(lead, gain, k, device):
    shapes = (6, 6), (*lead, 6), (*lead, 6, k)
    weight, state, tangents = (random(*shape, seed=i, device=device) for i, shape in enumerate(shapes))
    gain = torch.linspace(0.5, 2.0, lead[-1], device=device) if gain == "many" and lead else 1.0 if gain == "many" else gain
    factor = gain.unsqueeze(-1) if isinstance(gain, torch.Tensor) else gain
    step, before = tanh_map(weight, gain), state.clone()
    for form in (step, step.frozen()):
        following, moved = form.jvp(state, tangents)
        expected = torch.tanh(factor * torch.einsum("ij,...j->...i", weight, state))
        torch.testing.assert_close(following, expected, rtol=1e-13, atol=1e-13)
        assert torch.equal(form(state), following) and torch.equal(state, before)
        slope = (factor * (1 - expected.square())).unsqueeze(-1)
        torch.testing.assert_close(moved, slope * (weight @ tangents), rtol=1e-12, atol=1e-12)


def test_tangents_of_the_public_map_are_the_callers_to_keep():
    step, state = tanh_map(random(4, 4)), random(5, 4, seed=1)
    kept = [step.jvp(state, random(5, 4, 2, seed=i))[1] for i in range(4)]
    before = [tangents.clone() for tangents in kept]
    step.frozen().jvp(state, random(5, 4, 2, seed=9))
    assert all(torch.equal(*pair) for pair in zip(kept, before, strict=True))


@pytest.mark.parametrize("settings", [{"k": 1}, {"k": 1, "history": False, "qr_every": "auto"}, {"qr_every": 2}, {}])
def test_exponents_of_one_matrix_at_many_gains_are_those_of_a_network_each(settings):
    weight, gains, start = 0.5 * random(6, 6), torch.tensor([0.4, 1.0, 2.5], dtype=torch.float64), random(3, 6, seed=1)
    found = lyapunov_spectrum(tanh_map(weight, gains), start, n_steps=40, n_warmup=10, **settings)
    rnn = TanhRNN(0, 6, 1, gain=1.0, replicas=(3,), dtype=torch.float64)
    rnn.recurrent[0].weight.data.copy_(gains.view(3, 1, 1) * weight)
    expected = lyapunov_spectrum(rnn_step(rnn), start.unsqueeze(1), n_steps=40, n_warmup=10, **settings)
    torch.testing.assert_close(found.exponents, expected.exponents.squeeze(1), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("weight", [torch.zeros(3, 4), torch.zeros(2, 3, 3), torch.eye(3, dtype=torch.int64), "a matrix"])
def test_what_is_no_square_matrix_is_refused_in_words(weight):
    with pytest.raises(ValueError, match=r"weight: got .*, expected a floating-point tensor \(N, N\)"):
        tanh_map(weight)


@pytest.mark.parametrize("weight", [np.eye(3), scipy.sparse.eye_array(3).tocsr()])
def test_arrays_are_refused_with_the_way_to_a_tensor(weight):
    with pytest.raises(ValueError, match=r"weight: got \w+, expected.*torch.from_numpy.*torch.sparse_csr_tensor"):
        tanh_map(weight)


@pytest.mark.parametrize("weight", [torch.eye(3), torch.eye(3).to_sparse()])
def test_a_state_of_another_size_or_precision_is_refused_in_words(weight):
    step = tanh_map(weight)
    for given in (lambda x: step(x), lambda x: step.jvp(x, x.unsqueeze(-1))):
        with pytest.raises(ValueError, match="state: got 4 numbers in the last dimension, expected 3"):
            given(torch.zeros(2, 4))
        with pytest.raises(ValueError, match=r"state: got torch.float64, expected torch.float32.*state.to\(torch.float32\)"):
            given(torch.zeros(2, 3, dtype=torch.float64))
