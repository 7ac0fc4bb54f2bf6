"""Chapters executed once: the cache is filled several at a time, and its outputs count only where they are this code's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbval.plugin import NbCellError

from tools import execution, shown_outputs
from tools.tree import write_text

Change = Callable[[Path, pytest.MonkeyPatch], object]


def notebook(path: Path, *sources: str, prints: str = "") -> Path:
    """A notebook of code cells that stores one printed text after its first."""
    cells = [nbformat.v4.new_code_cell(source, execution_count=1) for source in sources]
    cells[0].outputs = [nbformat.v4.new_output("stream", name="stdout", text=prints)] if prints else []
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of one chapter that runs and one that fails, with its cache filled. Not to be changed."""
    root = tmp_path_factory.mktemp("book")
    (root / "salnb").mkdir()
    (root / "salnb/a.py").write_text("old")
    chapters = [notebook(root / "book/good.ipynb", "print(6 * 7)"), notebook(root / "book/bad.ipynb", "1 / 0")]
    (root / "_build").mkdir()
    write_text(root / execution.RECORD, execution.fingerprint(root, execution.COMPUTED_FROM) + "\n")
    executed = execution.fill(root, chapters, workers=2)
    assert executed == chapters[:1]
    return root


def printed(root: Path) -> list[str] | None:
    found = execution.shown(root / "book/good.ipynb", root)
    return found and [output.text for cell in found.cells for output in cell.outputs]


def test_what_was_executed_is_known_and_not_executed_again(book: Path) -> None:
    assert printed(book) == ["42\n"]
    assert execution.fill(book, [book / "book/good.ipynb"]) == []


def test_a_chapter_that_failed_is_left_to_be_executed_again(book: Path) -> None:
    assert execution.shown(book / "book/bad.ipynb", book) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda root, patch: (root / "salnb/a.py").write_text("new"),
        lambda root, patch: (root / "salnb/b.py").write_text("new"),
        lambda root, patch: notebook(root / "book/good.ipynb", "print(6 * 8)"),
        lambda root, patch: (root / execution.RECORD).unlink(),
        lambda root, patch: patch.setenv("SALNB_DRIVE_WIDGETS", "0"),
        lambda root, patch: patch.setenv("ATEN_CPU_CAPABILITY", "default"),
        lambda root, patch: patch.setattr(execution, "version", lambda name: "0"),
    ],
    ids=["library", "new file", "chapter", "no record", "sliders", "instruction set", "versions"],
)
def test_outputs_of_anything_else_do_not_count(book: Path, change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {path: path.read_bytes() for path in (book / "salnb/a.py", book / "book/good.ipynb", book / execution.RECORD)}
    change(book, monkeypatch)
    try:
        assert printed(book) is None
    finally:
        (book / "salnb/b.py").unlink(missing_ok=True)
        for path, content in files.items():
            path.write_bytes(content)
    monkeypatch.undo()
    assert printed(book) == ["42\n"]


def compared(request: pytest.FixtureRequest, path: Path, shown: list, patch: pytest.MonkeyPatch) -> None:
    """What pytest does with a chapter whose outputs are known."""
    patch.setattr(shown_outputs, "outputs", lambda path: shown)
    chapter = shown_outputs.ShownChapter.from_parent(request.session, path=path)
    for item in chapter.collect():
        item.runtest()


def text(*lines: str) -> list[nbformat.NotebookNode]:
    return [nbformat.v4.new_output("stream", name="stdout", text=line) for line in lines]


def test_equal_outputs_pass_in_however_many_pieces(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = notebook(tmp_path / "a.ipynb", "1", "2", prints="a\nb\n")
    compared(request, path, [text("a\n", "b\n"), []], monkeypatch)


@pytest.mark.parametrize("shown", [[text("a\nc\n"), []], [[], []], [text("a\nb\n"), text("more\n")]])
def test_other_outputs_fail(
    request: pytest.FixtureRequest, tmp_path: Path, shown: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = notebook(tmp_path / "a.ipynb", "1", "2", prints="a\nb\n")
    with pytest.raises(NbCellError, match="outputs differ"):
        compared(request, path, shown, monkeypatch)
