"""The color of a quantity on the words that name it: in captions, and in the paragraph that tells a chapter in one breath.

Orange stands for sensitivity, blue for an exponent, green for a gradient, purple for activity, as in the figures.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

from tools.page.first_screen import OPENS_WITH

QUANTITIES = {
    "sensitivity": r"(?:log-)?sensitivit(?:y|ies)|orange",
    "exponent": r"(?:maximum |largest |mean |first )?(?:Lyapunov )?exponents?|blue",
    "gradient": r"gradients?|green",
    "activity": r"activit(?:y|ies)|purple",
}
_CAPTION = re.compile("(Live figure|Figure|Table):")
_MINUTES = re.compile(r"\d+ minutes? ·|[^.]* · You need:")
_WORDS = re.compile("|".join(rf"(?P<{name}>\b(?:{pattern})\b)" for name, pattern in QUANTITIES.items()), re.IGNORECASE)


# In the part on geometry an exponent is that of a spectrum, unless it is said to be Lyapunov's; its figures give it no color.
OF_SPECTRA = "book/geometry/"


def colored(text: str, of_spectra: bool = False) -> list[nodes.Node]:
    """The text as nodes, with the words for a quantity in its color.

    >>> [node.astext() for node in colored("the exponent and its error")]
    ['the ', 'exponent', ' and its error']
    """
    found, at = [], 0
    for match in _WORDS.finditer(text):
        if of_spectra and match.lastgroup == "exponent" and "exponent" in match[0] and "Lyapunov" not in match[0]:
            continue
        found += [nodes.Text(text[at : match.start()])] if match.start() > at else []
        found.append(nodes.inline("", match[0], classes=["quantity", f"q-{match.lastgroup}"]))
        at = match.end()
    return found + ([nodes.Text(text[at:])] if at < len(text) else [])


def color_words(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Mark captions (paragraphs that begin with *Figure* or *Table*), and color the words in them and in the opening paragraph.

    Links and code keep their color. What stands under a title, minutes and needs, is marked, too.
    """
    for paragraph in doctree.findall(nodes.paragraph):
        says = paragraph.astext()
        if _MINUTES.match(says):
            paragraph["classes"].append("chapter-needs")
        caption = _CAPTION.match(says)
        if caption:
            paragraph["classes"].append("figure-caption")
        elif not says.startswith(OPENS_WITH):
            continue
        for text in list(paragraph.findall(nodes.Text)):
            parents, parent = [], text.parent
            while parent is not paragraph:
                parents.append(parent)
                parent = parent.parent
            if any(isinstance(p, (nodes.reference, nodes.literal, nodes.math, nodes.inline)) for p in parents):
                continue
            pieces = colored(text.astext(), docname.startswith(OF_SPECTRA))
            if any(isinstance(piece, nodes.inline) for piece in pieces):
                index = text.parent.index(text)
                text.parent[index : index + 1] = pieces
