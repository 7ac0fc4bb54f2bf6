"""The projects: a page and its solution ask the same questions; each solution passes its checks and refuses a wrong answer."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from tools.tree import ROOT

SOLUTIONS = sorted((ROOT / "book/projects").glob("*_solution.ipynb"))
CHECK = re.compile(r"^def (check_\w+)\(", re.MULTILINE)
MOST_WORDS = 1500


def page_of(solution: Path) -> Path:
    return solution.with_name(solution.name.replace("_solution", ""))


def code_cells(path: Path) -> dict[str, str]:
    return {cell.id: cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"}


def checks(cells: dict[str, str]) -> dict[str, str]:
    """The cell that defines each check, by the check's name."""
    return {name: source for source in cells.values() for name in CHECK.findall(source)}


def test_every_project_has_a_page_and_a_solution() -> None:
    assert len(SOLUTIONS) >= 3
    assert {page_of(path) for path in SOLUTIONS} == set((ROOT / "book/projects").glob("*.ipynb")) - set(SOLUTIONS)


@pytest.mark.parametrize("solution", SOLUTIONS, ids=lambda path: path.stem)
def test_page_and_solution_have_the_same_checks(solution: Path) -> None:
    page, solved = code_cells(page_of(solution)), code_cells(solution)
    assert len(checks(page)) >= 3
    assert checks(page) == checks(solved)
    # what the checks stand on: the task, the model, their helpers
    shared = (set(page) & set(solved)) - {"setup", "imports"}
    assert len(shared) >= 3
    assert not [cell for cell in shared if page[cell] != solved[cell] and cell not in ("prediction", "figure")]


@pytest.mark.parametrize("solution", SOLUTIONS, ids=lambda path: path.stem)
def test_a_solution_passes_each_check_and_a_wrong_answer_does_not(solution: Path) -> None:
    page, solved = code_cells(page_of(solution)), code_cells(solution)
    asserted = "\n".join(solved.values())
    for name in checks(page):
        assert re.search(rf"assert {name}\(", asserted) and re.search(rf"assert not {name}\(", asserted), name
        assert re.search(rf"^_ = {name}\(", "\n".join(page.values()), re.MULTILINE), f"{name} is not called on the page"


@pytest.mark.parametrize("solution", SOLUTIONS, ids=lambda path: path.stem)
def test_stubs_are_told_not_yet(solution: Path) -> None:
    cells = nbformat.read(page_of(solution), as_version=4).cells
    tries = [cell for cell in cells if cell.cell_type == "code" and cell.source.startswith("_ = check_")]
    assert tries
    assert all("Not yet: " in "".join(output.get("text", "") for output in cell.outputs) for cell in tries)


@pytest.mark.parametrize("solution", SOLUTIONS, ids=lambda path: path.stem)
def test_a_page_is_short(solution: Path) -> None:
    from tools.reading_time import length_of

    assert length_of(nbformat.read(page_of(solution), as_version=4)).words <= MOST_WORDS
