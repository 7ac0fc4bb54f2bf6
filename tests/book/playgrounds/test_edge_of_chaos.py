"""The playground `edge_of_chaos` computes what the library computes: trajectory, sensitivity, exponent, and SAL's change."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from salnb import SAL, TanhRNN, log_sensitivity, lyapunov_spectrum, neuron_sensitivity, rnn_step
from tests.tolerances import SIGMAS, rounding

N, STRENGTH = 60, 0.01
RUN = """({weight, bias, inputWeight, state, drives, every, sal}) => {
  const model = salnb.models.edge_of_chaos, network = model.create({n: bias.length, weight, bias, inputWeight, state});
  const steps = drives.map((drive, t) => {
    const found = model.step(network, drive);
    if (sal && (t + 1) % model.PASS === 0) model.adjust(network, sal);
    return {...found, state: t % every ? null : [...network.state]};
  });
  return {steps, weight: [...network.weight], bias: [...network.bias], average: network.average && [...network.average]};
}"""


@pytest.fixture(scope="module")
def page(functions):
    return functions("edge_of_chaos")


class Network:
    """A TanhRNN in double precision with one noisy input, and the same numbers as the browser takes them."""

    def __init__(self, gain: float, n_steps: int, seed: int = 1) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.rnn = TanhRNN(1, N, 0, gain=gain, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            self.rnn.input.weight.normal_(generator=generator)
            self.rnn.recurrent[0].bias.normal_(0, 0.1, generator=generator)  # zero would hide a bias that is forgotten
        self.inputs = STRENGTH * torch.randn(n_steps, 1, 1, generator=generator, dtype=torch.float64)
        self.state = 0.1 * torch.randn(1, N, generator=generator, dtype=torch.float64)

    @property
    def weight(self) -> torch.Tensor:
        return self.rnn.recurrent[0].weight.detach()

    @property
    def bias(self) -> torch.Tensor:
        return self.rnn.recurrent[0].bias.detach()

    def in_browser(self, page, sal: dict | None = None, every: int = 1) -> dict:
        numbers = {
            "weight": self.weight.flatten().tolist(), "bias": self.bias.tolist(), "state": self.state[0].tolist(),
            "inputWeight": self.rnn.input.weight.flatten().tolist(), "drives": self.inputs.flatten().tolist(),
        }  # fmt: skip
        return page.evaluate(RUN, {**numbers, "sal": sal, "every": every})


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.5])
def test_the_trajectory_is_the_librarys(page, gain: float) -> None:
    # The two sum the 60 terms of a pre-activation in another order, which moves it by about eps. At gain 1.5 fifty steps of chaos
    # make of that some thousand times as much, 1e-12; 1e-9 leaves room for processors that round otherwise.
    network = Network(gain, 50)
    found = network.in_browser(page)
    states = network.rnn(network.inputs, network.state)[1][:, 0].detach().numpy()
    assert np.abs([step["state"] for step in found["steps"]] - states).max() < 1e-9


def test_the_log_sensitivity_is_the_librarys(page) -> None:
    network = Network(1.2, 20)
    found = [0.5 * math.log(step["square"]) for step in network.in_browser(page)["steps"]]
    before = torch.cat([network.state[None], network.rnn(network.inputs, network.state)[1][:-1]]).detach()
    pre = before @ network.weight.mT + network.bias + network.inputs @ network.rnn.input.weight.detach().mT
    expected = log_sensitivity(neuron_sensitivity(network.weight, pre[:, 0])).numpy()
    # In 20 steps at this gain an error grows less than 20 fold.
    assert np.abs(found - expected).max() < rounding(torch.float64, N, 20)


@pytest.mark.parametrize("rule", ["one_sided", "proportional"])
def test_the_change_is_sals(page, rule: str) -> None:
    # Four passes, so that the running average counts; at gain 1 some neurons lie below the target and others above.
    network, settings = Network(1.0, 20), {"target": 0.95, "rule": rule}
    found = network.in_browser(page, sal={"rate": 0.01, **settings})
    sal, state, before = SAL(network.rnn, lr=0.01, **settings), network.state, network.weight.clone()
    with torch.no_grad():
        for inputs in network.inputs.split(5):
            state = network.rnn(inputs, state)[1][-1]
            sal.step()
    average = next(iter(sal.sensitivity.values()))
    assert 0.1 < (average < 0.95).double().mean() < 0.9
    assert (network.weight - before).abs().max() > 1e-3
    for name, expected in {"weight": network.weight.flatten(), "bias": network.bias, "average": average}.items():
        assert np.abs(np.array(found[name]) - expected.numpy()).max() < 1e-10, name


@pytest.mark.parametrize("gain", [0.5, 1.2, 2.5])
def test_the_exponent_is_the_librarys_within_its_error(page, gain: float) -> None:
    warm, counted = 300, 2500
    network = Network(gain, warm + counted)
    found = np.array([step["growth"] for step in network.in_browser(page, every=10**6)["steps"]][warm:])
    spectrum = lyapunov_spectrum(rnn_step(network.rnn), network.state, k=1, n_steps=counted, n_warmup=warm,
                                 inputs=network.inputs, generator=torch.Generator().manual_seed(2))  # fmt: skip
    # Two trajectories in chaos, each with the error of a mean over correlated steps.
    error = max(math.sqrt(2) * spectrum.stderr.item(), 1e-6)
    assert abs(found.mean() - spectrum.exponents.item()) < SIGMAS * error
    assert error < 0.02


def test_beyond_gain_1_5_the_statistics_are_the_librarys(page) -> None:
    network = Network(2.5, 3000)
    steps = network.in_browser(page, every=10**6)["steps"][500:]
    states = network.rnn(network.inputs, network.state)[1][500:, 0].detach()
    before = network.rnn(network.inputs, network.state)[1][499:-1, 0].detach()
    pre = before @ network.weight.mT + network.bias + network.inputs[500:, 0] @ network.rnn.input.weight.detach().mT
    assert states.square().mean() > 0.3  # in chaos
    expected = neuron_sensitivity(network.weight, pre).square().mean(-1).numpy()
    found = np.array([step["square"] for step in steps])

    def mean_and_error(values: np.ndarray) -> tuple[float, float]:
        blocks = values.reshape(25, -1).mean(1)  # of 100 steps, longer than the network remembers
        return blocks.mean(), blocks.std(ddof=1) / 5

    (here, error), (there, other) = mean_and_error(found), mean_and_error(expected)
    assert abs(here - there) < SIGMAS * math.hypot(error, other)


def test_two_runs_part_as_the_tangent_vector_says(page) -> None:
    # The second-order term of a distance d is about d itself; the largest of twenty distances here stays below 1e-4.
    distance, length = page.evaluate("""() => {
      const model = salnb.models.edge_of_chaos, network = model.create({n: 60, gain: 1.3, seed: 4});
      for (let i = 0; i < 60; i++) network.tangent[i] = (network.twin[i] - network.state[i]) / model.APART;
      let found, log = 0;
      for (let t = 0; t < 20; t++) { found = model.step(network, 0.01); log += found.growth; }
      return [found.distance, model.APART * Math.exp(log)];
    }""")
    assert distance == pytest.approx(length, rel=1e-4)
    assert distance != pytest.approx(1e-6, rel=0.05)


def test_the_gain_undoes_what_sal_has_changed(page) -> None:
    page.evaluate("""() => { window.net = salnb.models.edge_of_chaos.create({n: 20, gain: 0.1, seed: 3}); }""")
    spoilt, back = page.evaluate("""() => {
      const model = salnb.models.edge_of_chaos, fresh = model.create({n: 20, gain: 0.7, seed: 3}).weight;
      for (let t = 0; t < 5; t++) model.step(net, 0.01);
      model.adjust(net, {rate: 0.1, target: 1, rule: "one_sided"});
      const apart = () => Math.max(...net.weight.map((number, i) => Math.abs(number - fresh[i])));
      const before = apart();
      model.setGain(net, 0.7);
      return [before, apart()];
    }""")
    assert spoilt > 0.1
    assert back == 0


def test_the_rows_follow_the_phase_of_the_slowest_mode(page) -> None:
    """A matrix with one pair of modes: neuron i has the phase that it was given."""
    phase = torch.rand(40, generator=torch.Generator().manual_seed(5), dtype=torch.float64).square() * 2 * math.pi
    weight = torch.cos(phase[:, None] - phase - 0.4) / 20
    order = page.evaluate("""(weight) => {
      const model = salnb.models.edge_of_chaos;
      return model.phaseOrder(model.create({n: 40, weight}));
    }""", weight.flatten().tolist())  # fmt: skip
    assert sorted(order) == list(range(40))
    # The eigenvector of such a matrix has not exactly these phases: 40 drawn phases are not spread evenly around the circle.
    values, vectors = torch.linalg.eig(weight / weight.norm(dim=1, keepdim=True))
    exact = torch.angle(vectors[:, values.abs().argmax()])[order]
    turns = torch.remainder(exact.diff(append=exact[:1]), 2 * math.pi)
    assert min(turns.sum().item(), (2 * math.pi - turns).sum().item()) == pytest.approx(2 * math.pi)  # once around, one way
