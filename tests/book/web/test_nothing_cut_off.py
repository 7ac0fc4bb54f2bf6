"""Every cell, output, table, formula and figure fits: at 1,280 pixels whole, on a phone with nothing that scrolls but code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.book.web.browser import NARROW, WIDE, address, drawn, needs_chromium, needs_pages, opened
from tools.tree import HTML, ROOT, pages

pytestmark = needs_chromium
# Lines of code are at most 88 characters long: that is wider than a phone, and broken lines of code are worse than a scroll bar.
# On a phone, signatures of the library are code, too.
# What a cell prints is no code, and must wrap.
CODE = ":is(pre, div.highlight, dt.sig):not(.cell_output *)"


def complaints(page: Any, *, narrow: bool) -> list[str]:
    """What does not fit on an open page."""
    return page.evaluate("(passed) => [...measure.sideways(), ...measure.cutOff(passed)]", CODE if narrow else "")


@needs_pages
@pytest.mark.parametrize("name", pages())
def test_everything_on_a_page_fits(context, name: str) -> None:
    with opened(context, address(name), WIDE) as page:
        # What is folded away must fit, too, once a reader unfolds it.
        page.evaluate("document.querySelectorAll('.bd-article details').forEach((e) => { e.open = true; })")
        wide = complaints(page, narrow=False)
        page.set_viewport_size(NARROW)
        drawn(page)
        assert {"wide": wide, "narrow": complaints(page, narrow=True)} == {"wide": [], "narrow": []}


BAD = {
    "a long line of code": "<pre style='overflow: auto'>" + "x" * 400 + "</pre>",
    "an output that is cut": "<div style='overflow: hidden; white-space: nowrap'>" + "word " * 300 + "</div>",
    "a wide table": "<div style='overflow: auto'><table><tr><td style='min-width: 2000px'>x</td></tr></table></div>",
    "a wide formula": "<div class='math'><mjx-container><mjx-math style='display: inline-block; width: 1400px'>x"
    "</mjx-math></mjx-container></div>",
    "a wide picture": "<p><img width='1400' height='10' alt='a' src='data:image/gif;base64,R0lGODlhAQABAAAAACw='></p>",
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_what_does_not_fit_is_seen(context, tmp_path: Path, body: str, viewport: dict) -> None:
    (tmp_path / "bad.html").write_text(f"<body><article class='bd-article' style='max-width: 800px'>{body}</article></body>")
    with opened(context, (tmp_path / "bad.html").as_uri(), viewport) as page:
        assert page.evaluate("measure.cutOff('')")


def test_code_may_scroll_on_a_phone(context, tmp_path: Path) -> None:
    (tmp_path / "good.html").write_text(f"<article class='bd-article'><p>word</p>{BAD['a long line of code']}</article>")
    with opened(context, (tmp_path / "good.html").as_uri(), NARROW) as page:
        assert complaints(page, narrow=True) == []
        assert complaints(page, narrow=False) != []


def test_a_page_that_scrolls_sideways_is_seen(context, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text("<article class='bd-article'><div style='width: 3000px'>wide</div></article>")
    with opened(context, (tmp_path / "bad.html").as_uri(), WIDE) as page:
        assert "scrolls sideways" in complaints(page, narrow=False)[0]


def with_matrices() -> list[str]:
    """The built pages that show a matrix."""
    files = {name: ROOT / HTML / f"{name}.html" for name in pages()}
    return [name for name, file in files.items() if file.is_file() and "begin{pmatrix}" in file.read_text("utf-8")]


@needs_pages
@pytest.mark.parametrize("name", with_matrices())
def test_a_matrix_keeps_its_rows_on_a_phone(context, name: str) -> None:
    """Lines that are aligned with each other flow on a phone; a matrix within such a line does not."""
    with opened(context, address(name), NARROW) as page:
        shown = page.evaluate("""() => [...document.querySelectorAll("mjx-mtable")].filter((m) => m.previousElementSibling)
          .flatMap((m) => [...m.querySelectorAll("mjx-mtr")].map((row) => getComputedStyle(row).display))""")
        assert shown and set(shown) == {"table-row"}
