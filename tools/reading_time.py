"""How long a chapter takes to read, and whether its cells fit a page.

.venv/bin/python -m tools.reading_time                            every chapter: words, code, pictures, formulas, minutes
.venv/bin/python -m tools.reading_time --write book/intro.ipynb   puts the minutes under the title of those named

Minutes are words / 200, half a minute for every twenty lines of code, and 45 seconds for every displayed formula and picture.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat

from tools.notebooks import clean, dumps
from tools.tree import ROOT, notebooks, write_text

MOST_WORDS, MOST_MINUTES = 3000, 30
MOST_LINES, MOST_CHARACTERS = 25, 88  # of a code cell, so that it fits the page
MINUTES = re.compile(r"(?m)^\*(\d+) minutes")
DISPLAYED = re.compile(r"\$\$.*?\$\$", re.DOTALL)
INLINE = re.compile(r"\$[^$\n]*(?:\n[^$\n]+)?\$")
PLAYGROUND = re.compile(r'<div class="playground".*?</div>', re.DOTALL)  # its sentence does not show on the page
CARD = re.compile(r'<div class="claim-card".*?</div>', re.DOTALL)  # repeats what the chapter has just measured
FENCED = re.compile(r"^(`{3,}|~{3,}).*?^\1", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Length:
    """What there is to read in a chapter: words of prose, lines of code, pictures and displayed formulas."""

    words: int
    code: int
    pictures: int
    formulas: int

    @property
    def minutes(self) -> int:
        """
        >>> Length(words=2000, code=200, pictures=4, formulas=4).minutes
        21
        """
        return round(self.words / 200 + self.code / 40 + 0.75 * (self.pictures + self.formulas))


def words_of(text: str) -> int:
    """Words of prose, without formulas, code blocks, the sentence that stands for a playground, and the cards of claims.

    >>> words_of("The number $s = 1$ is called *sensitivity*.")
    5
    """
    for pattern in (PLAYGROUND, FENCED, CARD, DISPLAYED, INLINE):
        text = pattern.sub(" ", text)
    return sum(bool(re.search("[A-Za-z]", word)) for word in re.sub(r"\]\([^)]*\)", "]", text).split())


def pictures_of(cell: nbformat.NotebookNode) -> int:
    """Pictures that a cell puts on the page."""
    return sum(any(kind.startswith("image/") for kind in output.get("data", {})) for output in cell.outputs)


def length_of(notebook: nbformat.NotebookNode) -> Length:
    """The length of a notebook; cells that are removed from the page do not count."""
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    cells = [c for c in notebook.cells if c.cell_type == "code" and "remove-cell" not in c.metadata.get("tags", [])]
    return Length(
        words=sum(words_of(text) for text in prose),
        code=sum(bool(line.strip()) for cell in cells for line in cell.source.splitlines()),
        pictures=sum(pictures_of(cell) for cell in cells),
        formulas=sum(len(DISPLAYED.findall(text)) for text in prose),
    )


def complaints(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """What makes a chapter too long, or wider than its page."""
    length = length_of(notebook)
    if length.words > MOST_WORDS:
        yield f"{length.words} words, at most {MOST_WORDS}"
    if length.minutes > MOST_MINUTES:
        yield f"{length.minutes} minutes, at most {MOST_MINUTES}"
    stated = MINUTES.search(notebook.cells[0].source)
    if not stated:
        yield "no line '*... minutes ...*' under the title"
    elif abs(int(stated[1]) - length.minutes) > 1:
        yield f"says {stated[1]} minutes, takes {length.minutes}; run `python -m tools.reading_time --write` on it"
    for cell in notebook.cells:
        if cell.cell_type != "code" or "remove-cell" in cell.metadata.get("tags", []):
            continue
        lines = cell.source.splitlines()
        where = f"cell {cell.id} ({lines[0][:40] if lines else 'empty'})"
        if len(lines) > MOST_LINES:
            yield f"{where}: {len(lines)} lines, at most {MOST_LINES}"
        if wide := [line for line in lines if len(line) > MOST_CHARACTERS]:
            yield f"{where}: {len(wide)} lines longer than {MOST_CHARACTERS} characters"


def minutes_of_page(path: Path) -> int | None:
    """The minutes that a page states under its title, None if it states none."""
    text = path.read_text(encoding="utf-8")
    first = nbformat.reads(text, as_version=4).cells[0].source if path.suffix == ".ipynb" else text
    stated = MINUTES.search(first)
    return int(stated[1]) if stated else None


def write_minutes(path: Path) -> None:
    """Puts the measured minutes under the title of a chapter."""
    notebook = nbformat.read(path, as_version=4)
    first = notebook.cells[0]
    first.source = MINUTES.sub(f"*{length_of(notebook).minutes} minutes", first.source, count=1)
    write_text(path, dumps(clean(notebook)))


def main(arguments: list[str]) -> None:
    paths = [Path(name).resolve() for name in arguments if name != "--write"] or notebooks()
    for path in paths:
        if "--write" in arguments:
            write_minutes(path)
        notebook = nbformat.read(path, as_version=4)
        length = length_of(notebook)
        print(f"{path.relative_to(ROOT)}: {length}, {length.minutes} minutes")
        for complaint in complaints(notebook):
            print("   ", complaint)


if __name__ == "__main__":
    main(sys.argv[1:])
