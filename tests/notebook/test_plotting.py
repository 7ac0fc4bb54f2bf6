"""The visual language: legible on both pages, and every function draws into the axes it is given."""

import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib import colors
from matplotlib.figure import Figure

from salnb.notebook import plotting

# Machado, Oliveira and Fernandes 2009, severity 1.0
BLINDNESS = {
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "none": np.eye(3),
}


def linear(color):
    value = np.array(colors.to_rgb(color))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(a, b):
    low, high = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b))
    return (high + 0.05) / (low + 0.05)


def lab(rgb):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    f = np.cbrt(np.maximum(xyz / [0.9505, 1.0, 1.089], 1e-9))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("page", ["#ffffff", "#14181e", "#121212"])
@pytest.mark.parametrize("quantity", plotting.COLORS)
def test_every_color_stands_out_on_light_and_dark_pages(quantity, page):
    assert contrast(plotting.COLORS[quantity], page) > 3.5


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_quantities_stay_apart_for_color_blind_readers(blindness):
    colors_of = {q: c for q, c in plotting.COLORS.items() if q != "neutral"}
    seen = {q: lab(np.clip(np.array(BLINDNESS[blindness]) @ linear(c), 0, 1)) for q, c in colors_of.items()}
    assert min(np.linalg.norm(seen[a] - seen[b]) for a, b in itertools.combinations(seen, 2)) > 10
    assert len(set(plotting.MARKERS.values())) == len(plotting.MARKERS)


def test_style_leaves_the_background_open():
    with matplotlib.rc_context():
        plotting.use_style()
        assert matplotlib.rcParams["figure.facecolor"] == matplotlib.rcParams["axes.facecolor"] == "none"


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plotting.draw_band([0, 1], np.random.rand(2, 5), quantity="exponent", ax=ax),
        lambda ax: plotting.draw_band([0, 1], np.random.rand(2, 5), quantity="exponent", ax=ax, spread="interval"),
        lambda ax: [plotting.label_end(0, 1, "name", quantity="gradient", ax=ax)],
        lambda ax: [plotting.mark_edge(ax=ax)],
        lambda ax: [plotting.mark_edge(ax=ax, horizontal=False)],
        lambda ax: plotting.draw_traces(np.zeros((9, 3)), ax=ax),
        lambda ax: plotting.draw_interval(1.0, [1.0, 2.0, 3.0], quantity="sensitivity", ax=ax),
    ],
)
def test_functions_draw_into_the_given_axes_and_return_what_they_drew(draw):
    figure = Figure()
    ax = figure.subplots()
    before = len(ax.get_children())
    drawn = draw(ax)
    assert drawn and len(ax.get_children()) > before
    figure.canvas.draw()


def test_band_is_mean_and_range():
    ax = Figure().subplots()
    line, band = plotting.draw_band([0.0, 1.0], [[1.0, 3.0], [2.0, 6.0]], quantity="activity", ax=ax)
    assert line.get_ydata().tolist() == [2.0, 4.0]
    corners = band.get_paths()[0].vertices[:, 1]
    assert (corners.min(), corners.max()) == (1.0, 6.0)


def test_bad_input_is_named():
    ax = Figure().subplots()
    with pytest.raises(ValueError, match=r"values: got shape \(2,\), expected \(2, R\)"):
        plotting.draw_band([0, 1], [1.0, 2.0], quantity="exponent", ax=ax)
    with pytest.raises(ValueError, match="spread: got 'all'"):
        plotting.draw_band([0], [[1.0, 2.0]], quantity="exponent", ax=ax, spread="all")
    with pytest.raises(ValueError, match="states"):
        plotting.draw_traces(np.zeros(3), ax=ax)


@pytest.mark.parametrize("quantity", list(plotting.COLORS))
def test_the_dots_of_an_interval_can_be_seen(quantity):
    """A cross without an edge is nothing."""
    dots = plotting.draw_interval(0.0, [1.0, 2.0, 3.0], quantity=quantity, ax=Figure().subplots())[0]
    assert dots.get_marker() != "x" or dots.get_markeredgewidth() > 0
