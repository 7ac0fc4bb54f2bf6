"""One style for all figures of the book: a color for each quantity, readable on a light and on a dark page."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


# A colour per quantity. Each has a contrast of at least 3.5 : 1 on white and on the dark page, and no two of the first
# four come close for colour-blind readers; a marker of its own tells them apart without any colour.
COLORS = {
    "sensitivity": "#d9591c",
    "exponent": "#2f7fd0",
    "gradient": "#0f9a72",
    "activity": "#b565b0",
    "neutral": "#7a7f87",
}
MARKERS = {"sensitivity": "o", "exponent": "s", "gradient": "^", "activity": "D", "neutral": "x"}

STYLE = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "figure.figsize": (7.0, 3.6),
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": COLORS["neutral"],
    "grid.alpha": 0.22,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "legend.frameon": False,
    "image.cmap": "RdBu_r",
    "svg.hashsalt": "salnb",  # names inside an SVG are then the same in every build
    **{name: COLORS["neutral"] for name in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")},
    "axes.titlecolor": COLORS["neutral"],
}


def use_style() -> None:
    """Makes the book's style Matplotlib's own from here on, with sharp figures in a notebook."""
    import matplotlib

    from .figure_formats import use_small_formats

    matplotlib.rcParams.update(STYLE)
    use_small_formats()


def color(quantity: str) -> str:
    """The colour of a quantity by its name; anything else is taken as a colour of Matplotlib's."""
    return COLORS.get(quantity, quantity)


def draw_band(
    x: Sequence[float], values, *, quantity: str, ax: "Axes", label: str | None = None, spread: str = "range", **line
) -> "list[Artist]":
    """A mean over seeds as a line and their spread as a band.

    Args:
        x: (C,), positions. values: (C, R), one column per seed.
        quantity: gives the colour, see ``COLORS``. label: for the legend.
        spread: "range" (smallest to largest seed) or "interval" (95 % confidence interval of the mean).
        line: further settings of ``Axes.plot``.

    Returns:
        The line and the band.
    """
    from .intervals import confidence_interval

    values = np.asarray(values, dtype=float)
    if values.ndim != 2 or len(values) != len(x):
        raise ValueError(f"values: got shape {values.shape}, expected ({len(x)}, R): a row per x, a column per seed")
    if spread not in ("range", "interval"):
        raise ValueError(f"spread: got {spread!r}, expected 'range' or 'interval'")
    low, high = values.min(1), values.max(1)
    if spread == "interval":
        low, high = np.array([confidence_interval(row) for row in values]).T
    (drawn,) = ax.plot(x, values.mean(1), color=color(quantity), label=label, **line)
    band = ax.fill_between(x, low, high, color=color(quantity), alpha=0.22, linewidth=0)
    return [drawn, band]


def label_end(x: float, y: float, text: str, *, quantity: str, ax: "Axes", dx: float = 5, dy: float = 0, **given) -> "Artist":
    """Names a curve at its end, in its own colour: nobody has to look up a legend."""
    style = {"va": "center", "ha": "left", "fontsize": 10, **given}
    return ax.annotate(text, (x, y), (dx, dy), textcoords="offset points", color=color(quantity), annotation_clip=False, **style)


def mark_edge(*, ax: "Axes", label: str | None = "edge of chaos", horizontal: bool = True) -> "Artist":
    """The line at 0, where a change neither grows nor dies, with its name."""
    style = {"color": COLORS["neutral"], "linewidth": 1.0, "linestyle": (0, (4, 3))}
    drawn = ax.axhline(0, **style) if horizontal else ax.axvline(0, **style)
    if label and horizontal:
        ax.annotate(label, (0.0, 0.0), (4, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
                    fontsize=9, color=COLORS["neutral"])  # fmt: skip
    return drawn


def draw_traces(states, *, ax: "Axes", quantity: str = "activity", spacing: float = 1.0, **line) -> "list[Artist]":
    """Activity of several neurons over time, one above the other: states (T, N)."""
    states = np.asarray(states, dtype=float)
    if states.ndim != 2:
        raise ValueError(f"states: got shape {states.shape}, expected (T, N)")
    shifted = states * 0.5 * spacing + spacing * np.arange(states.shape[1])
    drawn = ax.plot(shifted, color=color(quantity), **{"linewidth": 0.9, **line})
    ax.set_yticks([])
    ax.grid(False)
    return drawn


def draw_interval(position: float, values, *, quantity: str, ax: "Axes", label: str | None = None) -> "list[Artist]":
    """One group of seeds as dots, with mean and 95 % confidence interval beside them (drawn vertically at x = position)."""
    from .intervals import confidence_interval

    values = np.asarray(values, dtype=float).ravel()
    low, high = confidence_interval(values)
    dots = ax.plot(np.full(len(values), position), values, MARKERS.get(quantity, "o"), color=color(quantity), alpha=0.35,
                   markersize=4, markeredgewidth=0)  # fmt: skip
    bar = ax.errorbar([position], [values.mean()], [[values.mean() - low], [high - values.mean()]], fmt="_", markersize=14,
                      color=color(quantity), capsize=0, linewidth=2.2, label=label)  # fmt: skip
    return [*dots, bar]
