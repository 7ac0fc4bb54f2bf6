"""Figures in the page's own ink: an SVG of a notebook becomes part of the page, with the page's font and colors.

In a notebook a figure has to stand alone, in mid-tones that can be read on white and on black. On a page it need not: here its
gray becomes the color of the text and the color of each quantity the one that the style sheet gives it, in light and in dark.
While the book is built, each figure holds a second drawing for narrow pages (`salnb/notebook/narrow_figures.py`); the style sheet
shows the one that fits.
"""

from __future__ import annotations

import html
import re
from itertools import groupby
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from salnb.notebook.figure_formats import FOR_A_PHONE
from salnb.notebook.style import COLORS

_PHONE = re.compile(rf'<g id="{FOR_A_PHONE}" display="none">(.*?</svg>)\s*</g>', re.DOTALL)
_ROOT = re.compile(r"<svg\b[^>]*?>", re.DOTALL)
_BOX = re.compile(r'viewBox="([^"]+)"')
_FORMULA = re.compile(r"(<text\b[^>]*>)((?:\s*<tspan x=[^>]*>[^<]*</tspan>)+)\s*</text>")
_GLYPHS = re.compile(r'<tspan x="([^"]+)" y="([^"]+)" style="([^"]*)">([^<]*)</tspan>')
_RELATIONS = "=<>≤≥≈+−·×→∝"
_SHORT_FONT = re.compile(r"font: (?:(?:normal|italic|oblique) )?(?:(\d+|bold|normal) )?([0-9.]+)px [^;\"]*")
_NEUTRAL = COLORS["neutral"]


def svg_of_page(svg: str, kind: str, prefix: str) -> str:
    """One drawing as an element of a page: scaled to its column, names of its own, colors from the style sheet."""
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<\?xml.*?\?>|<!DOCTYPE.*?>", "", svg, flags=re.DOTALL)
    box = _BOX.search(svg)[1]
    width, height = (float(number) for number in box.split()[2:])
    svg = _ROOT.sub("", svg, count=1)
    # Names hold for a whole page: what nothing refers to goes, the rest is told apart from the next figure's.
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'((?:xlink:)?href="#|url\(#)', lambda m: m[1].replace("xlink:", "") + prefix, svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' textLength="[^"]*" lengthAdjust="[^"]*"', "", svg)  # the page has the typeface that they stand in for
    svg = recolored(svg)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    head = (f'<svg class="ink {kind}" viewBox="{box}" style="aspect-ratio: {width:.0f} / {height:.0f}" '
            'stroke-linejoin="round" stroke-linecap="butt" aria-hidden="true" focusable="false">')  # fmt: skip
    return head + svg


def recolored(svg: str) -> str:
    """The same drawing with the style sheet's colors for the book's own, and the page's font.

    >>> recolored('<text style="font-size: 10px; font-family: DejaVu Sans; fill: #7a7f87">x</text>')
    '<text style="font-size: 10px; fill: var(--salnb-ink)">x</text>'
    >>> recolored('<path style="stroke: #d9591c"/>')
    '<path style="stroke: var(--salnb-sensitivity)"/>'
    """
    def of_words(found: re.Match) -> str:
        style = _SHORT_FONT.sub(lambda m: f"font-size: {m[2]}px" + (f"; font-weight: {m[1]}" if m[1] else ""), found[0])
        style = re.sub(r"font-family: [^;\"]*;? ?", "", style)
        return style.replace(_NEUTRAL, "var(--salnb-ink)")

    svg = _FORMULA.sub(flowing, svg)
    svg = re.sub(r"<(?:text|tspan)\b[^>]*>", of_words, svg)
    svg = re.sub(r'<g style="fill: [^"]*"[^>]*>\s*<text', of_words, svg)
    for name, value in COLORS.items():
        svg = svg.replace(value, f"var(--salnb-{name})")
    return svg


def flowing(found: re.Match) -> str:
    """A text with a formula as running text: Matplotlib sets each of its letters by the widths of another font.

    What has no word in it, such as the numbers on a logarithmic axis, keeps its places.
    """
    glyphs = []
    for x, y, style, letters in _GLYPHS.findall(found[2]):
        height = float(y.split()[0])
        for place, letter in zip(x.split(), html.unescape(letters), strict=False):
            glyphs.append((float(place), height, style, letter))
    glyphs.sort(key=lambda glyph: glyph[0])
    if not re.search(r"[^\W\d_]{3}", "".join(glyph[3] for glyph in glyphs)):
        return found[0]
    spans, before = "", 0.0
    for (y, style), run in groupby(glyphs, key=lambda glyph: glyph[1:3]):
        letters = "".join(glyph[3] for glyph in run).replace("\u00a0", " ")
        letters = re.sub(rf"(?<! )([{_RELATIONS}])(?! )", "\u2009\\1\u2009", letters)
        spans += f'<tspan dy="{y - before:.2f}" style="{style}">{html.escape(letters)}</tspan>'
        before = y
    return f"{found[1][:-1]} xml:space=\"preserve\">{spans}</text>"


def figure(svg: str, alt: str, prefix: str) -> str:
    """The wide and, where there is one, the narrow drawing, with one description."""
    phone = _PHONE.search(svg)
    drawings = svg_of_page(_PHONE.sub("", svg), "wide" if phone else "both", f"{prefix}w-")
    if phone:
        drawings += svg_of_page(phone[1], "phone", f"{prefix}p-")
    return f'<div class="ink-figure" role="img" aria-label="{html.escape(alt, quote=True)}">{drawings}</div>'


def set_figures_into_the_page(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Replace every SVG that a cell has shown by its text."""
    if app.builder.format != "html":
        return
    for number, image in enumerate(list(doctree.findall(nodes.image))):
        if not image.get("uri", "").endswith(".svg"):
            continue
        path = Path(app.srcdir) / image["uri"]
        if not path.is_file():
            continue
        text = figure(path.read_text(encoding="utf-8"), image.get("alt", ""), f"f{number}")
        image.replace_self(nodes.raw("", text, format="html"))
