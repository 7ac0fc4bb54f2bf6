"""The library's rooms: imports go one way, faces name what is public, folders and files stay small, and tests mirror them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

from tools.tree import ROOT

LIBRARY, TESTS = ROOT / "salnb", ROOT / "tests"
FILES = sorted(LIBRARY.rglob("*.py"))
FACES = [path for path in FILES if path.name == "__init__.py"]
name = lambda path: str(path.relative_to(ROOT))  # noqa: E731


def test_floors_and_circles(capsys: pytest.CaptureFixture[str]) -> None:
    """The contracts in pyproject.toml."""
    failed = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert not failed, capsys.readouterr().out


def imports_of(path: str, source: str) -> Iterator[str]:
    """All modules that a file of the library imports from it, by their full names, inside functions as well."""
    folders = path.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield ".".join([*folders[: len(folders) - node.level + 1], *(node.module or "").split(".")]).rstrip(".")
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def from_above(path: str, source: str) -> list[str]:
    """Imports from the package itself, or from the face of a room by one of its own files."""
    return [module for module in imports_of(path, source) if path.startswith(f"{module.replace('.', '/')}/")]


@pytest.mark.parametrize("path", [path for path in FILES if path not in FACES], ids=name)
def test_no_room_imports_from_the_package_itself(path: Path) -> None:
    assert not from_above(name(path), path.read_text(encoding="utf-8"))


INSIDE = "def f():\n    from salnb import SAL"


@pytest.mark.parametrize("line", ["import salnb", "from salnb import SAL", "from .. import SAL", "from . import update", INSIDE])
def test_an_import_from_above_is_noticed(line: str) -> None:
    assert from_above("salnb/sal/monitor.py", line)
    assert not from_above("salnb/sal/monitor.py", "from ..networks.deep import DeepNet\nfrom .update import Stack")


@pytest.mark.parametrize("path", FACES, ids=name)
def test_a_face_says_what_the_room_is_for_and_names_its_public_things(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports, named = tree.body[1:-1], tree.body[-1]
    assert ast.get_docstring(tree) and all(isinstance(node, ast.ImportFrom) for node in imports)
    found = {alias.asname or alias.name for node in imports for alias in node.names}
    assert {n for n in found if not n.startswith("__") or path.parent != LIBRARY} == set(ast.literal_eval(named.value))


@pytest.mark.parametrize("folder", sorted({path.parent for path in (*FILES, *TESTS.rglob("*.py"))}), ids=name)
def test_a_folder_has_at_most_fifteen_files_of_at_most_four_hundred_lines(folder: Path) -> None:
    files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(files) <= 15
    assert not [path.name for path in files if len(path.read_text(encoding="utf-8").splitlines()) > 400]


ROOMS = sorted(path for path in TESTS.rglob("test_*.py") if path.parent != TESTS and TESTS / "book" not in path.parents)


@pytest.mark.parametrize("path", ROOMS, ids=name)
def test_a_test_is_named_for_what_it_tests(path: Path) -> None:
    """``tests/sal/test_optimizer_gating.py`` tests ``salnb/sal/optimizer.py``; many files have a folder."""
    place = LIBRARY / path.parent.relative_to(TESTS)
    files = [place.name, *(file.stem for file in place.glob("*.py"))]
    assert place.with_suffix(".py").exists() or any(path.stem.removeprefix("test_").startswith(file) for file in files)
