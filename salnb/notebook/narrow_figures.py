"""The same figure for a phone: its panels one below the other, long titles on several lines, labels where a panel lost them."""

import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.text import Text

WIDTH = 4.3  # inches: shown 350 pixels wide, letters of 10 points have 11 pixels
SMALLEST_FONT = 10.2  # points
MANY = 4  # panels beside each other: so many small ones are set in two columns


@contextmanager
def narrow(figure: "Figure") -> Iterator[None]:
    """Inside, the figure has the width of a phone's page; afterwards it is as it was."""
    undo: list[Callable[[], object]] = []
    try:
        rows = panel_rows(figure)
        if rows:
            _restack(figure, rows, undo)
            _fit_words(figure, undo)
            # What still stands out at the sides is paid for by the panels: the letters keep their size.
            over = figure.get_tightbbox().width - WIDTH
            if over > 0.1:
                figure.set_figwidth(max(WIDTH - over, 0.6 * WIDTH))
        yield
    finally:
        for step in reversed(undo):
            step()


def panel_rows(figure: "Figure") -> "list[list[list[Axes]]]":
    """The panels as rows of panels; axes that lie on each other (a second scale) are one panel. Color bars follow their panel."""
    panels: dict[tuple[int, int, int], list[Axes]] = {}
    for ax in figure.axes:
        place = ax.get_subplotspec()
        if place is None or hasattr(ax, "_colorbar"):
            continue
        place = place.get_topmost_subplotspec() if place.get_gridspec() is not place.get_topmost_subplotspec().get_gridspec() else place
        key = (place.rowspan.start, place.colspan.start, id(place) if ax.get_subplotspec() is not place else 0)
        panels.setdefault(key, []).append(ax)
    rows: dict[int, list[list[Axes]]] = {}
    for (row, _, _), axes in sorted(panels.items(), key=lambda item: item[0][:2]):
        rows.setdefault(row, []).append(axes)
    return list(rows.values())


def _restack(figure: "Figure", rows: "list[list[list[Axes]]]", undo: list) -> None:
    """Sets the panels below each other, each as high as it was."""
    from matplotlib.gridspec import GridSpec

    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    heights, cells = [], []
    for row in rows:
        tall = max(ax.get_window_extent().height for panel in row for ax in panel) / figure.dpi
        per_line = 2 if len(row) >= MANY else 1
        for at in range(0, len(row), per_line):
            cells.append(row[at : at + per_line])
            heights.append(tall)
    everything = [ax for row in rows for panel in row for ax in panel]
    # What is not panel (titles, labels, gaps) takes as much room for each line of panels as it took before.
    apart = max(height - sum(max(ax.get_window_extent().height for panel in row for ax in panel) / figure.dpi for row in rows), 0.6)
    between = apart / len(rows)
    columns = 2 if any(len(line) == 2 for line in cells) else 1
    grid = GridSpec(len(cells), columns, figure=figure, height_ratios=heights)
    for ax in everything:
        undo.append(lambda ax=ax, place=ax.get_subplotspec(): ax.set_subplotspec(place))
    undo.append(lambda: figure.set_size_inches(width, height))
    for line, places in enumerate(cells):
        for column, panel in enumerate(places):
            for ax in panel:
                ax.set_subplotspec(grid[line, column] if len(places) == 2 or columns == 1 else grid[line, :])
    figure.set_size_inches(WIDTH, sum(heights) + between * len(cells))
    if len(everything) > 1:
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
                undo.append(lambda ax=ax: ax.set_ylabel(""))


def _fit_words(figure: "Figure", undo: list) -> None:
    """Breaks titles and labels that are wider than the page, turns crowded tick labels, moves notes back inside."""
    figure.draw_without_rendering()
    whole = figure.bbox.width
    for legend in list(figure.legends):
        _fold_legend(figure, legend, undo)
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
        for note in ax.texts:
            _bring_inside(figure, ax, note, undo)


def _fold_legend(figure: "Figure", legend: "Legend", undo: list) -> None:
    """Gives a figure's legend that is wider than the page as many columns as fit."""
    width = legend.get_window_extent().width
    if width <= figure.bbox.width:
        return
    columns = max(1, int(legend._ncols * figure.bbox.width / width))
    place = {code: name for name, code in legend.codes.items()}.get(legend._loc, "upper center")
    outside = "outside " if getattr(legend, "_outside_loc", None) else ""
    labels = [text.get_text() for text in legend.get_texts()]
    folded = figure.legend(legend.legend_handles, labels, loc=f"{outside}{place}", ncols=columns,
                           fontsize=max(SMALLEST_FONT, legend.get_texts()[0].get_fontsize()), columnspacing=1.0)  # fmt: skip
    legend.set_visible(False)
    legend.set_in_layout(False)
    undo += [folded.remove, lambda: legend.set(visible=True, in_layout=True)]


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
    over = extent.x1 - width if extent.x1 > width else min(extent.x0, 0.0)
    if not over:
        return
    if hasattr(note, "xyann") and note.get_anncoords() == "offset points":
        x, y = note.xyann
        undo.append(lambda: setattr(note, "xyann", (x, y)))
        note.xyann = (x - over * 72 / figure.dpi, y)
    elif not hasattr(note, "xyann"):
        transform, position = note.get_transform(), note.get_position()
        undo.append(lambda: note.set_position(position))
        at = transform.transform(position)
        note.set_position(transform.inverted().transform((at[0] - over, at[1])))
