"""Every chapter has exercises whose checks take the solution and refuse a typical mistake, and a control that the reader moves.

nbval executes the solutions and the mistakes; here it is asked that they are there, for each check that a chapter defines.
"""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest

from tools.tree import ROOT, notebooks

CHAPTERS = [path for path in notebooks() if path.parent.name in ("theory", "experiments")]
EXERCISED = [*CHAPTERS, ROOT / "book/appendix/linear_algebra.ipynb"]


def tree_of(notebook: nbformat.NotebookNode) -> ast.Module:
    """The code of a notebook, without the setup cell."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", [])]
    return ast.parse("\n\n".join(cell.source for cell in cells))


def checked(tree: ast.Module) -> dict[str, dict[str, int]]:
    """For each `check_x(answer)` that is defined: how often it is asserted, and how often its refusal is."""
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("check_")]
    counts = {name: {"accepted": 0, "refused": 0} for name in defined}

    def name_of(node: ast.expr) -> str:
        return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""

    for node in ast.walk(tree):
        if not isinstance(node, ast.Assert):
            continue
        parts = node.test.values if isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.And) else [node.test]
        for part in parts:
            refused = isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.Not)
            name = name_of(part.operand if refused else part)
            if name in counts:
                counts[name]["refused" if refused else "accepted"] += 1
    return counts


def calls(tree: ast.Module, name: str) -> int:
    """How often a function of this name is called."""
    return sum(isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name for node in ast.walk(tree))


def test_counts_are_right() -> None:
    code = "def check_a(x): ...\ndef check_b(x): ...\nassert check_a(1) and not check_b(2)\n_ = check_b(3)\nassert not check_a(0)"
    assert checked(ast.parse(code)) == {"check_a": {"accepted": 1, "refused": 1}, "check_b": {"accepted": 0, "refused": 1}}


@pytest.mark.parametrize("path", EXERCISED, ids=lambda path: path.stem)
def test_each_check_takes_the_solution_and_refuses_a_mistake(path: Path) -> None:
    found = checked(tree_of(nbformat.read(path, 4)))
    assert len(found) >= 2, "two exercises at least"
    assert not [name for name, count in found.items() if not count["accepted"]], "no solution is asserted"
    assert not [name for name, count in found.items() if not count["refused"]], "no typical mistake is asserted to be refused"


@pytest.mark.parametrize("path", EXERCISED, ids=lambda path: path.stem)
def test_solutions_are_folded_away(path: Path) -> None:
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code" and ("_solution" in cell.source or "_mistake" in cell.source):
            assert "hide-input" in cell.metadata.get("tags", []), cell.id


@pytest.mark.parametrize("path", EXERCISED, ids=lambda path: path.stem)
def test_a_check_tells_the_stub_that_it_is_not_yet_right(path: Path) -> None:
    """What the page shows under an exercise that nobody has solved is the check's own hint."""
    notebook = nbformat.read(path, 4)
    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert said.count("Not yet") >= len(checked(tree_of(notebook)))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_the_reader_moves_something_that_answers_a_question(path: Path) -> None:
    notebook = nbformat.read(path, 4)
    assert calls(tree_of(notebook), "explore") >= 1
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and "explore(" in cell.source and "import explore" not in cell.source:
            text = "\n".join(c.source for c in notebook.cells[max(0, index - 3) : index] if c.cell_type == "markdown")
            assert "?" in text, f"{cell.id}: no question stands before the control"
