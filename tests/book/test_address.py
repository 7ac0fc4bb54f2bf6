"""One address, in one place: everything that shows it agrees, with an address and without."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import nbformat
import pytest

from tools import address
from tools.tree import ROOT, notebooks

ADDRESS = "https://github.com/someone/sensitivity"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that the address reaches, in a folder of their own, with one notebook that has no setup cell yet."""
    for name in ("pyproject.toml", "README.md", "CITATION.cff", "_toc.yml"):
        shutil.copy(ROOT / name, tmp_path / name)
    for path in notebooks():
        (tmp_path / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / path.relative_to(ROOT))
    fresh = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# T"), nbformat.v4.new_code_cell("1")])
    (tmp_path / "book").mkdir(exist_ok=True)
    nbformat.write(fresh, tmp_path / "book/intro.ipynb")
    return tmp_path


def disagreeing(root: Path) -> list[str]:
    """The places that do not say what the setting says."""
    return [path.name for path, text in address.rewritten(root).items() if path.read_text(encoding="utf-8") != text]


def set_address(root: Path, value: str) -> None:
    path = root / "pyproject.toml"
    changed, count = re.subn(r"^repository = .*$", f'repository = "{value}"', path.read_text(), flags=re.MULTILINE)
    assert count == 1
    path.write_text(changed)


def test_every_place_agrees() -> None:
    assert not disagreeing(ROOT), "run `make address`"


@pytest.mark.parametrize("value", ["", ADDRESS, ADDRESS + "/"])
def test_a_new_setting_reaches_every_place(copy: Path, value: str) -> None:
    set_address(copy, value)
    assert "intro.ipynb" in disagreeing(copy)
    address.main(copy)
    assert not disagreeing(copy)
    for path in (copy / "README.md", copy / "CITATION.cff", copy / "book/intro.ipynb"):
        assert (ADDRESS in path.read_text(encoding="utf-8")) == bool(value)
    cells = nbformat.read(copy / "book/intro.ipynb", 4).cells
    tagged = [cell for cell in cells if "setup" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert f"git+{ADDRESS}@v" in tagged[0].source if value else "ModuleNotFoundError" in tagged[0].source


def test_setting_and_unsetting_leaves_no_trace(copy: Path) -> None:
    address.main(copy)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    for value in (ADDRESS, ""):
        set_address(copy, value)
        address.main(copy)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_an_address_that_pip_cannot_fetch_is_refused(copy: Path) -> None:
    set_address(copy, "git@github.com:someone/sensitivity.git")
    with pytest.raises(ValueError, match="https://"):
        address.rewritten(copy)


def test_a_lost_mark_is_named() -> None:
    with pytest.raises(ValueError, match=r"README\.md"):
        address.with_block("no marks", "README.md", "text")


@pytest.mark.parametrize("value", ["", ADDRESS])
def test_setup_cell_is_short_and_idle_where_the_library_is(value: str) -> None:
    source = address.setup_source(value, "0.1.0")
    assert len(source.splitlines()) <= 12
    exec(compile(source.replace("%pip", "raise SystemExit  #"), "setup", "exec"), {})


def test_setup_cell_without_address_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    source = address.setup_source("", "0.1.0")
    ast.parse(source)
    with pytest.raises(ModuleNotFoundError, match="make take-home"):
        exec(source, {})


def test_pages_get_buttons_only_with_an_address() -> None:
    from tools.sphinx_ext import address_options

    assert address_options("", "main") == {}
    assert address_options(ADDRESS, "main")["repository_url"] == ADDRESS
    assert "colab" in address_options(ADDRESS, "main")["launch_buttons"]["colab_url"]
    assert "launch_buttons" not in address_options("https://gitlab.com/a/b", "main")
