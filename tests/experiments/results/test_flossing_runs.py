"""The runs that compare SAL with flossing: made once, at the selected rate, paired, and judged only when complete."""

import math
from dataclasses import replace

import pytest
import torch

from salnb.experiments.results import flossing_runs, store
from salnb.experiments.results.flossing_runs import flossing_groups, flossing_is_stored, flossing_jobs, kept_directions, rate_of

SMALL = dict(SIZES=dict(task="temporal_order", lag=9, n_hidden=6), FLOSSING=dict(k=3, steps=2, lr=3e-3, batch=1),
             LEARNING=dict(steps=2, batch=4), PRODUCT=dict(steps=10, sequences=2), RATES=(1e-3, 1e-2), NETWORKS=3, SELECTING=2,
             LONGER=dict(steps=4, batch=4), LAG=replace(flossing_runs.LAG, passes=3))  # fmt: skip


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Runs of a second, in a folder of their own."""
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    monkeypatch.setattr(store, "provenance", lambda: {"machine": "a CPU"})
    for name, value in SMALL.items():
        monkeypatch.setattr(flossing_runs, name, value)


def test_small_runs_are_stored_in_the_form_that_the_chapter_reads(small, tmp_path, monkeypatch):
    few = lambda name: name.startswith(("gain 1", "SAL, then flossing"))  # noqa: E731
    store.flossing_all(progress=False, only=few)
    runs = store.read("flossing")
    both = "SAL, then flossing"
    assert list(runs) == ["gain 1, rates", "gain 1", f"{both}, rates", both, f"{both}, rate 0.001"]
    plain, both, again = runs["gain 1"], runs[both], runs[f"{both}, rate 0.001"]
    assert again["lr"] == 1e-3 and again["before"] == both["before"]
    for run in (plain, both):
        assert len(run["accuracy"]) == len(run["held"]) == len(run["before"]["directions"]) == 3 and run["lr"] in (1e-3, 1e-2)
        for figures in (run["before"], run["after"]):
            assert [len(row) for row in figures["log_singular_values"]] == [6, 6, 6]
            assert all(row == sorted(row, reverse=True) for row in figures["log_singular_values"])
        assert run["seconds"] >= run["seconds_learning"] >= 0 and run["provenance"]
    assert (plain["passes"], plain["floss_steps"]) == (0, 0) and both["passes"] > 0 and both["floss_steps"] == 2
    assert [len(values) for values in runs["gain 1, rates"]["accuracy"]] == [2, 2]
    assert not list((tmp_path / ".partial").glob("*.pt"))
    monkeypatch.setattr(store, "run_flossing", lambda *job: pytest.fail("made again"))
    store.flossing_all(progress=False, only=few)


def test_the_arms_differ_in_their_treatment_alone_and_what_selects_judges_nothing():
    jobs = dict(flossing_jobs())
    treatment = ("arm", "init", "sal", "flossing")
    for end in ("", ", rates"):
        common = [{key: value for key, value in jobs[arm + end].items() if key not in treatment} for arm in flossing_runs.ARMS]
        assert all(settings == common[0] for settings in common)
    longer = {**jobs["SAL, longer"], "arm": "SAL", "learning": flossing_runs.LEARNING}
    again = {**jobs["SAL, rate 0.001"], "arm": "SAL"}
    assert again.pop("lr") == 1e-3 and again == longer == jobs["SAL"] and flossing_runs.rates_name("SAL, longer") == "SAL, rates"
    seeds = [[settings["seed"] for name, settings in jobs.items() if name.endswith("rates") is rates] for rates in (True, False)]
    # weights, sequences, learning and the looks take the four seeds from here on
    assert not {s + i for s in seeds[0] for i in range(4)} & {s + i for s in seeds[1] for i in range(4)}


def test_the_product_is_measured_at_fresh_sequences_of_its_own_length():
    settings = {**dict(flossing_jobs())["gain 1"], "product": dict(steps=10, sequences=2), "networks": 2}
    net = flossing_runs.recurrent_net("tanh", 6, 6, 4, gain=1.0, init="orthogonal", lag=9, replicas=2,
                                      generator=torch.Generator().manual_seed(0))  # fmt: skip
    with torch.no_grad():
        net.input.weight.zero_()  # the state stays 0, where an orthogonal network treats all directions alike
        net.recurrent[0].weight.mul_(0.5)
    logs = flossing_runs.log_singular_values(net, settings)
    room = 10 * 6 * torch.finfo(torch.float32).eps  # ten float32 matrices, each orthogonal to its rounding
    torch.testing.assert_close(logs, torch.full((2, 2, 6), 10 * math.log(0.5), dtype=torch.float64), rtol=0, atol=room)
    assert torch.equal(kept_directions(logs), torch.full((2,), 6.0, dtype=torch.float64))


def test_directions_are_counted_from_the_strongest():
    logs = torch.tensor([[[5.0, 5.0 - math.log(9.9), 5.0 - math.log(10.1), -50.0]] * 3])
    assert kept_directions(logs).tolist() == [2.0]


def test_a_run_is_made_again_at_another_rate_or_with_other_settings():
    jobs = dict(flossing_jobs())
    runs = {"SAL, rates": dict(accuracy=[[0.5, 0.6], [0.9, 0.4], [0.1, 0.1]], settings=jobs["SAL, rates"]),
            "SAL": dict(lr=flossing_runs.RATES[1], settings=jobs["SAL"])}  # fmt: skip
    read = lambda file: runs  # noqa: E731
    assert rate_of("SAL", read) == flossing_runs.RATES[1] and flossing_is_stored("SAL", jobs["SAL"], read)
    assert not flossing_is_stored("SAL", {**jobs["SAL"], "networks": 8}, read)
    runs["SAL, rate 0.001"] = dict(lr=1e-3, settings=jobs["SAL, rate 0.001"])
    runs["SAL, rates"]["accuracy"][0] = [1.0, 1.0]
    assert flossing_is_stored("SAL, rate 0.001", jobs["SAL, rate 0.001"], read)  # this one has a rate of its own
    assert not flossing_is_stored("SAL", jobs["SAL"], read)


def test_claims_are_paired_differences_and_wait_for_their_runs():
    jobs, values = dict(flossing_jobs()), {"SAL": (0.5, 2.0), "flossing": (0.7, 5.0), "SAL, then flossing": (0.6, 9.0)}
    runs = {arm: dict(settings=jobs[arm], accuracy=[right, 0.5], before=dict(directions=[kept, 1.0]))
            for arm, (right, kept) in values.items()}  # fmt: skip
    groups = {claim: found for claim, (_, found) in flossing_groups(lambda file: runs).items()}
    assert groups["flossing-directions"] == {"flossing": [3.0, 0.0], "SAL, then flossing": [7.0, 0.0]}
    assert groups["flossing-lag"] == {"flossing": pytest.approx([0.2, 0.0]), "SAL, then flossing": pytest.approx([0.1, 0.0])}
    assert groups["flossing-alone"] == {"flossing": pytest.approx([0.1, 0.0])}
    del runs["SAL"]
    assert list(flossing_groups(lambda file: runs)) == ["flossing-alone"]


def test_the_stored_runs_are_those_of_the_plan():
    runs, last = store.read("flossing"), dict(flossing_jobs())
    assert list(runs) == list(last)
    for name, run in runs.items():
        assert flossing_is_stored(name, store.as_stored(last[name]), store.read) and run["provenance"]["commit"], name
        if not name.endswith(", rates"):
            assert len(run["accuracy"]) == len(run["held"]) == len(run["before"]["directions"]) == 32
