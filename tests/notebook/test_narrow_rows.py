"""Notes at the right of named rows stand below the names on a phone, and where they were afterwards."""

import matplotlib
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.text import Text

from salnb.notebook import plotting
from salnb.notebook.figure_formats import render
from salnb.notebook.narrow_figures import SMALLEST_FONT, narrow


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context(plotting.STYLE):  # which fixes the names inside an SVG, too
        yield
    plt.close("all")


def forest(rows: int = 4, *, names: list[str] | None = None, at: float = 1.2, align: str = "left") -> Axes:
    """A panel with named rows, a point in each and a note at the right of it."""
    figure, ax = plt.subplots(figsize=(7.4, 2.4))
    ax.plot([0.1 + 0.9 * row / max(rows - 1, 1) for row in range(rows)], [-row for row in range(rows)], "o")
    for row in range(rows):
        ax.text(at, -row, f"{row} of 16", va="center", ha=align)
    ax.set_yticks([-row for row in range(rows)], names or [f"row {'abcdefgh'[row]}" for row in range(rows)])
    ax.set(xlim=(0, 1.6))
    figure.draw_without_rendering()
    return ax


def shown(ax: Axes) -> dict[str, Text]:
    ax.figure.draw_without_rendering()
    return {text.get_text(): text for text in ax.texts if text.get_visible()}


def test_drawn_again_afterwards_it_is_the_same_file() -> None:
    ax = forest()
    ax.get_yticklabels()[1].set_fontweight("bold")
    before = render(ax.figure)
    with narrow(ax.figure):
        assert render(ax.figure) != before
    assert render(ax.figure) == before
    ax.plot([3], [0])  # with more data its limits are as free, or as fixed, as they were
    assert ax.get_xlim() == (0, 1.6)


def test_limits_that_followed_the_data_still_follow_them() -> None:
    figure, ax = plt.subplots(figsize=(7.4, 3))
    ax.plot([0.1, 0.5, 1.0], [0, -1, -2], "o")
    ax.margins(x=0.5)
    for row in range(3):
        ax.text(1.2, -row, f"{row} of 16", va="center")
    ax.set_yticks([0, -1, -2], ["one", "two", "three"])
    limits = ax.get_xlim()
    with narrow(figure):
        assert ax.get_xlim()[1] < limits[1]
    assert ax.get_xlim() == limits
    ax.plot([5.0], [0])
    assert ax.get_xlim()[1] > 5


def test_a_row_outside_the_view_stays_outside() -> None:
    ax = forest()
    ax.set_ylim(-2.5, 0.5)
    with narrow(ax.figure):
        ax.figure.draw_without_rendering()
        assert ax.get_ylim() == (-2.5, 0.5)
    assert ax.get_ylim() == (-2.5, 0.5)


def test_the_names_keep_their_weight_and_no_row_reaches_into_the_next() -> None:
    ax = forest(8)
    ax.get_yticklabels()[2].set_fontweight("bold")
    with narrow(ax.figure):
        ax.figure.draw_without_rendering()
        labels = ax.get_yticklabels()
        assert [label.get_fontweight() == "bold" for label in labels] == [row == 2 for row in range(8)]
        boxes = [label.get_window_extent() for label in labels]  # a name and, in its second line, room for the note
        assert all(above.y0 > below.y1 for above, below in zip(boxes, boxes[1:], strict=False))
        notes = shown(ax)
        for row, box in enumerate(boxes):
            note = notes[f"{row} of 16"].get_window_extent()
            middle = (box.y0 + box.y1) / 2
            assert note.y1 < middle + 2 and abs(note.y0 - box.y0) < 1, "the note stands in the lower half, on the last line"


def test_two_notes_of_a_row_stand_beside_each_other_in_their_order_and_heads_above_them() -> None:
    ax = forest()
    for row in range(4):
        ax.text(1.45, -row, f"p{row}", va="center", fontsize=7, color="#b565b0")
    ax.text(1.2, 0.8, "runs", va="bottom")
    ax.text(1.45, 0.8, "p", va="bottom")
    ax.set_ylim(-3.5, 0.5)
    with narrow(ax.figure):
        notes = shown(ax)
        edge = max(label.get_window_extent().x1 for label in ax.get_yticklabels())
        for first, second in [*((f"{row} of 16", f"p{row}") for row in range(4)), ("runs", "p")]:
            left, right = notes[first].get_window_extent(), notes[second].get_window_extent()
            assert right.x1 == pytest.approx(edge, abs=1.5) and left.x1 == pytest.approx(right.x0 - 8, abs=2)
        assert notes["p1"].get_fontsize() == SMALLEST_FONT and notes["p1"].get_color() == "#b565b0"
        assert notes["runs"].get_window_extent().y0 > ax.get_yticklabels()[0].get_window_extent().y1
    assert set(shown(ax)) >= {"runs", "p", "0 of 16", "p3"} and len(ax.texts) == 10


def test_the_panel_ends_soon_after_its_data_and_never_before_them() -> None:
    ax = forest()
    with narrow(ax.figure):
        assert 1.0 < ax.get_xlim()[1] <= 1.1 and ax.get_xlim()[0] == 0
    wide = forest()
    wide.plot([0, 1.59], [0, 0])  # data nearly up to the right end: the panel must not grow
    with narrow(wide.figure):
        assert wide.get_xlim() == (0, 1.6)


LEFT_ALONE = {
    "two rows are no column": {"rows": 2},
    "a note in the first half belongs to a point": {"at": 0.7},
    "a note centered on its place belongs to it": {"align": "center"},
    "numbers are no names": {"names": ["1", "2", "3", "4"]},
}


@pytest.mark.parametrize("how", LEFT_ALONE.values(), ids=LEFT_ALONE.keys())
def test_other_notes_stay_where_they_are(how: dict) -> None:
    ax = forest(**how)
    with narrow(ax.figure):
        assert len(ax.texts) == how.get("rows", 4) and all(text.get_visible() for text in ax.texts)
        assert ax.get_xlim() == (0, 1.6)


def test_fewer_notes_than_every_other_row_stay_where_they_are() -> None:
    ax = forest(8)
    for text in ax.texts[3:]:
        text.remove()
    with narrow(ax.figure):
        assert len(ax.texts) == 3 and all(text.get_visible() for text in ax.texts)


def test_notes_come_to_stand_below_the_names_of_their_rows() -> None:
    figure, ax = plt.subplots(figsize=(7.4, 3), layout="constrained")
    ax.plot([0.1, 0.5, 1.0], [0, -1, -2], "o")
    notes = [ax.text(1.2, -row, f"{row} of 16", va="center") for row in range(3)]
    ax.set_yticks([0, -1, -2], ["one", "two", "three"])
    ax.set(xlim=(0, 1.6))
    with narrow(figure):
        figure.draw_without_rendering()
        assert not any(note.get_visible() for note in notes) and ax.get_xlim()[1] < 1.2
        copies = [text for text in ax.texts if text.get_visible()]
        assert sorted(text.get_text() for text in copies) == ["0 of 16", "1 of 16", "2 of 16"]
        assert all(text.get_window_extent().x1 <= ax.bbox.x0 for text in copies)
    figure.draw_without_rendering()
    assert all(note.get_visible() for note in notes) and len(ax.texts) == 3 and ax.get_xlim() == (0, 1.6)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one", "two", "three"]
    assert tuple(figure.get_size_inches()) == (7.4, 3)
    plt.close(figure)


def test_a_panel_without_ticks_is_drawn_for_a_phone_too() -> None:
    figure, ax = plt.subplots(figsize=(7.4, 3))
    note = ax.text(0.9, 0.5, "a note at the right")
    ax.set_yticks([])
    with narrow(figure):
        figure.draw_without_rendering()
        assert note.get_visible() and note.get_text().split() == "a note at the right".split()
    plt.close(figure)
