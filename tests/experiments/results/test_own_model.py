"""The runs behind *SAL on your own model*: made once, completed seed by seed, at the selected rate, and judged in pairs."""

import pytest

from salnb.experiments.results import own_model, store
from salnb.experiments.results.own_model import is_stored, own_model_groups, own_model_jobs, rate_of, seeds_of

SMALL = dict(START=dict(depth=3, passes=3, batch=4), LEARN=dict(steps=3, batch=4), MODEL=dict(passes=2, steps=2, batch=2),
             NETWORKS=2, MODELS=2, SELECTING=1, CHARACTER_RATES=(1e-3,))  # fmt: skip


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Runs of a second, in a folder of their own."""
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    monkeypatch.setattr(store, "provenance", lambda: {"machine": "a CPU"})
    for name, value in SMALL.items():
        monkeypatch.setattr(own_model, name, value)
    text = own_model.book_text()
    monkeypatch.setattr(own_model, "book_text", lambda: text._replace(selection=text.selection[:300], test=text.test[:300]))


def few(name: str) -> bool:
    return name.startswith(("digits, relu, SAL", "characters, default", "characters, SAL throughout"))


def test_small_runs_are_stored_in_the_form_that_the_chapter_reads(small, monkeypatch):
    store.own_model_all(progress=False, only=few)
    runs = store.read("own_model")
    assert sorted(runs) == sorted({name for name, _ in own_model_jobs() if few(name)})
    digits, model = runs["digits, relu, SAL"], runs["characters, SAL throughout"]
    assert digits["settings"]["seeds"] == seeds_of("digits", 2) and digits["lr"] in own_model.RATES
    assert all(len(digits[key]) == 2 for key in ("accuracy", "train_loss", "log_sensitivity", "below_target"))
    assert model["settings"]["seeds"] == seeds_of("characters", 2)  # one after the other, in one entry
    assert len(model["loss"]) == len(model["train_loss"]) == 2 and model["watched"] == [f"blocks.{i}.units.0" for i in range(4)]
    for key in ("log_sensitivity", "log_sensitivity_after"):
        assert [len(layers) for layers in model[key]] == [4, 4]
    assert all(run["seconds"] >= run["seconds_start"] and run["provenance"] for name, run in runs.items() if "rates" not in name)
    monkeypatch.setattr(store, "run_own_model", lambda *job: pytest.fail("made again"))
    store.own_model_all(progress=False, only=few)


def test_a_run_is_made_again_at_another_rate_and_completed_for_further_seeds():
    runs = {"a, rates": dict(loss=[[2.0], [1.0]], settings={"rates": [1e-3, 3e-3]}),
            "a": dict(lr=3e-3, settings={"steps": 5, "seeds": [1, 2]})}  # fmt: skip
    read = lambda file: runs  # noqa: E731
    assert rate_of("a", read) == 3e-3
    assert is_stored("a", {"steps": 5, "seeds": [1]}, read) and not is_stored("a", {"steps": 5, "seeds": [1, 3]}, read)
    assert not is_stored("a", {"steps": 6, "seeds": [1]}, read)
    runs["a, rates"]["loss"] = [[0.5], [1.0]]
    assert rate_of("a", read) == 1e-3 and not is_stored("a", {"steps": 5, "seeds": [1]}, read)
    runs["a, rates"] = dict(accuracy=[[0.2, 0.4], [0.1, 0.6]], settings={"rates": [1e-3, 3e-3]})
    assert rate_of("a", read) == 3e-3  # of accuracies the highest mean


def stored(**changed: list[float]) -> dict:
    """Runs as planned, with made-up results: 0.5 or these, by name with _ for the comma."""
    last = dict(own_model_jobs())
    return {name: {"loss": [0.5, 0.6], "accuracy": [0.5, 0.6], "settings": store.as_stored(settings),
                   **({"accuracy": changed[name]} if name in changed else {})} for name, settings in last.items()}  # fmt: skip


def test_claims_compare_pairs_and_take_the_better_line():
    runs = stored(**{"digits, tanh, SAL": [0.9, 0.9], "digits, tanh, Xavier 1": [0.7, 0.8], "digits, relu, default": [0.1, 0.1]})
    found = {claim: groups for claim, (_, groups) in own_model_groups(lambda file: runs).items()}
    assert found["own-model-start"] == {"tanh": pytest.approx([0.4, 0.3]), "ReLU": pytest.approx([0.4, 0.5])}
    assert found["own-model-line"] == {"tanh": pytest.approx([0.2, 0.1]), "ReLU": [0.0, 0.0]}
    assert found["own-model-cost"] == {"by the mean": [0.0, 0.0], "by the RMS": [0.0, 0.0]}


@pytest.mark.parametrize(
    ("missing", "claims"),
    [
        ("digits, relu, He", ["own-model-start", "own-model-cost"]),
        ("characters, SAL throughout", ["own-model-start", "own-model-line"]),
        ("digits, tanh, default", ["own-model-line", "own-model-cost"]),
    ],
)
def test_a_claim_of_which_a_run_is_missing_has_no_figures(missing, claims):
    runs = stored()
    del runs[missing]
    assert list(own_model_groups(lambda file: runs)) == claims


def test_networks_of_all_arms_have_the_same_seeds_and_no_seed_selects_and_judges():
    seeds = {name: settings["seeds"] for name, settings in own_model_jobs() if "seeds" in settings}
    for task in ("digits", "characters"):
        judged = {tuple(of) for name, of in seeds.items() if name.startswith(task) and not name.endswith("rates")}
        selected = {tuple(of) for name, of in seeds.items() if name.startswith(task) and name.endswith("rates")}
        assert len(judged) == len(selected) == 1 and not set(*judged) & set(*selected)
        used = [seed + more for of in (*judged, *selected) for seed in of for more in (0, 1)]
        assert len(set(used)) == len(used)  # seed + 1 draws the batches of learning


def test_the_stored_runs_are_those_of_the_plan():
    runs = store.read("own_model")
    last = dict(own_model_jobs())
    assert set(runs) == set(last)
    for name, run in runs.items():
        assert is_stored(name, store.as_stored(last[name]), store.read) and run["provenance"]["commit"], name
        if not name.endswith(("rates", "alone")):
            key, n = ("accuracy", 16) if name.startswith("digits") else ("loss", 8)
            assert len(set(run["settings"]["seeds"])) == n
            assert len(run[key]) == len(run["train_loss"]) == len(run["log_sensitivity"]) == n
