"""Rows with a name and a note on a phone: the note, at the right of a wide figure, comes to stand below the row's name.

The drawing of a forest plot has a row for each comparison: its name beside the axis, an interval, and at the right a note such
as "16 of 16". A page as wide as a phone has no room for three columns.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

FROM = 0.6  # of the panel's width: notes begin to the right of it
FEWEST = 3  # rows with notes that make a column of them
LINE = 1.3  # height of a line, in sizes of its letters
ROOM = 0.06  # of what is drawn: so much stays free at its right
GAP = 8  # pixels between two notes of one row


def put_notes_below_names(ax: "Axes", smallest: float, undo: list) -> None:
    """Moves the notes of named rows below the names, lets the panel end where its data end, and makes room for the lines.

    Args:
        ax: the panel, laid out. smallest: the size that letters have at least, in points. undo: takes what undoes the change.
    """
    notes, heads = _notes_of_rows(ax)
    if len(notes) < FEWEST or 2 * len(notes) < len(ax.get_yticks()):
        return
    figure = ax.figure
    _end_with_the_data(ax, undo)
    _make_room(ax, notes, undo)
    figure.draw_without_rendering()
    labels = dict(zip(ax.get_yticks(), ax.get_yticklabels(), strict=True))
    edge = max(label.get_window_extent().x1 for label in labels.values())
    moved = [(row, text, labels[row].get_window_extent().y0) for row, texts in notes.items() for text in texts]
    moved += [(_place(ax, text)[1], text, None) for text in heads]
    taken: dict[float, float] = {}  # by row, where the next note ends
    for row, text, bottom in reversed(moved):
        end, y = taken.get(row, edge), ax.transData.transform((0, row))[1]
        shift = (end - ax.bbox.x0) / figure.dpi, 0 if bottom is None else (bottom - y) / figure.dpi
        copy = _copy(ax, text, row, shift, smallest)
        taken[row] = copy.get_window_extent().x0 - GAP
        text.set_visible(False)
        undo += [copy.remove, lambda text=text: text.set_visible(True)]


def _place(ax: "Axes", text: "Text") -> tuple[float, float] | None:
    """Where a text is anchored, in data; None if it is not."""
    if hasattr(text, "xyann"):
        return text.xy if text.xycoords == "data" else None
    return text.get_position() if text.get_transform() == ax.transData else None


def _notes_of_rows(ax: "Axes") -> "tuple[dict[float, list[Text]], list[Text]]":
    """The notes at the right of each named row, by the row's height and from left to right; and what stands above them."""
    ticks, names = list(ax.get_yticks()), [label.get_text() for label in ax.get_yticklabels()]
    if not ticks or len(names) != len(ticks) or not all(any(letter.isalpha() for letter in name) for name in names):
        return {}, []
    notes: dict[float, list[Text]] = {}
    heads = []
    for text in ax.texts:
        place = _place(ax, text)
        if place is None or not text.get_visible() or not text.get_text().strip():
            continue
        across, up = ax.transAxes.inverted().transform(ax.transData.transform(place))
        row = next((tick for tick in ticks if abs(tick - place[1]) < 1e-6), None)
        if across < FROM or text.get_ha() == "center":
            continue
        if row is not None:
            notes.setdefault(row, []).append(text)
        elif up > max(ax.transAxes.inverted().transform(ax.transData.transform((0, tick)))[1] for tick in ticks):
            heads.append(text)
    for texts in notes.values():
        texts.sort(key=lambda text: _place(ax, text)[0])
    return notes, heads


def _end_with_the_data(ax: "Axes", undo: list) -> None:
    """Gives the panel the room that its notes have left."""
    left, right = ax.get_xlim()
    ends = ax.dataLim.x1 + ROOM * (ax.dataLim.x1 - left)
    if left < ends < right:
        own = ax.get_autoscalex_on()
        ax.set_xlim(left, ends)
        undo.append(lambda: ax.set_xlim(left, right, auto=own))


def _make_room(ax: "Axes", notes: dict, undo: list) -> None:
    """Adds an empty line to the names of rows with notes, and height where a row is lower than its lines."""
    ticks, names = ax.get_yticks(), [label.get_text() for label in ax.get_yticklabels()]
    taller = [name + "\n " if tick in notes else name for tick, name in zip(ticks, names, strict=True)]
    rename_rows(ax, taller, undo)
    size, dpi = max(label.get_fontsize() for label in ax.get_yticklabels()), ax.figure.dpi
    heights = sorted(ax.transData.transform([(0, tick) for tick in ticks])[:, 1])
    low = min(above - below for below, above in zip(heights, heights[1:], strict=False))
    lines = max(name.count("\n") + 1 for name in taller)
    short = lines * LINE * size / 72 * dpi / low
    if short > 1:
        before = ax.figure.get_figheight()
        ax.figure.set_figheight(before + (short - 1) * ax.bbox.height / dpi)
        undo.append(lambda: ax.figure.set_figheight(before))


def rename_rows(ax: "Axes", names: list[str], undo: list) -> None:
    """Gives the rows beside the vertical axis other names, of several lines perhaps; what is in view stays the same."""
    from matplotlib.text import Text

    locator, formatter = ax.yaxis.get_major_locator(), ax.yaxis.get_major_formatter()
    for label in ax.get_yticklabels():
        kept = Text()
        kept.update_from(label)  # the distance of its lines and how they are aligned would otherwise stay as they are set here
        undo.append(lambda label=label, kept=kept: label.update_from(kept))
    bottom, top = ax.get_ylim()
    ax.set_yticks(ax.get_yticks(), names, multialignment="right", linespacing=1.05)
    ax.set_ylim(bottom, top, auto=ax.get_autoscaley_on())  # Matplotlib has brought rows into view that stood outside
    undo += [lambda: ax.yaxis.set_major_formatter(formatter), lambda: ax.yaxis.set_major_locator(locator)]


def _copy(ax: "Axes", text: "Text", row: float, shift: tuple[float, float], smallest: float) -> "Text":
    """The same words at the left of the panel, ending at its edge but for the shift, in inches."""
    from matplotlib.transforms import ScaledTranslation

    place = ax.get_yaxis_transform() + ScaledTranslation(*shift, ax.figure.dpi_scale_trans)
    bottom = "bottom" if shift[1] else text.get_va()
    return ax.text(0, row, text.get_text(), ha="right", va=bottom, transform=place, color=text.get_color(),
                   fontsize=max(smallest, text.get_fontsize()))  # fmt: skip
