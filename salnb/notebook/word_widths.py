"""Words of a drawing keep their length where the book's typeface is not at hand, as on GitHub and in a notebook."""

import html
import re
from functools import cache

FONTS = "'Source Sans Pro', 'DejaVu Sans', sans-serif"
_FAMILY = re.compile(r"'Source Sans Pro'(?!,)")
_TEXT = re.compile(r"<text style=\"([^\"]*'Source Sans Pro'[^\"]*)\"([^>]*)>([^<]+)</text>")
_SIZE = re.compile(r"font-size: ([0-9.]+)px")
SHORT = 3  # letters: a number of so many is hardly wider in any typeface


@cache
def length(words: str, size: float, weight: str, style: str) -> float:
    """How long the words are in the book's typeface, in the units of the drawing."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family="Source Sans Pro", size=size, weight=weight, style=style)
    return float(text_to_path.get_text_width_height_descent(words, font, ismath=False)[0])


def with_lengths(svg: str) -> str:
    """The drawing, each of its words with the length that it has in the book's typeface.

    A browser without that typeface takes a wider one: it then sets the letters closer, and no word runs into its neighbor or over
    the edge. Letters of formulas have places of their own and only get the same fonts to choose from.
    """
    def measured(found: re.Match) -> str:
        style, rest, words = found.groups()
        size = _SIZE.search(style)
        if size is None or len(words) <= SHORT:
            return found[0]
        weight = "bold" if re.search(r"font-weight: (?:bold|[67]00)", style) else "normal"
        slant = "italic" if "font-style: italic" in style else "normal"
        long = length(html.unescape(words), float(size[1]), weight, slant)
        return f'<text style="{style}"{rest} textLength="{long:.1f}" lengthAdjust="spacingAndGlyphs">{words}</text>'

    return _TEXT.sub(measured, _FAMILY.sub(FONTS, svg))
