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
