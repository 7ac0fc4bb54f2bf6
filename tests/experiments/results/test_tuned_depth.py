"""In depth, too, selection and judgement are apart, and the best gain of each rate is the one that the plan says."""

import pytest

from salnb.experiments import train_deep
from salnb.experiments.results import tuned_depth
from salnb.experiments.results.plan import function_of

JOBS = dict(tuned_depth.selection_jobs())
SETTINGS = [name for name, _ in tuned_depth.settings_of()]


def run(held: int, ever: int = 0, n: int = 8) -> dict:
    """A stored run in which so many networks held, and so many were right at the one look that it has."""
    return {"held": [1.0] * held + [0.5] * (n - held), "history": {"step": [10], "accuracy": [[1.0] * ever + [0.5] * (n - ever)]}}


def selection(setting: str, **found: tuple[int, int]) -> dict:
    """Both rates of a setting: (held, ever) of the gains at 3e-5 as given by g1, g1_05, …, else nothing held."""
    runs = {tuned_depth.selection_name(setting, gain, lr): run(0) for gain in tuned_depth.GAINS for lr in tuned_depth.RATES}
    for gain, numbers in found.items():
        runs[tuned_depth.selection_name(setting, float(gain[1:].replace("_", ".")), 3e-5)] = run(*numbers)
    return runs


def test_selection_has_three_tasks_and_three_widths_of_one():
    assert SETTINGS == ["disc_and_ring", "parity", "two_moons", "parity, 32 neurons", "parity, 128 neurons"]
    assert len(JOBS) == 5 * 2 * 5 and len({job["seed"] for job in JOBS.values()}) == len(JOBS)
    assert all(job["sal"] is False and job["replicas"] == 8 for job in JOBS.values())
    assert all(function_of((tuned_depth.FILE, name, job)) is train_deep for name, job in JOBS.items())


@pytest.mark.parametrize(
    ("found", "best"),
    [({"g1": (5, 5), "g1_2": (6, 6)}, 1.2), ({"g1": (5, 7), "g1_2": (5, 6)}, 1.0), ({"g1_05": (5, 5), "g1_15": (5, 5)}, 1.05)],
)
def test_the_gain_that_held_most_is_selected(found, best):
    assert tuned_depth.selected("parity", 3e-5, selection("parity", **found)) == best


def test_the_rate_counts_at_which_the_selected_gain_held_most():
    runs = selection("parity", g1=(5, 5))
    runs[tuned_depth.selection_name("parity", 1.2, 1e-5)] = run(5, 6)
    assert tuned_depth.deciding_rate("parity", runs) == 1e-5
    runs[tuned_depth.selection_name("parity", 1.0, 3e-5)] = run(5, 6)
    assert tuned_depth.deciding_rate("parity", runs) == 3e-5
    assert tuned_depth.deciding_rate("two_moons", runs) is None


def test_judgement_begins_where_a_selection_is_complete_with_networks_that_chose_nothing():
    runs = selection("parity, 32 neurons", g1_15=(7, 7))
    jobs = dict(tuned_depth.judgement_jobs(runs))
    assert len(jobs) == 3 * 2 and not {job["seed"] for job in jobs.values()} & {job["seed"] for job in JOBS.values()}
    assert jobs["tuned gain, parity, 32 neurons, rate 3e-05"]["gain"] == 1.15 and all(job["width"] == 32 for job in jobs.values())
    assert jobs["local SAL, parity, 32 neurons, rate 1e-05"]["sal"]["falling"] is True
    assert jobs["SAL before only, parity, 32 neurons, rate 1e-05"]["sal"] == {"when": "before"}
    assert len(tuned_depth.tuned_depth_jobs(lambda file: runs)) == len(JOBS) + 6
