"""The notebooks as files: executed, described, of a readable size, clean, and linked to each other."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from tools import reading_time
from tools.notebooks import clean, dumps, joined
from tools.tree import ROOT, notebooks, pages

LARGEST = 2**20  # bytes, of a notebook and of every other file under version control
SHORTEST_ALT = 40  # characters
LINK = re.compile(r"(?<!\\)\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)")
FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1", re.MULTILINE | re.DOTALL)

Notebook = nbformat.NotebookNode


def images(cell: Notebook) -> bool:
    """Whether a cell puts a picture on the page."""
    return any(kind.startswith("image/") for output in cell.outputs for kind in output.get("data", {}))


def folded(cell: Notebook) -> bool:
    """Whether the page shows only a title in place of the cell's code."""
    return cell.cell_type == "code" and "hide-input" in cell.metadata.get("tags", [])


def complaints(notebook: Notebook) -> Iterator[str]:
    """What a reader, or nbval, would stumble over."""
    shown = [cell for cell in notebook.cells if "remove-cell" not in cell.metadata.get("tags", [])]
    for before, cell in zip(shown, shown[1:], strict=False):
        if folded(before) and folded(cell) and not before.outputs:
            yield f"cell {cell.id}: folded, and so is the one before; put a sentence between them"
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        if folded(cell) and not cell.metadata.get("mystnb", {}).get("code_prompt_show"):
            yield f"cell {cell.id}: folded without a title; set metadata.mystnb.code_prompt_show"
        where = f"cell {cell.id} ({cell.source.strip().splitlines()[0][:40] if cell.source.strip() else 'empty'})"
        if cell.execution_count is None:
            yield f"{where}: never executed, so nbval passes over it; run `make notebooks`"
        for output in cell.outputs:
            if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", []):
                yield f"{where}: ends in {output.ename}"
            if output.get("name") == "stderr":
                yield f"{where}: writes to stderr: {output.text[:80]!r}"
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if images(cell) and len(alt) < SHORTEST_ALT:
            yield f"{where}: metadata.mystnb.image.alt must describe its picture in at least {SHORTEST_ALT} characters"


def relative_links(text: str) -> list[str]:
    """The addresses in a Markdown text that point into the book."""
    found = [address.split("#")[0] for address in LINK.findall(FENCE.sub("", text))]
    return [unquote(address) for address in found if address and not urlsplit(address).scheme]


def markdown(path: Path) -> str:
    """The prose of a notebook or a Markdown file."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return path.read_text(encoding="utf-8")


def cell_with(source: str = "1", **changes: object) -> Notebook:
    """A notebook of one good cell, but for `changes`."""
    cell = nbformat.v4.new_code_cell(source, execution_count=1)
    cell.update(nbformat.from_dict(changes))
    return nbformat.v4.new_notebook(cells=[cell])


PICTURE = nbformat.v4.new_output("display_data", data={"image/png": "AA=="})


@pytest.mark.parametrize(
    ("notebook", "word"),
    [
        (cell_with(execution_count=None), "never executed"),
        (cell_with(metadata={"tags": ["hide-input"]}), "without a title"),
        (cell_with(outputs=[nbformat.v4.new_output("error", ename="KeyError")]), "KeyError"),
        (cell_with(outputs=[nbformat.v4.new_output("stream", name="stderr", text="hm")]), "stderr"),
        (cell_with(outputs=[PICTURE]), "alt"),
        (cell_with(outputs=[PICTURE], metadata={"mystnb": {"image": {"alt": "short"}}}), "alt"),
    ],
)
def test_each_complaint_is_made(notebook: Notebook, word: str) -> None:
    assert [word in complaint for complaint in complaints(notebook)] == [True]


def test_two_folded_cells_in_a_row_are_told() -> None:
    cells = [cell_with(metadata={"tags": ["hide-input"], "mystnb": {"code_prompt_show": "code"}}).cells[0] for _ in "ab"]
    assert ["so is the one before" in c for c in complaints(nbformat.v4.new_notebook(cells=cells))] == [True]


def test_a_good_cell_gets_no_complaint() -> None:
    good = cell_with(outputs=[PICTURE], metadata={"mystnb": {"image": {"alt": "a" * SHORTEST_ALT}}})
    assert list(complaints(good)) == []


def test_what_a_cell_prints_is_one_text() -> None:
    said = [nbformat.v4.new_output("stream", name=name, text=text) for name, text in
            (("stdout", "a\n"), ("stdout", "b\n"), ("stderr", "c\n"), ("stdout", "d\n"))]  # fmt: skip
    pieces = joined([*said, nbformat.v4.new_output("display_data"), nbformat.v4.new_output("stream", text="e\n")])
    assert [piece.get("text") for piece in pieces] == ["a\nb\n", "c\n", "d\n", None, "e\n"]


def test_links_are_found() -> None:
    text = "[a](b.md#c) [x](https://e.org) ![p](d%20e.png)\n```\n[no](code.md)\n```\n[self](#here)"
    assert relative_links(text) == ["b.md", "d e.png"]


def test_every_page_of_the_contents_exists() -> None:
    missing = [page for page in pages() if not any((ROOT / f"{page}{end}").is_file() for end in (".ipynb", ".md"))]
    assert not missing


def test_every_chapter_is_in_the_contents() -> None:
    written = {path for path in (ROOT / "book").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts}
    assert written == set(notebooks())


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_notebook(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert not list(complaints(notebook))
    assert path.stat().st_size < LARGEST
    assert dumps(clean(notebook)) == path.read_text(encoding="utf-8"), "not as `make notebooks` leaves it"


@pytest.mark.parametrize("page", [*pages(), "README"])
def test_links_between_pages(page: str) -> None:
    for end in (".ipynb", ".md"):
        path = ROOT / f"{page}{end}"
        if path.is_file():
            missing = [link for link in relative_links(markdown(path)) if not (path.parent / link).exists()]
            assert not missing, f"{path.relative_to(ROOT)} points at what is not there: {missing}"


def test_no_file_under_version_control_is_large():
    """Every clone carries every version of every file: one of a megabyte that changes often is soon most of the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    assert not [path.name for path in paths if path.is_file() and path.stat().st_size > LARGEST]


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_a_chapter_is_one_story_of_half_an_hour_and_fits_the_page(path: Path) -> None:
    assert not list(reading_time.complaints(nbformat.read(path, as_version=4)))


@pytest.mark.parametrize(
    ("source", "code", "word"),
    [
        ("# T\n\n*1 minutes*\n\n" + "word " * 3001, "1", "words"),
        ("# T\n\n*1 minutes*\n\n" + "$$x$$ " * 41, "1", "minutes, at most"),
        ("# T\n\ntext", "1", "no line"),
        ("# T\n\n*3 minutes*", "1", "says 3 minutes"),
        ("# T\n\n*1 minutes*", "\n".join("1" * 26), "26 lines"),
        ("# T\n\n*0 minutes*", "x = 1  # " + 80 * "-", "longer than 88"),
    ],
)
def test_what_makes_a_chapter_too_long_is_told(source: str, code: str, word: str) -> None:
    cells = [nbformat.v4.new_markdown_cell(source), nbformat.v4.new_code_cell(code)]
    assert any(word in complaint for complaint in reading_time.complaints(nbformat.v4.new_notebook(cells=cells)))


ROW = re.compile(r"^\| \[[^\]]+\]\(([^)]+)\) \| (\d*) \|", re.MULTILINE)


def test_the_preface_lists_every_page_with_its_minutes() -> None:
    listed = dict(ROW.findall(markdown(ROOT / "book/intro.ipynb")))
    missing = {f"{page}.ipynb" for page in pages() if (ROOT / f"{page}.ipynb").is_file()} - {f"book/{link}" for link in listed}
    assert missing == {"book/intro.ipynb"}
    for link, minutes in listed.items():
        assert minutes == str(reading_time.minutes_of_page(ROOT / "book" / link) or ""), link


ROUTE = re.compile(r"^- \*\*[^*]*?(\d+) minutes\.\*\*(.*)$", re.MULTILINE)


def test_the_minutes_of_a_route_are_those_of_its_pages() -> None:
    preface = ROOT / "book/intro.ipynb"
    routes = ROUTE.findall(markdown(preface))
    assert len(routes) >= 2
    for minutes, told in routes:
        stops = [preface, *(preface.parent / link for link in LINK.findall(told))]
        assert int(minutes) == sum(reading_time.minutes_of_page(stop) for stop in stops)
