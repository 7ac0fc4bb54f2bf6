"""Puts the outputs that the built book shows into the notebooks, which then need not be executed a second time.

SALNB_DRIVE_WIDGETS=1 OMP_NUM_THREADS=1 .venv/bin/python -m tools.take_outputs    after `make book`, under its settings
"""

from __future__ import annotations

import re
import sys

import nbformat

from salnb.notebook.figure_formats import FOR_A_PHONE
from tools.execution import shown
from tools.notebooks import clean, dumps
from tools.tree import ROOT, notebooks, write_text

_PHONE = re.compile(rf'<g id="{FOR_A_PHONE}".*</g></svg>', re.DOTALL)


def with_outputs(notebook: nbformat.NotebookNode, executed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with the outputs of the executed one, without the second drawing of each figure, which only pages show.

    Raises:
        ValueError: the two do not hold the same code.
    """
    cells = [[cell for cell in each.cells if cell.cell_type == "code"] for each in (notebook, executed)]
    if [cell.source for cell in cells[0]] != [cell.source for cell in cells[1]]:
        raise ValueError("executed: expected the outputs of the same code")
    for cell, source in zip(*cells, strict=True):
        cell.outputs, cell.execution_count = source.outputs, source.execution_count
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/svg+xml" in data:
                data["image/svg+xml"] = _PHONE.sub("</svg>", data["image/svg+xml"])
    return clean(notebook)


def main() -> int:
    """All notebooks; the exit code is 1 if the book shows no outputs of one as it is now."""
    missing = []
    for path in notebooks():
        executed = shown(path)
        if executed is None:
            missing.append(path.relative_to(ROOT).as_posix())
            continue
        write_text(path, dumps(with_outputs(nbformat.read(path, as_version=4), executed)))
    if missing:
        print(f"not in the build, run make book first: {', '.join(missing)}", file=sys.stderr)
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
