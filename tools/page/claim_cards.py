"""The small cards of the claims in the chapters that measure them, and what the ledger's cards need on a page.

In a chapter a card is a Markdown cell of three pieces: `<div class="claim-card" data-claim="depth-300">`, a sentence with the
verdict and a link, which is what Jupyter, Colab and GitHub show, and `</div>`. On the book's page the card stands in its place.

.venv/bin/python -m tools.page.claim_cards      writes the sentences anew, after a verdict or a wording has changed
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from salnb.notebook.book_files import data_path, read_results
from salnb.notebook.claim_cards import small_card
from salnb.notebook.claims import ledger
from tools.notebooks import clean, dumps
from tools.tree import ROOT, notebooks, write_text

LEDGER = "book/appendix/claims"
OPENING = re.compile(r'<div class="claim-card" data-claim="([^"]*)">')
CELL = re.compile(OPENING.pattern + r"\n\n(.*?)\n\n</div>", re.DOTALL)
CARD = re.compile(r'<(?:article|aside) class="claim-card[^"]*" id="([^"]+)"')
FRAME, CLOSED = '<div class="claim-cards">', "</aside>"
LINK = re.compile(r'(<a class="claim-chapter" )?href="([^":#]+)\.ipynb(#[^"]*)?"(?:>([^<]*)</a>)?')


def sentence(entry: dict, page: str) -> str:
    """What stands in the place of a card where there are no cards; `page` is the page that it is for, as `book/theory/network`.

    >>> sentence({"id": "x", "claim": "It grows.", "verdict": "refuted"}, "book/theory/network")
    '*It grows.* **Refuted** by the rule of [the claims ledger](../appendix/claims.ipynb#claim-x).'
    """
    there = os.path.relpath(LEDGER, Path(page).parent)
    link = f"[the claims ledger]({there}.ipynb#claim-{entry['id']})"
    return f"*{entry['claim']}* **{entry['verdict'].capitalize()}** by the rule of {link}."


def cards_of(text: str) -> Iterator[tuple[str, str]]:
    """The cards in a Markdown text: the claim's id, and the sentence in its place."""
    yield from CELL.findall(text)


def cell_of(entry: dict, page: str) -> str:
    """The Markdown of a card."""
    return f'<div class="claim-card" data-claim="{entry["id"]}">\n\n{sentence(entry, page)}\n\n</div>'


def put_small_cards(app: Sphinx, doctree: nodes.document) -> None:
    """Replace each opening tag, its sentence and its closing tag by the card; the ledger's cards become places to link to."""
    docname, env = app.env.docname, app.env
    claims, measured = ledger(), read_results("claims")
    for opening in list(doctree.findall(nodes.raw)):
        found = OPENING.match(opening.astext().strip())
        if not found or opening.parent is None:
            continue
        if found[1] not in claims:
            logging.getLogger(__name__).warning("no claim %r in the ledger", found[1], location=opening)
            continue
        siblings, start = opening.parent.children, opening.parent.index(opening)
        end = next(i for i in range(start, len(siblings)) if siblings[i].astext().strip().endswith("</div>"))
        there = os.path.relpath(LEDGER, Path(docname).parent) + ".ipynb"
        card, before = small_card(claims[found[1]], measured.get(found[1]), there), siblings[start - 1] if start else None
        if isinstance(before, nodes.raw) and before.astext().endswith(f"{CLOSED}</div>"):  # cards in a row share a frame
            start, card = start - 1, before.astext().removesuffix("</div>").removeprefix(FRAME) + card
        opening.parent[start : end + 1] = [nodes.raw("", f"{FRAME}{card}</div>", format="html")]
    places = env.metadata[docname].setdefault("myst_slugs", {})
    for raw in doctree.findall(nodes.raw):
        for name in CARD.findall(raw.astext()):
            places.setdefault(name, (raw.line or 0, name, name))  # as MyST keeps a heading: line, id, text
            for source in ("claims.toml", "results/claims.json"):
                env.note_dependency(str(data_path(source)))


def lead_to_pages(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Let the links of the cards lead to pages instead of notebooks, under the chapter's own title."""
    if app.builder.format != "html":
        return

    def led(match: re.Match) -> str:
        chapter, path, anchor, words = match.groups(default="")
        target = Path(os.path.normpath(Path(docname).parent / path)).as_posix()
        if target not in app.env.titles:
            return match[0]
        address = f'{chapter}href="{app.builder.get_relative_uri(docname, target)}{anchor}"'
        if not words:
            return address
        return f"{address}>{app.env.titles[target].astext() if chapter else words}</a>"

    for raw in list(doctree.findall(nodes.raw)):
        if CARD.search(raw.astext()):
            raw.parent.replace(raw, nodes.raw("", LINK.sub(led, raw.astext()), format="html"))


def add_filters(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """The script of the filters, on the page that has a place for them."""
    if doctree is not None and any("ledger-filters" in raw.astext() for raw in doctree.findall(nodes.raw)):
        app.add_js_file("ledger.js", loading_method="defer")


def connect(app: Sphinx) -> None:
    """Called by the book's Sphinx extension."""
    app.connect("doctree-read", put_small_cards)
    app.connect("doctree-resolved", lead_to_pages)
    app.connect("html-page-context", add_filters)


def main() -> None:
    """Write the sentences of all cards anew."""
    claims = ledger()
    for path in notebooks():
        notebook = nbformat.read(path, as_version=4)
        page = path.relative_to(ROOT).with_suffix("").as_posix()
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = CELL.sub(lambda match: cell_of(claims[match[1]], page), cell.source)  # noqa: B023
        write_text(path, dumps(clean(notebook)))


if __name__ == "__main__":
    main()
