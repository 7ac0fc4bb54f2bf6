"""`make live`: a copy follows the book where the reader has changed nothing, and is hers where she has."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import nbformat
import pytest

from tools import live
from tools.tree import ROOT, pages

TOC = "format: jb-book\nroot: book/intro\nparts:\n  - chapters:\n      - file: book/a/one\n      - file: book/a/two\n"
ONE, NEW = "a/one.ipynb", "a/one.new.ipynb"


def notebook(*sources: str, output: str = "", tags: tuple[str, ...] = (), count: int | None = 1) -> str:
    """A notebook of code cells, the first with an output, the last with tags."""
    cells = [nbformat.v4.new_code_cell(source, id=f"c{i}", execution_count=count) for i, source in enumerate(sources)]
    cells[0].outputs = [nbformat.v4.new_output("stream", text=output)] if output else []
    cells[-1].metadata["tags"] = list(tags)
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A book of three pages, already copied."""
    (tmp_path / "book/a").mkdir(parents=True)
    (tmp_path / "_toc.yml").write_text(TOC)
    (tmp_path / "book/intro.ipynb").write_text(notebook("intro"))
    (tmp_path / "book/a/one.ipynb").write_text(notebook("one"))
    (tmp_path / "book/a/two.md").write_text("two, [one](one.ipynb)")
    assert live.refresh(tmp_path) == (["intro.ipynb", ONE, "a/two.md"], [])
    return tmp_path


def publish(root: Path, *sources: str, **how: object) -> None:
    """A new version of the chapter."""
    (root / "book" / ONE).write_text(notebook(*sources, **how))


def save(root: Path, *sources: str, name: str = ONE, **how: object) -> str:
    """What the reader saves; its text."""
    (root / "live" / name).write_text(text := notebook(*sources, **how))
    return text


def cells(root: Path, name: str = ONE) -> list[str]:
    return [cell.source for cell in nbformat.read(root / "live" / name, 4).cells]


def files(root: Path) -> set[str]:
    return {path.relative_to(root / "live").as_posix() for path in (root / "live").rglob("*") if path.is_file()}


BEGINNING = {"intro.ipynb", ONE, "a/two.md", live.RECORD}


def test_pages_are_copied_once_and_in_their_folders(root: Path) -> None:
    assert files(root) == BEGINNING and cells(root) == ["one"]
    assert (root / "live/a/two.md").read_text() == "two, [one](one.ipynb)"
    assert live.refresh(root) == ([], [])


@pytest.mark.parametrize("page", [ONE, "a/two.md"])
def test_what_the_reader_has_not_changed_follows_the_book(root: Path, page: str) -> None:
    publish(root, "one, better")
    (root / "book/a/two.md").write_text("two, better")
    assert page in live.refresh(root)[0]
    assert "better" in (root / "live" / page).read_text()
    assert files(root) == BEGINNING


def test_a_copy_nobody_has_saved_gets_new_outputs_as_well(root: Path) -> None:
    publish(root, "one", output="a new result")
    assert live.refresh(root) == ([ONE], [])
    assert "a new result" in (root / "live" / ONE).read_text()


def test_a_chapter_that_was_only_run_keeps_its_outputs_until_the_text_changes(root: Path) -> None:
    ran = save(root, "one", " \n", output="what I saw", count=7)  # Jupyter adds an empty cell below the last
    publish(root, "one", output="a new result")
    for _ in range(2):
        assert live.refresh(root) == ([], [])
        assert (root / "live" / ONE).read_text() == ran
    publish(root, "one, better")
    assert live.refresh(root) == ([ONE], [])
    assert cells(root) == ["one, better"] and "what I saw" not in (root / "live" / ONE).read_text()


@pytest.mark.parametrize("mine", [("mine",), ("one", "mine"), ("one", "1", " ")])
def test_what_the_reader_has_changed_stays_and_the_new_version_lies_beside_it(root: Path, mine: tuple[str, ...]) -> None:
    written = save(root, *mine)
    assert live.refresh(root) == ([], [])  # the book has nothing new
    publish(root, "one, better")
    fresh, said = live.refresh(root)
    assert fresh == [NEW] and len(said) == 1 and ONE in said[0] and Path(NEW).name in said[0]
    assert (root / "live" / ONE).read_text() == written and cells(root, NEW) == ["one, better"]
    assert live.refresh(root) == ([], [])  # said once
    publish(root, "one, best")
    assert live.refresh(root)[0] == [NEW] and cells(root, NEW) == ["one, best"]
    assert (root / "live" / ONE).read_text() == written


def test_a_changed_page_in_markdown_stays_as_well(root: Path) -> None:
    (root / "live/a/two.md").write_text("my notes")
    (root / "book/a/two.md").write_text("two, better")
    assert live.refresh(root)[0] == ["a/two.new.md"]
    assert (root / "live/a/two.md").read_text() == "my notes"


def test_a_new_version_that_the_reader_works_on_stays(root: Path) -> None:
    save(root, "mine")
    publish(root, "one, better")
    live.refresh(root)
    save(root, "one, better", "and mine", name=NEW)
    publish(root, "one, best")
    assert live.refresh(root)[0] == ["a/one.new2.ipynb"]
    assert cells(root, NEW) == ["one, better", "and mine"] and cells(root) == ["mine"]


def test_a_new_version_that_was_taken_over_follows_again(root: Path) -> None:
    save(root, "mine")
    publish(root, "one, better")
    live.refresh(root)
    (root / "live" / NEW).replace(root / "live" / ONE)
    assert live.refresh(root) == ([], [])
    publish(root, "one, best")
    assert live.refresh(root) == ([ONE], []) and cells(root) == ["one, best"]


def test_changes_that_were_undone_are_none(root: Path) -> None:
    save(root, "mine")
    publish(root, "one, better")
    live.refresh(root)
    save(root, "one")
    assert live.refresh(root)[0] == [ONE] and cells(root) == ["one, better"]


def test_what_was_deleted_comes_back(root: Path) -> None:
    (root / "live" / ONE).unlink()
    assert live.refresh(root) == ([ONE], []) and cells(root) == ["one"]


def test_files_of_the_readers_own_are_never_touched(root: Path) -> None:
    own = {name: save(root, f"own {name}", name=name) for name in ("a/own.ipynb", "own.ipynb", NEW)}
    save(root, "mine")
    publish(root, "one, better")
    assert live.refresh(root)[0] == ["a/one.new2.ipynb"]
    assert all((root / "live" / name).read_text() == text for name, text in own.items())


def test_a_page_of_a_name_that_the_reader_had_taken(root: Path) -> None:
    own = save(root, "own", name="a/three.ipynb")
    (root / "_toc.yml").write_text(TOC + "      - file: book/a/three\n")
    (root / "book/a/three.ipynb").write_text(notebook("three"))
    assert live.refresh(root)[0] == ["a/three.new.ipynb"]
    assert (root / "live/a/three.ipynb").read_text() == own


def test_a_page_that_left_the_book_is_left_to_the_reader(root: Path) -> None:
    (root / "_toc.yml").write_text(TOC.replace("      - file: book/a/one\n", ""))
    (root / "book" / ONE).unlink()
    assert live.refresh(root) == ([], []) and cells(root) == ["one"]


@pytest.mark.parametrize("record", [None, "", "[1]", '{"a/one.ipynb": 3}'])
def test_without_the_record_whatever_differs_is_the_readers(root: Path, record: str | None) -> None:
    path = root / "live" / live.RECORD
    path.unlink() if record is None else path.write_text(record)
    publish(root, "one, better")
    fresh, said = live.refresh(root)
    assert fresh == [NEW] and len(said) == 1 and cells(root) == ["one"]


@pytest.mark.parametrize("broken", ["", "{}", "<<<<<<< mine", '{"cells": [{}]}', b"\xff\xfe"])
def test_a_file_that_is_no_notebook_any_more_is_the_readers(root: Path, broken: str | bytes) -> None:
    broken = broken if isinstance(broken, bytes) else broken.encode()
    (root / "live" / ONE).write_bytes(broken)
    publish(root, "one, better")
    assert live.refresh(root)[0] == [NEW]
    assert (root / "live" / ONE).read_bytes() == broken


def test_an_interruption_leaves_every_file_whole_and_nothing_forgotten(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(root, "one, better")
    (root / "book/a/two.md").write_text("two, better")
    replace = os.replace

    def fail(source: str, goal: Path) -> None:
        if Path(goal).name == "two.md":
            raise OSError("disk full")
        replace(source, goal)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        live.refresh(root)
    assert files(root) == BEGINNING
    assert cells(root) == ["one, better"] and (root / "live/a/two.md").read_text() == "two, [one](one.ipynb)"
    monkeypatch.undo()
    assert live.refresh(root) == (["a/two.md"], [])


def test_what_is_folded_on_the_page_is_folded_here(root: Path) -> None:
    publish(root, "shown", "solution", tags=("hide-input",))
    live.refresh(root)
    shown, solution = nbformat.read(root / "live" / ONE, 4).cells
    assert "jupyter" not in shown.metadata and solution.metadata["jupyter"] == {"source_hidden": True}


def test_pictures_come_along(root: Path) -> None:
    (root / "book/results").mkdir()
    (root / "book/results/p.png").write_bytes(b"picture")
    (root / "book/a/two.md").write_text("![a picture](../results/p.png)")
    live.refresh(root)
    assert (root / "live/results/p.png").read_bytes() == b"picture"


def test_jupyterlab_opens_the_list_and_takes_further_arguments(root: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from jupyterlab import labapp

    given: list[str] = []
    monkeypatch.setattr(labapp, "main", given.extend)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(root / "data"))
    monkeypatch.setattr(sys, "prefix", str(root / ".venv"))
    publish(root, "one, better")
    live.main(["--no-browser", "--port=9999"], root)
    assert given[0] == f"--notebook-dir={root / 'live'}" and given[1].endswith("=/lab/tree/intro.ipynb")
    assert given[2:] == ["--no-browser", "--port=9999"]
    assert "1 pages" in capsys.readouterr().out
    settings = json.loads((root / ".venv/share/jupyter/lab/settings/overrides.json").read_text())
    assert settings["@jupyterlab/docmanager-extension:plugin"]["defaultViewers"]["markdown"] == "Markdown Preview"
    from nbformat.sign import NotebookNotary

    notary = NotebookNotary(data_dir=str(root / "data"))
    assert notary.check_signature(nbformat.read(root / "live" / ONE, 4))  # else JupyterLab shows none of its SVG
    assert not notary.check_signature(nbformat.read(root / "live/intro.ipynb", 4))  # not written by this call


def test_another_environment_keeps_its_settings(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyterlab import labapp

    monkeypatch.setattr(labapp, "main", lambda arguments: None)
    monkeypatch.setattr(sys, "prefix", str(root / "conda"))
    live.main([], root)
    assert not (root / "conda").exists()


def test_every_setting_is_one_that_jupyterlab_knows() -> None:
    schemas = Path(sys.prefix) / "share/jupyter/lab/schemas"
    for plugin, values in live.LAB_SETTINGS.items():
        package, name = plugin.split(":")
        schema = json.loads((schemas / package / f"{name}.json").read_text(encoding="utf-8"))
        assert set(values) <= set(schema["properties"])


def test_every_page_of_the_book_arrives_and_so_does_every_link(tmp_path: Path) -> None:
    from tests.book.test_notebooks import markdown, relative_links

    (tmp_path / "book").symlink_to(ROOT / "book")
    (tmp_path / "_toc.yml").write_text((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    fresh, _ = live.refresh(tmp_path)
    assert [str(Path(name).with_suffix("")) for name in fresh] == [page.removeprefix("book/") for page in pages()]
    for name in fresh:
        path = tmp_path / "live" / name
        assert not [link for link in relative_links(markdown(path)) if not (path.parent / link).exists()], name
