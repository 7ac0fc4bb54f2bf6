"""The style of all figures of the book: a color for each quantity, readable on a light and on a dark page."""

# A color per quantity. Each has a contrast of at least 3.5 : 1 on white and on the dark page, and no two of the first
# four come close for color-blind readers; a marker of its own tells them apart without any color.
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
    """The color of a quantity by its name; anything else is taken as a color of Matplotlib's."""
    return COLORS.get(quantity, quantity)
