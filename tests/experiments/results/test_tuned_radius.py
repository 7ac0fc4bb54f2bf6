"""Selection and judgement of the last verdict are apart, and the rule that chooses is the one that the plan says."""

from pathlib import Path

import pytest

from salnb.experiments.results import tuned_radius
from salnb.experiments.results.plan import train_one
from salnb.experiments.results.store import as_stored

JOBS = dict(tuned_radius.selection_jobs())


def run(held: int, ever: int, n: int = 16) -> dict:
    """A stored run in which so many networks held, and so many were right at the one look that it has."""
    return {"held": [1.0] * held + [0.5] * (n - held), "history": {"step": [10], "accuracy": [[1.0] * ever + [0.5] * (n - ever)]}}


def chosen_from(**held: tuple[int, int]) -> dict:
    """All runs of the selection: (held, ever) of the gains at 3e-4 as given by g1, g1_05, …, else nothing held."""
    runs = {name: run(0, 0) for name in JOBS}
    for gain, (n, ever) in held.items():
        runs[f"selection, gain {gain[1:].replace('_', '.')}, rate 0.0003"] = run(n, ever)
    return runs


def test_selection_has_every_start_at_every_rate_on_seeds_of_its_own():
    assert len(JOBS) == 3 * (5 + 3) and len({job["seed"] for job in JOBS.values()}) == len(JOBS)
    assert all(job["replicas"] == 16 and job["sal"] is False for job in JOBS.values())


@pytest.mark.parametrize(
    ("held", "best"),
    [
        ({"g1": (9, 9), "g1_2": (12, 12), "g1_3": (11, 16)}, 1.2),
        ({"g1_05": (12, 13), "g1_3": (12, 15)}, 1.3),  # equal: more were ever right
        ({"g1_2": (12, 13), "g1_3": (12, 13)}, 1.2),  # equal in both: nearest to 1.1
        ({"g1": (12, 13), "g1_05": (12, 13), "g1_2": (3, 3)}, 1.05),
        ({"g1": (12, 13), "g1_2": (12, 13)}, 1.0),  # equally near: the smaller
    ],
)
def test_the_start_that_held_most_is_selected(held, best):
    assert tuned_radius.selected("gain", 3e-4, chosen_from(**held)) == best


def test_nothing_is_selected_or_judged_before_selection_is_complete():
    runs = chosen_from(g1=(9, 9))
    del runs["selection, gain 1.3, rate 0.001"]
    assert tuned_radius.selected("gain", 1e-3, runs) is None and tuned_radius.deciding_rate(runs) is None
    assert list(tuned_radius.judgement_jobs(runs)) == []
    assert len(tuned_radius.tuned_radius_jobs(lambda name: runs)) == len(JOBS)


def test_the_rate_decides_at_which_the_selected_gain_held_most():
    runs = chosen_from(g1_1=(12, 12))
    assert tuned_radius.deciding_rate(runs) == 3e-4
    runs["selection, gain 1.2, rate 0.001"] = run(13, 13)
    assert tuned_radius.deciding_rate(runs) == 1e-3
    runs["selection, gain 1.2, rate 0.001"] = run(12, 12)
    assert tuned_radius.deciding_rate(runs) == 3e-4, "a tie goes to the usual rate"


def test_judgement_pairs_every_arm_with_every_rate_and_no_network_that_chose():
    runs = {name: {**record, "arguments": as_stored(JOBS[name])} for name, record in chosen_from(g1_2=(14, 14)).items()}
    jobs = tuned_radius.tuned_radius_jobs(lambda name: runs)
    judged = {name: settings for _, name, settings in jobs[len(JOBS) : len(JOBS) + 3 * 7 + 2]}
    assert list(judged)[0] == "local SAL, rate 0.0003"
    seeds = [settings["seed"] for _, _, settings in jobs]
    assert len(set(seeds)) == len(seeds)
    assert {settings["replicas"] for name, settings in judged.items() if name.endswith("more")} == {64}
    gain = {name: settings.get("gain") for name, settings in judged.items() if settings["lr"] == 3e-4}
    assert gain["tuned gain, rate 0.0003"] == gain["tuned gain with the clause, rate 0.0003"] == 1.2
    assert judged["tuned gain with the clause, rate 0.0003"]["sal"] == {"passes": 0}
    assert "gain" not in judged["local SAL, rate 0.0003"] and judged["local SAL, rate 0.0003"]["sal"]["when"] == "throughout"


def test_other_settings_choose_a_gain_of_their_own_before_they_are_judged():
    runs = chosen_from(g1_2=(14, 14))
    before = dict(tuned_radius.other_jobs(runs))
    assert len(before) == 1 + 3 * 3 and before["tuned gain, starting again"]["gain"] == 1.2
    for gain, held in (("1", 3), ("1.1", 3), ("1.2", 5)):
        runs[f"selection, 128 neurons, gain {gain}"] = run(held, 8, n=8)
    after = dict(tuned_radius.other_jobs(runs))
    assert len(after) == len(before) + 4
    assert after["tuned gain with the clause, 128 neurons"]["gain"] == 1.2
    assert {job["n_hidden"] for name, job in after.items() if "128" in name} == {128}
    assert all(job["lr"] == 3e-4 for job in after.values())


def test_every_arm_runs_and_is_counted(tmp_path: Path):
    runs = {}
    for arm, settings in tuned_radius.arms(1.1, 1.0).items():
        small = dict(settings, lr=1e-3, replicas=2, steps=4, lag=6, n_hidden=8, seed=1)
        if isinstance(small.get("sal", {}), dict):
            small["sal"] = {"passes": 2, **small.get("sal", {})}
        _, runs[f"{arm}, rate 0.001"] = train_one((tuned_radius.FILE, arm, small), tmp_path)
    for arm in tuned_radius.arms(1.1, 1.0):
        record = runs[f"{arm}, rate 0.001"]
        assert record["arguments"]["lr"] == 1e-3 and len(record["stopped"]) == len(record["held"]) == 2
        assert tuned_radius.counts(runs, arm, (1e-3, 1e-4))[1] == 2
    runs["local SAL, rate 0.001"]["held"] = [1.0, 0.98]
    runs["local SAL, rate 0.001, more"] = {"held": [1.0], "stopped": [0.5]}
    assert tuned_radius.counts(runs, "local SAL", (1e-3,)) == (1, 2)
    assert tuned_radius.counts(runs, "local SAL", (1e-3,), more=True) == (2, 3)
    assert tuned_radius.counts(runs, "local SAL", (1e-3,), of="stopped", more=True)[1] == 3
