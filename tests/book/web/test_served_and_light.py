"""Every page from a server: no error, no request that leaves the machine, and at most 1.5 MB beyond what the pages share.

`tests/book/test_browser.py` asks for errors and requests straight from the folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

from tests.book.web.browser import drawn, needs_chromium, needs_pages, served
from tools.tree import HTML, ROOT, pages

pytestmark = needs_chromium
HEAVIEST = 1.5e6  # bytes of one page: its HTML and what it alone loads, before any compression
# The gallery shows the figures of all other pages, and a reader who scrolls through it sees the whole book: of its pictures only
# those count that are loaded when it is opened.
BY_AND_BY = {"book/appendix/gallery"}
PICTURES = {"img": "src", "source": "src", "object": "data", "video": "src"}


def loaded(context: Any, origin: str, name: str) -> dict[str, list[str]]:
    """What happens when a page is opened: paths under `origin`, other addresses, errors."""
    page, requests, errors = context.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("response", lambda answer: errors.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    page.goto(f"{origin}/{name}.html", wait_until="load")
    drawn(page)
    page.close()
    paths = {unquote(urlsplit(url).path).lstrip("/") for url in requests if url.startswith(f"{origin}/")}
    foreign = [url for url in requests if not url.startswith((f"{origin}/", "data:", "blob:"))]
    return {"paths": sorted(paths), "foreign": foreign, "errors": errors}


def pictures(html: Path, name: str) -> set[str]:
    """Pictures that a page names, also those that it loads only when a reader comes near them."""
    path = html / f"{name}.html"
    found = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    named = [tag[attribute] for kind, attribute in PICTURES.items() for tag in found.find_all(kind) if tag.get(attribute)]
    local = [path.parent / unquote(urlsplit(source).path) for source in named if not urlsplit(source).scheme]
    return {file.resolve().relative_to(html.resolve()).as_posix() for file in local}


def weight(html: Path, name: str, paths: list[str], shared: set[str]) -> int:
    """Bytes of a page and of all that it loads and not every page does."""
    later = set() if name in BY_AND_BY else pictures(html, name)
    own = ({f"{name}.html", *paths} | later) - shared
    return sum((html / path).stat().st_size for path in own if (html / path).is_file())


@pytest.fixture(scope="module")
def visits(context) -> Iterator[dict[str, dict[str, list[str]]]]:
    """What each page loaded."""
    with served(ROOT / HTML) as origin:
        yield {name: loaded(context, origin, name) for name in pages()}


@pytest.fixture(scope="module")
def shared(visits) -> set[str]:
    """What every page with formulas loads: a reader's browser fetches it once for the whole book."""
    mathematical = [set(visit["paths"]) for visit in visits.values() if any("mathjax" in path.lower() for path in visit["paths"])]
    return set.intersection(*mathematical)


@needs_pages
@pytest.mark.parametrize("name", pages())
def test_page_from_a_server(visits, shared, name: str) -> None:
    assert visits[name]["errors"] == []
    assert visits[name]["foreign"] == []
    assert f"{name}.html" in visits[name]["paths"]
    assert weight(ROOT / HTML, name, visits[name]["paths"], shared) <= HEAVIEST


def test_a_bad_page_is_seen_as_one(context, tmp_path: Path) -> None:
    (tmp_path / "big.png").write_bytes(b"0" * 3000)
    (tmp_path / "late.png").write_bytes(b"0" * 500)
    (tmp_path / "shared.css").write_text("p {color: black}")
    html = (
        "<link rel='stylesheet' href='shared.css'><img src='big.png' alt='a'><div style='height: 9000px'></div>"
        "<img src='late.png' loading='lazy' alt='a'><script src='https://example.invalid/a.js'></script>"
        "<script src='gone.js'></script><script>throw new Error('broken')</script>"
    )
    (tmp_path / "bad.html").write_text(html)
    with served(tmp_path) as origin:
        seen = loaded(context, origin, "bad")
    assert seen["foreign"] == ["https://example.invalid/a.js"]
    assert any("404" in error for error in seen["errors"]) and any("broken" in error for error in seen["errors"])
    assert "late.png" not in seen["paths"]  # and its weight counts all the same
    assert weight(tmp_path, "bad", seen["paths"], {"shared.css"}) == len(html) + 3500
