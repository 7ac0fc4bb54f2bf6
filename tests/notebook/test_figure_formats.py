"""A figure is stored as SVG: words as words, what is dense as an image inside it, and nothing of the figure changed by that."""

import base64
import io
import re

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from salnb.notebook import figure_formats, plotting


def drawn(points: int, markers: str = "o") -> Figure:
    figure = Figure(figsize=(4, 3))
    ax = figure.subplots()
    ax.plot(np.random.default_rng(0).random(points), markers, color=plotting.COLORS["exponent"])
    ax.set_title("a title")
    return figure


def images(svg: str) -> list[Image.Image]:
    found = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", svg)
    return [Image.open(io.BytesIO(base64.b64decode(text))) for text in found]


def test_words_are_words():
    svg = figure_formats.as_svg(drawn(20))
    assert svg.startswith("<svg") and re.search(r"<text[^>]*>a title</text>", svg)


def test_a_sign_that_the_typeface_lacks_is_left_to_the_browser():
    figure = drawn(20)
    figure.axes[0].set_title("10⁻⁵ ○")  # in the tests a warning is an error
    assert ">10⁻⁵ ○</text>" in figure_formats.as_svg(figure)


def test_what_is_dense_becomes_an_image_and_the_words_stay_words():
    few, many = figure_formats.as_svg(drawn(20)), figure_formats.as_svg(drawn(5000))
    assert not images(few) and images(many) and ">a title</text>" in many
    # 4 inches at the sharpness of the images: at least two dots for each of the screen's 96 per inch, over most of the width
    assert max(image.width for image in images(many)) > 2 * 96 * 4 * 0.7 * figure_formats.SHARPNESS / 192
    assert len(many) < 5000 * 40  # markers as elements take more than 40 characters each


def test_many_small_lines_are_dense_together():
    figure = Figure(figsize=(4, 3))
    figure.subplots().plot(np.random.default_rng(0).random((60, 100)))
    assert images(figure_formats.as_svg(figure))


def test_points_of_counts_what_is_written():
    figure = Figure()
    ax = figure.subplots()
    (line,), scattered = ax.plot(range(10)), ax.scatter(range(7), range(7))
    (marked,) = ax.plot(range(4), "o")
    assert [figure_formats.points_of(artist) for artist in (line, scattered, marked, ax.title)] == [10, 35, 20, 0]


def test_the_figure_is_as_it_was():
    figure = drawn(5000)
    figure.set_layout_engine("constrained")
    engine, line = figure.get_layout_engine(), figure.axes[0].lines[0]
    figure_formats.as_svg(figure)
    assert figure.get_layout_engine() is engine and not line.get_rasterized()


@pytest.mark.parametrize("points", [20, 5000])
def test_the_same_figure_is_the_same_text(points):
    with matplotlib.rc_context(plotting.STYLE):
        assert figure_formats.as_svg(drawn(points)) == figure_formats.as_svg(drawn(points))


def test_the_drawing_for_phones_is_there_only_while_the_book_is_built(monkeypatch):
    monkeypatch.delenv("SALNB_PHONE", raising=False)
    assert figure_formats.FOR_A_PHONE not in figure_formats.as_svg(drawn(20))
    monkeypatch.setenv("SALNB_PHONE", "1")
    svg = figure_formats.as_svg(drawn(20))
    assert svg.count("<svg") == 2 and f'<g id="{figure_formats.FOR_A_PHONE}" display="none">' in svg


@pytest.mark.parametrize("transparent", [True, False])
def test_a_palette_changes_no_color_by_more_than_the_eye_sees(transparent):
    file = io.BytesIO()
    figure = drawn(300)
    figure.savefig(file, format="png", transparent=transparent)
    smaller = figure_formats.with_palette(file.getvalue())
    before, after = (np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"), float) for data in (file.getvalue(), smaller))
    assert before.shape == after.shape and len(smaller) < len(file.getvalue())
    visible = before[..., 3:] / 255
    assert np.abs(before - after)[..., 3].max() <= 32 and (visible * np.abs(before - after)[..., :3]).mean() < 1


def test_outside_a_notebook_nothing_happens():
    assert figure_formats.use_small_formats() is None
