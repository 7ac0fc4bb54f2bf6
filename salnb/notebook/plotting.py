"""What the figures of the book draw: bands, traces, intervals and labels, in the colors of ``style.py``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .style import COLORS, MARKERS, STYLE, color, use_style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

__all__ = [
    "COLORS",
    "MARKERS",
    "STYLE",
    "color",
    "draw_band",
    "draw_interval",
    "draw_traces",
    "label_end",
    "mark_edge",
    "use_style",
]


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
    marker = MARKERS.get(quantity, "o")
    edge = 1.0 if marker == "x" else 0.0  # a cross consists of nothing but its edge
    dots = ax.plot(np.full(len(values), position), values, marker, color=color(quantity), alpha=0.35,
                   markersize=4, markeredgewidth=edge)  # fmt: skip
    bar = ax.errorbar([position], [values.mean()], [[values.mean() - low], [high - values.mean()]], fmt="_", markersize=14,
                      color=color(quantity), capsize=0, linewidth=2.2, label=label)  # fmt: skip
    return [*dots, bar]
