"""Spectra of random networks: the sum rule, mean-field theory, and the stored runs of the book."""

import math

import numpy as np
import pytest
import torch

from salnb import TanhRNN
from salnb.experiments.measurements.random_spectra import GAINS, SPECTRA, log_volume, random_spectrum
from salnb.experiments.results import store


def test_all_exponents_sum_to_the_mean_log_volume_change():
    found = random_spectrum(n=30, gain=1.8, replicas=3, n_steps=80, n_warmup=30, k=30, seed=1)
    assert found["sum_error"] < 1e-9
    assert "sum_error" not in random_spectrum(n=30, gain=1.8, replicas=3, n_steps=80, n_warmup=30, k=20, seed=1)


def test_log_volume_of_a_silent_network_is_that_of_its_weights():
    rnn = TanhRNN(0, 6, 0, gain=0.5, replicas=(4,), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = rnn.recurrent[0].weight.detach()
    torch.testing.assert_close(log_volume(rnn, torch.zeros(4, 6, dtype=torch.float64), n_steps=3), weight.det().abs().log())


def test_shapes_settings_and_rounding():
    settings = dict(n=12, gain=2.0, replicas=4, n_steps=40, n_warmup=20, k=8, seed=3)
    found = random_spectrum(**settings)
    assert found["settings"] == settings and found == {**random_spectrum(**settings), "seconds": found["seconds"]}
    assert len(found["exponents"]) == len(found["error"]) == 8
    assert all(len(found[name]) == 4 for name in ("dimension", "entropy", "largest", "stderr"))
    assert found["exponents"] == sorted(found["exponents"], reverse=True)
    with pytest.raises(ValueError, match="k:"):
        random_spectrum(**{**settings, "k": 13})


def test_below_the_edge_the_spectrum_is_that_of_the_weights():
    """At g = 0.5 the network falls silent: the exponents are the log moduli of the eigenvalues of W."""
    found = random_spectrum(n=8, gain=0.5, replicas=2, n_steps=2000, n_warmup=100, k=8, seed=5)
    generator = torch.Generator().manual_seed(5)
    weight = TanhRNN(0, 8, 0, gain=0.5, replicas=(2,), generator=generator, dtype=torch.float64).recurrent[0].weight.detach()
    exact = torch.linalg.eigvals(weight).abs().log().sort(descending=True).values
    np.testing.assert_allclose(found["exponents"], exact.mean(0), atol=5e-3)
    assert found["dimension"] == [0.0, 0.0] and found["entropy"] == [0.0, 0.0]


def test_the_stored_shapes_obey_the_sum_rule_and_mean_field_theory():
    z = np.linspace(-8, 8, 2001)
    share, variance = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum(), 4.0
    for _ in range(300):
        variance = 4.0 * share @ np.tanh(math.sqrt(variance) * z) ** 2
    largest = 0.5 * math.log(4.0 * share @ np.cosh(math.sqrt(variance) * z) ** -4.0)
    mean = math.log(2.0) - 0.5 - 2 * share @ np.log(np.cosh(math.sqrt(variance) * z))
    stored = store.read("spectra")
    away = [abs(np.mean(stored[f"all of {n}"]["exponents"]) - mean) for n in (100, 200, 400, 800)]
    assert away == sorted(away, reverse=True) and away[-1] < 0.01  # a theory for large networks
    assert abs(np.mean(stored["all of 800"]["largest"]) - largest) < 0.008
    assert all(stored[f"all of {n}"]["sum_error"] < 1e-9 for n in (100, 200, 400, 800))
    assert len(SPECTRA) == len(stored) == 4 + 2 * len(GAINS)


def test_a_stored_run_comes_out_again():
    stored = store.read("spectra")["100 at 2.5"]
    again = random_spectrum(**stored["settings"])
    for name in ("largest", "dimension", "entropy"):  # in chaos another machine follows another trajectory
        error = np.std(stored[name], ddof=1) / math.sqrt(len(stored[name]))
        assert abs(np.mean(again[name]) - np.mean(stored[name])) < 5 * error
