"""The claims' figures, computed from stored runs."""

import pytest

from salnb.experiments.results.plan import LAYERS
from salnb.experiments.results.store import read
from salnb.experiments.results.verdicts import transmission_groups
from salnb.representations.study import contestants
from salnb.representations.study.data import SETS
from salnb.representations.study.plan import REPLICAS, settings_of


def test_every_planned_layer_makes_a_group_forward_and_one_backward():
    named = {f"{s['activation']}, {s['width']}": {"settings": s, "forward": [i, i], "backward": [-i, -i]}
             for i, s in enumerate(LAYERS)}  # fmt: skip
    groups = transmission_groups(named)
    assert len(groups) == 2 * len(LAYERS) and list(groups)[:2] == ["tanh, N = 16, forward", "tanh, N = 16, backward"]
    assert groups["relu, N = 256, backward"] == [-5, -5]
    first = next(iter(named))
    assert transmission_groups({**named, first: {**named[first], "settings": {}}}) == {}  # another run is not the planned one


@pytest.mark.parametrize("name", SETS)
def test_stored_runs_of_geometry_are_those_of_the_plan_and_sound(name):
    """Each run has the settings of today's plan, and one number per split.

    On no network do 20 steps do as little as a single one: runs in which they did had been made while the code was being changed.
    """
    stored, planned = read(f"geometry_{name}"), dict(contestants(name))
    assert stored and set(stored) <= set(planned)
    for what, run in stored.items():
        assert run["settings"] == settings_of((name, what, planned[what])), what
        assert {len(run[key]) for key in ("accuracy", "alpha", "pgd", "fgsm", "noise", "roughness")} == {REPLICAS}
        strong, fast = (sum(run[key]) for key in ("pgd", "fgsm"))
        assert strong < 0.995 * fast, what
