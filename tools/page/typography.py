"""What belongs together stays on one line: a number and its per cent sign, a formula and its full stop."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

NARROW_SPACE, SPACE = "\u202f", "\u00a0"  # no line ends at either
_CLOSING = re.compile(r"[.,;:!?)\]”’]+")
_OPENING = re.compile(r"[(\[“‘]+$")


def held_together(text: str) -> str:
    """The text with a narrow space before each per cent sign, and spaces that do not break in counts and before units.

    >>> held_together("3 % of 100, 15 of 16") == "3\u202f% of 100, 15\u00a0of\u00a016"
    True
    """
    text = re.sub(r"(?<=\d) (of|/) (?=\d)", rf"{SPACE}\1{SPACE}", text)
    text = re.sub(r"(?<=\d) (?=(?:ms|s|KB|MB|GB)\b)", SPACE, text)
    return re.sub(r"(?<=\d) (?=%)", NARROW_SPACE, text)


def with_its_marks(formula: nodes.math) -> None:
    """Put a formula and the marks that touch it into one element: a browser would begin a line with the full stop behind it."""
    parent = formula.parent
    at = parent.index(formula)
    before = parent[at - 1] if at and isinstance(parent[at - 1], nodes.Text) else nodes.Text("")
    after = parent[at + 1] if at + 1 < len(parent) and isinstance(parent[at + 1], nodes.Text) else nodes.Text("")
    opening, closing = _OPENING.search(before.astext()), _CLOSING.match(after.astext())
    if not opening and not closing:
        return
    whole = nodes.inline("", classes=["together"])
    parent[at] = whole
    whole += [nodes.Text(opening[0])] if opening else []
    whole += formula
    whole += [nodes.Text(closing[0])] if closing else []
    if closing:
        parent.replace(after, nodes.Text(after.astext()[closing.end() :]))
    if opening:
        parent.replace(before, nodes.Text(before.astext()[: opening.start()]))


def hold_together(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Set the spaces in all running text; code and formulas stay as they are."""
    for text in list(doctree.findall(nodes.Text)):
        held = held_together(text.astext())
        if held != text.astext() and not isinstance(text.parent, (nodes.literal, nodes.literal_block, nodes.math, nodes.raw)):
            text.parent.replace(text, nodes.Text(held))
    for formula in list(doctree.findall(nodes.math)):
        with_its_marks(formula)
