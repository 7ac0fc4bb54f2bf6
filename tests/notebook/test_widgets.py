"""Sliders where a kernel runs and a person watches, one plain figure everywhere else."""

import pytest

from salnb.notebook.widgets import explore


def test_static_pages_get_one_drawing_with_the_starts(monkeypatch):
    monkeypatch.setenv("SALNB_STATIC", "1")
    seen = []
    explore(lambda **given: seen.append(given), gain=(0.0, 2.0, 0.1, 1.5), name=["tanh", "relu"])
    assert seen == [{"gain": 1.5, "name": "tanh"}]


def test_live_notebooks_get_widgets_with_the_same_starts(monkeypatch):
    widgets = pytest.importorskip("ipywidgets")
    monkeypatch.delenv("SALNB_STATIC", raising=False)
    made = {}
    monkeypatch.setattr(widgets, "interact", lambda draw, **controls: made.update(controls))
    explore(lambda **given: None, gain=(0.0, 2.0, 0.1, 1.5), n=(1, 9, 1, 3), name=["tanh", "relu"])
    assert (made["gain"].value, made["gain"].min, made["gain"].max, made["gain"].step) == (1.5, 0.0, 2.0, 0.1)
    assert isinstance(made["n"], widgets.IntSlider) and made["n"].value == 3
    assert made["name"].options == ("tanh", "relu")


@pytest.mark.parametrize("control", [(0, 1, 0.1), (0.0, 1.0, 0.1, 2.0), (0.0, 1.0, 0.0, 0.5), [], 3])
def test_bad_controls_are_named(control):
    with pytest.raises(ValueError, match="gain: got"):
        explore(lambda gain: None, gain=control)
