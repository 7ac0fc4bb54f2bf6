"""The figures of every page as shown: words of 11 pixels and contrast 4.5 that do not touch, lines of contrast 3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.book.web.browser import NARROW, WIDE, address, drawn, needs_chromium, needs_pages, opened
from tools.tree import pages

pytestmark = needs_chromium
SIZE, APART = 11, 3  # pixels
WORDS, LINES = 4.5, 3.0  # contrast as WCAG 2 defines it: of words (level AA), of graphical objects


def sizes(page: Any) -> list[str]:
    """Words that are too small or cut or touch others, and cells that drew something and show nothing."""
    asked = f"smallWords({SIZE}) clippedWords() touchingWords({APART}) emptyFigures()".split()
    return page.evaluate(f"[{', '.join(f'...measure.{question}' for question in asked)}]")


def contrasts(page: Any) -> list[str]:
    """Words and lines that are too faint."""
    return page.evaluate(f"[...measure.faintWords({WORDS}), ...measure.faintLines({LINES})]")


@needs_pages
@pytest.mark.parametrize("name", pages())
def test_figures_of_a_page(context, name: str) -> None:
    with opened(context, address(name), WIDE) as page:
        found = {"light": contrasts(page), "wide": sizes(page)}
        page.emulate_media(color_scheme="dark")
        drawn(page)
        found["dark"] = contrasts(page)
        page.set_viewport_size(NARROW)
        drawn(page)
        found["narrow"] = sizes(page)
    assert {place: complaints for place, complaints in found.items() if complaints} == {}


STYLE = (
    "<style>html {--salnb-ink: #222; --salnb-gradient: #aaa; --salnb-exponent: #2f6690} "
    "body {background: #fff; font: 16px sans-serif} @media (max-width: 500px) {.wide {display: none}}</style>"
)
GOOD = (
    "<div class='cell_output'><svg class='ink' width='400' viewBox='0 0 400 200'>"
    "<text x='50' y='100' style='font-size: 11px' fill='#333'>word<tspan style='font-size: 8px'>i</tspan></text>"
    "<path d='M0 0 L400 200' style='stroke: #2f6690; stroke-opacity: 0.1'/></svg></div>"
)
BAD = {
    "px": GOOD.replace("font-size: 11px", "font-size: 10px"),
    "contrast": GOOD.replace("#333", "#999"),
    "a line in": GOOD.replace("stroke: #2f6690", "stroke: #aaa"),
    "touches": GOOD.replace("<path", "<text x='70' y='104' font-size='12' fill='#333'>other</text><path"),
    "is cut": GOOD.replace("x='50'", "x='395'"),
    "shows no picture": "<div class='cell_output'><svg class='ink' style='display: none'></svg></div>",
}


def ask(context: Any, path: Path, body: str, viewport: dict = WIDE) -> list[str]:
    """All complaints about a page with this body."""
    path.write_text(f"{STYLE}<body>{body}</body>")
    with opened(context, path.as_uri(), viewport) as page:
        return sizes(page) + contrasts(page)


def test_a_good_figure_gets_no_complaint(context, tmp_path: Path) -> None:
    assert ask(context, tmp_path / "good.html", GOOD) == []


APART_FROM_IT = ("x='70' y='118'", "x='15' y='100'", "x='70' y='70' transform='rotate(-90 70 70)'")


@pytest.mark.parametrize("place", APART_FROM_IT, ids=["below", "before", "upright"])
def test_words_that_stand_near_each_other_do_not_touch(context, tmp_path: Path, place: str) -> None:
    near = GOOD.replace("<path", f"<text {place} font-size='12' fill='#333'>ones</text><path")
    assert ask(context, tmp_path / "good.html", near) == []


@pytest.mark.parametrize(("word", "body"), BAD.items(), ids=BAD.keys())
def test_each_complaint_is_made(context, tmp_path: Path, word: str, body: str) -> None:
    (complaint,) = ask(context, tmp_path / "bad.html", body)
    assert word in complaint


def test_opacity_counts_and_so_does_the_scale(context, tmp_path: Path) -> None:
    faint = GOOD.replace("<text", "<g opacity='0.4'><text").replace("</text>", "</text></g>")
    assert "contrast" in ask(context, tmp_path / "bad.html", faint)[0]
    half = GOOD.replace("width='400'", "width='200'")
    assert "5.5 px" in ask(context, tmp_path / "bad.html", half)[0]


def test_each_width_is_asked_about_its_own_version(context, tmp_path: Path) -> None:
    both = GOOD.replace("class='ink'", "class='ink wide'") + GOOD.replace("11px", "9px")
    assert len(ask(context, tmp_path / "bad.html", both, WIDE)) == 1
    gone = GOOD.replace("class='ink'", "class='ink wide'")
    assert "no picture" in ask(context, tmp_path / "bad.html", gone, NARROW)[0]


def test_contrast_is_that_of_wcag(context, tmp_path: Path) -> None:
    # Black on white is 21 by definition; 4.54 for #767676 is the usual example of the grayest gray that passes.
    (tmp_path / "page.html").write_text("<p>text</p>")
    with opened(context, (tmp_path / "page.html").as_uri()) as page:
        assert page.evaluate("measure.contrast([0, 0, 0], [255, 255, 255])") == pytest.approx(21, abs=1e-9)
        assert page.evaluate("measure.contrast([118, 118, 118], [255, 255, 255])") == pytest.approx(4.54, abs=0.005)
        assert page.evaluate("measure.laidOver([['white', 1], ['black', 0.4]])") == [153, 153, 153]
