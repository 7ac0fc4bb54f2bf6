"""Small spaces that hold together what belongs together: a number and its per cent sign never part at the end of a line."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

NARROW_SPACE = "\u202f"  # narrow, and no line ends at it


def held_together(text: str) -> str:
    """The text with a narrow space before each per cent sign.

    >>> held_together("3 % of 100") == "3\u202f% of 100"
    True
    """
    return re.sub(r"(?<=\d) (?=%)", NARROW_SPACE, text)


def hold_together(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Set the spaces in all running text; code and formulas stay as they are."""
    for text in list(doctree.findall(nodes.Text)):
        held = held_together(text.astext())
        if held != text.astext() and not isinstance(text.parent, (nodes.literal, nodes.literal_block, nodes.math, nodes.raw)):
            text.parent.replace(text, nodes.Text(held))
