"""Carries the book's public address, `[tool.salnb] repository` in pyproject.toml, to every place that shows it.

Those are the setup cell of each notebook, README.md and CITATION.cff; the rendered pages ask pyproject.toml themselves
(`tools/sphinx_ext.py`). Run it with `make address`, also when a notebook is new: it adds the setup cell.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import nbformat

from tools.notebooks import dumps
from tools.tree import ROOT, notebooks, settings, write_text

SETUP_ADDRESS = """\
# On Colab, fetch the library; where it is installed already, this does nothing.
import importlib.util

if importlib.util.find_spec("salnb") is None:
    %pip install -q "salnb[book] @ git+{address}@v{version}"
if importlib.util.find_spec("salnb") is None:
    raise ModuleNotFoundError(
        "salnb could not be installed from {address}. The download button on this "
        "chapter's page gives the same notebook with the library inside."
    )
"""
SETUP_NO_ADDRESS = """\
# This chapter needs the library salnb; where it is installed, this cell does nothing.
import importlib.util

if importlib.util.find_spec("salnb") is None:
    raise ModuleNotFoundError(
        "salnb is not installed in this kernel. The same chapter with the library "
        "inside: the download button on its page, or `make take-home` in the book's "
        "folder, which writes it into _build/take-home."
    )
"""
# README.md and CITATION.cff: only what stands between a pair of marks is ours to rewrite.
MARKS = {
    "README.md": ("<!-- address -->", "<!-- /address -->"),
    "CITATION.cff": ("# address", "# /address"),
}


def setup_source(address: str, version: str) -> str:
    """The code of a notebook's setup cell; with an address, it installs the release of this version.

    >>> print(setup_source("https://example.org/book", "0.1.0").splitlines()[4].strip())
    %pip install -q "salnb[book] @ git+https://example.org/book@v0.1.0"
    """
    text = SETUP_ADDRESS.format(address=address, version=version) if address else SETUP_NO_ADDRESS
    return text.rstrip("\n")


def readme_lines(address: str) -> str:
    """What the README says about where the book lives."""
    if address:
        return f"The source is at <{address}>; every chapter opens on Colab from the rocket at the top of its page."
    return "The book has no public address yet; for Colab, take a page's download button: that notebook carries the library."


def with_block(text: str, name: str, block: str) -> str:
    """`text` with the part between the marks of file `name` replaced.

    >>> with_block("a\\n# address\\nold\\n# /address\\n", "CITATION.cff", "new")
    'a\\n# address\\nnew\\n# /address\\n'
    """
    first, last = MARKS[name]
    pattern = re.compile(rf"^{re.escape(first)}\n(.*?)^{re.escape(last)}$", re.DOTALL | re.MULTILINE)
    body = f"{block}\n" if block else ""
    changed, count = pattern.subn(lambda _: f"{first}\n{body}{last}", text)
    if count != 1:
        raise ValueError(f"{name}: expected one pair of lines {first!r} and {last!r}, found {count}")
    return changed


def with_setup_cell(notebook: nbformat.NotebookNode, source: str) -> nbformat.NotebookNode:
    """`notebook` with its setup cell saying `source`; a missing one goes in front of the first code cell."""
    tagged = [cell for cell in notebook.cells if "setup" in cell.metadata.get("tags", [])]
    if len(tagged) > 1:
        raise ValueError(f"expected at most one cell tagged 'setup', found {len(tagged)}")
    if tagged:
        tagged[0].source = source
        return notebook
    code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    # remove-cell: who reads the rendered page has nothing to install
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["setup", "remove-cell"]}, id="setup")
    notebook.cells.insert(code[0] if code else len(notebook.cells), cell)
    return notebook


def rewritten(root: Path) -> dict[Path, str]:
    """What each place must say: path and full text."""
    setting = settings(root)
    address, version = setting["repository"].rstrip("/"), setting["version"]
    if address and not address.startswith("https://"):
        raise ValueError(f"[tool.salnb] repository: expected an https:// address or nothing, got {address!r}")
    blocks = {
        "README.md": readme_lines(address),
        "CITATION.cff": f"repository-code: {json.dumps(address)}" if address else "",
    }
    texts = {root / name: with_block((root / name).read_text(encoding="utf-8"), name, blocks[name]) for name in MARKS}
    for path in notebooks(root):
        notebook = nbformat.read(path, as_version=4)
        if any(cell.cell_type == "code" for cell in notebook.cells):
            texts[path] = dumps(with_setup_cell(notebook, setup_source(address, version)))
    return texts


def main(root: Path = ROOT) -> None:
    """Bring every place into line, and name those that changed."""
    for path, text in rewritten(root).items():
        if write_text(path, text):
            print(f"rewrote {path.relative_to(root)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
