"""Stored runs of the part Geometry: each is made once, again when its settings change, and stored as soon as it is done."""

import pytest

from salnb.experiments.results import store


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The runs that were made, in order; nothing is trained, and nothing outside of a temporary folder is written."""
    names = []
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    monkeypatch.setattr(store, "provenance", lambda: {"machine": "a CPU"})
    monkeypatch.setattr(store.geometry, "run_one", lambda job: names.append(job[:2]) or {"accuracy": [1.0]})
    return names


def few(job) -> bool:
    return job[1] in ("backpropagation", "decay 0.0005")


def test_a_stored_run_is_not_made_again(made):
    store.compare_all(progress=False, only=few)
    assert sorted(made) == sorted((name, what) for name in ("digits", "patches", "mnist1d")
                                  for what in ("backpropagation", "decay 0.0005"))  # fmt: skip
    stored = store.read("geometry_digits")
    assert list(stored) == ["backpropagation", "decay 0.0005"]
    assert stored["backpropagation"]["accuracy"] == [1.0] and stored["backpropagation"]["provenance"] == {"machine": "a CPU"}
    made.clear()
    store.compare_all(progress=False, only=few)
    assert made == []


def test_other_settings_make_a_run_again(made, monkeypatch):
    store.compare_all(progress=False, only=few)
    made.clear()
    monkeypatch.setitem(store.geometry.EPOCHS, "patches", 7)
    store.compare_all(progress=False, only=few)
    assert made == [("patches", "backpropagation"), ("patches", "decay 0.0005")]


def test_what_was_done_before_an_interruption_is_kept(made, monkeypatch):
    def interrupted(job):
        if made:
            raise KeyboardInterrupt
        made.append(job)
        return {"accuracy": [0.5]}

    monkeypatch.setattr(store.geometry, "run_one", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.compare_all(progress=False, only=few)
    assert sum(len(store.read(f"geometry_{name}")) for name in ("digits", "patches", "mnist1d")) == 1
