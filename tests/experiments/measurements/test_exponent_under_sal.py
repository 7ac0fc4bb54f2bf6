"""The runs behind the experiment chapter: measured against linear algebra, reproducible, resumable."""

import json

import numpy as np
import pytest
import torch

from salnb.experiments import follow_exponent, log_rms_row_norm, log_spectral_radius, predicted_offset
from salnb.experiments.results import store

SMALL = dict(n_hidden=30, replicas=3, n_passes=6, n_looks=3, look_steps=150, warmup=100, seed=5)


@pytest.mark.parametrize("n_hidden", [30, (20, 30)])
def test_below_the_edge_the_exponent_is_the_log_spectral_radius(n_hidden):
    run = follow_exponent(**{**SMALL, "n_hidden": n_hidden, "warmup": 400, "look_steps": 400, "gain": 0.3}, dtype=torch.float64)
    assert run.passes == [0, 3, 6] and run.exponent.shape == (3, 3)
    assert torch.allclose(run.exponent, run.log_radius, atol=0.02)
    assert torch.allclose(run.log_sensitivity, run.log_row_norm, atol=0.01)
    assert (run.log_sensitivity[-1] > run.log_sensitivity[0]).all()  # SAL did act


def test_same_seed_same_run_other_seed_other_run():
    first, again, other = (follow_exponent(**{**SMALL, "seed": seed}) for seed in (5, 5, 6))
    assert torch.equal(first.exponent, again.exponent)
    assert not torch.allclose(first.exponent, other.exponent)


def test_ring_radius_is_that_of_the_round_trip():
    a, b = torch.randn(4, 5, 3), torch.randn(4, 3, 5)
    by_hand = torch.stack([torch.linalg.eigvals(y @ x).abs().max() for x, y in zip(a, b, strict=True)]).log()
    assert torch.allclose(log_spectral_radius([a, b]), by_hand, atol=1e-5)
    rows = 0.5 * (a**2).sum(-1).mean(-1).log() + 0.5 * (b**2).sum(-1).mean(-1).log()
    assert torch.allclose(log_rms_row_norm([a, b]), rows)


def test_predicted_offset_is_that_of_independent_random_matrices_and_falls_with_size():
    means = [predicted_offset(n).mean().item() for n in (30, 100, 200)]
    assert means[0] > means[2] > 0.01
    rows = np.random.default_rng(0).normal(size=(200, 100, 100))
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    by_numpy = np.log(np.abs(np.linalg.eigvals(rows)).max(-1))
    assert means[1] == pytest.approx(by_numpy.mean(), abs=4 * by_numpy.std() / 10)
    assert predicted_offset((20, 30), connectivity=0.5, samples=7).shape == (7,)


def test_results_resume_where_they_were_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    monkeypatch.setattr(store, "claim_figures", dict)
    wanted = [("runs", "a", {**SMALL, "n_hidden": 10}), ("runs", "b", {**SMALL, "n_hidden": (6, 8)})]
    monkeypatch.setattr(store, "measurement_jobs", lambda: iter(wanted))
    made = []

    def interrupted(**arguments):
        if made:
            raise KeyboardInterrupt
        made.append(arguments)
        return follow_exponent(**arguments)

    monkeypatch.setattr(store, "follow_exponent", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.run_all(progress=False)
    assert list(json.loads((tmp_path / "runs.json").read_text())) == ["a"]
    monkeypatch.setattr(store, "follow_exponent", lambda **arguments: made.append(arguments) or follow_exponent(**arguments))
    store.run_all(progress=False)
    assert [m["n_hidden"] for m in made] == [10, (6, 8)]  # the first was not run again
    stored = json.loads((tmp_path / "runs.json").read_text())["b"]
    assert stored["provenance"]["version"] and stored["seconds"] > 0 and stored["settings"]["seed"] == 5
    store.run_all(progress=False)
    assert len(made) == 2


def test_every_job_has_seeds_of_its_own_and_its_stored_run_is_the_one_asked_for():
    seeds = [arguments["seed"] for _, _, arguments in store.measurement_jobs()]
    assert len(set(seeds)) == len(seeds)
    for file, name, arguments in store.measurement_jobs():
        known = store.read(file)[name]["settings"]
        assert all(known[key] == value for key, value in store.as_stored(arguments).items()), (file, name)


def test_stored_claim_figures_are_those_of_the_stored_runs():
    stored, again = store.read("claims"), store.claim_figures()
    for name, figures in again.items():
        assert np.allclose(stored[name]["interval"], figures["interval"], atol=2e-3), name
