"""The claims' figures, from made-up runs whose differences are known."""

import math

import pytest

from salnb.representations.study import plan, verdicts
from salnb.representations.study.data import SETS

SPLITS = 8


def made_up(name: str) -> dict[str, dict]:
    """A run for every contestant: decay of strength k gives ‖Δx‖ = e^k, accuracy 0.9 - k / 100 and exponent 2 + k."""
    base = {"accuracy": 0.9, "alpha": 2.0, "pgd": 1.0, "noise": 1.0, "roughness": 1.0, "r2": 0.99}
    runs = {what: {key: [value] * SPLITS for key, value in base.items()} for what, _ in plan.contestants(name)}
    for prefix in ("", "tanh, "):
        for k, strength in enumerate(plan.DECAYS, start=1):
            runs[f"{prefix}decay {strength:g}"].update(
                pgd=[math.exp(k)] * SPLITS, accuracy=[0.9 - k / 100] * SPLITS, alpha=[2.0 + k] * SPLITS)  # fmt: skip
        for k, target in zip((1.5, 2.25, 50), plan.TARGETS, strict=True):  # the last is more robust than any decay
            run = dict(pgd=math.exp(k), accuracy=0.9 - k / 100 - 0.002, alpha=2.0 + k - 0.5)
            runs[f"{prefix}sensitivity {target:g}"].update({key: [value] * SPLITS for key, value in run.items()})
    return runs


@pytest.fixture
def stored():
    return {f"geometry_{name}": made_up(name) for name in SETS}


def test_networks_are_compared_with_decay_at_the_same_robustness(stored):
    groups = verdicts.geometry_groups(lambda name: stored[name])
    for claim, gap in (("one-frontier", -0.002), ("exponent-floats", -0.5)):
        found = groups[claim][1]
        assert list(found) == [f"{name}, {family}" for name in SETS for family in ("ReLU", "tanh")]
        assert all(abs(value - gap) < 1e-12 for values in found.values() for value in values)
        assert all(len(values) == SPLITS for values in found.values())


def test_what_lies_outside_of_decays_range_is_not_judged(stored):
    for target in plan.TARGETS:
        stored["geometry_digits"][f"sensitivity {target:g}"]["pgd"] = [math.exp(50)] * SPLITS
    groups = verdicts.geometry_groups(lambda name: stored[name])
    assert "digits, ReLU" not in groups["one-frontier"][1] and "digits, tanh" in groups["one-frontier"][1]


def test_differences_are_paired_and_signed(stored):
    runs = stored["geometry_patches"]
    runs["Krotov–Hopfield"].update(pgd=[2.0 + k for k in range(SPLITS)], accuracy=[0.8] * SPLITS, alpha=[1.5] * SPLITS)
    runs["backpropagation"]["pgd"] = [1.0 + k / 2 for k in range(SPLITS)]
    groups = verdicts.geometry_groups(lambda name: stored[name])
    close = lambda values, expected: all(abs(v - expected) < 1e-12 for v in values)  # noqa: E731
    assert close(groups["local-beats-backpropagation"][1]["patches"], math.log(2))
    assert close(groups["local-less-accurate"][1]["patches"], -0.1)
    assert close(groups["power-law-learned"][1]["patches"], -0.5)


def test_a_missing_run_leaves_all_claims_open(stored):
    del stored["geometry_mnist1d"]["exemplars"]
    assert verdicts.geometry_groups(lambda name: stored[name]) == {}
    assert verdicts.geometry_groups(lambda name: {}) == {}
