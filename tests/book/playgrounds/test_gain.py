"""The playground `gain` computes what the library computes: eigenvalues, trajectory, and the largest exponents."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from salnb import lyapunov_spectrum, tanh_map
from tests.tolerances import SIGMAS

N = 60


@pytest.fixture(scope="module")
def page(functions):
    return functions("gain")


def matrix(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, n)) / math.sqrt(n)


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """How far two sets of complex numbers lie apart, when each is laid beside the nearest of the other."""
    apart = np.abs(found[:, None] - expected)
    return max(apart.min(0).max(), apart.min(1).max())


@pytest.mark.parametrize("n", [1, 2, 3, 10, 61, 100])
@pytest.mark.parametrize("kind", ["gaussian", "symmetric", "rotation", "permutation"])
def test_eigenvalues(page, n: int, kind: str) -> None:
    a = matrix(n, seed=n)
    a = {"gaussian": a, "symmetric": a + a.T, "rotation": np.linalg.qr(a)[0], "permutation": np.roll(np.eye(n), 1, axis=0)}[kind]
    found = page.evaluate("([a, n]) => { const {re, im} = salnb.linear.eigenvalues(a, n); return [[...re], [...im]]; }",
                          [a.ravel().tolist(), n])  # fmt: skip
    values, vectors = np.linalg.eig(a)
    # Both are backward stable: eigenvalues of a + e with |e| about n eps |a|, moved by |e| times the condition of the vectors.
    tolerance = 10 * n * np.finfo(float).eps * np.linalg.norm(a, 2) * np.linalg.cond(vectors)
    assert distance(np.array(found[0]) + 1j * np.array(found[1]), values) < tolerance < 1e-9


def test_a_matrix_without_a_basis_of_eigenvectors(page) -> None:
    """A Jordan block: rounding moves a threefold eigenvalue by the third root of eps."""
    found = page.evaluate("""() => {
      const {re, im} = salnb.linear.eigenvalues([2, 1, 0, 0, 2, 1, 0, 0, 2], 3);
      return [...re, ...im];
    }""")
    assert np.abs(np.array(found) - [2, 2, 2, 0, 0, 0]).max() < 1e-4


@pytest.mark.parametrize(("m", "n"), [(5, 5), (12, 4), (4, 12)])
def test_singular_values_qr_and_product(page, m: int, n: int) -> None:
    a, b = np.random.default_rng(3).normal(size=(m, n)), np.random.default_rng(4).normal(size=(n, 7))
    singular, product = page.evaluate("""([a, b, m, n]) => {
      const {singularValues, multiply} = salnb.linear;
      return [[...singularValues(a, m, n)], [...multiply(a, b, m, n, 7)]];
    }""", [a.ravel().tolist(), b.ravel().tolist(), m, n])  # fmt: skip
    assert np.allclose(singular, np.linalg.svd(a)[1], rtol=0, atol=1e-13)  # 100 eps |a|
    assert np.allclose(product, (a @ b).ravel(), rtol=0, atol=1e-13)
    if m >= n:
        q, r = page.evaluate("([a, m, n]) => { const {q, r} = salnb.linear.qr(a, m, n); return [[...q], [...r]]; }",
                             [a.ravel().tolist(), m, n])  # fmt: skip
        q, r = np.reshape(q, (m, n)), np.reshape(r, (n, n))
        assert np.allclose(q @ r, a, rtol=0, atol=1e-13) and np.all(np.diag(r) > 0) and np.all(np.tril(r, -1) == 0)
        assert np.allclose(q.T @ q, np.eye(n), rtol=0, atol=1e-12)


RUN = """({base, state, gain, steps, warm}) => {
  const model = salnb.models.gain, network = model.create({n: state.length, gain, base, state}), states = [];
  for (let t = 0; t < warm + steps; t++) {
    if (t === warm) model.restart(network);
    model.step(network);
    if (t < 50) states.push([...network.state]);
  }
  return {states, exponents: [...model.exponents(network)]};
}"""


@pytest.mark.parametrize("gain", [0.8, 1.5, 2.5])
def test_trajectory_and_exponents(page, gain: float) -> None:
    warm, steps = 400, 2000
    base, state = matrix(N), np.random.default_rng(2).normal(size=N) / 2
    numbers = {"base": base.ravel().tolist(), "state": state.tolist(), "gain": gain, "steps": steps, "warm": warm}
    found = page.evaluate(RUN, numbers)
    weight, expected = torch.from_numpy(gain * base), torch.from_numpy(state)
    step = tanh_map(weight)
    if gain <= 1.5:  # beyond, rounding grows too fast
        for h in found["states"]:
            expected = torch.tanh(weight @ expected)
            assert np.abs(np.array(h) - expected.numpy()).max() < 1e-9
    spectrum = lyapunov_spectrum(step, torch.from_numpy(state), k=20, n_steps=steps, n_warmup=warm,
                                 generator=torch.Generator().manual_seed(3))  # fmt: skip
    # Other first tangents: after the warm-up what is left of them changes a sum of logs by less than 1, a mean by 1 / steps.
    error = SIGMAS * math.sqrt(2) * spectrum.stderr.numpy() + 1 / steps
    assert np.all(np.abs(np.array(found["exponents"]) - spectrum.exponents.numpy()) < error)
    assert error.max() < 0.1


def test_in_silence_the_exponent_is_the_logarithm_of_the_largest_eigenvalue(page) -> None:
    largest, exponent = page.evaluate("""() => {
      const model = salnb.models.gain, network = model.create({n: 40, gain: 0.5, seed: 7});
      for (let t = 0; t < 3000; t++) { if (t === 500) model.restart(network); model.step(network); }
      const {re, im} = salnb.linear.eigenvalues(network.base, 40);
      return [Math.log(0.5 * Math.max(...re.map((x, i) => Math.hypot(x, im[i])))), model.exponents(network)[0]];
    }""")
    assert exponent == pytest.approx(largest, abs=2e-3)  # a turning tangent's length varies; over 2500 steps that averages out


def test_silence_can_be_left_again(page) -> None:
    size = page.evaluate("""() => {
      const model = salnb.models.gain, network = model.create({n: 40, gain: 0.1, seed: 7});
      for (let t = 0; t < 2000; t++) model.step(network);
      model.setGain(network, 2);
      for (let t = 0; t < 100; t++) model.step(network);
      return Math.hypot(...network.state);
    }""")
    assert size > 1
