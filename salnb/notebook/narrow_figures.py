"""The same figure for a phone: its panels one below the other, long titles on several lines, labels where a panel lost them."""

import re
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .narrow_rows import put_notes_below_names, rename_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.text import Text

WIDTH = 4.3  # inches: shown 350 pixels wide, letters of 10 points have 11 pixels
SMALLEST_FONT = 10.2  # points
RIGHT = 0.27  # of the width: as much as a name beside a panel may take
NUMBER = re.compile(r"[−+-]?[\d.,]+ ?%?")
ROOM_FOR_A_LABEL = 1.3  # of a panel's height: the gap to the next panel takes the rest
MANY = 4  # panels beside each other: so many small ones are set in two columns, as are pictures without axes


@contextmanager
def narrow(figure: "Figure") -> Iterator[None]:
    """Inside, the figure has the width of a phone's page; afterwards it is as it was."""
    undo: list[Callable[[], object]] = []
    try:
        rows = panel_rows(figure)
        if rows:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a title that is not broken yet may leave its panel no room
                _restack(figure, rows, undo)
                _fit_words(figure, undo)
            if not _has_room(figure):
                _lay_notes_over(figure, undo)
            # What still stands out at the sides is paid for by the panels: the letters keep their size.
            for _ in range(2):
                over = figure.get_tightbbox().width - WIDTH
                if over > 0.05:
                    figure.set_figwidth(max(figure.get_figwidth() - over, 0.75 * WIDTH))
                    _has_room(figure)
        yield
    finally:
        for step in reversed(undo):
            step()


def _has_room(figure: "Figure") -> bool:
    """Lays the figure out, and says whether its panels have kept any room."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        figure.draw_without_rendering()
    return not any("collapsed" in str(warning.message) for warning in told)


def _lay_notes_over(figure: "Figure", undo: list) -> None:
    """Takes the notes out of the layout, so that no panel makes room for them, and moves them to where they fit."""
    for ax in figure.axes:
        for note in ax.texts:
            counted = note.get_in_layout()
            undo.append(lambda note=note, counted=counted: note.set_in_layout(counted))
            note.set_in_layout(False)
    _has_room(figure)
    for ax in figure.axes:
        for note in ax.texts:
            _bring_inside(figure, ax, note, undo)


def panel_rows(figure: "Figure") -> "list[list[list[Axes]]]":
    """The panels as rows of panels; axes that lie on each other (a second scale) are one panel. Color bars follow their panel.

    A panel that is higher than its neighbors, because it stands beside several of them, is a row of its own.
    """
    panels: dict[tuple[int, ...], list[Axes]] = {}
    high: dict[tuple[int, ...], int] = {}
    for ax in figure.axes:
        place = ax.get_subplotspec()
        if place is None or hasattr(ax, "_colorbar"):
            continue
        outer = place.get_topmost_subplotspec()  # another one only where a grid stands in a cell of a grid
        key = tuple(at for spec in (outer, place) for at in (spec.rowspan.start, spec.colspan.start))
        high[key] = len(outer.rowspan)
        panels.setdefault(key, []).append(ax)
    rows: dict[tuple[int, int], list[list[Axes]]] = {}
    for key in sorted(panels):
        rows.setdefault((key[0], high[key]), []).append(panels[key])
    return list(rows.values())


def _restack(figure: "Figure", rows: "list[list[list[Axes]]]", undo: list) -> None:
    """Sets the panels below each other, each as high as it was."""
    from matplotlib.gridspec import GridSpec

    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    tall = [max(ax.get_window_extent().height for panel in row for ax in panel) / figure.dpi for row in rows]
    heights, cells = [], []
    for row, high in zip(rows, tall, strict=True):
        pictures = len(row) > 1 and not any(ax.axison for panel in row for ax in panel)
        per_line = 2 if len(row) >= MANY or pictures else 1
        for at in range(0, len(row), per_line):
            cells.append(row[at : at + per_line])
            heights.append(high)
    everything = [ax for row in rows for panel in row for ax in panel]
    # What is not panel (titles, labels, gaps) takes as much room for each line of panels as it took before.
    between = max(height - sum(tall), 0.6) / len(rows)
    columns = 2 if any(len(line) == 2 for line in cells) else 1
    grid = GridSpec(len(cells), columns, figure=figure, height_ratios=heights)
    for ax in everything:
        place = ax.get_subplotspec()
        undo.append(lambda ax=ax, place=place: ax.set_subplotspec(place))
    undo.append(lambda: figure.set_size_inches(width, height))
    for line, places in enumerate(cells):
        for column, panel in enumerate(places):
            for ax in panel:
                ax.set_subplotspec(grid[line, column] if len(places) == 2 or columns == 1 else grid[line, :])
    figure.set_size_inches(WIDTH, sum(heights) + between * len(cells))
    if any(len(row) > 1 for row in rows):  # where nothing has moved, labels are where the figure wants them
        _label_again(rows, undo)


def _label_again(rows: "list[list[list[Axes]]]", undo: list) -> None:
    """A panel that shared its neighbor's scale gets numbers and label of its own."""
    for axis, side in (("x", "bottom"), ("y", "left")):
        flat = [panel[0] for row in rows for panel in row]
        for ax in flat:
            shared = [other for other in getattr(ax, f"get_shared_{axis}_axes")().get_siblings(ax) if other in flat]
            if len(shared) < 2:
                continue
            ticks = ax.xaxis if axis == "x" else ax.yaxis
            if not ticks.get_tick_params().get(f"label{side}", True):
                ax.tick_params(axis=axis, **{f"label{side}": True})
                undo.append(lambda ax=ax, axis=axis, side=side: ax.tick_params(axis=axis, **{f"label{side}": False}))
            label = next((getattr(other, f"get_{axis}label")() for other in shared if getattr(other, f"get_{axis}label")()), "")
            old = getattr(ax, f"get_{axis}label")()
            if label and not old and axis == "y":
                ax.set_ylabel(label)
                # Beside low panels the label of one would run into the next one's: there it stays with the panel that has it.
                if ax.yaxis.label.get_window_extent().height > ROOM_FOR_A_LABEL * ax.get_window_extent().height:
                    ax.set_ylabel("")
                else:
                    undo.append(lambda ax=ax: ax.set_ylabel(""))


def _fit_words(figure: "Figure", undo: list) -> None:
    """Breaks titles and labels that are wider than the page, turns crowded tick labels, moves notes back inside."""
    whole = figure.bbox.width
    for ax in figure.axes:
        for note in ax.texts:
            if _stands_at_the_right(ax, note):  # the layout keeps its whole width free beside the panel
                _wrap(note, RIGHT * whole, undo)
    figure.draw_without_rendering()
    for legend in list(figure.legends):
        _fold_legend(figure, legend, whole, undo)
    for ax in figure.axes:
        if ax.get_legend():
            _fold_legend(ax, ax.get_legend(), 0.75 * whole, undo)
        _break_row_names(ax, 0.4 * whole, undo)
        put_notes_below_names(ax, SMALLEST_FONT, undo)
    figure.draw_without_rendering()
    if figure._suptitle is not None:
        _wrap(figure._suptitle, whole, undo)
    for ax in figure.axes:
        box = ax.get_window_extent()
        for title in (ax.title, ax._left_title, ax._right_title):
            _wrap(title, whole - box.x0 if title is ax._left_title else box.width, undo)
        _wrap(ax.xaxis.label, whole - box.x0, undo)
        _wrap(ax.yaxis.label, max(box.height, 120) * 1.15, undo, upright=True)
        _spread_ticks(ax, undo)
        legend = ax.get_legend()
        for text in [*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels(), *(legend.get_texts() if legend else [])]:
            _enlarge(text, undo)
        _turn_crowded_numbers(ax, undo)
        for note in ax.texts:
            _bring_inside(figure, ax, note, undo)
            _off_the_numbers(ax, note, undo)


def _stands_at_the_right(ax: "Axes", note: "Text") -> bool:
    """Whether a text begins in the last quarter of its panel and goes on to the right, as the name of a curve at its end does."""
    if note.get_ha() != "left" or not note.get_text().strip():
        return False
    anchored = hasattr(note, "xyann")
    transform = ax.transData if anchored and note.xycoords == "data" else note.get_transform()
    place = note.xy if anchored else note.get_position()
    if anchored and note.xycoords != "data":
        return False
    return bool(ax.transAxes.inverted().transform(transform.transform(place))[0] > 0.75)


def _fold_legend(owner: "Figure | Axes", legend: "Legend", room: float, undo: list) -> None:
    """Gives a legend that is wider than its room, in pixels, as many columns as fit."""
    width = legend.get_window_extent().width
    if width <= room:
        return
    columns = max(1, int(legend._ncols * room / width))
    place = {code: name for name, code in legend.codes.items()}.get(legend._loc, "best")
    outside = "outside " if getattr(legend, "_outside_loc", None) else ""
    labels = [text.get_text() for text in legend.get_texts()]
    # What a legend holds of an error bar is its line without the marker; the panel has the whole of it by its name.
    panels = legend.figure.axes if owner is legend.figure else [owner]
    whole = {name: handle for ax in panels
             for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)}  # fmt: skip
    handles = [whole.get(name, drawn) for name, drawn in zip(labels, legend.legend_handles, strict=True)]
    folded = owner.legend(handles, labels, loc=f"{outside}{place}", ncols=columns,
                          fontsize=max(SMALLEST_FONT, legend.get_texts()[0].get_fontsize()), columnspacing=1.0)  # fmt: skip
    if hasattr(owner, "legend_"):  # a panel has one legend, which the new one has replaced
        undo.append(lambda: setattr(owner, "legend_", legend))
        return
    legend.set_visible(False)
    legend.set_in_layout(False)
    undo += [folded.remove, lambda: legend.set(visible=True, in_layout=True)]


def _break_row_names(ax: "Axes", room: float, undo: list) -> None:
    """Breaks the names of rows, beside the vertical axis, that are wider than their room in pixels."""
    labels = ax.get_yticklabels()
    names = [label.get_text() for label in labels]
    widest = max((label.get_window_extent().width for label in labels), default=0.0)
    if widest <= room:
        return
    letters = max(8, int(max(map(len, names)) * room / widest))
    rename_rows(ax, [broken(name, letters) for name in names], undo)
    # A row of two lines needs the height of two.
    lines, room_for_one = max(broken(name, letters).count("\n") + 1 for name in names), ax.get_window_extent().height / len(names)
    short = lines * 1.3 * SMALLEST_FONT / 72 * ax.figure.dpi - room_for_one
    ax.figure.set_figheight(ax.figure.get_figheight() + max(short, 0.0) * len(names) / ax.figure.dpi)


def _enlarge(text: "Text", undo: list) -> None:
    """Small letters grow to the smallest that are read on a phone."""
    size = text.get_fontsize()
    if size < SMALLEST_FONT and text.get_text():
        undo.append(lambda: text.set_fontsize(size))
        text.set_fontsize(SMALLEST_FONT)


def _wrap(text: "Text", room: float, undo: list, upright: bool = False) -> None:
    """Breaks a text at its spaces until it is no wider than the room, in pixels; never inside a formula."""
    words = text.get_text()
    if not words.strip():
        return
    extent = text.get_window_extent()
    long = extent.height if upright else extent.width
    if long <= room:
        return
    undo.append(lambda: text.set_text(words))
    text.set_text(broken(words, max(8, int(len(max(words.split("\n"), key=len)) * room / long))))


def broken(words: str, letters: int) -> str:
    r"""The words on lines of so many letters at most; a formula between dollars counts as one word.

    >>> broken("a title $x + y$ that is long", 12)
    'a title\n$x + y$ that\nis long'
    """
    parts = words.split("$")
    kept = "$".join(part.replace(" ", "\u0000") if i % 2 else part for i, part in enumerate(parts))
    lines = [textwrap.fill(line, letters, break_long_words=False, break_on_hyphens=False) for line in kept.split("\n")]
    return "\n".join(lines).replace("\u0000", " ")


def _spread_ticks(ax: "Axes", undo: list) -> None:
    """Slants tick labels that would touch each other."""
    labels = [label for label in ax.get_xticklabels() if label.get_text() and label.get_visible()]
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.x0)
    if all(a.x1 + 2 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False)):
        return
    for label in labels:
        before = {"rotation": label.get_rotation(), "ha": label.get_ha(), "rotation_mode": label.get_rotation_mode()}
        label.set(rotation=35, ha="right", rotation_mode="anchor")
        undo.append(lambda label=label, before=before: label.set(**before))


def _bring_inside(figure: "Figure", ax: "Axes", note: "Text", undo: list) -> None:
    """Moves a note that leaves the page on its right back to where it fits, on more lines if it must."""
    if not note.get_visible() or not note.get_text().strip():
        return
    width = figure.bbox.width
    extent = note.get_window_extent()
    if extent.x1 <= width and extent.x0 >= 0:
        return
    left = extent.x0 if note.get_ha() == "left" else 0
    _wrap(note, max(width - max(left, 0) - 4, 0.4 * width), undo)
    extent = note.get_window_extent()
    _shift(note, extent.x1 - width if extent.x1 > width else min(extent.x0, 0.0), undo)


def _shift(note: "Text", over: float, undo: list) -> None:
    """Moves a note to the left by so many pixels."""
    if not over:
        return
    if hasattr(note, "xyann") and note.get_anncoords() == "offset points":
        x, y = note.xyann
        undo.append(lambda: setattr(note, "xyann", (x, y)))
        note.xyann = (x - over * 72 / note.figure.dpi, y)
    elif not hasattr(note, "xyann"):
        transform, position = note.get_transform(), note.get_position()
        undo.append(lambda: note.set_position(position))
        at = transform.transform(position)
        note.set_position(transform.inverted().transform((at[0] - over, at[1])))


def _off_the_numbers(ax: "Axes", note: "Text", undo: list) -> None:
    """A note that ends in its panel and begins among the numbers of the axis moves into the panel."""
    if not note.get_visible() or note.get_ha() != "right" or not note.get_text().strip():
        return
    extent, box = note.get_window_extent(), ax.get_window_extent()
    if extent.x0 < box.x0 < extent.x1 and extent.width < box.width and extent.y0 > box.y0 and extent.y1 < box.y1:
        _shift(note, extent.x0 - box.x0 - 3, undo)


def _turn_crowded_numbers(ax: "Axes", undo: list) -> None:
    """Numbers above bars that would touch stand upright."""
    numbers = [note for note in ax.texts if note.get_ha() == "center" and NUMBER.fullmatch(note.get_text().strip())]
    boxes = [note.get_window_extent().padded(2) for note in numbers]
    if not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :]):
        return
    for note in numbers:
        before = note.get_rotation()
        undo.append(lambda note=note, before=before: note.set_rotation(before))
        note.set_rotation(90)
