"""The planned runs: every network of every set once, pairs that share splits, and one of them carried out small."""

import pytest
import torch

from salnb.representations.study import plan
from salnb.representations.study.data import SETS, Samples, Split


def test_every_network_is_planned_once_for_every_set():
    jobs = plan.study_jobs()
    assert len({job[:2] for job in jobs}) == len(jobs) == sum(len(list(plan.contestants(name))) for name in SETS)
    assert [job[:2] for job in jobs[:3]] == [(name, "Krotov–Hopfield") for name in SETS]


def test_settings_name_what_the_run_depends_on():
    for job in plan.study_jobs():
        settings = plan.settings_of(job)
        assert settings["replicas"] == plan.REPLICAS and settings["epochs"] >= 1
        assert ("updates" in settings) == job[1].startswith("Krotov–Hopfield")


@pytest.mark.parametrize("what", ["Krotov–Hopfield", "decay 0.0005", "exponent 2", "tanh, sensitivity 0.5"])
def test_a_run_measures_one_number_per_split(what, monkeypatch):
    x, y = torch.randn(2, 150, 40, generator=torch.Generator().manual_seed(1)), torch.arange(150).remainder(3).expand(2, -1)
    part = Samples(x, y)
    monkeypatch.setattr(plan, "split_of", lambda name, replicas, generator: Split(part, part, part, 3, (4, 20)))
    monkeypatch.setitem(plan.KROTOV_HOPFIELD, "digits", dict(updates=20, lr=0.04, batch=50))
    settings = dict(plan.contestants("digits"))[what]
    run = plan.run_one(("digits", what, {**settings, "epochs": 2}), replicas=2)
    for key in ("accuracy", "alpha", "pgd", "noise", "fgsm", "roughness"):
        assert len(run[key]) == 2
    assert ("unconverged" in run) == what.startswith("Krotov")


def test_numbers_are_rounded_and_infinity_becomes_none():
    assert plan.rounded({"a": [1.23456789, float("inf")], "b": 3, "c": {"d": 2e-9 / 3}}) == {
        "a": [1.2346, None], "b": 3, "c": {"d": 6.6667e-10}}  # fmt: skip
