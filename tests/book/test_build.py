"""What `make` relies on: an environment that knows its age, a build without stale outputs, and chapters executed once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbval.plugin import NbCellError

from tools import build, environment, execution, shown_outputs
from tools.tree import toc_files, write_text


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A built book, in miniature."""
    for name in ("salnb/a.py", "book/claims.toml", "requirements.txt", "_config.yml", "_toc.yml", "book/web/book.css"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("old")
    for name in (".jupyter_cache", "jupyter_execute", ".doctrees", "html"):
        (tmp_path / "_build" / name).mkdir(parents=True)
    record(tmp_path, "computed-from", build.COMPUTED_FROM)
    record(tmp_path, "rendered-from", build.RENDERED_FROM)
    return tmp_path


def record(root: Path, name: str, patterns: tuple[str, ...]) -> None:
    (root / "_build" / name).write_text(build.fingerprint(root, patterns) + "\n")


def gone(root: Path) -> set[str]:
    return {path.name for path in build.stale(root)}


EVERYTHING = {".jupyter_cache", "jupyter_execute", ".doctrees", "html"}


def test_nothing_goes_when_nothing_changed(root: Path) -> None:
    assert gone(root) == set()


@pytest.mark.parametrize(
    "name", ["salnb/a.py", "salnb/new.py", "book/claims.toml", "book/results/x/y.json", "requirements.txt"]
)
def test_outputs_go_when_what_they_came_from_changed(root: Path, name: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("new")
    assert gone(root) == EVERYTHING


@pytest.mark.parametrize("name", ["_config.yml", "_toc.yml", "book/web/book.css"])
def test_pages_go_when_their_looks_changed(root: Path, name: str) -> None:
    (root / name).write_text("new")
    assert gone(root) == {".doctrees", "html"}


def test_pages_go_after_a_failed_build(root: Path) -> None:
    (root / "_build/rendered-from").unlink()
    assert gone(root) == {".doctrees", "html"}


def test_bytecode_is_no_change(root: Path) -> None:
    (root / "salnb/__pycache__").mkdir()
    (root / "salnb/__pycache__/a.py").write_text("compiled")
    assert gone(root) == set()


def test_a_failed_build_leaves_no_record_of_success(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "fill", lambda root: [])
    monkeypatch.setattr(build.subprocess, "call", lambda *args, **kwargs: 1)
    monkeypatch.setenv("SALNB_STATIC", "1")
    assert build.main(root) == 1
    assert not (root / "_build/rendered-from").exists()


PINS, PACKAGE = environment.PINS, environment.PACKAGE


@pytest.mark.parametrize(
    ("change", "value", "renewed"),
    [
        ("requirements", "a==2", {PINS}),
        ("project", {"dependencies": ["a>=2"]}, {PACKAGE}),
        ("project", {"dependencies": ["a>=1"], "description": "other words"}, set()),
        ("python", (3, 12, 0), {PINS, PACKAGE}),
        ("root", "/two", {PINS, PACKAGE}),
    ],
)
def test_environment_is_made_again_when_it_must(change: str, value: object, renewed: set[Path]) -> None:
    given = {"requirements": "a==1", "project": {"dependencies": ["a>=1"]}, "python": (3, 11, 2), "root": "/one"}
    before, after = environment.wanted(**given), environment.wanted(**(given | {change: value}))
    assert {stamp for stamp in before if before[stamp] != after[stamp]} == renewed


def test_a_stamp_without_an_environment_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "VENV", tmp_path)
    (tmp_path / "s").write_text("value\n")
    assert not environment.current(tmp_path / "s", "value")
    environment.venv_python().parent.mkdir()
    environment.venv_python().touch()
    assert environment.current(tmp_path / "s", "value")
    assert not environment.current(tmp_path / "s", "another")


def test_an_old_python_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.sys, "version_info", (3, 9, 1))
    with pytest.raises(SystemExit, match=r"3\.11 or newer.*3\.9.*PYTHON="):
        environment.main()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a b.txt"
    assert write_text(path, "one") and not write_text(path, "one")

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_text(path, "two")
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]


def test_contents_are_read_in_order() -> None:
    assert list(toc_files({"root": "a", "chapters": [{"file": "b"}, {"file": "c"}]})) == ["a", "b", "c"]


# --- chapters executed once ------------------------------------------------------------------------------------------------
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
