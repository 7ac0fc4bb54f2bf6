"""The formulas of the playground "one_neuron" against salnb."""

from __future__ import annotations

import pytest
import torch

from salnb import neuron_sensitivity, sensitivity_gradient
from salnb.sensitivity import ACTIVATIONS
from tests.problems import seeded

CLOSE = {"rtol": 0.0, "atol": 1e-12}  # numbers below 10, from fewer than a hundred operations


@pytest.fixture(scope="module")
def page(functions):
    return functions("one_neuron")


def neurons(n: int = 200) -> tuple[torch.Tensor, ...]:
    """Weights and inputs (n, 2), biases (n,), radii (n,), as the sliders can set them."""
    draw = lambda *shape: torch.randn(*shape, generator=seeded(len(shape)), dtype=torch.float64)  # noqa: E731
    return 1.5 * draw(n, 2), draw(n, 2).flip(0), 0.7 * draw(n), 0.3 * draw(n).flip(0).abs() + 0.05


def ask(page, activation: str, body: str) -> torch.Tensor:
    """What a piece of JavaScript says of each neuron: (n, numbers)."""
    w, x, bias, radius = (values.tolist() for values in neurons())
    given = [{"w": w[i], "x": x[i], "bias": bias[i], "radius": radius[i], "activation": activation} for i in range(len(w))]
    script = f"given => given.map((neuron) => {{ const m = salnb.models.one_neuron; {body} }})"
    return torch.tensor(page.evaluate(script, given), dtype=torch.float64)


def test_all_activations_are_there(page) -> None:
    assert page.evaluate("Object.keys(salnb.models.one_neuron.ACTIVATIONS)") == list(ACTIVATIONS)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_output_and_sensitivity(page, activation: str) -> None:
    w, x, bias, _ = neurons()
    u = (w * x).sum(-1) + bias
    found = ask(page, activation, "const { u, output, sensitivity } = m.look(neuron); return [u, output, sensitivity];").unbind(1)
    torch.testing.assert_close(found[0], u, **CLOSE)
    torch.testing.assert_close(found[1], ACTIVATIONS[activation].function(u), **CLOSE)
    truth = torch.stack([neuron_sensitivity(w[i : i + 1], u[i].view(1, 1), activation).squeeze() for i in range(len(u))])
    torch.testing.assert_close(found[2], truth, **CLOSE)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_and_step(page, activation: str) -> None:
    w, x, bias, _ = neurons()
    u = (w * x).sum(-1) + bias
    found = ask(page, activation, """const { along, turning, bias } = m.gradient(neuron), after = m.step(neuron, 0.1);
        return [...along, ...turning, bias, ...after.w, after.bias];""")  # fmt: skip
    along, turning, by_bias, moved, moved_bias = found.split([2, 2, 1, 2, 1], dim=1)
    pairs = [sensitivity_gradient(w[i : i + 1], x[i : i + 1], u[i].view(1, 1), activation) for i in range(len(u))]
    by_weight, truth_bias = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])
    torch.testing.assert_close(along + turning, by_weight, **CLOSE)
    torch.testing.assert_close(by_bias.squeeze(1), truth_bias, **CLOSE)
    torch.testing.assert_close(moved, w + 0.1 * by_weight, **CLOSE)
    torch.testing.assert_close(moved_bias.squeeze(1), bias + 0.1 * truth_bias, **CLOSE)
    # each term in its own direction
    cross = lambda a, b: a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]  # noqa: E731
    torch.testing.assert_close(cross(along, w), torch.zeros_like(bias), **CLOSE)
    torch.testing.assert_close(cross(turning, x), torch.zeros_like(bias), **CLOSE)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_interval_is_that_of_the_ball(page, activation: str) -> None:
    """The ends are outputs of points of the ball, and no point of a fine net of its diameter along w lies outside."""
    w, x, bias, radius = neurons()
    low, high = ask(page, activation, "const { low, high } = m.look(neuron); return [low, high];").unbind(1)
    share = torch.linspace(-1, 1, 4001, dtype=torch.float64)
    points = x.unsqueeze(1) + (share * radius.unsqueeze(1)).unsqueeze(2) * (w / w.norm(dim=1, keepdim=True)).unsqueeze(1)
    outputs = ACTIVATIONS[activation].function((points @ w.unsqueeze(2)).squeeze(2) + bias.unsqueeze(1))
    gap = radius * w.norm(dim=1) / 2000  # of the net, in U; no slope is above 1.13, and at a minimum it misses gap² at most
    assert ((outputs.amin(1) - low).abs() <= 1e-12 + gap.square()).all() and (low <= outputs.amin(1) + 1e-12).all()
    assert ((outputs.amax(1) - high).abs() <= 1e-12).all()
