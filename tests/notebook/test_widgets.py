"""Sliders where a kernel runs and a person watches, one plain figure everywhere else."""

import sys

import ipywidgets
import pytest

from salnb.notebook.widgets import explore


def test_static_pages_get_one_drawing_with_the_starts(monkeypatch):
    monkeypatch.setenv("SALNB_STATIC", "1")
    monkeypatch.delenv("SALNB_DRIVE_WIDGETS", raising=False)
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


def test_without_ipywidgets_the_figure_stands_there(monkeypatch):
    monkeypatch.delenv("SALNB_STATIC", raising=False)
    monkeypatch.delenv("SALNB_DRIVE_WIDGETS", raising=False)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    seen = []
    explore(lambda **given: seen.append(given), gain=(0.0, 2.0, 0.1, 1.5))
    assert seen == [{"gain": 1.5}]


def test_a_live_slider_draws_again(monkeypatch):
    pytest.importorskip("ipywidgets")
    monkeypatch.delenv("SALNB_STATIC", raising=False)
    seen, made = [], []
    interact = ipywidgets.interact
    monkeypatch.setattr(ipywidgets, "interact", lambda draw, **controls: made.append(interact(draw, **controls).widget))
    explore(lambda gain: seen.append(gain), gain=(0.0, 2.0, 0.1, 1.5))
    for value in (0.0, 2.0):
        made[0].children[0].value = value
    assert seen == [1.5, 0.0, 2.0]


def test_the_tests_of_the_book_move_each_control_to_both_ends(monkeypatch, capsys):
    monkeypatch.setenv("SALNB_STATIC", "1")
    monkeypatch.setenv("SALNB_DRIVE_WIDGETS", "1")
    seen = []

    def draw(**given):
        print("drawn")
        seen.append(given)

    explore(draw, gain=(0.0, 2.0, 0.1, 1.5), name=["tanh", "relu"])
    assert seen == [{"gain": gain, "name": name} for gain, name in ((1.5, "tanh"), (0.0, "tanh"), (2.0, "relu"))]
    assert capsys.readouterr().out == "drawn\n"  # the page shows the start alone


def test_a_figure_that_fails_at_an_end_is_told(monkeypatch):
    monkeypatch.setenv("SALNB_STATIC", "1")
    monkeypatch.setenv("SALNB_DRIVE_WIDGETS", "1")
    with pytest.raises(RuntimeError, match="gain.*0.0.*division"):
        explore(lambda gain: 1 / gain, gain=(0.0, 2.0, 0.1, 1.5))


def test_a_figure_without_controls_is_refused():
    with pytest.raises(ValueError, match="controls: got none"):
        explore(lambda: None)


@pytest.mark.parametrize("control", [(0, 1, 0.1), (0.0, 1.0, 0.1, 2.0), (0.0, 1.0, 0.0, 0.5), [], 3])
def test_bad_controls_are_named(control):
    with pytest.raises(ValueError, match="gain: got"):
        explore(lambda gain: None, gain=control)
