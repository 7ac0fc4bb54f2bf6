"""What each argument of lyapunov_spectrum promises; the exact systems are in test_exact_systems.py."""

import math

import pytest
import torch

from salnb import TanhRNN, lyapunov_spectrum, rnn_step
from tests.digits import chaotic, kept
from tests.problems import CAT, cat_map, gaussian, linear_step, logistic, random, seeded, tanh_step
from tests.tolerances import rounding


def spectrum(step, state, **given):
    return lyapunov_spectrum(step, state, **{"n_steps": 200, "n_warmup": 50, **given})


def test_automatic_and_analytic_tangent_steps_agree(device):
    step, state = tanh_step(gaussian(6, 1.5, device=device)), random(6, device=device)
    plain = lambda x: step(x)  # noqa: E731 (a step without a .jvp)
    expected = spectrum(plain, state).exponents
    torch.testing.assert_close(spectrum(step, state).exponents, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(spectrum(plain, state, jvp=step.jvp).exponents, expected, rtol=1e-10, atol=1e-10)
    leading = spectrum(plain, state, k=1).exponents
    torch.testing.assert_close(leading, spectrum(step, state, k=1).exponents, rtol=1e-10, atol=1e-10)


def test_jvp_is_used_instead_of_the_steps_own():
    called = []

    def jvp(x, tangents):
        called.append(tangents.shape)
        return x, 2 * tangents

    found = spectrum(tanh_step(gaussian(3, 1.0)), random(3), jvp=jvp, k=2, n_steps=5, n_warmup=2).exponents
    assert called == [(3, 2)] * 7 and found.tolist() == pytest.approx([math.log(2)] * 2)


@pytest.mark.parametrize("k", [1, 3])
def test_k_leading_equal_the_first_of_the_full_spectrum(k, device):
    step, state = tanh_step(chaotic(8, 2.0, count=1, gaps=3)[0].to(device)), random(8, device=device)
    full = spectrum(step, state, n_warmup=600).exponents
    found = spectrum(step, state, n_warmup=600, k=k)
    assert full.shape == (8,) and found.exponents.shape == found.stderr.shape == (k,)
    digits = 2 * kept(step, state, n_steps=200, n_warmup=600).exponents
    torch.testing.assert_close(found.exponents, full[:k], rtol=0, atol=digits)
    assert digits < 1e-6


def test_two_seeds_of_the_tangent_frame_agree(device):
    step, state = tanh_step(chaotic(8, 2.0, count=1, gaps=7)[0].to(device)), random(8, device=device)
    pair = [spectrum(step, state, n_warmup=600, generator=seeded(s)).exponents for s in (1, 2)]
    digits = 2 * kept(step, state, n_steps=200, n_warmup=600).exponents
    torch.testing.assert_close(*pair, rtol=0, atol=digits)
    assert digits < 1e-6


def test_warm_up_forgets_the_start_and_aligns_the_tangents():
    start = torch.tensor([0.2, 0.7]).double()
    aligned = spectrum(cat_map, start, n_steps=1, n_warmup=50, k=1).exponents.item()
    assert aligned == pytest.approx(CAT, abs=1e-13)
    assert abs(spectrum(cat_map, start, n_steps=1, n_warmup=0, k=1).exponents.item() - CAT) > 1e-3


def test_descending_with_matching_errors_and_history(device):
    """The identity as first frame finds this diagonal map's exponents in the order of its axes."""
    diagonal = torch.tensor([0.5, 3.0, 1.0], dtype=torch.float64, device=device)
    found = lyapunov_spectrum(lambda x: x * diagonal, torch.zeros_like(diagonal), n_steps=40)
    expected = diagonal.sort(descending=True)[0].log()
    torch.testing.assert_close(found.exponents, expected)
    torch.testing.assert_close(found.history, expected.expand(40, 3))
    torch.testing.assert_close(found.stderr, torch.zeros_like(expected), rtol=0, atol=1e-12)


def test_qr_every_step_and_every_second_agree(device):
    step, state = tanh_step(gaussian(6, 1.5, replicas=(2,), device=device)), random(2, 6, device=device)
    first = spectrum(step, state, n_steps=201).exponents
    for every in (2, "auto"):
        found = spectrum(step, state, n_steps=201, qr_every=every).exponents
        digits = sum(kept(step, state, n_steps=201, n_warmup=50, qr_every=e).exponents for e in (1, every))
        torch.testing.assert_close(found, first, rtol=0, atol=digits)


def test_qr_is_done_as_often_as_asked_for():
    counts = {every: len(spectrum(linear_step(gaussian(4, 0.9)), random(4), n_steps=320, qr_every=every).history)
              for every in (1, 2, 10, "auto")}  # fmt: skip
    assert counts[1] == 320 and counts[2] == 160 and counts[10] == 32
    assert 32 <= counts["auto"] < 320


def test_auto_keeps_the_tail_that_rare_qr_loses():
    """Growth factors 4 ... 1e-4: ten steps without QR spread the tangents by 1e46."""
    diagonal = torch.logspace(0.6, -4, 8).double()
    basis = torch.linalg.qr(random(8, 8))[0]
    step, state = linear_step(basis @ torch.diag(diagonal) @ basis.mT), torch.zeros(8).double()
    given = {"n_steps": 300, "n_warmup": 30}
    # What the run keeps, and what the matrix itself knows of its smallest eigenvalue beside its largest.
    digits = kept(step, state, qr_every="auto", **given).exponents + rounding(torch.float64, 8, float(diagonal[0] / diagonal[-1]))
    torch.testing.assert_close(spectrum(step, state, qr_every="auto", **given).exponents, diagonal.log(), rtol=0, atol=digits)
    assert digits < 1e-5
    with pytest.warns(RuntimeWarning, match="qr_every: 10 steps .* rounding noise; use a smaller number, or 'auto'"):
        assert (spectrum(step, state, qr_every=10, **given).exponents - diagonal.log()).abs().max() > 0.1


def test_history_is_the_running_estimate_one_row_per_qr():
    step, state = tanh_step(gaussian(5, 1.5, replicas=(2,))), random(2, 5)
    whole = lyapunov_spectrum(step, state, n_steps=64, n_warmup=7, k=1, qr_every=2)
    assert whole.history.shape == (32, 2, 1)
    torch.testing.assert_close(whole.history[-1], whole.exponents)
    for row, steps in ((0, 2), (14, 30)):
        part = lyapunov_spectrum(step, state, n_steps=steps, n_warmup=7, k=1).exponents
        torch.testing.assert_close(whole.history[row], part, rtol=1e-10, atol=1e-10)
    assert lyapunov_spectrum(step, state, n_steps=8, history=False).history is None


def test_standard_error_is_the_scatter_of_block_averages():
    start = torch.tensor([0.3]).double()
    logs, x = [], start
    for _ in range(640):
        logs.append((4 * (1 - 2 * x)).abs().log())
        x = 4 * x * (1 - x)
    blocks = torch.stack(logs).view(32, 20).mean(1)
    found = lyapunov_spectrum(logistic(4.0), start, n_steps=640)
    torch.testing.assert_close(found.exponents, torch.stack(logs).mean(0))
    torch.testing.assert_close(found.stderr[0], blocks.std() / 32**0.5)
    assert lyapunov_spectrum(logistic(4.0), start, n_steps=1).stderr.isnan().all()


@pytest.mark.parametrize("lead", [(3,), (2, 3)])
def test_leading_dimensions_are_independent_systems(lead, device):
    matrix, state = gaussian(5, 1.5, replicas=lead, device=device), random(*lead, 5, device=device)
    found = spectrum(tanh_step(matrix), state)
    assert found.exponents.shape == found.stderr.shape == (*lead, 5) and found.history.shape == (200, *lead, 5)
    # The same shapes within the batch give the same bits; over 250 chaotic steps any other bit would be another trajectory.
    alone = spectrum(tanh_step(matrix[..., 1:2, :, :]), state[..., 1:2, :])
    digits = 2 * kept(tanh_step(matrix), state, n_steps=200, n_warmup=50).exponents
    torch.testing.assert_close(found.exponents[..., 1:2, :], alone.exponents, rtol=0, atol=digits)
    assert torch.equal(found.state[..., 1:2, :], alone.state)


def test_driven_one_input_a_step_the_warm_up_included(device):
    rnn = TanhRNN(2, 6, 1, gain=1.5, replicas=(3,), generator=seeded(), dtype=torch.float64).to(device)
    state, inputs = random(3, 6, device=device), random(70, 3, 1, 2, seed=1, device=device).squeeze(-2)
    step, logs, x = rnn_step(rnn), [], state
    found = lyapunov_spectrum(step, state, n_steps=50, n_warmup=20, inputs=inputs)
    by_hand = lyapunov_spectrum(lambda s, u: step(s, u), state, n_steps=50, n_warmup=20, inputs=inputs)
    digits = 2 * kept(step, state, n_steps=50, n_warmup=20, inputs=inputs).exponents
    torch.testing.assert_close(by_hand.exponents, found.exponents, rtol=0, atol=digits)
    for t in range(70):
        x = step(x, inputs[t])
        if t >= 20:
            jacobian = (1 - x.square()).unsqueeze(-1) * rnn.recurrent[0].weight
            logs.append(torch.linalg.slogdet(jacobian)[1])
    torch.testing.assert_close(found.sum(), torch.stack(logs).mean(0).detach())
    torch.testing.assert_close(found.state, x)


def test_dt_makes_rates_per_unit_time():
    step, state = tanh_step(gaussian(4, 1.5)), random(4)
    one, tenth = spectrum(step, state), spectrum(step, state, dt=0.1)
    for name in ("exponents", "stderr", "history"):
        torch.testing.assert_close(getattr(tenth, name), 10 * getattr(one, name))
