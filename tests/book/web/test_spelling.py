"""No common misspelling in chapters, pages, docstrings and README: codespell, with the exceptions in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tools.tree import ROOT

ROOMS = ("salnb", "tools", "tests", "benchmarks")
WRITTEN = ("*.md", "*.toml", "*.cff", "book/**/*.md", "book/*.toml", *(f"{room}/**/*.py" for room in ROOMS))

WRONG = "t" + "eh"  # in two pieces: this file is looked at, too


def misspelled(paths: list[Path]) -> list[str]:
    """What codespell says of some files."""
    command = [sys.executable, "-m", "codespell_lib", "--toml", str(ROOT / "pyproject.toml"), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert not done.stderr, done.stderr  # a warning: the settings were not read
    return done.stdout.splitlines()


def prose(path: Path) -> str:
    """What a chapter says: its Markdown, its code with comments and hints, and what its pictures show."""
    parts = []
    for cell in nbformat.read(path, as_version=4).cells:
        parts += [cell.source, *cell.metadata.get("mystnb", {}).get("image", {}).values()]
    return "\n".join(map(str, parts))


def test_files_of_text_and_docstrings() -> None:
    paths = [path for pattern in WRITTEN for path in sorted(ROOT.glob(pattern))]
    assert len(paths) > 100  # the patterns find the files
    assert misspelled(paths) == []


def test_chapters(tmp_path: Path) -> None:
    written = []
    for path in sorted((ROOT / "book").rglob("*.ipynb")):
        if "checkpoint" not in path.stem:
            written.append(tmp_path / f"{path.parent.name}.{path.stem}.md")
            written[-1].write_text(prose(path), encoding="utf-8")
    assert len(written) > 30
    assert misspelled(written) == []


def test_a_misspelling_is_seen(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    notebook.cells[0].metadata["mystnb"] = {"image": {"alt": f"Left: {WRONG} curve."}}
    nbformat.write(notebook, tmp_path / "chapter.ipynb")
    (tmp_path / "chapter.md").write_text(prose(tmp_path / "chapter.ipynb"))
    (complaint,) = misspelled([tmp_path / "chapter.md"])
    assert complaint.endswith("==> the")


@pytest.mark.parametrize("word", ["COO", "befores"])
def test_an_exception_is_none_elsewhere(tmp_path: Path, word: str) -> None:
    """What the settings let pass is a word of the book and no licence for words that look like it."""
    (tmp_path / "good.md").write_text(word)
    (tmp_path / "bad.md").write_text(f"{word} {WRONG}")
    assert misspelled([tmp_path / "good.md"]) == []
    assert len(misspelled([tmp_path / "bad.md"])) == 1
