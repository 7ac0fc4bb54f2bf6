"""What the theme leaves unsaid to who cannot see: the arrows beside a chapter's name in the list of pages get a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bs4 import BeautifulSoup
from sphinx.application import Sphinx


def with_names(html: str) -> str:
    """The list of pages, in which each arrow that unfolds a chapter says whose pages it shows.

    >>> with_names('<li><a href="#">Chaos</a><details><summary></summary></details></li>')
    '<li><a href="#">Chaos</a><details><summary aria-label="Pages under Chaos"></summary></details></li>'
    """
    page = BeautifulSoup(html, "html.parser")
    for arrow in page.select("details > summary"):
        link = arrow.find_parent("li").find("a")
        arrow["aria-label"] = f"Pages under {' '.join(link.get_text().split())}"
    return str(page)


def name_arrows(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """Let the function with which the theme's templates write the list of pages name the arrows."""
    write: Callable[..., Any] | None = context.get("generate_toctree_html")
    if write is not None:
        context["generate_toctree_html"] = lambda *args, **keywords: with_names(str(write(*args, **keywords)))


def setup(app: Sphinx) -> None:
    """`tools.sphinx_ext` calls this."""
    app.connect("html-page-context", name_arrows, priority=902)
