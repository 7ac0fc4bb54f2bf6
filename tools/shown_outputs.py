"""For pytest: a chapter that `make book` has executed is compared by the outputs on its page, and not executed again.

pytest -p tools.shown_outputs --nbval ...     as `make test` does

nbval executes every chapter and compares each output with the one that the notebook stores. Here the same comparison is made
with what the book's cache holds, but only where executing again could show nothing else: the same library, stored results,
code, versions and processor settings, and every slider moved to both of its ends. `tools.execution.shown` decides; where it says
no, nbval executes as ever. `make book` leaves such a cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import nbformat
import pytest
from nbval.plugin import IPyNbCell, IPyNbFile, coalesce_streams

from tools.execution import shown
from tools.tree import ROOT, notebooks


@cache
def outputs(path: Path) -> tuple[list[nbformat.NotebookNode], ...] | None:
    """The outputs of each code cell on the page that was made from a notebook, or None."""
    notebook = shown(path)
    return None if notebook is None else tuple(cell.outputs for cell in notebook.cells if cell.cell_type == "code")


class ShownCell(IPyNbCell):
    """A code cell and what its page shows."""

    def runtest(self) -> None:
        """Raises what nbval raises if the notebook stores something else."""
        if self.options["skip"]:
            pytest.skip()
        new = coalesce_streams(outputs(self.path)[self.cell_num])
        self.test_outputs = new
        if self.cell.execution_count is None:
            if self.cell.outputs:
                self.raise_cell_error("Unrun reference cell has outputs")
        elif self.options["check"] and not self.compare_outputs(new, coalesce_streams(self.cell.outputs)):
            self.raise_cell_error("Cell outputs differ", "\n".join(self.comparison_traceback))


class ShownChapter(IPyNbFile):
    """A notebook whose outputs are known: no kernel is started."""

    def setup(self) -> None:
        """Only nbval's patterns for what differs from run to run."""
        self.setup_sanitize_files()

    def collect(self) -> Iterator[ShownCell]:
        """One item for each code cell, as nbval names them."""
        for item in super().collect():
            yield ShownCell.from_parent(
                self, name=item.name, cell_num=item.cell_num, cell=item.cell, options=item.options
            )


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector):
    """Takes nbval's place where the outputs are known."""
    found = yield
    return [
        ShownChapter.from_parent(parent, path=file_path) if isinstance(node, IPyNbFile) and outputs(file_path) else node
        for node in found
    ]


def pytest_report_header(config: pytest.Config) -> str:
    """Says which of the two happens."""
    known = sum(outputs(path) is not None for path in notebooks(ROOT))
    return f"chapters: {known} compared by the outputs on their pages, {len(notebooks(ROOT)) - known} executed here"
