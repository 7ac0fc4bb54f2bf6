"""Code on a page without the marks that only a linter reads: they would be the loudest words of a cell."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

_MARKS = re.compile(r"[ \t]*# (?:fmt: \w+|noqa(?:: [A-Z]+\d+(?: \([^\n]*\))?)?)$", re.MULTILINE)


def without_marks(code: str) -> str:
    """The code without `# fmt: skip` and `# noqa` at the ends of its lines; the file itself keeps them.

    >>> without_marks("x = [1,\\n     2]  # fmt: skip\\nf = lambda: 0  # noqa: E731\\n")
    'x = [1,\\n     2]\\nf = lambda: 0\\n'
    """
    return _MARKS.sub("", code)


def plain_code(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Sphinx calls this for every page: blocks of code lose the marks; outputs hold none."""
    for block in list(doctree.findall(nodes.literal_block)):
        code = block.astext()
        if without_marks(code) != code:
            block.clear()
            block += nodes.Text(without_marks(code))
            block.rawsource = block.astext()
