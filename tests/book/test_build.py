"""What `make` relies on: an environment that knows when it is old, and a build that never shows stale outputs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools import build, environment
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
