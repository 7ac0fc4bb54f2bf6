"""`make take-home`: every chapter as one file that runs anywhere, because its first cell carries the library.

A reader has the notebook and a kernel with PyTorch, and nothing else: no checkout, no network, no address. So the first cell,
folded away, holds the library's wheel with just those stored results that this chapter draws. `make book` puts the same files
behind the download buttons of the pages.
"""

from __future__ import annotations

import ast
import base64
import copy
import csv
import hashlib
import io
import lzma
import re
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import nbformat

from tools import first_cell
from tools.notebooks import dumps
from tools.tree import HTML, ROOT, notebooks, settings, write_text

FOLDER = Path("_build/take-home")
LARGEST = 700_000  # bytes that the first cell may add to a notebook
LINE = 400  # letters of the packed library in a line: a notebook stores each line with ten more
RESULTS = "salnb/data/results/"  # inside the wheel
ALWAYS = {"claims"}  # the ledger's own figures
# What a chapter cannot do without: name to import, and name to install where that is another. ipywidgets is not among them:
# without it the figures stand still.
NEEDED = ("torch", "numpy", "matplotlib", "scipy")
ALSO = {"sklearn:scikit-learn": re.compile(r"sklearn|digits")}
TITLE = "#@title Run this cell first: it brings the library along"
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])+)\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)")


def library(root: Path = ROOT) -> dict[str, bytes]:
    """The files of the library's wheel by name, as its own build makes them."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the wheel could not be built: {done.stderr.strip()[-500:]}")
        (path,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(path) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist()}


def code_of(notebook: nbformat.NotebookNode) -> list[str]:
    """The code cells that Python can read; one with a magic command is passed over."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code" and not re.search(r"^\s*[%!]", cell.source, re.M)]


def drawn_results(notebook: nbformat.NotebookNode, stored: set[str]) -> set[str]:
    """Which of the stored results a chapter may ask for: every text in its code that is the name of one.

    >>> cell = nbformat.v4.new_code_cell("for name in ('depth', 'x'): read_results(name)")
    >>> drawn_results(nbformat.v4.new_notebook(cells=[cell]), {"depth", "lag"})
    {'depth'}
    """
    texts = {node.value for source in code_of(notebook) for node in ast.walk(ast.parse(source))
             if isinstance(node, ast.Constant) and isinstance(node.value, str)}  # fmt: skip
    return texts & stored


def wheel_with(files: dict[str, bytes], results: set[str]) -> bytes:
    """The wheel with these results alone, its record in step; its parts not compressed, for the whole is."""
    kept = {name: data for name, data in files.items()
            if not name.startswith(RESULTS) or Path(name).suffix == ".json" and Path(name).stem in results}  # fmt: skip
    record = next(name for name in kept if name.endswith(".dist-info/RECORD"))
    rows = [row for row in csv.reader(io.StringIO(kept[record].decode())) if row and row[0] in kept]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    kept[record] = text.getvalue().encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as wheel:
        for name in sorted(kept):
            wheel.writestr(zipfile.ZipInfo(name), kept[name])  # a fixed date: the same files give the same bytes
    return packed.getvalue()


@cache
def as_text(wheel: bytes) -> str:
    """The wheel compressed, in letters; kept, because most chapters carry the same one, and each takes a second."""
    return base64.b85encode(lzma.compress(wheel, preset=9)).decode()


def cell_source(notebook: nbformat.NotebookNode, files: dict[str, bytes], version: str, address: str) -> str:
    """The code of the first cell: the program, then what it unpacks."""
    stored = {Path(name).stem for name in files if name.startswith(RESULTS) and name.endswith(".json")}
    wheel = wheel_with(files, drawn_results(notebook, stored) | ALWAYS & stored)
    text = as_text(wheel)
    whole = "\n".join(code_of(notebook))
    needed = (*NEEDED, *(name for name, words in ALSO.items() if words.search(whole)))
    release = f"salnb @ git+{address}@v{version}" if address else ""
    program = Path(first_cell.__file__).read_text(encoding="utf-8").split('"""', 2)[2].strip()
    call = f"bring({version!r}, {needed!r}, {release!r},\n      {hashlib.sha256(text.encode()).hexdigest()!r}, '''"
    lines = [text[at : at + LINE] for at in range(0, len(text), LINE)]
    return "\n".join([TITLE, program, "", "", call, *lines, "''')"])


def with_whole_links(text: str, page: str, address: str, version: str) -> str:
    """Links between pages, for a file that stands alone: to the address if there is one, else only their words.

    >>> with_whole_links("see [one](b.ipynb#c), [here](#d), [far](https://e.org)", "book/theory/a", "", "1")
    'see one, [here](#d), [far](https://e.org)'
    >>> with_whole_links("[one](../x.md#c)", "book/theory/a", "https://e.org/r", "1")
    '[one](https://e.org/r/blob/v1/book/x.md#c)'
    """

    def whole(match: re.Match) -> str:
        words, target = match.groups()
        if urlsplit(target).scheme or target.startswith("#"):
            return match[0]
        if not address:
            return words
        inside = (ROOT / page).parent / target.split("#")[0]
        path = Path(*inside.resolve().relative_to(ROOT.resolve()).parts).as_posix()
        anchor = f"#{target.split('#', 1)[1]}" if "#" in target else ""
        return f"[{words}]({address}/blob/v{version}/{path}{anchor})"

    return LINK.sub(whole, text)


def fold(cell: nbformat.NotebookNode, title: str) -> None:
    """Shut a cell in Jupyter and on Colab; a click opens it."""
    cell.metadata["jupyter"] = {"source_hidden": True}
    cell.metadata["cellView"] = "form"
    if not cell.source.startswith("#@title"):
        cell.source = f"#@title {title}\n{cell.source}"


def take_home(path: Path, files: dict[str, bytes], root: Path = ROOT) -> nbformat.NotebookNode:
    """A chapter as a notebook that stands alone."""
    notebook = copy.deepcopy(nbformat.read(path, as_version=4))
    setting = settings(root)
    address, version = setting["repository"].rstrip("/"), setting["version"]
    page = path.relative_to(root).with_suffix("").as_posix()
    found = [cell for cell in notebook.cells if "setup" in cell.metadata.get("tags", [])]
    if len(found) != 1:
        raise ValueError(f"{page}: expected one cell tagged 'setup', found {len(found)}; run `make address`")
    found[0].source, found[0].outputs = "", []
    found[0].source = cell_source(notebook, files, version, address)
    added = len(dumps(nbformat.v4.new_notebook(cells=[found[0]])))
    if added > LARGEST:
        raise ValueError(f"{page}: its first cell takes {added} bytes, at most {LARGEST} are allowed; it draws too many results")
    fold(found[0], TITLE)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_whole_links(cell.source, page, address, version)
        title = cell.metadata.get("mystnb", {}).get("code_prompt_show", "")
        if title.startswith("Solution"):
            fold(cell, title)
    return notebook


def write(root: Path = ROOT, into: Path | None = None) -> dict[Path, int]:
    """Write every chapter's file below `into`; the paths with their sizes in bytes."""
    into, files, sizes = into or root / FOLDER, library(root), {}
    for path in notebooks(root):
        target = into / path.relative_to(root / "book")
        target.parent.mkdir(parents=True, exist_ok=True)
        text = dumps(take_home(path, files, root))
        write_text(target, text)
        sizes[target] = len(text.encode())
    return sizes


def behind_the_buttons(root: Path = ROOT) -> None:
    """Let the download button of each page give the file of `make take-home`, and save it: some browsers would show its text."""
    for written in write(root):
        page = written.relative_to(root / FOLDER)
        write_text(root / HTML / "_sources/book" / page, written.read_text(encoding="utf-8"))
        html = (root / HTML / "book" / page).with_suffix(".html")
        if html.is_file():
            write_text(html, html.read_text(encoding="utf-8").replace(f'{page.name}" target="_blank"', f'{page.name}" download'))


def main() -> None:
    """Write them all, and say where."""
    sizes = write()
    print(f"{len(sizes)} notebooks in {FOLDER}, the largest of {max(sizes.values()) / 1e6:.1f} MB. Each runs alone on a kernel "
          f"with {', '.join(NEEDED)} (ipywidgets for the sliders, scikit-learn for the digits).")  # fmt: skip


if __name__ == "__main__":
    main()
