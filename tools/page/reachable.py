"""What the theme leaves unsaid to who cannot see: names for the arrows in the list of pages, and signatures that are no lists."""

from __future__ import annotations

import re
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


_LINES = re.compile(r"<dl>\s*((?:<dd>(?:(?!</?d[ld]>).)*</dd>\s*)+)</dl>", re.DOTALL)


def with_plain_signatures(html: str) -> str:
    """A page's text, in which the lines of a long signature are lines, and no list of meanings that lacks its words.

    >>> with_plain_signatures("<dl>\\n<dd><em>n_in</em>,</dd>\\n</dl>")
    '<span class="sig-lines"><span><em>n_in</em>,</span>\\n</span>'
    """
    def lines(found: re.Match) -> str:
        return f'<span class="sig-lines">{found[1].replace("<dd>", "<span>").replace("</dd>", "</span>")}</span>'

    return _LINES.sub(lines, html)


def plain_signatures(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """Sphinx calls this for every page that it writes."""
    if 'class="sig' in context.get("body", ""):
        context["body"] = with_plain_signatures(context["body"])


def name_arrows(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """Let the function with which the theme's templates write the list of pages name the arrows."""
    write: Callable[..., Any] | None = context.get("generate_toctree_html")
    if write is not None:
        context["generate_toctree_html"] = lambda *args, **keywords: with_names(str(write(*args, **keywords)))


def setup(app: Sphinx) -> None:
    """`tools.sphinx_ext` calls this."""
    app.connect("html-page-context", name_arrows, priority=902)
    app.connect("html-page-context", plain_signatures, priority=903)
