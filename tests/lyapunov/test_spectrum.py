"""What is read off a spectrum."""

import math

import pytest
import torch

from salnb import LyapunovSpectrum, lyapunov_spectrum


def spectrum(*exponents, n=None) -> LyapunovSpectrum:
    values = torch.tensor(exponents, dtype=torch.float64)
    *lead, k = values.shape
    n = k if n is None else n
    tangents = torch.eye(n, k).expand(*lead, n, k)
    return LyapunovSpectrum(values, torch.zeros_like(values), None, torch.zeros(*lead, n), tangents, 10, 1.0)


@pytest.mark.parametrize(
    ("exponents", "dimension"),
    [
        ((0.9056, 0.0, -14.5723), 2 + 0.9056 / 14.5723),
        ((0.41922, -1.62319), 1 + 0.41922 / 1.62319),
        ((-0.5, -1.0), 0.0),
        ((0.0, -1.0), 1.0),
        ((1.0, -0.4, -0.4, -0.4), 3 + 0.2 / 0.4 - 3 / 10**17),
        ((0.3, 0.2), 2.0),
        ((0.5, -0.5), 2.0),
        ((1.0, -math.inf, -math.inf), 1.0),
        ((-math.inf, -math.inf), 0.0),
    ],
)
def test_kaplan_yorke_dimension(exponents, dimension):
    assert spectrum(*exponents).kaplan_yorke_dimension().item() == pytest.approx(dimension, abs=1e-12)


def test_sums_per_system():
    found = spectrum([0.5, 0.1, -1.0], [-0.1, -0.2, -0.3])
    assert found.sum().tolist() == pytest.approx([-0.4, -0.6])
    assert found.entropy_rate().tolist() == pytest.approx([0.6, 0.0])
    assert found.kaplan_yorke_dimension().tolist() == pytest.approx([2.6, 0.0])


def test_too_few_exponents_for_a_dimension_is_a_value_error_in_words():
    with pytest.raises(ValueError, match="k: the first 2 of 5 exponents still sum to 0.4 >= 0.*larger k"):
        spectrum(0.5, -0.1, n=5).kaplan_yorke_dimension()
    with pytest.raises(ValueError, match="k: the first 1 of 2"):
        spectrum([-0.5], [0.5], n=2).kaplan_yorke_dimension()
    assert spectrum(0.5, -1.0, n=5).kaplan_yorke_dimension().item() == pytest.approx(1.5)


def test_a_computed_spectrum_answers_too():
    found = lyapunov_spectrum(lambda x: x * torch.tensor([2.0, 0.25]), torch.zeros(3, 2), n_steps=4)
    assert isinstance(found, LyapunovSpectrum)
    assert found.kaplan_yorke_dimension().tolist() == pytest.approx([1.5] * 3)
    assert found.entropy_rate().tolist() == pytest.approx([math.log(2)] * 3)


def symmetric(*growth: float) -> torch.Tensor:
    """A symmetric matrix with these eigenvalues, whose first eigenvector lies at tan = 1/2 from the first axis."""
    turn = torch.tensor([[2.0, -1.0], [1.0, 2.0]], dtype=torch.float64) / 5**0.5
    return turn @ torch.diag(torch.tensor(growth, dtype=torch.float64)) @ turn.T


@pytest.mark.parametrize("n_warmup", [1, 4, 8])
def test_alignment_is_how_far_the_frame_has_turned_before_the_average(n_warmup):
    """tan of the angle between the first tangent and the first eigenvector falls by e^(-gap) in every step."""
    matrix = symmetric(2.0, 1.0)
    start = torch.zeros(2, dtype=torch.float64)
    warmed = lyapunov_spectrum(lambda x: x @ matrix.T, start, n_steps=40, n_warmup=n_warmup)
    # no farther than the 40 steps of the average allow: their frame is not aligned at first, which costs less than 1/40
    torch.testing.assert_close(warmed.alignment, torch.full((2,), n_warmup * math.log(2.0)).double(), rtol=0.05, atol=0)
    frame = lyapunov_spectrum(lambda x: x @ matrix.T, start, n_steps=n_warmup).tangents[:, 0]
    along = frame @ torch.tensor([[2.0, -1.0], [1.0, 2.0]], dtype=torch.float64) / 5**0.5
    assert (along[1] / along[0]).abs().item() == pytest.approx(0.5 * math.exp(-n_warmup * math.log(2.0)), rel=1e-12)


def test_alignment_without_a_warm_up_is_zero_and_the_printed_result_says_so():
    found = lyapunov_spectrum(lambda x: x @ symmetric(2.0, 0.5).T, torch.zeros(2, dtype=torch.float64), n_steps=10)
    assert found.alignment.tolist() == [0.0, 0.0]
    assert "none (n_warmup=0)" in repr(found) and "up to 0.3" in repr(found) and "finite_time_exponents" in repr(found)


def test_the_alignment_of_the_last_exponent_is_not_known_unless_it_is_the_last_of_all():
    diagonal = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)
    some, one, everything = (
        lyapunov_spectrum(lambda x: x * diagonal, torch.zeros(3, dtype=torch.float64), n_steps=5, n_warmup=10, k=k)
        for k in (2, 1, 3)
    )
    gaps = (10 * math.log(1.5), 10 * math.log(2.0))  # the first frame is turned a little, and ten steps leave e^-4 of it
    assert some.alignment[0].item() == pytest.approx(gaps[0], rel=1e-3) and some.alignment[1].isnan()
    assert one.alignment.isnan().all() and "a larger k tells" in repr(one)
    assert everything.alignment.tolist() == pytest.approx([gaps[0], gaps[0], gaps[1]], rel=1e-3)
    assert "4.05, 4.05, 6.93 nats in the warm-up" in repr(everything)


def test_alignment_of_dead_directions_of_replicas_and_after_resuming():
    dying = torch.tensor([2.0, 0.0, 0.0], dtype=torch.float64)
    found = lyapunov_spectrum(lambda x: x * dying, torch.zeros(4, 3, dtype=torch.float64), n_steps=8, n_warmup=5)
    assert found.alignment.tolist() == [[math.inf, 0.0, 0.0]] * 4  # the dead ones are equal and need not separate
    assert "4 systems" in repr(found)
    diagonal = torch.tensor([2.0, 1.0], dtype=torch.float64)
    first = lyapunov_spectrum(lambda x: x * diagonal, torch.zeros(2, dtype=torch.float64), n_steps=8, n_warmup=5)
    longer = lyapunov_spectrum(lambda x: x * diagonal, first.state, n_steps=8, resume=first)
    assert longer.alignment.tolist() == pytest.approx([5 * math.log(2.0)] * 2)  # the average began where the first run's did
    assert spectrum(1.0, 0.5).alignment.isnan().all()  # nothing is known of a spectrum without its run


def test_many_exponents_print_on_three_lines():
    rnn = torch.linspace(2.0, 0.1, 12, dtype=torch.float64)
    shown = repr(lyapunov_spectrum(lambda x: x * rnn, torch.zeros(12, dtype=torch.float64), n_steps=4, n_warmup=3))
    assert len(shown.splitlines()) == 3 and "…" in shown and max(map(len, shown.splitlines())) < 128
