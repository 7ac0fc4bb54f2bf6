"""The singular values of the playground "conditioning" against NumPy and salnb, on matrices that it exports."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from salnb import finite_time_exponents, log_sensitivity, neuron_sensitivity
from tests.tolerances import rounding, sampling

KINDS = ("gaussian", "sal", "orthogonal")


@pytest.fixture(scope="module")
def page(functions):
    return functions("conditioning")


def exported(page, kind: str, n: int, depth: int, gain: float = 0.8, seed: int = 3) -> dict[str, torch.Tensor]:
    """chain (L, N, N), logs (L, N): ln σ of the first 1, 2, ... Jacobians, weights (L, N, N), states (L + 1, 8, N), size."""
    found = page.evaluate("""given => {
        const m = salnb.models.conditioning, net = m.network(given), chain = m.jacobians(net), n = given.n;
        const weights = net.layers.slice(1, net.depth).map(({ weight }) => [...net.parameters.slice(weight, weight + n * n)]);
        const biases = net.layers.slice(1, net.depth).map(({ bias }) => [...net.parameters.slice(bias, bias + n)]);
        const logs = m.spectra(chain, n);
        return { chain: chain.map((j) => [...j]), logs: logs.map((l) => [...l]), left: logs.map(m.directions),
                 weights, biases, states: net.states.slice(1, -1).map((h) => [...h]), size: m.logSensitivity(chain, n) };
    }""", {"kind": kind, "n": n, "depth": depth, "gain": gain, "seed": seed})  # fmt: skip
    tensors = {key: torch.tensor(value, dtype=torch.float64) for key, value in found.items()}
    for key in ("chain", "weights"):
        tensors[key] = tensors[key].view(depth, n, n)
    return tensors | {"states": tensors["states"].view(depth + 1, n, 8).mT}


def roundings(chain: torch.Tensor) -> float:
    """Each Jacobian may be off by the roundings of sums of N products, twice; ln σ moves by its condition number times that."""
    return rounding(torch.float64, 2 * chain.shape[-1], sum(np.linalg.cond(chain.numpy())))


@pytest.mark.parametrize("kind", KINDS)
def test_short_products_have_the_singular_values_that_numpy_finds(page, kind: str) -> None:
    found = exported(page, kind, n=8, depth=5)
    product = np.eye(8)
    for jacobian, logs in zip(found["chain"].numpy(), found["logs"].numpy(), strict=True):
        product = jacobian @ product
        exact = np.linalg.svd(product, compute_uv=False)
        # the product as numbers of one size keeps σ to eps times the largest
        tolerance = roundings(found["chain"]) + rounding(torch.float64, 5 * 8, 1.0) * exact[0] / exact
        assert (np.abs(logs - np.log(exact)) < tolerance).all()


@pytest.mark.parametrize(("kind", "n"), [(kind, n) for kind in KINDS for n in (8, 24)])
def test_long_products_have_the_exponents_of_the_library(page, kind: str, n: int) -> None:
    """A hundred layers, over which the singular values come to lie up to a hundred decades apart."""
    found = exported(page, kind, n, depth=100)
    apply = lambda x, jacobian: (jacobian @ x[..., None])[..., 0]  # noqa: E731
    for depth in (10, 100):
        chain = found["chain"][:depth]
        exact = depth * finite_time_exponents(apply, torch.zeros(n, dtype=torch.float64), n_steps=depth, inputs=chain)
        assert (found["logs"][depth - 1] - exact).abs().max() < roundings(chain)
        near = exact[0] - exact < math.log(10)
        assert found["left"][depth - 1] == near.sum()
    spread = found["logs"][-1, 0] - found["logs"][-1, -1]
    assert spread > 100 if kind != "orthogonal" else spread < 10  # nats: what the figure is about


@pytest.mark.parametrize("kind", KINDS)
def test_jacobians_and_log_sensitivity(page, kind: str) -> None:
    found = exported(page, kind, n=12, depth=20)
    layers = zip(found["weights"], found["biases"], found["states"][:-1], found["states"][1:], found["chain"], strict=True)
    local = []
    for weight, bias, before, after, jacobian in layers:
        u = before @ weight.T + bias
        torch.testing.assert_close(torch.tanh(u), after, rtol=0, atol=rounding(torch.float64, 16))
        (truth,) = torch.func.jacrev(lambda h, w=weight, b=bias: (torch.tanh(w @ h + b),))(before[0])
        torch.testing.assert_close(jacobian, truth, rtol=0, atol=rounding(torch.float64, 32, weight.abs().max().item()))
        local.append(log_sensitivity(neuron_sensitivity(weight, u[:1], "tanh")[0]))
    assert abs(found["size"] - torch.stack(local).mean()) < rounding(torch.float64, 200)


@pytest.mark.parametrize("gain", [0.3, 0.8, 2.0])
def test_sal_has_brought_the_neurons_to_their_target(page, gain: float) -> None:
    """Over the eight inputs the RMS sensitivities are 1 to five percent on average, whatever the gain was."""
    found = exported(page, "sal", n=12, depth=20, gain=gain)
    inputs = zip(found["weights"], found["biases"], found["states"][:-1], strict=True)
    s = torch.stack([neuron_sensitivity(weight, before @ weight.T + bias, "tanh") for weight, bias, before in inputs])
    assert (s.square().mean(1).sqrt() - 1).abs().mean() < 0.05


def test_how_the_weights_are_drawn(page) -> None:
    weights = exported(page, "orthogonal", n=12, depth=20)["weights"]
    assert (weights @ weights.mT - torch.eye(12)).abs().max() < rounding(torch.float64, 48)
    squares = exported(page, "gaussian", n=12, depth=20)["weights"].square().sum(-1)  # mean 0.64, variance 2 · 0.64² / 12
    assert abs(squares.mean() / 0.64 - 1) < sampling(math.sqrt(2 / 12), squares.numel())
