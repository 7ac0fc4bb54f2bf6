"""The book's own Sphinx extension: still pictures for widgets, buttons from the address, anchors, no foreign scripts."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

from tools.page import (
    claim_cards,
    colored_words,
    first_screen,
    fonts,
    gallery,
    hover,
    ink,
    margin_notes,
    plain_code,
    reachable,
    typography,
)
from tools.page.playgrounds import add_playgrounds
from tools.tree import settings

COLAB = "https://colab.research.google.com"
# sphinx-thebe adds this to every page. Without a kernel server behind it there is nothing to start, its script comes
# from a CDN, and the second copy of its constants is an error in the browser's console.
UNWANTED = ("thebe",)
ANCHOR = re.compile(r'<a id="([^"]+)">')


def address_options(address: str, branch: str) -> dict[str, Any]:
    """The theme options that follow from the address.

    >>> address_options("", "main")
    {}
    >>> address_options("https://github.com/a/b", "main")["launch_buttons"]
    {'colab_url': 'https://colab.research.google.com'}
    """
    if not address:
        return {}
    options: dict[str, Any] = {
        "repository_url": address,
        "repository_branch": branch,
        "path_to_docs": "",
        "use_repository_button": True,
        "use_issues_button": True,
    }
    if address.startswith("https://github.com/"):  # the only host whose notebooks Colab opens by address
        options["launch_buttons"] = {"colab_url": COLAB}
    return options


def read_address(app: Sphinx, config: Config) -> None:
    """Put the address from pyproject.toml into the theme's options."""
    setting = settings(Path(app.srcdir))
    options = address_options(setting["repository"].rstrip("/"), setting["branch"])
    config.html_theme_options = {**config.html_theme_options, **options}


def name_anchors(app: Sphinx, doctree: nodes.document) -> None:
    """Let Markdown links lead to `<a id="...">`, as they do on GitHub; MyST by itself knows headings only."""
    places = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
    for raw in doctree.findall(nodes.raw):
        for name in ANCHOR.findall(raw.astext()) if raw.get("format") == "html" else ():
            places.setdefault(name, (raw.line or 0, name, name))  # as MyST keeps a heading: line, id, text


def drop_unwanted_scripts(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """Take sphinx-thebe's scripts off the page."""

    def unwanted(script: Any) -> bool:
        attributes = getattr(script, "attributes", {})
        text = f"{getattr(script, 'filename', script)} {attributes.get('body', '')}".lower()
        return any(word in text for word in UNWANTED)

    context["script_files"] = [script for script in context.get("script_files", []) if not unwanted(script)]


def name_download(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """Say what the download button gives: a notebook that runs alone (`tools/take_home.py` puts it there)."""
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if button.get("label") == "download-source-button" and button.get("text") == ".ipynb":
                button["tooltip"] = "This chapter with the library inside: runs alone, also on Colab"


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    os.environ.setdefault("SALNB_STATIC", "1")  # for the kernels that myst-nb starts
    app.connect("config-inited", read_address)
    app.connect("doctree-read", name_anchors)
    app.connect("doctree-resolved", first_screen.lead_with_the_best_figure, priority=600)
    app.connect("doctree-resolved", colored_words.color_words, priority=610)
    app.connect("doctree-resolved", typography.hold_together, priority=620)
    app.connect("doctree-resolved", plain_code.plain_code)
    app.connect("doctree-resolved", ink.set_figures_into_the_page, priority=700)
    app.connect("html-page-context", first_screen.link_to_the_code)
    app.connect("html-page-context", hover.explain_links)
    app.connect("html-page-context", margin_notes.number_notes)
    app.connect("build-finished", fonts.serve)
    app.connect("html-page-context", add_playgrounds)
    app.connect("html-page-context", drop_unwanted_scripts, priority=900)  # after everyone has added theirs
    app.connect("html-page-context", name_download, priority=901)
    claim_cards.connect(app)
    reachable.setup(app)
    gallery.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
