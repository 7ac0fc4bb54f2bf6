"""Symbols and words: links that arrive, code names that exist, chapters that lead there."""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter
from functools import cache
from pathlib import Path

import nbformat
import pytest
import torch
from myst_parser.mdit_to_docutils.base import default_slugify

import salnb
from tools.tree import ROOT, pages

PAGE = ROOT / "book/appendix/symbols.md"
ANCHOR = re.compile(r'<a id="([^"]+)"></a>')
LINK = re.compile(r"\]\(([^)#\s]+)#([^)\s]+)\)")
CODE = re.compile(r"(?P<path>\w+(?:\.\w+)*)(?:\((?P<argument>\w+)(?:=\"(?P<value>\w+)\")?\))?")
FILES = [path for page in pages() for end in (".ipynb", ".md") if (path := ROOT / f"{page}{end}").is_file()]
CHAPTERS = [path for path in FILES if path.parent.name not in ("book", "appendix")]


@cache
def prose(path: Path) -> str:
    """The Markdown of a page, without code blocks."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n\n".join(c.source for c in nbformat.reads(text, as_version=4).cells if c.cell_type == "markdown")
    return re.sub(r"^(`{3,}|~{3,}).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)


@cache
def places(path: Path) -> frozenset[str]:
    """What `#...` may name on a page: its headings, as MyST and GitHub spell them, and its anchors."""
    slugs: set[str] = set()
    for title in re.findall(r"^#{1,4} +(.+?) *$", prose(path), flags=re.MULTILINE):
        slug, n = default_slugify(re.sub(r"\$[^$]*\$|[*`]", "", title)), 1
        while slug in slugs:
            slug, n = f"{slug}-{n}", n + 1
        slugs.add(slug)
    cards = (re.findall(r'\bid="(claim-[^"]+)"', output) for output in shown(path))
    return frozenset(slugs | set(ANCHOR.findall(prose(path))) | {place for card in cards for place in card})


def shown(path: Path) -> list[str]:
    """The HTML that a notebook's cells have shown: the cards of the ledger have anchors of their own."""
    if path.suffix != ".ipynb":
        return []
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    return [data["text/html"] for data in outputs if "text/html" in data]


def rows() -> list[list[str]]:
    """The cells of every table row that stands for a symbol."""
    lines = [line for line in prose(PAGE).splitlines() if line.startswith('| <a id="sym-')]
    return [re.split(r"\s*\|\s*", line.strip("| ")) for line in lines]


def resolve(name: str) -> None:
    """Find `SAL`, `SAL.sensitivity`, `SAL(lr)`, `SAL(rule="one_sided")`, `claims.check` or `nn.Linear(bias)`, or raise."""
    match = CODE.fullmatch(name)
    assert match, f"{name}: not a code name"
    first, *rest = match["path"].split(".")
    found = torch.nn if first == "nn" else getattr(salnb, first, None) or importlib.import_module(f"salnb.{first}")
    for part in rest:
        fields = getattr(found, "__dataclass_fields__", getattr(found, "__annotations__", {}))
        found = getattr(found, part) if hasattr(found, part) else fields[part]
    if match["argument"]:
        assert match["argument"] in inspect.signature(found).parameters, f"{name}: no such argument"
        assert not match["value"] or f'"{match["value"]}"' in inspect.getdoc(found), f"{name}: no such value"


@pytest.mark.parametrize("name", ["SAL(rate)", "SAL.average", 'SAL(rule="two_sided")', "gain", "nn.Linear(weight)", "a b"])
def test_a_wrong_code_name_is_noticed(name: str) -> None:
    with pytest.raises((AssertionError, AttributeError, KeyError, ImportError)):
        resolve(name)


@pytest.mark.parametrize("name", sorted({n for row in rows() if len(row) == 4 for n in re.findall(r"`([^`]+)`", row[1])}))
def test_code_names_exist(name: str) -> None:
    resolve(name)


def test_rows_and_words_are_complete_and_in_order() -> None:
    assert len(rows()) > 50 and {len(row) for row in rows()} == {2, 4} and all(LINK.search(row[-1]) for row in rows())
    entries = re.findall(r'^<a id="word-[^"]+"></a>\*\*(.+?)\.\*\*(.+)$', prose(PAGE), flags=re.MULTILINE)
    words = [word.lower() for word, _ in entries]
    assert len(words) == prose(PAGE).count('<a id="word-') > 50 and words == sorted(words)
    assert all(LINK.search(text) for _, text in entries)
    assert max(Counter(ANCHOR.findall(prose(PAGE))).values()) == 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_links_to_a_place_arrive(path: Path) -> None:
    targets = {(file, place): (path.parent / file).resolve() for file, place in LINK.findall(prose(path)) if ":" not in file}
    assert not [link for link, target in targets.items() if not target.is_file() or link[1] not in places(target)]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_leads_to_the_page(path: Path) -> None:
    anchors = [place for file, place in LINK.findall(prose(path)) if (path.parent / file).resolve() == PAGE]
    assert len(anchors) >= 3 and len(anchors) == len(set(anchors))
