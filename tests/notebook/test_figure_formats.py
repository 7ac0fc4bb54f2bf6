"""Figures are stored small: the same picture, in the form that takes less."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from salnb.notebook import figure_formats, plotting


def drawn(points: int) -> Figure:
    figure = Figure(figsize=(4, 3))
    figure.subplots().plot(np.random.default_rng(0).random((points, 2)), "o", color=plotting.COLORS["exponent"])
    return figure


def test_lines_and_letters_are_svg_what_is_dense_is_an_image():
    few, many = drawn(20), drawn(5000)
    assert figure_formats.as_svg(few).lstrip().startswith("<") and figure_formats.as_png(few) is None
    assert figure_formats.as_svg(many) is None and figure_formats.as_png(many)[1]["width"] > 100


def test_the_same_figure_is_the_same_text():
    import matplotlib

    with matplotlib.rc_context(plotting.STYLE):
        assert figure_formats.as_svg(drawn(20)) == figure_formats.as_svg(drawn(20))


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
