"""Playgrounds, figures that answer without a kernel: their scripts and style go only to the pages that hold one.

In a chapter a playground is `<div class="playground" data-playground="NAME">sentence: what the still shows</div>`. Jupyter and
Colab show the sentence. On the book's page the still takes its place for readers without scripts, with what the sentence
says after its first colon as the description; `core.js` keeps it for print.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from tools.tree import ROOT

FOLDER = ROOT / "book" / "web" / "playgrounds"
STATIC = "playgrounds"  # book/web is the site's _static
PLACE = re.compile(r'(<div class="playground" data-playground="(\w+)">)(.*?)(</div>)', re.DOTALL)


def names_in(body: str) -> list[str]:
    """The playgrounds of a page, each once, in the order in which they stand.

    >>> names_in('<div class="playground" data-playground="a">words</div> <p>text</p>')
    ['a']
    """
    return list(dict.fromkeys(name for _, name, _, _ in PLACE.findall(body)))


def scripts(names: list[str], folder: Path = FOLDER) -> list[str]:
    """The files that these playgrounds need, in the order in which they must load.

    >>> scripts(["edge_of_chaos"])
    ['core.js', 'edge_of_chaos.js']
    """
    own = [name for name in names if (folder / f"{name}.js").is_file()]
    if missing := set(names) - set(own):
        raise ValueError(f"playground: found no {', '.join(f'{name}.js' for name in sorted(missing))} in {folder}")
    data = [path.name for name in own for path in sorted(folder.glob(f"data_{name}*.js"))]
    text = "".join((folder / f"{name}.js").read_text(encoding="utf-8") for name in own)
    shared = [f"{name}.js" for name in ("linear", "deep") if f"salnb.{name}" in text]
    return ["core.js", *shared, *data, *(f"{name}.js" for name in own)]


def description(sentence: str) -> str:
    """What the still shows: the sentence without "On the book's page a live figure stands here:".

    >>> description("Here stands a figure: a hundred neurons wake up.")
    'A hundred neurons wake up.'
    """
    words = " ".join(re.sub(r"<[^>]+>", "", sentence).split())
    words = words.partition(": ")[2] or words
    return words[:1].upper() + words[1:]


def with_stills(body: str, address: Callable[[str], str]) -> str:
    """The page's body with the still of each playground for readers without scripts, in place of the sentence.

    >>> with_stills('<div class="playground" data-playground="a">Here: b.</div>', lambda file: file)
    '<div class="playground" data-playground="a"><noscript><img src="playgrounds/stills/a.png" alt="B."/></noscript></div>'
    """

    def still(found: re.Match) -> str:
        begin, name, sentence, end = found.groups()
        alt = html.escape(description(html.unescape(sentence)), quote=True)
        source = address(f"{STATIC}/stills/{name}.png")
        return f'{begin}<noscript><img src="{source}" alt="{alt}"/></noscript>{end}'

    return PLACE.sub(still, body)


def add_playgrounds(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """On `html-page-context`: what the playgrounds of this page need, and nothing on pages without one."""
    if not (names := names_in(context.get("body") or "")):
        return
    app.add_css_file(f"{STATIC}/playground.css")
    for file in scripts(names):
        app.add_js_file(f"{STATIC}/{file}", priority=700, loading_method="defer")
    context["body"] = with_stills(context["body"], lambda file: context["pathto"](f"_static/{file}", True))
