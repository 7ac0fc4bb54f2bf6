"""Notes in the margin: a small number says where in the text each belongs, at both of its ends.

A chapter writes `<span class="margin-note">...</span>` into its line. On a wide page the style sheet sets the note beside the
text, and shows the numbers; on a narrow one and on paper it stays in the line, where no number is needed.
"""

from __future__ import annotations

import re
from itertools import count
from typing import Any

from sphinx.application import Sphinx

_NOTE = re.compile(r'(\s*)<span class="margin-note">')


def numbered(body: str) -> str:
    """The page's HTML with a number behind the word before each note, and the same one at the note's beginning.

    >>> numbered('word. <span class="margin-note">Note.</span>')[:55]
    'word.<sup class="note-mark" aria-hidden="true">1</sup> '
    """
    numbers = count(1)

    def marked(found: re.Match) -> str:
        number = next(numbers)
        return (f'<sup class="note-mark" aria-hidden="true">{number}</sup>{found[1]}<span class="margin-note" role="note">'
                f'<span class="note-number" aria-hidden="true">{number}</span>')  # fmt: skip

    return _NOTE.sub(marked, body)


def number_notes(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Sphinx calls this for every page that it writes."""
    if doctree is not None and "body" in context:
        context["body"] = numbered(context["body"])
