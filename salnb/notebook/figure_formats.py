"""How a notebook stores a figure: lines and letters as SVG, sharp at every size, what is dense as a PNG of few colors."""

import io
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST_SVG = 60_000  # bytes; a figure whose lines take more is smaller, and as sharp, as an image
PALETTE = 256  # colors of a PNG: a third of the size of all colors, and no difference to be seen in a diagram

_svg_of: "WeakKeyDictionary[Figure, str | None]" = WeakKeyDictionary()


def with_palette(png: bytes, colors: int = PALETTE) -> bytes:
    """The same image with so many colors at most, transparency included."""
    from PIL import Image

    image, smaller = Image.open(io.BytesIO(png)).convert("RGBA"), io.BytesIO()
    if image.getextrema()[3][0] == 255:  # nothing transparent
        image, method = image.convert("RGB"), Image.Quantize.MEDIANCUT
    else:  # the one way of Pillow's own that keeps how transparent each color is
        method = Image.Quantize.FASTOCTREE
    image.quantize(colors, method=method, dither=Image.Dither.NONE).save(smaller, "PNG", optimize=True)
    return min(png, smaller.getvalue(), key=len)


def as_svg(figure: "Figure") -> str | None:
    """The figure as SVG, always the same text for the same figure; None where an image is smaller."""
    from IPython.core.pylabtools import print_figure

    if figure not in _svg_of:
        text = print_figure(figure, fmt="svg", metadata={"Date": None})
        _svg_of[figure] = text if text and len(text) <= LARGEST_SVG else None
    return _svg_of[figure]


def as_png(figure: "Figure") -> tuple[str, dict] | None:
    """The figure as an image at twice the resolution; None where there is an SVG."""
    from base64 import b64encode

    from IPython.core.pylabtools import retina_figure

    if as_svg(figure) is not None:
        return None
    png, size = retina_figure(figure)
    return b64encode(with_palette(png)).decode(), size


def use_small_formats() -> None:
    """From here on, in this notebook: every figure in the smaller of the two forms. Elsewhere nothing happens."""
    try:
        from IPython import get_ipython
        from matplotlib.figure import Figure
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    shell = get_ipython()
    if shell is None:
        return
    set_matplotlib_formats("retina", "svg")
    formatters = shell.display_formatter.formatters
    formatters["image/svg+xml"].for_type(Figure, as_svg)
    formatters["image/png"].for_type(Figure, as_png)
