"""The network of the playground "gradient_depth" against PyTorch and salnb on the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from salnb import SAL, DeepNet, gradient_profile, log_sensitivity, neuron_sensitivity
from salnb.experiments.training.optimization import clip_by_replica_
from tests.problems import seeded
from tests.tolerances import rounding

WIDTH, BITS = 16, 3
# net: a network with the given weights, which has seen the eight patterns once.
NET = """const m = salnb.models.gradient_depth, data = m.parity(), net = m.create({ depth: given.depth });
net.parameters.set(given.weights);
if (given.targets) data.targets.set(given.targets);
const found = m.pass(net, data);"""


@pytest.fixture(scope="module")
def page(functions):
    return functions("gradient_depth")


def ask(page, net: DeepNet, body: str, **given) -> dict:
    """What a piece of JavaScript returns for the playground's network with these weights."""
    weights = nn.utils.parameters_to_vector(net.parameters()).tolist()
    return page.evaluate(f"given => {{ {NET} {body} }}", {"depth": len(net.hidden), "weights": weights, **given})


def network(gain: float, depth: int) -> DeepNet:
    """Biases are not 0, so that they are seen to count."""
    generator = seeded()
    net = DeepNet(BITS, WIDTH, 2, depth, gain=gain, replicas=(1,), generator=generator, dtype=torch.float64)
    for layer in net.hidden:
        layer.bias.data.copy_(0.1 * torch.randn(layer.bias.shape, generator=generator))
    return net.train()


def patterns() -> tuple[torch.Tensor, torch.Tensor]:
    """All patterns of three bits (1, 8, 3) and their parity (1, 8)."""
    bits = torch.tensor([[b >> i & 1 for i in range(BITS)] for b in range(2**BITS)])
    return (2.0 * bits - 1.0).double().unsqueeze(0), (bits.sum(-1) % 2).unsqueeze(0)


def cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def chain(depth: int) -> float:
    """Relative error at the end of a pass forward and back: a sum of N products and a tanh in each layer, both ways."""
    return rounding(torch.float64, 2 * depth * (WIDTH + 4))


# Below gain 1 errors shrink with what they spoil, so that all 300 layers can be compared; above, the first 40.
CASES = [(0.5, 300), (0.9, 300), (1.2, 40), (1.5, 40)]


@pytest.mark.parametrize(("gain", "depth"), CASES)
def test_loss_gradients_and_profiles(page, gain: float, depth: int) -> None:
    net, (inputs, _) = network(gain, depth), patterns()
    # Whether any bit is positive: a dead network answers alike to all patterns, and with as many of both classes the errors
    # of the samples would cancel, and the digits with them.
    targets = (inputs > 0).any(-1).long()
    found = ask(page, net, """return { loss: found.loss, accuracy: found.accuracy, gradient: [...net.gradient],
        sizes: [...net.sizes], local: [...m.logSensitivity(net)], activity: [...m.activity(net)] };""",
                targets=targets[0].tolist())  # fmt: skip
    states: list[torch.Tensor] = []
    outputs = net(inputs, states)
    loss = cross_entropy(outputs, targets)
    exact = torch.autograd.grad(loss, [*net.parameters()])
    assert abs(found["loss"] - loss.item()) < chain(depth)
    assert found["accuracy"] == (outputs.argmax(-1) == targets).double().mean().item()
    at = 0
    for truth in exact:  # each parameter at its own size: at gain 0.5 they lie 90 decades apart
        ours = torch.tensor(found["gradient"][at : at + truth.numel()], dtype=torch.float64).view_as(truth)
        assert (ours - truth).abs().max() < chain(depth) * truth.abs().max()
        at += truth.numel()
    assert at == len(found["gradient"])
    profile = gradient_profile(net, inputs, targets, cross_entropy)[0]
    assert (torch.tensor(found["sizes"], dtype=torch.float64) / profile - 1).abs().max() < chain(depth)
    sizes = torch.stack([state.square().mean().sqrt() for state in states])
    assert (torch.tensor(found["activity"], dtype=torch.float64) / sizes - 1).abs().max() < chain(depth)
    local = [log_sensitivity(neuron_sensitivity(layer.weight, layer(state)), dim=(-2, -1)).item()
             for layer, state in zip(net.hidden[1:], states[:-1], strict=True)]  # fmt: skip
    assert max(abs(a - b) for a, b in zip(found["local"], local, strict=True)) < chain(depth)


def test_the_data_are_parity(page) -> None:
    data = page.evaluate("() => { const d = salnb.models.gradient_depth.parity(); return [[...d.inputs], [...d.targets]]; }")
    inputs, targets = patterns()
    assert torch.equal(torch.tensor(data[0]).double().view(BITS, -1).T, inputs[0]) and data[1] == targets[0].tolist()


@pytest.mark.parametrize("rule", ["one_sided", "proportional"])
@pytest.mark.parametrize(("gain", "depth"), [(0.5, 300), (1.2, 40)])
def test_sal_steps(page, gain: float, depth: int, rule: str) -> None:
    """Three steps, so that the running average counts."""
    net, (inputs, _), rate = network(gain, depth), patterns(), 0.05
    found = ask(page, net, """let share = 0;
        for (let k = 0; k < 3; k++) { m.forward(net, data); share = m.sal(net, { rate: 0.05, rule: given.rule }).below; }
        return { weights: [...net.parameters], share };""", rule=rule)  # fmt: skip
    sal = SAL(net, lr=rate, average="rms", rule=rule)
    for _ in range(3):
        with torch.no_grad():
            net(inputs)
        sal.step()
    truth = nn.utils.parameters_to_vector(net.parameters()).detach()
    ours = torch.tensor(found["weights"], dtype=torch.float64)
    assert (ours - truth).abs().max() < 3 * chain(depth) * truth.abs().max()
    assert abs(found["share"] - sal.share_below_target().double().mean().item()) < 1e-6  # a mean of float32 numbers


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_adam_steps(page, scale: float) -> None:
    """With a readout a hundred times as large the gradient is longer than 1 and is cut."""
    net, (inputs, targets), rate = network(0.9, 40), patterns(), 1e-3
    net.readout.weight.data.mul_(scale)
    found = ask(page, net, """const clipped = Math.hypot(...net.gradient) > 1;
        for (let k = 0; k < 3; k++) { m.pass(net, data); m.adam(net, 1e-3); }
        return { weights: [...net.parameters], clipped };""")  # fmt: skip
    start = nn.utils.parameters_to_vector(net.parameters()).detach().clone()
    adam = torch.optim.Adam(net.parameters(), lr=rate)
    for _ in range(3):
        adam.zero_grad()
        cross_entropy(net(inputs), targets).backward()
        clip_by_replica_([*net.parameters()], 1.0)
        adam.step()
    truth = nn.utils.parameters_to_vector(net.parameters()).detach()
    ours = torch.tensor(found["weights"], dtype=torch.float64)
    assert found["clipped"] == (scale > 1)
    assert (truth - start).abs().max() > rate  # it has moved
    # Where a gradient is as small as its error, m / (sqrt(v) + 1e-8) still moves by no more than that error over 1e-8.
    error = chain(40) * max(p.grad.abs().max().item() for p in net.parameters())
    tolerance = 3 * (rate * min(1.0, error / 1e-8) + rounding(torch.float64, 20, truth.abs().max().item()))
    assert (ours - truth).abs().max() < tolerance


def test_learning_steps_with_sal_as_in_the_recipe(page) -> None:
    """A SAL step after a learning step uses the pass from before it, and the weights from after it."""
    net, (inputs, targets) = network(0.9, 40), patterns()
    found = ask(page, net, "m.adam(net, 1e-3); m.sal(net, { rate: 0.05 }); return [...net.parameters];")
    sal, adam = SAL(net, lr=0.05, average="rms"), torch.optim.Adam(net.parameters(), lr=1e-3)
    cross_entropy(net(inputs), targets).backward()
    clip_by_replica_([*net.parameters()], 1.0)
    adam.step()
    sal.step()
    truth = nn.utils.parameters_to_vector(net.parameters()).detach()
    error = chain(40) * max(p.grad.abs().max().item() for p in net.parameters())
    assert (torch.tensor(found, dtype=torch.float64) - truth).abs().max() < 1e-3 * error / 1e-8 + chain(40) * truth.abs().max()


def test_the_lengths_of_the_next_steps(page) -> None:
    """What the sliders of the two rates change: how far a step moves a neuron's weights."""
    net = network(0.9, 40)
    found = ask(page, net, """const before = net.parameters.slice(), moved = (from) => {
          let squares = 0;
          for (let l = 1; l < net.depth; l++) {
            const { weight, n, m } = net.layers[l];
            for (let k = weight; k < weight + n * m; k++) squares += (net.parameters[k] - from[k]) ** 2;
          }
          return Math.sqrt(squares / ((net.depth - 1) * net.width));
        };
        const sal = m.sal(net, { look: true }), unchanged = before.every((w, k) => w === net.parameters[k]);
        m.sal(net, { rate: 1e-3 });
        const bySal = moved(before), after = net.parameters.slice(), adam = m.adamLength(net);
        m.adam(net, 1e-3);
        const later = m.adamLength(net);
        return { sal: sal.length * Math.sqrt(sal.below) * 1e-3, bySal, unchanged, adam: adam * 1e-3, later: later * 1e-3,
                 byAdam: moved(after) };""")  # fmt: skip
    assert found["unchanged"]
    # the step's length is a difference of weights of size 1, of which 13 digits are left
    assert abs(found["sal"] / found["bySal"] - 1) < 1e-9 and abs(found["adam"] / found["byAdam"] - 1) < 1e-9
    assert abs(found["later"] / found["byAdam"] - 1) < 1e-9
