"""Trained networks sorted by how they keep the first pulse: small runs, and the stored ones."""

import json

import pytest
import torch

from salnb.experiments.measurements.working_memory import KINDS, kind_of
from salnb.experiments.results import store
from salnb.experiments.results.plan import memory_jobs
from salnb.experiments.results.trained_memory import load_trained, portraits, significant, trained_memory
from salnb.experiments.training.sweeps import name_of

SMALL = dict(lag=8, n_hidden=10, replicas=2, steps=3, sal=False, gain=1.0, seed=4)
SHORT = dict(n_warmup=60, n_steps=400)


def test_a_small_run_from_training_to_plain_numbers(tmp_path):
    found = trained_memory(SMALL, tmp_path, **SHORT)
    assert json.loads(json.dumps(found)) == found and len(found["kind"]) == 2 and set(found["kind"]) <= set(KINDS)
    assert len(found["right"]) == len(found["waits"]) and found["lag"] == 8 and found["arguments"] == SMALL
    assert set(found["portraits"]) == set(found["kind"])
    drawn = found["portraits"][found["kind"][0]]
    assert len(drawn["path"][1]) == 7 and len(drawn["dots"][0]) == 60  # the last six steps before the second pulse and it
    again = trained_memory(SMALL, tmp_path, **SHORT)  # from the stored weights
    assert {**again, "seconds": 0} == {**found, "seconds": 0}
    net = load_trained(tmp_path / f"{name_of(SMALL)}.pt", 10)
    assert net.readout.weight.dtype == torch.float64 and not net.readout.weight.requires_grad


def test_of_each_kind_one_network_is_drawn():
    path, dots = torch.arange(4.0).view(4, 1, 1, 1), torch.zeros(4, 1, 2, 2)
    dots[0, 0, 0], dots[3, 0, 0] = 1.0, 3.0  # the last clock moves three times as far in the plane, and in all twice as far
    exponents, moves = torch.tensor([0.0, -0.1, -0.2, 0.0]), torch.tensor([1.0, 0.0, 0.0, 2.0])
    found = portraits(["clock", "latch", "latch", "clock"], exponents, moves, path, dots)
    assert {kind: drawn["network"] for kind, drawn in found.items()} == {"clock": 3, "latch": 2}
    assert found["latch"] == {"network": 2, "path": [[[2.0]]], "dots": [[[0.0, 0.0], [0.0, 0.0]]]}


def test_significant_digits():
    assert significant(torch.tensor([[1.23456e-9, 0.0], [12345.0, 1.0]], dtype=torch.float64)) == [[1.23e-9, 0.0], [12300.0, 1.0]]


def test_what_is_stored_is_not_measured_again(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    monkeypatch.setattr(store, "memory_jobs", lambda: iter([("a", SMALL)]))
    monkeypatch.setattr(store, "trained_memory", lambda arguments, folder: trained_memory(arguments, folder, **SHORT))
    store.remember_all(progress=False)
    assert store.read("working_memory")["a"]["provenance"]["commit"]
    assert not list((tmp_path / ".partial").glob("*.pt"))
    monkeypatch.setattr(store, "trained_memory", lambda *_: pytest.fail("measured again"))
    store.remember_all(progress=False)


def test_the_stored_networks_are_those_of_the_plan():
    """Trained anew on another processor they differ in single digits, and with them in single networks."""
    wanted, stored = dict(memory_jobs()), store.read("working_memory")
    assert set(stored) == set(wanted)
    for name, run in stored.items():
        assert run["arguments"] == store.as_stored(wanted[name]) and run["provenance"]["commit"]
        assert set(run["kind"]) <= set(KINDS) and len(run["kind"]) == len(run["held"]) == len(run["exponents"])
        again = [kind_of(max(e), *rest) for e, *rest in zip(
            *(run[column] for column in ("exponents", "apart", "across", "within", "moves")), strict=True)]  # fmt: skip
        assert again == run["kind"]
