"""The runs behind the experiment chapter: measured against linear algebra, reproducible, resumable."""

import json
import math

import numpy as np
import pytest
import torch

from salnb.experiments import follow_exponent, log_rms_row_norm, log_spectral_radius, predicted_offset
from salnb.experiments.results import store
from tests.problems import SEED, random
from tests.tolerances import rounding, sampling

SMALL = dict(n_hidden=30, replicas=3, n_passes=6, n_looks=3, look_steps=150, warmup=100, seed=5 + 10007 * SEED)


@pytest.mark.parametrize("n_hidden", [30, (20, 30)])
def test_below_the_edge_the_exponent_is_the_log_spectral_radius(n_hidden):
    run = follow_exponent(**{**SMALL, "n_hidden": n_hidden, "warmup": 400, "look_steps": 1000, "gain": 0.3}, dtype=torch.float64)
    assert run.passes == [0, 3, 6] and run.exponent.shape == (3, 3)
    # W = V Λ V⁻¹: a thousand steps lengthen by ρ¹⁰⁰⁰, up to the condition of V at both ends. Of matrices of this size one in a
    # thousand has more than 700; the share falls with the square, so next to none has 10⁴.
    torch.testing.assert_close(run.exponent, run.log_radius, rtol=0, atol=2 * math.log(1e4) / 1000)
    # A slope is 1 − h²: a layer's log-sensitivity lies below its log row norm by the mean of h², weighted by the squares of the
    # rows. In the layer that is driven h is the noise of 0.01, and what is left of earlier noise.
    below = run.log_row_norm - run.log_sensitivity
    assert (below > 0).all() and (below < 4 * (0.01**2 + run.activity.square())).all() and (run.activity < 0.03).all()
    assert (run.log_sensitivity[-1] > run.log_sensitivity[0]).all()  # SAL did act


def test_same_seed_same_run_other_seed_other_run():
    first, again, other = (follow_exponent(**{**SMALL, "seed": SMALL["seed"] + i}) for i in (0, 0, 1))
    assert torch.equal(first.exponent, again.exponent)
    assert not torch.allclose(first.exponent, other.exponent)


def test_ring_radius_is_that_of_the_round_trip():
    a, b = random(4, 5, 3), random(4, 3, 5, seed=1)
    by_hand = torch.stack([torch.linalg.eigvals(y @ x).abs().max() for x, y in zip(a, b, strict=True)]).log()
    # Two eigenvalues that nearly coincide move by the root of a rounding error, and log R by that relative to R.
    close_pair = math.sqrt(rounding(torch.float64, 5 + 3))
    torch.testing.assert_close(log_spectral_radius([a, b]), by_hand, rtol=0, atol=close_pair)
    rows = 0.5 * (a**2).sum(-1).mean(-1).log() + 0.5 * (b**2).sum(-1).mean(-1).log()
    torch.testing.assert_close(log_rms_row_norm([a, b]), rows)


def test_predicted_offset_is_that_of_independent_random_matrices_and_falls_with_size():
    offsets = [predicted_offset(n, samples=samples) for n, samples in ((30, 2000), (100, 200), (200, 200))]
    means, errors = [o.mean().item() for o in offsets], [sampling(o.std().item(), len(o)) for o in offsets]
    assert means[0] - means[2] > math.hypot(errors[0], errors[2]) and means[2] > errors[2]
    rows = np.random.default_rng(SEED).normal(size=(200, 100, 100))
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    by_numpy = np.log(np.abs(np.linalg.eigvals(rows)).max(-1))
    assert means[1] == pytest.approx(by_numpy.mean(), abs=math.hypot(errors[1], sampling(by_numpy.std(), 200)))
    assert predicted_offset((20, 30), connectivity=0.5, samples=7).shape == (7,)


def test_results_resume_where_they_were_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    monkeypatch.setattr(store, "claim_figures", dict)
    wanted = [("runs", "a", {**SMALL, "n_hidden": 10}), ("runs", "b", {**SMALL, "n_hidden": (6, 8)})]
    monkeypatch.setattr(store, "measurement_jobs", lambda: iter(wanted))
    # One architecture of each kind and one layer, where the paper's scale has 18 and nine.
    layer = dict(store.LAYERS[0], width=6, replicas=2, samples=20, size=0.1)
    for name, few in {"FLAT": [(10, 0.3)], "RINGS": [((6, 8), 1.0)], "LAYERS": [layer]}.items():
        monkeypatch.setattr(store, name, few)
    monkeypatch.setattr(store, "predicted_offset", lambda n, **given: predicted.append(n) or predicted_offset(n, **given))
    made, predicted = [], []

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
    assert stored["provenance"]["version"] and stored["seconds"] > 0 and stored["settings"]["seed"] == SMALL["seed"]
    assert store.read("exponent_offsets")["10, 0.3"]["samples"] == store.PREDICTED
    assert store.read("transmission")["tanh, 6"]["settings"] == layer
    store.run_all(progress=False)
    assert len(made) == 2 and predicted == [10, (6, 8)]  # nothing of it was run again


def test_every_job_has_seeds_of_its_own_and_its_stored_run_is_the_one_asked_for():
    seeds = [arguments["seed"] for _, _, arguments in store.measurement_jobs()]
    assert len(set(seeds)) == len(seeds)
    for file, name, arguments in store.measurement_jobs():
        known = store.read(file)[name]["settings"]
        assert all(known[key] == value for key, value in store.as_stored(arguments).items()), (file, name)


def test_stored_claim_figures_are_those_of_the_stored_runs():
    stored, again = store.read("claims"), store.claim_figures()
    for name, figures in again.items():
        assert stored[name]["interval"] == pytest.approx(figures["interval"], rel=0, abs=2e-6), name  # stored to six digits
