"""Notes inside a drawing for phones: where each comes to stand, computed from the extents that Matplotlib measures."""

import matplotlib
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text

from salnb.notebook import narrow_figures, plotting
from salnb.notebook.figure_formats import render
from salnb.notebook.narrow_figures import SMALLEST_FONT, WIDTH, narrow

PAGE = WIDTH * 100  # pixels: figures have 100 dots per inch


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context(plotting.STYLE):
        yield
    plt.close("all")


@pytest.fixture
def ax() -> Axes:
    """A panel of a page that nothing lays out: its left edge is at 60 pixels, its right edge at 400, and both scales end at 1."""
    figure = plt.figure(figsize=(WIDTH, 3), layout="none")
    panel = figure.add_axes([60 / PAGE, 0.2, 340 / PAGE, 0.7])
    panel.set(xlim=(0, 1), ylim=(0, 1))
    figure.draw_without_rendering()
    return panel


def box(text: Text):
    return text.get_window_extent()


@pytest.mark.parametrize(
    ("place", "how", "stands"),
    [
        (0.8, {}, True), (0.7, {}, False), (0.8, {"ha": "center"}, False), (0.8, {"ha": "right"}, False), (80, {}, True),
    ],
    ids=["end of a curve", "before it", "centered", "ends there", "beyond the panel"],
)  # fmt: skip
def test_a_note_stands_at_the_right_if_it_begins_in_the_last_quarter(ax: Axes, place: float, how: dict, stands: bool) -> None:
    assert narrow_figures._stands_at_the_right(ax, ax.text(place, 0.5, "a name", **how)) is stands
    assert narrow_figures._stands_at_the_right(ax, ax.annotate("a name", (place, 0.5), **how)) is stands


def test_where_a_note_stands_is_asked_in_its_own_coordinates(ax: Axes) -> None:
    ax.set_xlim(0, 10)
    assert narrow_figures._stands_at_the_right(ax, ax.text(0.8, 0.5, "a name", transform=ax.transAxes))
    assert not narrow_figures._stands_at_the_right(ax, ax.text(0.8, 0.5, "a name"))
    assert not narrow_figures._stands_at_the_right(ax, ax.text(9, 0.5, " "))
    # the text of an arrow stands where it says, not where the arrow ends
    assert not narrow_figures._stands_at_the_right(ax, ax.annotate("a name", (0.8, 0.5), xycoords="axes fraction"))


def test_the_name_beside_a_curves_end_takes_a_quarter_of_the_page_on_several_lines() -> None:
    figure, ax = plt.subplots(figsize=(7.4, 3))
    ax.set(xlim=(0, 1), ylim=(0, 1))
    names = "the largest exponent of all the networks"
    beside, within = ax.text(1.02, 0.5, names), ax.text(0.0, 0.2, names)
    with narrow(figure):
        figure.draw_without_rendering()
        assert beside.get_text().replace("\n", " ") == names and "\n" in beside.get_text() and within.get_text() == names
        assert box(beside).width < PAGE * 0.3 and box(beside).x1 <= PAGE
        assert ax.bbox.width > 0.5 * PAGE, "the panel keeps half of the page"
    assert beside.get_text() == names


def test_small_letters_grow_to_those_that_a_phone_shows_and_large_ones_stay() -> None:
    figure, ax = plt.subplots(figsize=(7, 3))
    small, large = ax.text(0.1, 0.1, "a note", fontsize=6), ax.text(0.1, 0.5, "a note", fontsize=14)
    ax.plot([0, 1], label="a curve")
    ax.legend(fontsize=7)
    ax.tick_params(labelsize=5)
    with narrow(figure):
        letters = [small, *ax.get_legend().get_texts(), *ax.get_xticklabels(), *ax.get_yticklabels()]
        assert {text.get_fontsize() for text in letters} == {SMALLEST_FONT} and large.get_fontsize() == 14
    assert [text.get_fontsize() for text in (small, large, ax.get_legend().get_texts()[0])] == [6, 14, 7]
    assert {text.get_fontsize() for text in [*ax.get_xticklabels(), *ax.get_yticklabels()]} == {5}


def moved_inside(ax: Axes, note: Text) -> tuple:
    """The extents of a note before and after it is brought inside; undone, it is where it was."""
    undo: list = []
    before, words = box(note), note.get_text()
    narrow_figures._bring_inside(ax.figure, ax, note, undo)
    after = box(note)
    for step in reversed(undo):
        step()
    assert box(note).bounds == pytest.approx(before.bounds) and note.get_text() == words
    return before, after


WORD = "perturbations"  # nothing that could be broken


def test_a_note_that_leaves_the_page_on_its_right_ends_at_the_pages_edge(ax: Axes) -> None:
    places = (0.95, {}), (0.95, {"transform": ax.transAxes}), (1.2, {"ha": "center"})
    for note in [ax.text(x, 0.5, WORD, **how) for x, how in places]:
        before, after = moved_inside(ax, note)
        assert before.x1 > PAGE + 10 and after.x1 == pytest.approx(PAGE, abs=0.01)
        assert (after.y0, after.width) == pytest.approx((before.y0, before.width))


def test_a_note_that_leaves_the_page_on_its_left_begins_at_the_pages_edge(ax: Axes) -> None:
    before, after = moved_inside(ax, ax.text(-0.1, 0.5, WORD, ha="right"))
    assert before.x0 < -10 and after.x0 == pytest.approx(0, abs=0.01) and after.width == pytest.approx(before.width)


def test_the_words_of_an_arrow_move_by_their_offset_and_the_arrow_still_points_there(ax: Axes) -> None:
    note = ax.annotate(WORD, (0.9, 0.5), xytext=(20, 12), textcoords="offset points", arrowprops={"arrowstyle": "->"})
    ax.figure.draw_without_rendering()
    words = Text.get_window_extent(note)  # without the arrow
    assert words.x1 > PAGE
    narrow_figures._shift(note, words.x1 - PAGE, [])
    assert Text.get_window_extent(note).x1 == pytest.approx(PAGE, abs=0.01)
    assert note.xy == (0.9, 0.5) and note.xyann[1] == 12


def test_a_note_of_several_words_is_broken_before_it_is_moved(ax: Axes) -> None:
    note = ax.text(0.4, 0.5, "a note that is much too long for what is left of this line")
    before, after = moved_inside(ax, note)
    # letters differ in width, so a line may be a little longer than the room: then it moves by that little
    assert before.x0 - 15 < after.x0 <= before.x0 and after.height > 1.8 * before.height and after.x1 <= PAGE + 0.01
    # near the right edge it is not broken to a word a line: it takes two fifths of the page, and moves for them
    before, after = moved_inside(ax, ax.text(0.95, 0.5, "a note that is much too long for what is left of this line"))
    assert 0.25 * PAGE < after.width < 0.45 * PAGE and after.x1 == pytest.approx(PAGE, abs=0.01)


def test_a_note_inside_the_page_or_unseen_stays(ax: Axes) -> None:
    inside, unseen = ax.text(0.1, 0.5, WORD), ax.text(0.95, 0.5, WORD, visible=False)
    outside_the_panel = ax.text(1.02, 0.5, "w")  # 23 pixels of the page are left there
    for note in (inside, outside_the_panel):
        before, after = moved_inside(ax, note)
        assert after.bounds == before.bounds
    narrow_figures._bring_inside(ax.figure, ax, unseen, undo := [])
    assert not undo and unseen.get_position() == (0.95, 0.5)


def off_the_numbers(ax: Axes, note: Text) -> float:
    """By how many pixels a note moves to the right."""
    before = box(note).x0
    narrow_figures._off_the_numbers(ax, note, undo := [])
    moved = box(note).x0 - before
    for step in undo:
        step()
    assert box(note).x0 == pytest.approx(before)
    return moved


def test_a_note_that_begins_among_the_numbers_moves_into_its_panel(ax: Axes) -> None:
    note = ax.text(0.1, 0.5, WORD, ha="right")
    assert box(note).x0 < ax.bbox.x0 < box(note).x1
    assert off_the_numbers(ax, note) == pytest.approx(ax.bbox.x0 + 3 - box(note).x0, abs=0.01)


@pytest.mark.parametrize(
    ("x", "y", "words", "how"),
    [
        (0.6, 0.5, WORD, {}), (-0.02, 0.5, WORD, {}), (0.1, 1.02, WORD, {}), (0.1, -0.02, WORD, {"va": "top"}),
        (0.9, 0.5, 5 * WORD, {}), (-0.05, 0.5, WORD, {"ha": "left"}), (0.1, 0.5, WORD, {"visible": False}),
    ],
    ids=["all inside", "all among the numbers", "above", "below", "wider than the panel", "begins there", "unseen"],
)  # fmt: skip
def test_other_notes_stay_beside_the_numbers(ax: Axes, x: float, y: float, words: str, how: dict) -> None:
    assert off_the_numbers(ax, ax.text(x, y, words, **{"ha": "right", **how})) == 0


NUMBERS = ("−12.5 %", "+3.25", "1,024")


def numbers_apart(ax: Axes, gap: float, words: tuple[str, ...] = NUMBERS, ha: str = "center") -> list[float]:
    """How the numbers are turned if so many pixels lie between each and the next."""
    notes = [ax.text(0, 0.5, number, ha=ha) for number in words]
    left = 0.1
    for note in notes:
        width = box(note).width / ax.bbox.width
        note.set_x(left + width * {"center": 0.5, "left": 0}[ha])
        left += width + gap / ax.bbox.width
    narrow_figures._turn_crowded_numbers(ax, undo := [])
    turned = [note.get_rotation() for note in notes]
    for step in undo:
        step()
    assert {note.get_rotation() for note in notes} == {0}
    return turned


def test_numbers_above_bars_stand_upright_if_any_two_would_touch(ax: Axes) -> None:
    assert numbers_apart(ax, 3) == [90, 90, 90]  # so near that they read as one number


def test_numbers_with_room_between_them_stay(ax: Axes) -> None:
    assert numbers_apart(ax, 6) == [0, 0, 0]


def test_numbers_turn_together_even_if_only_the_last_two_touch(ax: Axes) -> None:
    for place, number in ((0.1, "1"), (0.3, "2"), (0.7, "3,000"), (0.71, "4,000")):
        ax.text(place, 0.5, number, ha="center")
    narrow_figures._turn_crowded_numbers(ax, [])
    assert [note.get_rotation() for note in ax.texts] == [90, 90, 90, 90]


@pytest.mark.parametrize(
    ("words", "ha"), [(("a word", "another", "third"), "center"), (("12", "13", "14"), "left")], ids=["words", "no bars below"]
)
def test_only_numbers_centered_on_a_bar_are_turned(ax: Axes, words: tuple[str, ...], ha: str) -> None:
    assert numbers_apart(ax, -5, words, ha) == [0, 0, 0]


def test_numbers_above_many_bars_are_apart_on_a_phone() -> None:
    figure, ax = plt.subplots(figsize=(7.4, 3))
    values = [0.875, 0.884, 0.893, 0.902, 0.893, 0.884, 0.875, 0.884, 0.893]
    ax.bar(range(9), values)
    for place, value in enumerate(values):
        ax.text(place, value, f"{value:.1%}".replace("%", " %"), ha="center", va="bottom")
    overlaps = lambda: any(box(a).overlaps(box(b)) for i, a in enumerate(ax.texts) for b in ax.texts[i + 1 :])  # noqa: E731
    # The first drawing: with each further one Matplotlib's layout comes nearer to its goal, and after `narrow` it begins anew.
    before = render(figure)
    assert not overlaps()
    with narrow(figure):
        figure.draw_without_rendering()
        assert {text.get_rotation() for text in ax.texts} == {90} and not overlaps()
    assert render(figure) == before


def crowded() -> tuple[Axes, Annotation, Text]:
    """A panel with words beside it that are wider than a phone, and a note that the layout need not count."""
    figure, ax = plt.subplots(figsize=(9, 3))
    ax.plot([0, 1], [0, 1])
    words = "words that stand beside the panel and are much wider than all of a page as narrow as a phone's"
    beside = ax.annotate(words, (1.0, 0.5), (6, 0), xycoords="axes fraction", textcoords="offset points")
    free = ax.text(0.1, 0.2, "free")
    free.set_in_layout(False)
    return ax, beside, free


def test_where_notes_leave_a_panel_no_room_they_stand_over_it() -> None:
    ax, beside, free = crowded()
    with narrow(ax.figure):
        ax.figure.draw_without_rendering()  # in the tests the warning of a collapsed layout is an error
        assert ax.bbox.width > 0.75 * PAGE
        assert box(beside).x0 >= 0 and box(beside).x1 <= PAGE + 0.01 and "\n" in beside.get_text()
    assert beside.get_in_layout() and not free.get_in_layout() and "\n" not in beside.get_text()


def test_what_stands_out_at_the_side_is_paid_for_by_the_panels() -> None:
    figure, ax = plt.subplots(figsize=(7, 3), layout="none")
    name = ax.annotate(WORD, (1.02, 0.5), xycoords="axes fraction", textcoords="axes fraction")
    with narrow(figure):
        assert figure.get_tightbbox().width < WIDTH + 0.1
        assert 0.75 * WIDTH <= figure.get_figwidth() < WIDTH and name.get_fontsize() == 10.5
    assert figure.get_figwidth() == 7
