"""How a notebook stores a figure: as SVG whose words are words, with only what is dense turned into an image inside it."""

import base64
import io
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from .word_widths import with_lengths

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

ENOUGH = 1500  # points of a figure, some 40 KB; above, what is dense becomes an image
DENSE = 150  # points; an artist with more is smaller, and as sharp, as an image
MARGIN = 0.03  # inches around everything
SHARPNESS = 180  # dots per inch of an image inside the SVG: at least two for each of the screen's
PALETTE = 256  # colors of a PNG: a third of the size of all colors, and no difference to be seen in a diagram
FOR_A_PHONE = "salnb-phone"  # the id of the group that holds the same figure once more, for a narrow page

_svg_of: "WeakKeyDictionary[Figure, str]" = WeakKeyDictionary()
_EMBEDDED = re.compile(r"(data:image/png;base64,)([A-Za-z0-9+/=\s]+)")


@cache
def page_font() -> dict[str, list[str]]:
    """Matplotlib's settings for the typeface of the pages, where its package is installed: words then keep their places."""
    from importlib.util import find_spec
    from pathlib import Path

    from matplotlib import font_manager

    found = find_spec("font_source_sans_pro")
    if found is None or not found.submodule_search_locations:
        return {}
    folder = Path(found.submodule_search_locations[0]) / "files"
    for face in ("Regular", "It", "Bold"):
        font_manager.fontManager.addfont(folder / f"SourceSansPro-{face}.ttf")
    return {"font.sans-serif": ["Source Sans Pro", "DejaVu Sans"]}


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


def points_of(artist: "Artist") -> int:
    """How many points an artist writes into an SVG."""
    from matplotlib.collections import Collection
    from matplotlib.lines import Line2D

    if isinstance(artist, Line2D):
        marked = artist.get_marker() not in ("", " ", "None", None)
        # A line is written point by point; a marker is an element of its own each time.
        return len(artist.get_xydata()) * (5 if marked else 1)
    if isinstance(artist, Collection):
        return max(len(artist.get_offsets()) * 5, sum(len(path.vertices) for path in artist.get_paths()))
    return 0


@contextmanager
def dense_as_image(figure: "Figure", enough: int = ENOUGH, most: int = DENSE) -> Iterator[None]:
    """Inside, what has most points is drawn as an image, if all have too many; letters and axes stay what they are."""
    from matplotlib.collections import Collection
    from matplotlib.lines import Line2D

    panels = [panel for ax in figure.axes for panel in (ax, *ax.child_axes)]
    drawn = [artist for ax in panels for artist in ax.get_children() if isinstance(artist, (Line2D, Collection))]
    points = {artist: points_of(artist) for artist in drawn}
    dense = []
    if sum(points.values()) > enough:
        # Many small ones are as heavy as a large one: then those go, too.
        left = sum(count for count in points.values() if count <= most)
        dense = [artist for artist in drawn if points[artist] > (most if left <= enough else 20)]
    before = [(artist, artist.get_rasterized()) for artist in dense]
    for artist in dense:
        artist.set_rasterized(True)
    try:
        yield
    finally:
        for artist, rasterized in before:
            artist.set_rasterized(rasterized)


@contextmanager
def layout_done(figure: "Figure") -> Iterator[None]:
    """Lays the figure out once; inside, nothing is laid out again, however often it is measured or drawn."""
    figure.draw_without_rendering()
    engine = figure.get_layout_engine()
    figure.set_layout_engine("none")
    try:
        yield
    finally:
        if engine is not None:
            figure.set_layout_engine(engine)


def render(figure: "Figure") -> str:
    """The figure as SVG as it stands: words as text, so that a page can give them its own font and color."""
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}), dense_as_image(figure), layout_done(figure):
        box = figure.get_tightbbox().padded(MARGIN)
        figure.savefig(file, format="svg", bbox_inches=box, dpi=SHARPNESS, metadata={"Date": None})
    # The file's own header would be noise in a page.
    text = re.sub(r"^.*?(?=<svg\b)", "", file.getvalue(), count=1, flags=re.DOTALL)
    return with_lengths(_EMBEDDED.sub(_with_small_image, text))


def _with_small_image(found: re.Match) -> str:
    png = base64.b64decode("".join(found[2].split()))
    return found[1] + base64.b64encode(with_palette(png)).decode()


def as_svg(figure: "Figure") -> str:
    """The figure as SVG, always the same text for the same figure.

    While the book is built, the text also holds the figure as it fits a phone, in a group that nothing shows:
    `tools/page/ink.py` makes two drawings of it, and the page shows the one that fits.
    """
    import matplotlib

    if figure not in _svg_of:
        with matplotlib.rc_context(page_font()), warnings.catch_warnings():
            # The browser takes a sign that this typeface lacks from another; here only its width is a little off.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            text = render(figure)
            if os.environ.get("SALNB_PHONE"):
                from .narrow_figures import narrow

                with narrow(figure):
                    phone = f'<g id="{FOR_A_PHONE}" display="none">{render(figure)}</g>'
                text = text.replace("</svg>", f"{phone}</svg>")
        _svg_of[figure] = text
    return _svg_of[figure]


def use_small_formats() -> None:
    """From here on, in this notebook: every figure as SVG. Elsewhere nothing happens."""
    try:
        from IPython import get_ipython
        from matplotlib.figure import Figure
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    shell = get_ipython()
    if shell is None:
        return
    set_matplotlib_formats("svg")
    shell.display_formatter.formatters["image/svg+xml"].for_type(Figure, as_svg)
