"""What is wrong with the rendered pages: pure questions about files, each answered with a list of complaints.

`make book` asks them after every build, `tests/book` again in a test.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

LEAST_TEXT = 200  # characters on a page that is more than a heading
LOADED = {
    "script": "src",
    "img": "src",
    "source": "src",
    "iframe": "src",
    "video": "src",
    "embed": "src",
    "object": "data",
}
LOADED_LINKS = {"stylesheet", "preload", "icon", "shortcut", "modulepreload", "manifest", "preconnect", "dns-prefetch"}
CSS_ADDRESS = re.compile(r"(?:@import\s+|url\()\s*['\"]?((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)
SCRIPT_ADDRESS = re.compile(r"(?:import\s*\(?|\.src\s*=|fetch\()\s*['\"`]((?:https?:)?//[^'\"`]+)")


@cache
def soup(path: Path) -> BeautifulSoup:
    """The parsed page; kept, because several questions are asked of each."""
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def foreign(address: str) -> bool:
    """Whether loading `address` would leave the machine.

    >>> foreign("https://example.org/a.js"), foreign("//example.org/a.js"), foreign("../_static/a.js")
    (True, True, False)
    """
    return address.startswith(("http://", "https://", "//"))


def article(page: BeautifulSoup) -> Tag | None:
    """The part of a page that the author wrote."""
    return page.select_one("article.bd-article") or page.select_one("article")


def thin(path: Path) -> list[str]:
    """A page that is missing, has no title, or says nothing."""
    if not path.is_file():
        return ["the page was not built"]
    text = article(soup(path))
    if text is None or text.find("h1") is None:
        return ["no title"]
    length = len(" ".join(text.get_text(" ").split()))
    return [f"only {length} characters of text"] if length < LEAST_TEXT else []


def unexecuted(path: Path) -> list[str]:
    """A page made from a notebook that shows no output, or an error."""
    page = soup(path)
    complaints = [] if page.select_one(".cell_output") else ["made from a notebook, but shows no output"]
    # an error that the chapter shows on purpose carries a tag that says so
    if page.select_one(".cell:not(.tag_raises-exception) .cell_output :is(.traceback, .stderr)"):
        complaints.append("shows an error or a warning as output")
    return complaints


def loads_from_elsewhere(path: Path) -> list[str]:
    """Scripts, styles, fonts and pictures that the page would fetch from the network."""
    page, found = soup(path), []
    for name, attribute in LOADED.items():
        found += [tag[attribute] for tag in page.find_all(name) if foreign(tag.get(attribute, ""))]
    for tag in page.find_all("link", href=True):
        if foreign(tag["href"]) and LOADED_LINKS & set(tag.get("rel", [])):
            found.append(tag["href"])
    for tag in page.find_all("style"):
        found += CSS_ADDRESS.findall(tag.get_text())
    for tag in page.find_all("script"):
        found += SCRIPT_ADDRESS.findall(tag.get_text())
    for sheet in page.find_all("link", rel="stylesheet"):
        target = resolve(path, sheet["href"])
        if target.is_file():
            found += CSS_ADDRESS.findall(target.read_text(encoding="utf-8"))
    return [f"loads {address} from the network" for address in found]


def resolve(path: Path, address: str) -> Path:
    """The file that a relative `address` on the page `path` points at."""
    inside = unquote(urlsplit(address).path)
    target = (path.parent / inside).resolve() if inside else path.resolve()
    return target / "index.html" if target.is_dir() else target


@cache
def anchors(path: Path) -> frozenset[str]:
    """Everything on a page that `#...` can point at."""
    page = soup(path)
    named = {tag["name"] for tag in page.find_all("a", attrs={"name": True})}
    return frozenset(tag["id"] for tag in page.find_all(id=True)) | named


def broken_links(path: Path) -> list[str]:
    """Relative addresses that lead to no file, or to no such place in it."""
    complaints = []
    for tag, attribute in (("a", "href"), ("img", "src"), ("script", "src"), ("link", "href")):
        for address in {element.get(attribute) for element in soup(path).find_all(tag)} - {None, "", "#"}:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = resolve(path, address)
            if not target.is_file():
                complaints.append(f"{tag} points at {address}, which does not exist")
            elif parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in anchors(target):
                complaints.append(f"{tag} points at {address}, but that page has no such place")
    return sorted(complaints)


def without_alt(path: Path) -> list[str]:
    """Pictures in the text that say nothing to who cannot see them."""
    text = article(soup(path))
    pictures = text.find_all("img") if text else []
    return [f"no alt text on {tag.get('src', '')[:80]}" for tag in pictures if not tag.get("alt", "").strip()]


def raw_markdown(path: Path) -> list[str]:
    """Markdown tables and formulas that were printed instead of drawn."""
    page = soup(path)
    text = "\n".join(paragraph.get_text() for paragraph in page.find_all("p"))
    table = re.search(r"\|\s*(-{3,}|—)\s*\|", text)
    said = [part for part in page.find_all(string=True) if not part.find_parent(["pre", "code", "script", "style"])]
    formula = next(filter(None, (re.search(r"\$[^$]*[\\^_][^$]*\$", part) for part in said)), None)
    return ["a Markdown table was left as a row of bars"] * bool(table) + (
        [f"a formula was left as it was written: {formula[0]}"] if formula else [])  # fmt: skip


def download(path: Path) -> list[str]:
    """The download button of a notebook's page gives the file that carries the library."""
    button = soup(path).select_one("a.btn-download-source-button[href]")
    if button is None:
        return ["no download button"]
    target = resolve(path, button["href"])
    if not target.is_file():
        return [f"the download button points at {button['href']}, which does not exist"]
    if target.suffix == ".ipynb" and not button.has_attr("download"):
        return ["the download button would show the notebook's text instead of saving it"]
    carried = target.suffix == ".ipynb" and "def bring(" in target.read_text(encoding="utf-8")
    return [] if carried else [f"the download button gives {target.name} without the library inside"]


def complaints(html: Path, page: str, *, notebook: bool) -> list[str]:
    """All that is wrong with one page of the table of contents."""
    path = html / f"{page}.html"
    found = thin(path)
    if path.is_file():
        found += unexecuted(path) + download(path) if notebook else []
        found += loads_from_elsewhere(path) + broken_links(path) + without_alt(path) + raw_markdown(path)
    return [f"{page}: {complaint}" for complaint in found]
