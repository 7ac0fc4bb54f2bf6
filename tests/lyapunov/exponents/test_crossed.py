"""Every method, interval, precision, batch shape and kind of tangent step gives the same exponents along the same trajectory."""

import itertools

import pytest
import torch
from torch import nn

from salnb import TanhRNN, lyapunov_spectrum, rnn_step
from tests.digits import chaotic, kept
from tests.problems import gaussian, linear_step, random, seeded, sequential, tanh_step
from tests.tolerances import rounding

METHODS, INTERVALS = ("householder", "cholesky", "elimination"), (1, 2, "auto")
CROSSED = list(itertools.product(METHODS, INTERVALS))


@pytest.mark.parametrize("lead", [(), (2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("method", "every"), CROSSED)
def test_triangular_maps_read_their_diagonal(method, every, dtype, lead, device):
    spread = (1 + 0.1 * random(*lead, 3, device=device).tanh()).to(dtype)
    diagonal = torch.tensor([0.4, 1.5, -0.9], dtype=dtype, device=device) * spread
    matrix = torch.diag_embed(diagonal) + torch.triu(random(*lead, 3, 3, device=device), 1).to(dtype)
    analytic = linear_step(matrix)
    analytic.jvp = lambda x, tangents: ((matrix @ x.unsqueeze(-1)).squeeze(-1), matrix @ tangents)
    automatic = lambda x: (matrix @ x.unsqueeze(-1)).squeeze(-1)  # noqa: E731
    for step in (analytic, automatic):
        found = lyapunov_spectrum(step, torch.zeros_like(diagonal), n_steps=40, qr_every=every, method=method)
        expected = diagonal.double().abs().log().sort(-1, descending=True)[0]
        assert found.exponents.shape == found.stderr.shape == (*lead, 3)
        # A triangle times a triangle: 40 factors of three terms each. "auto" and 2 spread the columns by the factors' ratio, 8.
        torch.testing.assert_close(found.exponents, expected, rtol=0, atol=rounding(dtype, 3 * 40, 8**2 if every == 2 else 8))


GIVEN = {"n_steps": 64, "n_warmup": 400}


@pytest.fixture(scope="module")
def weights():
    """Chaotic networks whose gaps align three tangents within the warm-up, so that any three end up as the first of twenty."""
    return chaotic(20, 2.5, count=2, gaps=3)


@pytest.fixture(scope="module")
def reference(weights):
    step, given = tanh_step(weights), {"method": "householder", **GIVEN}
    return lyapunov_spectrum(step, random(2, 20), **given), kept(step, random(2, 20), **given)


@pytest.mark.parametrize(("method", "every"), CROSSED)
def test_one_trajectory_and_one_spectrum_in_chaos(method, every, weights, reference):
    step, history, (expected, known) = tanh_step(weights), every != 1, reference
    given = {"qr_every": every, "method": method, "history": history, **GIVEN}
    for k in (1, 3) if method == "cholesky" and every == 2 else (1, 3, 20):  # two steps stretch it by more than Cholesky can see
        found = lyapunov_spectrum(step, random(2, 20), k=k, **given)
        assert torch.equal(found.state, expected.state) and (found.history is not None) == history
        here = kept(step, random(2, 20), k=k, **given)
        assert here.exponents < 1e-3, "these networks keep too few digits for the comparison to mean something"
        torch.testing.assert_close(found.exponents, expected.exponents[:, :k], rtol=0, atol=known.exponents + here.exponents)
        torch.testing.assert_close(found.stderr, expected.stderr[:, :k], rtol=0, atol=known.stderr + here.stderr)


@pytest.mark.parametrize("method", METHODS)
def test_automatic_tangents_go_along_the_same_chaotic_trajectory(method, weights, reference):
    automatic, (expected, known) = tanh_step(weights), reference
    del automatic.jvp
    for k in (3, 20) if method == "elimination" else (3,):
        given = {"k": k, "method": method, **GIVEN}
        found = lyapunov_spectrum(automatic, random(2, 20), **given)
        assert torch.equal(found.state, expected.state)
        digits = known.exponents + kept(tanh_step(weights), random(2, 20), **given).exponents
        torch.testing.assert_close(found.exponents, expected.exponents[:, :k], rtol=0, atol=digits)


MODULES = {
    "TanhRNN": lambda: TanhRNN(0, 16, 1, gain=2.0, generator=seeded(), dtype=torch.float64),
    "ring": lambda: TanhRNN(0, (20, 16), 1, gain=1.8, generator=seeded(), dtype=torch.float64),
    "RNN": lambda: nn.RNN(1, 8, 2),
    "GRU": lambda: nn.GRU(1, 16),
    "LSTM": lambda: nn.LSTM(1, 8),
    "Sequential": lambda: sequential(16, 20, 16),
}


@pytest.mark.parametrize("kind", MODULES)
def test_the_trajectory_is_that_of_the_step_for_every_k_and_method(kind):
    module = MODULES[kind]().double()
    for i, parameter in enumerate(module.parameters()):  # strong weights, so that another rounding would soon show
        parameter.data.copy_(0.5 * random(*parameter.shape, seed=i) if kind != "Sequential" else 3 * parameter.data)
    step, state = rnn_step(module), random(3, 16).tanh()
    expected = state
    with torch.no_grad():
        for _ in range(100):
            expected = step(expected)
    for k, method in itertools.product((1, 3, 16), METHODS):
        found = lyapunov_spectrum(step, state, n_steps=100, k=k, method=method, qr_every="auto")
        assert torch.equal(found.state, expected)


def test_auto_is_elimination_only_for_many_tangents_without_history():
    """To the last bit, because the method by name is the same arithmetic."""
    step, state = tanh_step(gaussian(12, 1.5)), random(12)
    for k, history, method in ((12, False, "elimination"), (12, True, "householder"), (9, False, "householder")):
        found = lyapunov_spectrum(step, state, n_steps=50, k=k, history=history)
        assert torch.equal(found.exponents, lyapunov_spectrum(step, state, n_steps=50, k=k, method=method).exponents)
    with pytest.raises(ValueError, match="method: got 'svd', expected one of auto, householder, cholesky, elimination"):
        lyapunov_spectrum(step, state, n_steps=2, method="svd")


@pytest.mark.parametrize("method", METHODS)
def test_rows_of_the_history_are_the_running_estimate_of_their_own_steps(method):
    step, state = tanh_step(gaussian(6, 1.8, replicas=(2,))), random(2, 6)
    whole = lyapunov_spectrum(step, state, n_steps=64, n_warmup=9, qr_every="auto", method=method)
    # the same numbers, added up in another order
    torch.testing.assert_close(whole.history[-1], whole.exponents, rtol=0, atol=rounding(torch.float64, 64))
    weights = whole.local().new_tensor(whole.growth.spans)
    torch.testing.assert_close((whole.local() * weights.view(-1, 1, 1)).sum(0) / 64, whole.exponents)
    assert int(weights.sum()) == 64 and len(weights) == len(whole.history)


@pytest.mark.parametrize("method", METHODS)
def test_the_frame_at_the_end_is_orthonormal_and_spans_where_qr_ends(method):
    step, state = tanh_step(gaussian(9, 1.8, replicas=(2,))), random(2, 9)
    ends = [lyapunov_spectrum(step, state, n_steps=75, k=4, qr_every=3, method=m).tangents for m in (method, "householder")]
    torch.testing.assert_close(ends[0].mT @ ends[0], torch.eye(4).double().expand(2, 4, 4))
    # Column by column, up to the sign that each method leaves. A column that turns by an angle changes this product by half its
    # square; the angle is what rounding does to the exponents' growth over these steps.
    digits = 75 * kept(step, state, n_steps=75, k=4, qr_every=3, method=method).exponents
    torch.testing.assert_close((ends[0] * ends[1]).sum(-2).abs(), torch.ones(2, 4).double(), rtol=0, atol=digits)


@pytest.mark.parametrize("method", METHODS)
def test_sums_are_log_determinants_even_where_the_frame_is_not_orthonormal_in_between(method):
    matrices = random(90, 2, 5, 5)
    step = lambda x, u: (u @ x.unsqueeze(-1)).squeeze(-1)  # noqa: E731
    step.jvp = lambda x, d, u: (step(x, u) / 2, u @ d)
    given = {"n_steps": 90, "inputs": matrices, "method": method, "qr_every": 2}
    found, digits = (of(step, torch.ones(2, 5).double(), **given) for of in (lyapunov_spectrum, kept))
    # Each determinant is as well known as its matrix is far from singular.
    exact = rounding(torch.float64, 5, float(torch.linalg.cond(matrices).mean()))
    torch.testing.assert_close(found.sum(), torch.linalg.slogdet(matrices)[1].mean(0), rtol=0, atol=digits.sum + exact)


def test_a_progress_bar_changes_nothing_and_goes_to_stderr(capsys, monkeypatch):
    monkeypatch.delenv("SALNB_STATIC")
    step, state = tanh_step(gaussian(4, 1.5)), random(4)
    shown = lyapunov_spectrum(step, state, n_steps=64, progress=True)
    assert "Lyapunov exponents" in capsys.readouterr().err
    assert torch.equal(shown.exponents, lyapunov_spectrum(step, state, n_steps=64).exponents)
    assert capsys.readouterr().err == ""
