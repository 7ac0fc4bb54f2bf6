"""What a network tells by its own call against hooks on each of its layers, which see pre-activations."""

import copy

import pytest
import torch
from torch import nn

from salnb import SAL, DeepNet, SensitivityMonitor, TanhRNN
from tests.problems import random, seeded
from tests.tolerances import close, rounding

# Three steps of SAL, each after seven time steps or four layers of products of six terms, with means over up to 35 samples.
EXACT = close(torch.float64, 3 * (7 * 6 + 35))


def deep(activation="tanh", replicas=(), device="cpu", dtype=torch.float64):
    return DeepNet(3, 6, 2, 4, gain=1.3, activation=activation, replicas=replicas, generator=seeded(), dtype=dtype).to(device)


def recurrent(replicas=(), n_in=3, connectivity=1.0, device="cpu", dtype=torch.float64):
    given = dict(gain=1.3, replicas=replicas, connectivity=connectivity, generator=seeded(), dtype=dtype)
    return TanhRNN(n_in, 6, 2, **given).to(device)


def one_by_one(net: nn.Module, **given) -> SAL:
    """SAL by hooks on the layers, which a reader gets who names them."""
    names = net.sal_layers()
    return SAL(net, layers={name: layer.activation for name, (layer, _) in names.items()}, **given)


def hooks_on_layers(net: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in net.modules() if module is not net)


def after(net: nn.Module, sal: SAL) -> list[torch.Tensor]:
    log_sensitivity = sal.log_sensitivity()
    sal.step()
    return [log_sensitivity, *sal.sensitivity.values(), *(parameter.detach() for parameter in net.parameters())]


@pytest.mark.parametrize(
    "make, inputs",
    [
        (lambda **g: deep(**g), (random(5, 3),)),
        (lambda **g: deep("relu", **g), (random(5, 3),)),
        (lambda **g: deep(replicas=(2,), **g), (random(5, 3),)),
        (lambda **g: deep(replicas=(2, 3), **g), (random(2, 3, 5, 3),)),
        (lambda **g: recurrent(**g), (random(7, 5, 3),)),
        (lambda **g: recurrent(**g), (random(7, 5, 3), random(5, 6, seed=1).tanh())),
        (lambda **g: recurrent((2,), **g), (random(7, 5, 3), random(1, 6, seed=1).tanh())),
        (lambda **g: recurrent((2, 3), **g), (random(7, 2, 3, 5, 3), random(2, 3, 5, 6, seed=1).tanh())),
        (lambda **g: recurrent((2,), connectivity=0.4, **g), (random(7, 5, 3),)),
        (lambda **g: recurrent((2,), n_in=0, **g), (random(7, 5, 0), random(2, 5, 6, seed=1).tanh())),
    ],
)
def test_the_same_as_by_hooks_on_every_layer_from_the_first_pass_on(make, inputs, device):
    net, twin = make(device=device), make(device=device)
    inputs = [tensor.to(device) for tensor in inputs]
    sal, other = SAL(net, lr=0.1, target=1.5), one_by_one(twin, lr=0.1, target=1.5)
    for _ in range(3):
        output, wanted = net(*inputs), twin(*inputs)
        torch.testing.assert_close(output, wanted, **EXACT)
        torch.testing.assert_close(after(net, sal), after(twin, other), **EXACT)
        assert hooks_on_layers(net) == 0 < hooks_on_layers(twin)


def test_keywords_and_a_list_that_holds_states_already(device):
    net, x = deep(device=device), random(5, 3, device=device)
    sal, found = SAL(net, lr=0.0, decay=0.0), []
    old = [torch.full((5, 6), 9.0, device=device)]
    for call in (lambda: net(x), lambda: net(x, old), lambda: net(inputs=x, states=old), lambda: net(x, states=None)):
        call()
        sal.step()
        found.append(torch.stack([*sal.sensitivity.values()]))
    assert len(old) == 1 + 2 * 4 and all(torch.equal(tensor, found[0]) for tensor in found)


@pytest.mark.parametrize("replicas", [(), (2,)])
def test_a_recurrent_network_hands_over_its_states_and_an_empty_sequence_has_none(replicas, device):
    net, x, states = recurrent(replicas, device=device), random(7, 5, 3, device=device), [None]
    sal, found = SAL(net, lr=0.0, decay=0.0), []
    for call in (lambda: net(x), lambda: net(x, None, states), lambda: net(inputs=x, states=states)):
        stacked = call()[1]
        sal.step()
        found.append(sal.sensitivity["recurrent.0"])
    assert all(torch.equal(tensor, found[0]) for tensor in found)
    assert torch.equal(torch.stack(states[1:8]), stacked) and torch.equal(torch.stack(states[8:]), stacked)
    net(x[:0])
    with pytest.raises(RuntimeError, match="there is no pass to use: no watched layer ran .* empty sequence"):
        sal.step()


class Twice(nn.Module):
    """Two calls of one network in a pass, of different sizes; ``also`` runs one of its layers once more."""

    def __init__(self, net, also=False):
        super().__init__()
        self.net, self.also = net, also

    def forward(self, x):
        once_more = torch.tanh(self.net.hidden[2](torch.ones(4, 6, dtype=x.dtype))) if self.also else x
        return self.net(x).sum() + self.net(x[:2] - 1).sum() + once_more.sum()


class ByHand(Twice):
    """The layers of a network, but never the network."""

    def forward(self, x):
        for layer in self.net.hidden:
            x = torch.tanh(layer(x))
        return x


@pytest.mark.parametrize("wrap", [Twice, lambda net: Twice(net, also=True), ByHand])
def test_whichever_way_a_model_runs_the_layers_all_calls_count(wrap):
    models = [wrap(deep()) for _ in range(2)]
    names = {f"net.{name}": "tanh" for name in models[0].net.sal_layers()}
    sals = [SAL(models[0], lr=0.1), SAL(models[1], lr=0.1, layers=names)]
    for _ in range(2):
        for model in models:
            model(random(5, 3))
        torch.testing.assert_close(*(after(model, sal) for model, sal in zip(models, sals, strict=True)), **EXACT)


def test_whoever_has_the_states_may_change_them():
    net, twin, x = recurrent(), recurrent(), random(7, 5, 3)
    sal, other = SAL(net, lr=0.1), SAL(twin, lr=0.1)
    with torch.no_grad():
        net(x)[1].zero_()
    twin(x)
    torch.testing.assert_close(after(net, sal), after(twin, other), rtol=0, atol=0)
    net, twin, states = deep(), deep(), []
    sal, other = SAL(net, lr=0.1), SAL(twin, lr=0.1)
    with torch.no_grad():
        net(x[0], states)
        states[2].zero_()
    twin(x[0])
    torch.testing.assert_close(after(net, sal), after(twin, other), rtol=0, atol=0)


@pytest.mark.parametrize("make", [deep, recurrent])
def test_other_weights_transforms_copies_and_evaluation_are_no_passes(make):
    net, x = make(), random(7, 5, 3) if make is recurrent else random(5, 3)
    sal = SAL(net, lr=0.1)
    net(x)
    other = {name: 2 * parameter.detach() for name, parameter in net.named_parameters()}
    torch.func.functional_call(net, other, (x,))
    torch.func.jvp(lambda v: net(v)[0], (x,), (x,))
    twin = copy.deepcopy(net)
    twin(2 * x)
    net.eval()(2 * x)
    net.train()
    fresh = make()
    reference = SAL(fresh, lr=0.1)
    fresh(x)
    torch.testing.assert_close(after(net, sal), after(fresh, reference), **EXACT)


def test_a_call_that_raises_leaves_the_waiting_pass_and_the_next_one_counts():
    net, x = deep(), random(5, 3)
    sal = SAL(net, lr=0.0)
    net(x)
    first = sal.log_sensitivity()
    with pytest.raises(RuntimeError):
        net.hidden[2].register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("broken")))
        net(9 * x)
    torch.testing.assert_close(sal.log_sensitivity(), first)
    sal.discard()
    net.hidden[2]._forward_pre_hooks.clear()
    net(9 * x)
    assert not torch.equal(sal.log_sensitivity(), first)


@pytest.mark.parametrize("make", [deep, recurrent, lambda **g: recurrent((2,), **g)])
def test_under_autocast_the_slopes_keep_their_digits(make, device):
    """Saturated neurons: in bfloat16 h is exactly 1 and 1 − h² would be 0."""
    net = make(device=device, dtype=torch.float32)
    x = random(*((7, 5, 3) if isinstance(net, TanhRNN) else (5, 3)), device=device).float()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(0.1)
        for layer in net.recurrent if isinstance(net, TanhRNN) else net.hidden:
            layer.bias.fill_(6.0)
    sal = SAL(net, lr=0.0)
    net(x)
    exact = sal.log_sensitivity()
    sal.discard()
    with torch.autocast(device.type, dtype=torch.bfloat16):
        net(x)
    assert (exact < -9).all()
    # In bfloat16 a pre-activation up to 8 is off by as many units, and log f' by twice that.
    torch.testing.assert_close(sal.log_sensitivity(), exact, rtol=0, atol=rounding(torch.bfloat16, 1, 8))


def test_a_subclass_a_ring_and_other_activations_are_watched_layer_by_layer():
    class Own(DeepNet):
        def forward(self, inputs, states=None):
            return super().forward(inputs)

    ring = TanhRNN(3, (5, 6), 2, gain=1.0, generator=seeded(), dtype=torch.float64)
    own = Own(3, 6, 2, 4, gain=1.3, generator=seeded(), dtype=torch.float64)
    for net, x in ((own, random(5, 3)), (ring, random(7, 5, 3)), (deep("sigmoid"), random(5, 3))):
        twin = copy.deepcopy(net)
        sal, other = SAL(net, lr=0.1), one_by_one(twin, lr=0.1)
        net(x), twin(x)
        assert hooks_on_layers(net) > 0
        torch.testing.assert_close(after(net, sal), after(twin, other), **EXACT)


def test_two_watchers_and_none_left_behind(device):
    net, x = deep(device=device), random(5, 3, device=device)
    sal = SAL(net, lr=0.0)
    with SensitivityMonitor(net) as monitor:
        net(x)
        net(x)
    sal.step()
    means = torch.tensor([row["mean"] for row in monitor.summary()], dtype=torch.float64)
    torch.testing.assert_close(torch.stack([s.mean() for s in sal.sensitivity.values()]).cpu(), means)
    sal.detach()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of PyTorch itself, wherever a hook breaks a compiled graph
@pytest.mark.parametrize("make", [deep, recurrent])
def test_a_compiled_network_tells_the_same(make):
    torch.compiler.reset()
    net, x = make(), random(7, 5, 3) if make is recurrent else random(5, 3)
    sal = SAL(net, lr=0.1)
    net(x)
    plain = sal.log_sensitivity()
    sal.discard()
    compiled = torch.compile(net, backend="eager")
    for _ in range(2):
        compiled(x)
        torch.testing.assert_close(sal.log_sensitivity(), plain)
        sal.discard()
