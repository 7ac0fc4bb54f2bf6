"""The profile of models that people have: an entry after every activation, the numbers of autograd, and nothing left behind."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from salnb import DeepNet, TanhRNN, gradient_profile
from tests.problems import random
from tests.tolerances import close


def squared(outputs, targets):
    return (outputs - targets).square().sum()


def lin(n=8):
    return nn.Linear(n, 8)


def part(activation):
    return nn.Sequential(lin(), activation(), lin(), activation())


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class Functions(nn.Module):
    """Functions of every kind, in place or not, and a shortcut around one that works in place."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d, self.out = lin(4), lin(), lin(), lin(), nn.Linear(8, 1)

    def forward(self, x):
        x = torch.tanh(self.a(x))
        h = F.relu(self.b(x), inplace=True)
        u = self.c(h)
        F.elu_(u)
        return self.out(torch.sigmoid(self.d(u + x)) + u)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.one, self.act, self.two = nn.LayerNorm(8), lin(), nn.ReLU(inplace=True), lin()

    def forward(self, x):
        return x + self.two(self.act(self.one(self.norm(x))))


S, T = nn.Sequential, nn.Tanh
MODELS = {
    "nested": (lambda: S(lin(4), T(), S(lin(), T()), S(lin(), T()), nn.Linear(8, 1)), 3),
    "parts in a row": (lambda: S(lin(4), T(), part(T), part(T), nn.Linear(8, 1)), 5),
    "parts unpacked": (lambda: S(lin(4), nn.SiLU(), *part(nn.SiLU), lin(), T(), nn.Linear(8, 1)), 4),
    "two of a kind": (lambda: S(lin(4), nn.SiLU(), lin(), nn.SiLU(), nn.Linear(8, 1)), 2),
    "backbone": (lambda: S(S(lin(4), T(), lin(), T(), lin(), T()), nn.Linear(8, 1)), 3),
    "several kinds": (lambda: S(lin(4), T(), lin(), nn.SiLU(), lin(), nn.SiLU(), nn.Linear(8, 1)), 3),
    "at the end": (lambda: S(lin(4), nn.ELU(), lin(), nn.ELU(), nn.Linear(8, 1), nn.Sigmoid()), 3),
    "settings": (lambda: S(lin(4), nn.LeakyReLU(0.3), lin(), nn.PReLU(), lin(), nn.Hardtanh(-2, 2), nn.Linear(8, 1)), 3),
    "in place": (lambda: S(lin(4), nn.ReLU(True), lin(), nn.ELU(inplace=True), nn.Linear(8, 1)), 2),
    "of the user's": (lambda: S(lin(4), Swish(), lin(), Swish(), nn.Linear(8, 1)), 2),
    "one module twice": (lambda: (lambda t: S(lin(4), t, lin(), t, nn.Linear(8, 1)))(T()), 2),
    "functions": (Functions, 4),
    "blocks": (lambda: S(lin(4), Block(), Block(), nn.Linear(8, 1)), 2),
    "normalized": (lambda: S(lin(4), nn.BatchNorm1d(8), T(), nn.Dropout(0.5), lin(), nn.GELU(), nn.Softmax(-1), lin()), 2),
    "convolutions": (lambda: S(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Conv1d(2, 2, 2), nn.ReLU(),
                               nn.Flatten(), nn.Linear(2, 1)), 2),
}  # fmt: skip
X, Y = random(5, 4), random(5, 1, seed=1)


def made(name: str) -> nn.Module:
    torch.manual_seed(2)
    return MODELS[name][0]().double()


@pytest.mark.parametrize("name", MODELS)
def test_there_is_an_entry_after_every_activation_whatever_is_frozen(name):
    model, count = made(name), MODELS[name][1]
    torch.manual_seed(3)
    free = gradient_profile(model, X, Y, squared)
    assert free.shape == (count,) and (free > 0).all()
    for frozen in [next(model.parameters())], model.parameters():
        for parameter in frozen:
            parameter.requires_grad_(False)
        torch.manual_seed(3)
        assert torch.equal(gradient_profile(model, X, Y, squared), free)


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("functions", "of the user's", "one module twice")])
def test_it_is_autograds_at_the_outputs_of_these_modules(name):
    """A module that hands its input on stands behind every activation, and its output is asked for its gradient."""
    model = made(name).eval()
    kinds = (T, nn.SiLU, nn.ELU, nn.Sigmoid, nn.LeakyReLU, nn.PReLU, nn.Hardtanh, nn.ReLU, nn.GELU)
    outputs = []
    for module in copied(model, kinds, outputs).modules():
        module.inplace = False
    twin = outputs.pop()
    loss = squared(twin(X.clone().requires_grad_()), Y)
    wanted = torch.stack([gradient.norm() for gradient in torch.autograd.grad(loss, outputs)])
    torch.testing.assert_close(gradient_profile(model, X, Y, squared), wanted, **close(torch.float64, 200))


def copied(model, kinds, outputs):
    """A copy whose activations write their outputs down; it stands last in the list until it is taken."""
    twin = copy.deepcopy(model)
    for module in twin.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(lambda module, given, output: outputs.append(output))
    outputs.append(twin)
    return twin


def test_a_functional_model_has_the_numbers_of_its_modules():
    torch.manual_seed(0)
    model = Functions().double()

    class Modules(nn.Module):
        def forward(self, x):
            x = model.a(x).tanh()
            found = [x]
            h = F.relu(model.b(x))
            u = F.elu(model.c(h))
            s = torch.sigmoid(model.d(u + x))
            found += [h, u, s]
            return model.out(s + u), found

    outputs, found = Modules()(X)
    wanted = torch.stack([g.norm() for g in torch.autograd.grad(squared(outputs, Y), found)])
    torch.testing.assert_close(gradient_profile(model, X, Y, squared), wanted, **close(torch.float64, 200))


def test_layers_by_name():
    model = made("blocks")
    profile = gradient_profile(model, X, Y, squared, layers=["0", "1", "2"])
    start = model[0](X).detach().requires_grad_()
    one = model[1](start)
    two = model[2](one)
    wanted = torch.stack([g.norm() for g in torch.autograd.grad(squared(model[3](two), Y), [start, one, two])])
    torch.testing.assert_close(profile, wanted, **close(torch.float64, 200))
    rnn = S(nn.Unflatten(1, (4, 1)), nn.GRU(1, 3, batch_first=True)).double()
    assert gradient_profile(rnn, X, 0.0, lambda o, t: o[0].square().sum(), layers=["1"]).shape == (1,)


def test_a_sequential_of_blocks_with_functions_has_an_entry_after_every_part_but_the_last():
    class Skip(nn.Linear):
        def forward(self, h):
            return h + 0.05 * torch.tanh(super().forward(h))

    model = S(lin(4), *(Skip(8, 8) for _ in range(5)), nn.Linear(8, 1)).double()
    states = [model[0](X).detach().requires_grad_()]
    for block in model[1:6]:
        states.append(block(states[-1]))
    wanted = torch.stack([g.norm() for g in torch.autograd.grad(squared(model[6](states[-1]), Y), states)])
    torch.testing.assert_close(gradient_profile(model, X, Y, squared), wanted, **close(torch.float64, 200))


@pytest.mark.parametrize("frozen", ["recurrent", "input", "all"])
def test_over_time_frozen_weights_change_nothing(frozen):
    net = TanhRNN(2, 10, 1, gain=0.9, dtype=torch.float64)
    s, z = random(6, 3, 2), torch.zeros(6, 3, 1, dtype=torch.float64)
    free = gradient_profile(net, s, z, squared)
    (net if frozen == "all" else getattr(net, frozen)).requires_grad_(False)
    assert torch.equal(gradient_profile(net, s, z, squared), free)
    for kind in nn.RNN, nn.GRU, nn.LSTM:
        module = kind(2, 4).double()
        free = gradient_profile(module, s, 0.0, lambda o, t: o.square().sum())
        assert torch.equal(gradient_profile(module.requires_grad_(False), s, 0.0, lambda o, t: o.square().sum()), free)
    deep = DeepNet(4, 6, 1, depth=3, gain=1.0, dtype=torch.float64)
    free = gradient_profile(deep, X, Y, squared)
    assert torch.equal(gradient_profile(deep.requires_grad_(False), X, Y, squared), free)


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_left_behind(name):
    model = made(name).train()
    before, hooks = copy.deepcopy(model.state_dict()), [len(m._forward_hooks) for m in model.modules()]
    torch.manual_seed(3)
    state = torch.get_rng_state()
    gradient_profile(model, X, Y, squared)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters()) and model.training
    assert [len(m._forward_hooks) for m in model.modules()] == hooks
    assert torch.overrides._get_current_function_mode() is None
    with torch.no_grad():
        torch.manual_seed(3)
        gradient_profile(model, X, Y, squared)  # measures although gradients are off outside


def test_a_model_that_raises_leaves_no_hook():
    model = made("nested")
    with pytest.raises(RuntimeError):
        gradient_profile(model, random(5, 3), Y, squared)
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.overrides._get_current_function_mode() is None
