"""Titles, labels, legends and names of rows of a drawing for phones: broken or folded so that they keep to their room."""

import matplotlib
import pytest
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D

from salnb.notebook import plotting
from salnb.notebook.figure_formats import render
from salnb.notebook.narrow_figures import SMALLEST_FONT, WIDTH, broken, narrow, panel_rows

PAGE = WIDTH * 100  # pixels: figures have 100 dots per inch
LONG = "words that are far too long to stand on one line of a page that is as narrow as the page of a phone"


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context(plotting.STYLE):
        yield
    plt.close("all")


def test_titles_and_labels_are_broken_until_they_fit_their_page_or_panel() -> None:
    figure, axes = plt.subplots(1, 2, figsize=(14, 3))
    figure.suptitle(LONG)
    axes[0].set_title(LONG, loc="left", fontsize=10)
    axes[1].set_title(LONG, loc="center", fontsize=10)
    axes[0].set_xlabel(LONG)
    axes[1].set_ylabel(LONG)
    before = render(figure)
    with narrow(figure):
        figure.draw_without_rendering()
        second = axes[1].get_window_extent()
        words = [figure._suptitle, axes[0]._left_title, axes[1].title, axes[0].xaxis.label, axes[1].yaxis.label]
        assert all("\n" in text.get_text() and text.get_text().split() == LONG.split() for text in words)
        title, left, center, below, beside = (text.get_window_extent() for text in words)
        # letters differ in width: a line may be a tenth longer than its share
        assert title.width < 1.1 * PAGE and left.x1 < 1.1 * PAGE and center.width < 1.1 * second.width
        assert below.x0 >= 0 and below.x1 <= PAGE
        assert beside.height < 300, "no longer than the figure was high"
    assert render(figure) == before


def test_words_that_fit_are_left_on_their_line() -> None:
    figure, ax = plt.subplots(figsize=(7, 3))
    figure.suptitle("a title that just fits a phone's page")
    ax.set(title="a title", xlabel="a label below", ylabel="a label beside")
    with narrow(figure):
        assert not any("\n" in text.get_text() for text in (figure._suptitle, ax._left_title, ax.xaxis.label, ax.yaxis.label))


def test_lines_that_were_broken_by_hand_stay_broken_there() -> None:
    assert broken("first line\nand a second one", 12) == "first line\nand a second\none"
    assert broken("an-unusually-hyphenated word", 8) == "an-unusually-hyphenated\nword"


def test_a_wide_legend_of_a_panel_is_folded_in_place_and_comes_back() -> None:
    figure, ax = plt.subplots(figsize=(7.4, 3))
    names = [f"a name {number}" for number in range(4)]
    for number, name in enumerate(names):
        ax.plot([0, 1], [number, number], label=name)
    legend = ax.legend(loc="upper left", ncols=4, fontsize=10)
    before = render(figure)
    assert legend.get_window_extent().width > 0.75 * PAGE
    with narrow(figure):
        figure.draw_without_rendering()
        folded = ax.get_legend()
        assert folded is not legend and folded.get_window_extent().width <= 0.75 * PAGE
        assert [text.get_text() for text in folded.get_texts()] == names
        assert folded.get_window_extent().width > 0.4 * PAGE, "as many columns as fit, not one"
        assert {text.get_fontsize() for text in folded.get_texts()} == {SMALLEST_FONT}
        box, panel = folded.get_window_extent(), ax.get_window_extent()
        assert box.x0 - panel.x0 < 20 and panel.y1 - box.y1 < 20, "it still lies in its corner"
    assert ax.get_legend() is legend and render(figure) == before


def test_a_legend_that_fits_is_the_same_legend() -> None:
    figure, ax = plt.subplots(figsize=(7.4, 3))
    ax.plot([0, 1], label="a name")
    legend = ax.legend(title="of them")
    with narrow(figure):
        assert ax.get_legend() is legend


@pytest.mark.parametrize("rows", [3, 9])
def test_wide_names_of_rows_take_two_fifths_of_the_page_on_lines_that_do_not_touch(rows: int) -> None:
    figure, ax = plt.subplots(figsize=(9, 3))
    names = [f"the {number} th of the names that is much too wide for a phone" for number in range(rows)]
    ax.barh(range(rows), range(rows))
    ax.set_yticks(range(rows), names)
    ax.get_yticklabels()[1].set_fontweight("bold")
    before = render(figure)
    with narrow(figure):
        figure.draw_without_rendering()
        labels = ax.get_yticklabels()
        boxes = [label.get_window_extent() for label in labels]
        assert [label.get_text().split() for label in labels] == [name.split() for name in names]
        assert max(box.width for box in boxes) < 0.45 * PAGE and ax.get_window_extent().width > 0.45 * PAGE
        assert all(below.y1 < above.y0 for below, above in zip(boxes, boxes[1:], strict=False))
        assert labels[1].get_fontweight() == "bold" and ax.get_ylim()[1] < rows
    assert render(figure) == before


def test_names_of_rows_that_fit_stay_on_their_line() -> None:
    figure, ax = plt.subplots(figsize=(7.4, 3))
    ax.set_yticks([0, 1], ["one name", "another name"])
    with narrow(figure):
        assert [label.get_text() for label in ax.get_yticklabels()] == ["one name", "another name"]


def test_numbers_of_a_scale_stay_level_where_there_is_room() -> None:
    figure, ax = plt.subplots(figsize=(7.4, 3))
    ax.plot([0, 1])
    with narrow(figure):
        assert {label.get_rotation() for label in ax.get_xticklabels()} == {0}


def test_a_panel_beside_several_is_a_row_of_its_own_and_grids_in_cells_are_taken_apart() -> None:
    figure = plt.figure(figsize=(7.4, 4))
    grid = figure.add_gridspec(2, 2)
    high, above, below = (figure.add_subplot(place) for place in (grid[:, 0], grid[0, 1], grid[1, 1]))
    assert panel_rows(figure) == [[[high]], [[above]], [[below]]]
    nested = plt.figure(figsize=(7.4, 4))
    outer = nested.add_gridspec(1, 2)
    left = nested.add_subplot(outer[0])
    inner = [nested.add_subplot(place) for place in outer[1].subgridspec(2, 1)]
    assert panel_rows(nested) == [[[left], [inner[0]], [inner[1]]]]


def test_pictures_without_axes_stand_two_in_a_line_and_the_last_has_the_line_alone() -> None:
    figure, axes = plt.subplots(1, 3, figsize=(7.4, 2.4))
    for ax in axes:
        ax.axis("off")
    with narrow(figure):
        figure.draw_without_rendering()
        first, second, last = (ax.get_window_extent() for ax in axes)
        assert first.x1 < second.x0 and first.y0 == pytest.approx(second.y0) and last.y1 < first.y0
        assert last.x0 == pytest.approx(first.x0, abs=2) and last.x1 == pytest.approx(second.x1, abs=2)


def test_each_panel_is_about_as_high_as_it_was() -> None:
    figure, axes = plt.subplots(2, 2, figsize=(7.4, 5), height_ratios=[1, 2])
    figure.draw_without_rendering()
    before = [ax.get_window_extent().height for ax in axes.flat]
    with narrow(figure):
        figure.draw_without_rendering()
        assert [ax.get_window_extent().height for ax in axes.flat] == pytest.approx(before, rel=0.1)


def test_panels_that_shared_the_scale_below_get_numbers_of_their_own() -> None:
    figure, axes = plt.subplots(2, 2, figsize=(7.4, 4), sharex=True)
    axes[1, 0].set_xlabel("steps")
    with narrow(figure):
        figure.draw_without_rendering()
        assert all(ax.xaxis.get_tick_params()["labelbottom"] for ax in axes.flat)
        assert axes[0, 0].get_xlabel() == "", "one name of the scale, at the bottom, says it for all"
    assert [ax.xaxis.get_tick_params()["labelbottom"] for ax in axes.flat] == [False, False, True, True]


def test_the_marks_of_error_bars_stay_in_a_folded_legend() -> None:
    """A legend's own drawing of an error bar is only its line, so that networks of one color could not be told apart."""
    figure, ax = plt.subplots(figsize=(9, 3))
    marks = "os^D"
    for place, mark in enumerate(marks):
        ax.errorbar(place, 1, yerr=0.2, color="C0", marker=mark, linestyle="", label=f"a network with a long name, {place}")
    figure.legend(loc="outside lower center", ncols=4)
    with narrow(figure):
        figure.draw_without_rendering()
        drawn = [line.get_marker() for line in figure.legends[-1].findobj(Line2D)]
        assert figure.legends[-1]._ncols < 4 and [mark for mark in drawn if mark in marks] == list(marks)
