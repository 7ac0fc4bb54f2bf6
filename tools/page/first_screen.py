"""What a reader sees first: title, minutes, the chapter in one breath, and its best figure.

A chapter computes before it can draw, so its best figure stands far down. The page shows that figure a second time at its top,
with a link to the place where it is explained. The cell that draws it carries the tag `best-figure`; a chapter that opens with
a figure that answers (`tools/page/playgrounds.py`) needs none.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

TAG = "tag_best-figure"
OPENS_WITH = "In one breath."
_MINUTES = re.compile(r"(<p><em>(?:(?!</p>).)*?minute(?:(?!</p>).)*?)(</em></p>)", re.DOTALL)


def opening(doctree: nodes.document) -> nodes.paragraph | None:
    """The paragraph that tells the chapter in one breath."""
    return next((p for p in doctree.findall(nodes.paragraph) if p.astext().startswith(OPENS_WITH)), None)


def best_figure(doctree: nodes.document) -> tuple[nodes.Element, nodes.section] | None:
    """The picture of the tagged cell and the section that it stands in."""
    for cell in doctree.findall(nodes.container):
        if TAG not in cell.get("classes", []):
            continue
        image, place = next(cell.findall(nodes.image), None), cell.parent
        while place is not None and not isinstance(place, nodes.section):
            place = place.parent
        if image is not None and place is not None:
            return image, place
    return None


def near(paragraph: nodes.paragraph, image: nodes.Element, most: int = 3) -> bool:
    """Whether hardly more than a paragraph or two stand between the opening and the picture, and no code that shows."""
    cell = image
    while TAG not in cell.get("classes", []):
        cell = cell.parent
    if cell.parent is not paragraph.parent:  # it stands under a heading of its own
        return False
    between = paragraph.parent.children[paragraph.parent.index(paragraph) + 1 : paragraph.parent.index(cell)]
    shown = [node for node in between if "cell" in node.get("classes", []) and "tag_hide-input" not in node.get("classes", [])]
    return len(between) <= most and not shown


def lead_with_the_best_figure(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put a copy of the tagged figure behind the opening paragraph."""
    paragraph, found = opening(doctree), best_figure(doctree)
    if paragraph is None or found is None or any('class="playground"' in raw.astext() for raw in doctree.findall(nodes.raw)):
        return
    image, section = found
    if near(paragraph, image):  # a second one would only repeat it
        return
    caption = nodes.paragraph(classes=["lead-caption"])
    if section.parent is doctree:
        caption += nodes.Text("Explained below.")
    else:
        caption += nodes.Text("Explained in ")
        caption += nodes.reference("", section.next_node(nodes.title).astext(), refuri=f"#{section['ids'][0]}", internal=True)
        caption += nodes.Text(".")
    lead = nodes.container(classes=["lead-figure"])
    lead += image.deepcopy()
    lead += caption
    paragraph.parent.insert(paragraph.parent.index(paragraph) + 1, lead)


def link_to_the_code(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Add "code of this page" to the line with the minutes: the whole notebook, with the cells that the page does not show."""
    source = context.get("sourcename") or ""
    if doctree is None or "body" not in context or not source.endswith(".ipynb"):
        return
    address = context["pathto"](f"_sources/{source}", resource=True)
    link = f' · <a class="code-of-this-page" href="{address}" download>code of this page</a>'
    context["body"] = _MINUTES.sub(lambda found: found[1] + link + found[2], context["body"], count=1)
