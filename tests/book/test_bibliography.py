"""The bibliography: everything that a page cites is in it, can be found, and has a subject under which the page lists it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from pybtex.database import BibliographyData, parse_file

from tools.tree import ROOT

CITED = re.compile(r"\]\(https?://(?:dx\.)?(doi|arxiv)\.org/(?:abs/)?([^)\s]+)\)", re.IGNORECASE)
PAGES = sorted(path for end in ("*.ipynb", "*.md") for path in (ROOT / "book").rglob(end) if "checkpoint" not in path.stem)


@pytest.fixture(scope="module")
def bibliography() -> BibliographyData:
    return parse_file(ROOT / "book/references.bib")  # a key that stands twice raises


def markdown(path: Path) -> str:
    """The prose of a chapter or page."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n\n".join(cell.source for cell in nbformat.reads(text, as_version=4).cells if cell.cell_type == "markdown")
    return text


def cited(text: str) -> set[str]:
    """The DOIs and arXiv numbers that a page links to.

    >>> sorted(cited("[a](https://doi.org/10.1/A%3Cb) and [c](https://arxiv.org/abs/2012.13134)"))
    ['10.1/a<b', '2012.13134']
    """
    return {unquote(number).lower() for _, number in CITED.findall(text)}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_what_a_page_cites_is_in_the_bibliography(path: Path, bibliography: BibliographyData) -> None:
    text = markdown(path)
    known = {entry.fields.get(field, "").lower() for entry in bibliography.entries.values() for field in ("doi", "eprint")}
    assert not cited(text) - known


def test_every_entry_is_cited_in_a_chapter(bibliography: BibliographyData) -> None:
    """A source that no page leads to is decoration."""
    text = unquote("\n".join(markdown(path) for path in PAGES if path.stem != "bibliography")).lower()
    idle = []
    for key, entry in bibliography.entries.items():
        numbers = [entry.fields[field].lower() for field in ("doi", "eprint", "url") if field in entry.fields]
        # a number must not be the beginning of a longer one
        if not any(re.search(re.escape(number) + r"(?![\w.]\w)", text) for number in numbers):
            idle.append(key)
    assert not idle


def test_every_entry_can_be_found_and_has_a_subject(bibliography: BibliographyData) -> None:
    page = (ROOT / "book/appendix/bibliography.md").read_text(encoding="utf-8")
    subjects = re.findall(r'^:filter: keywords % "(\w+)"$', page, flags=re.MULTILINE)
    assert len(subjects) == len(set(subjects)) > 1
    for key, entry in bibliography.entries.items():
        assert {"doi", "eprint", "url"} & set(entry.fields), f"{key}: where is it?"
        assert entry.fields.get("keywords") in subjects, f"{key}: its keyword is none of {subjects}"


def test_a_citation_is_seen() -> None:
    assert cited("[a](https://doi.org/10.1/A%3Cb) and [c](https://arxiv.org/abs/2012.13134)") == {"10.1/a<b", "2012.13134"}
