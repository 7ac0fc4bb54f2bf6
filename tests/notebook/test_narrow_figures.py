"""The drawing for phones: panels below each other, letters that stay large, and afterwards the figure as it was."""

import matplotlib
import pytest
from matplotlib import pyplot as plt

from salnb.notebook import plotting
from salnb.notebook.figure_formats import render
from salnb.notebook.narrow_figures import SMALLEST_FONT, WIDTH, broken, narrow, panel_rows


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context(plotting.STYLE):
        yield
    plt.close("all")


def boxes(figure):
    figure.draw_without_rendering()
    return [ax.get_window_extent() for ax in figure.axes]


@pytest.mark.parametrize("columns", [2, 3])
def test_panels_beside_each_other_come_to_stand_below_each_other(columns):
    figure, axes = plt.subplots(1, columns, figsize=(7.4, 3))
    with narrow(figure):
        found = boxes(figure)
        assert figure.get_figwidth() == pytest.approx(WIDTH)
        assert all(above.y0 > below.y1 for above, below in zip(found, found[1:], strict=False))
        # none is narrower than it was beside the others
        assert min(box.width for box in found) > 0.5 * WIDTH * figure.dpi


def test_many_small_panels_stand_two_in_a_line_in_their_order():
    figure, axes = plt.subplots(2, 4, figsize=(7.4, 4))
    with narrow(figure):
        found = boxes(figure)
        for left, right in zip(found[::2], found[1::2], strict=True):
            assert left.x1 < right.x0 and left.y0 == pytest.approx(right.y0)
        assert all(above.y0 > below.y1 for above, below in zip(found[::2], found[2::2], strict=False))


def test_the_figure_is_drawn_as_before_afterwards():
    figure, axes = plt.subplots(1, 3, figsize=(7.4, 3), sharey=True)
    for ax in axes:
        ax.plot([0, 1], [0, 1])
        ax.set_title("a title of its own")
        ax.text(0.9, 0.5, "a note at the end", fontsize=7)
    figure.suptitle("a title that is far too long to stand on one line of a page that is as narrow as a phone")
    axes[0].set_ylabel("the label that all three share")
    before = render(figure)
    with narrow(figure):
        assert render(figure) != before
    assert render(figure) == before


def test_a_panel_that_shared_its_neighbors_scale_gets_numbers_and_label():
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3), sharey=True)
    left.set_ylabel("growth")
    figure.draw_without_rendering()
    numbers = lambda ax: [label.get_text() for label in ax.get_yticklabels() if label.get_visible()]  # noqa: E731
    with narrow(figure):
        figure.draw_without_rendering()
        assert right.get_ylabel() == "growth" and right.yaxis.get_tick_params()["labelleft"] and numbers(right)
    assert right.get_ylabel() == "" and not right.yaxis.get_tick_params()["labelleft"]


def test_words_stay_large_and_inside():
    figure, ax = plt.subplots(figsize=(7, 3))
    ax.set_title("a title that is far too long to stand on one line of a page that is as narrow as a phone")
    ax.set_xlim(0, 1)
    note = ax.text(0.95, 0.5, "a note at the end", fontsize=6)
    with narrow(figure):
        figure.draw_without_rendering()
        assert "\n" in ax.get_title(loc="left") and note.get_fontsize() >= SMALLEST_FONT
        assert figure.get_tightbbox().width < WIDTH * 1.05


def test_tick_labels_that_would_touch_are_slanted():
    figure, ax = plt.subplots(figsize=(7, 3))
    ax.set_xticks(range(6), [f"a long name {i}" for i in range(6)])
    with narrow(figure):
        assert {label.get_rotation() for label in ax.get_xticklabels()} == {35.0}
    assert {label.get_rotation() for label in ax.get_xticklabels()} == {0.0}


def test_a_wide_legend_of_the_figure_is_folded():
    figure, ax = plt.subplots(figsize=(7, 3))
    for number in range(6):
        ax.plot([0, 1], [0, number], label=f"a long name {number}")
    figure.legend(loc="outside lower center", ncols=6)
    with narrow(figure):
        figure.draw_without_rendering()
        assert figure.legends[-1].get_window_extent().width <= WIDTH * figure.dpi
    assert len(figure.legends) == 1 and figure.legends[0].get_visible()


def test_a_color_bar_follows_its_panel_and_a_second_scale_stays_on_its_panel():
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3))
    figure.colorbar(left.imshow([[0, 1], [1, 0]]), ax=left)
    right.twinx()
    assert [len(panel) for row in panel_rows(figure) for panel in row] == [1, 2]
    with narrow(figure):
        assert boxes(figure)[0].y0 > boxes(figure)[1].y1


def test_a_figure_without_panels_is_left_alone():
    figure = plt.figure(figsize=(7, 3))
    with narrow(figure):
        assert figure.get_figwidth() == 7


def test_a_formula_is_never_broken():
    assert broken(r"so $a + b = c$ holds", 6).split("\n") == ["so", "$a + b = c$", "holds"]


def test_a_label_longer_than_its_low_panel_stays_with_the_one_that_has_it():
    figure, axes = plt.subplots(3, 1, figsize=(7, 3), sharey=True)
    axes[1].set_ylabel("growth (nats per step)")
    with narrow(figure):
        assert [ax.get_ylabel().replace("\n", " ") for ax in axes] == ["", "growth (nats per step)", ""]
