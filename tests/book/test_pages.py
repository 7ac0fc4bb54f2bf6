"""The built pages as files: complete, at home without a network, and well linked. `make book` builds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import pages as checks
from tools.tree import HTML, ROOT, pages

built = pytest.mark.skipif(not (ROOT / HTML / "index.html").is_file(), reason="no _build/html: run `make book` first")

GOOD = f"<article><h1 id='t'>T</h1><p>{'word ' * 60}</p><a href='#t'>t</a></article>"
OUTPUT = "<div class='cell'><div class='cell_output'>1</div></div>"
BUTTON = "<a class='btn-download-source-button' href='p.ipynb' download>.ipynb</a>"


@pytest.fixture
def page(tmp_path: Path):
    """Write a page, ask all questions about it, return the complaints."""

    def ask(body: str, *, notebook: bool = False) -> list[str]:
        (tmp_path / "p.html").write_text(f"<html><body>{body}</body></html>", encoding="utf-8")
        for function in (checks.soup, checks.anchors):
            function.cache_clear()
        return checks.complaints(tmp_path, "p", notebook=notebook)

    return ask


def test_a_good_page_gets_no_complaint(page, tmp_path: Path) -> None:
    assert page(GOOD) == []
    (tmp_path / "p.ipynb").write_text("def bring(")
    assert page(GOOD + OUTPUT + BUTTON, notebook=True) == []


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("<article><p>text</p></article>", "no title"),
        ("<article><h1>T</h1></article>", "characters of text"),
        (GOOD + "<script src='https://e.org/a.js'></script>", "e.org"),
        (GOOD + "<link rel='stylesheet' href='//e.org/a.css'>", "e.org"),
        (GOOD + "<style>@import 'https://e.org/a.css'; </style>", "e.org"),
        (GOOD + "<style>p {background: url(http://e.org/a.png)}</style>", "e.org"),
        (GOOD + "<script>import('https://e.org/a.js')</script>", "e.org"),
        (GOOD + "<a href='missing.html'>x</a>", "does not exist"),
        (GOOD + "<a href='p.html#nowhere'>x</a>", "no such place"),
        (GOOD.replace("</article>", "<img src='p.html'></article>"), "no alt text"),
        (GOOD.replace("</article>", "<p>| a | b | |---|---| | 1 | 2 |</p></article>"), "table"),
        (GOOD.replace("</article>", "<p>| a | b | |—|—| | 1 | 2 |</p></article>"), "table"),
        (GOOD.replace("</article>", "<table><tr><th>$3\\cdot10^{-5}$</th></tr></table></article>"), "formula"),
    ],
)
def test_each_complaint_is_made(page, body: str, word: str) -> None:
    found = page(body)
    assert len(found) == 1 and word in found[0]


def test_a_notebook_must_show_something_and_no_error(page, tmp_path: Path) -> None:
    (tmp_path / "p.ipynb").write_text("def bring(")
    assert "no output" in page(GOOD + BUTTON, notebook=True)[0]
    broken = "<div class='cell'><div class='cell_output'><div class='traceback'>E</div></div></div>"
    assert "error" in page(GOOD + broken + BUTTON, notebook=True)[0]
    assert page(GOOD + broken.replace("'cell'", "'cell tag_raises-exception'") + BUTTON, notebook=True) == []


@pytest.mark.parametrize(
    ("button", "content", "word"),
    [
        ("", "def bring(", "no download button"),
        (BUTTON, "cells", "without the library"),
        (BUTTON.replace(" download", ""), "def bring(", "show the notebook's text"),
    ],
)
def test_the_download_button_must_give_a_notebook_that_runs_alone(page, tmp_path: Path, button, content, word) -> None:
    (tmp_path / "p.ipynb").write_text(content)
    (complaint,) = page(GOOD + OUTPUT + button, notebook=True)
    assert word in complaint


def test_a_missing_page_is_noticed(tmp_path: Path) -> None:
    assert checks.complaints(tmp_path, "nothing", notebook=True) == ["nothing: the page was not built"]


@built
@pytest.mark.parametrize("name", pages())
def test_built_page(name: str) -> None:
    notebook = (ROOT / f"{name}.ipynb").is_file()
    assert checks.complaints(ROOT / HTML, name, notebook=notebook) == []


@built
def test_first_page_leads_to_the_book() -> None:
    assert checks.broken_links(ROOT / HTML / "index.html") == []
