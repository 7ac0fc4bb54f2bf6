"""`make live`: JupyterLab on copies of the book's pages in `live/`, where what a reader writes stays.

Every page of `_toc.yml` is copied there with the folders of `book/`, so that links work, and whatever pictures the pages show.
After that, at every start, page by page:

- a copy that the reader has not changed is replaced when the page has changed;
- a copy that the reader has changed is left alone; a later version of the page comes to lie beside it, as `<name>.new.ipynb`;
- a copy that is missing comes back; every other file in `live/` is the reader's own. Nothing is ever deleted.

Changed means that the text of a cell has changed, or a cell came or went. What Jupyter writes by itself (outputs, counts,
metadata, the empty cell below the last one) does not count: a chapter that was only run is replaced by its next version, and
what it had printed goes with the old one. While the page's text stays the same, the reader's outputs stay, too.

What was copied is recorded in `live/.copied.json`. Without the record, every file that differs from the book is the reader's.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from tools.tree import ROOT, pages, write_text

LIVE = Path("live")  # relative to the root, like the next one
BOOK = Path("book")
RECORD = ".copied.json"
FIRST = "intro.ipynb"  # the preface: it has the list of all chapters, with links
PICTURE = re.compile(r"!\[[^\]]*\]\(<?([^)>\s:]+)|<img[^>]*?src=\\?[\"']([^\"'\\:]+)")  # of this book, not of the web
LAB_SETTINGS = {
    # a page in Markdown opens as a page, and its links to a symbol lead to the symbol
    "@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"markdown": "Markdown Preview"}},
    "@jupyterlab/apputils-extension:sanitizer": {"allowNamedProperties": True},
    # no question about news at the first start, and nothing that needs a network
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
}


def digest(text: str) -> str:
    """A hash of a text."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def written(text: str) -> str:
    """A hash of what a person has written on a page: in a notebook, the kinds and texts of all cells that are not empty.

    >>> one, two = ('{"cells": [{"cell_type": "code", "source": %s, "outputs": [%s]}]}' % x for x in (('"a"', ""), ('["a"]', 1)))
    >>> written(one) == written(two), written(one) == written("a")
    (True, False)
    """
    try:
        cells = [(cell["cell_type"], "".join(cell["source"]).strip()) for cell in json.loads(text)["cells"]]
    except (ValueError, TypeError, KeyError):  # Markdown, or no longer a notebook
        return digest(text)
    return digest(json.dumps([cell for cell in cells if cell[1]]))


def for_jupyter(text: str) -> str:
    """A notebook whose cells that are folded on the rendered page, solutions among them, are folded in JupyterLab as well."""
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if {"hide-input", "remove-cell"} & set(cell["metadata"].get("tags", [])):
            cell["metadata"]["jupyter"] = {"source_hidden": True}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def copies(root: Path) -> Iterator[tuple[str, str]]:
    """Name in `live/` and text of every page."""
    for page in pages(root):
        for path in (root / f"{page}.ipynb", root / f"{page}.md"):
            if path.is_file():
                text = path.read_text(encoding="utf-8")
                yield path.relative_to(root / BOOK).as_posix(), for_jupyter(text) if path.suffix == ".ipynb" else text


def read_record(live: Path) -> dict[str, dict[str, str]]:
    """What was copied, by name; empty where nobody knows."""
    try:
        record = json.loads((live / RECORD).read_text(encoding="utf-8"))
        return {name: dict(entry) for name, entry in record.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def beside(name: str, live: Path, record: dict[str, dict[str, str]]) -> str:
    """Where a new version goes: `<name>.new.ipynb`, or `.new2` and so on if that file is the reader's."""
    path = Path(name)
    for number in count(1):
        other = path.with_name(f"{path.stem}.new{number if number > 1 else ''}{path.suffix}").as_posix()
        if not (live / other).exists() or written(read(live / other)) == record.get(other, {}).get("written"):
            return other
    raise AssertionError("unreachable")


def read(path: Path) -> str:
    """A file that anybody may have written."""
    return path.read_text(encoding="utf-8", errors="replace")


def refresh(root: Path = ROOT) -> tuple[list[str], list[str]]:
    """Bring `live/` up to date: the names of the copies that were written, and what the reader should know."""
    live, said, fresh = root / LIVE, [], []
    record = read_record(live)

    def put(name: str, text: str) -> None:
        (live / name).parent.mkdir(parents=True, exist_ok=True)
        write_text(live / name, text)
        record[name] = {"written": written(text), "file": digest(text)}
        fresh.append(name)

    try:
        for name, text in copies(root):
            known, now = record.get(name, {}), written(text)
            if not (live / name).exists():
                put(name, text)
                continue
            there = read(live / name)
            theirs = written(there)
            if digest(there) == known.get("file"):  # nobody has saved it since
                if there != text:
                    put(name, text)
            elif theirs == now:  # run, or brought to this version by hand
                record[name] = {"written": now, "file": digest(text)}
            elif theirs == known.get("written"):
                put(name, text)
            elif now not in (known.get("written"), known.get("offered")):
                put(other := beside(name, live, record), text)
                record[name] = {**known, "offered": now}
                said.append(f"{LIVE / name} has your changes and stays; the book's new version is beside it: {Path(other).name}")
        copy_pictures(root)
    finally:
        live.mkdir(exist_ok=True)
        write_text(live / RECORD, json.dumps(record, indent=1, sort_keys=True) + "\n")
    return fresh, said


def copy_pictures(root: Path) -> None:
    """The pictures that pages show from files of the book."""
    for name, text in copies(root):
        for found in {first or second for first, second in PICTURE.findall(text)}:
            source = (root / BOOK / name).parent / found
            goal = (root / LIVE / name).parent / found
            if source.is_file() and not goal.exists():
                goal.parent.mkdir(parents=True, exist_ok=True)
                scratch = goal.with_name(f".{goal.name}.tmp")
                shutil.copyfile(source, scratch)
                os.replace(scratch, goal)


def trust(paths: list[Path]) -> None:
    """Tell Jupyter that these notebooks are ours: in a stranger's, it shows no SVG, so that half of the figures were missing."""
    import nbformat
    from nbformat.sign import NotebookNotary

    notary = NotebookNotary()
    for path in paths:
        notary.sign(nbformat.read(path, as_version=4))


def set_up_lab(prefix: Path) -> None:
    """JupyterLab's defaults, in the book's own environment; what the reader sets in JupyterLab still goes first."""
    settings = prefix / "share/jupyter/lab/settings"
    settings.mkdir(parents=True, exist_ok=True)
    write_text(settings / "overrides.json", json.dumps(LAB_SETTINGS, indent=1) + "\n")


def main(arguments: list[str], root: Path = ROOT) -> None:
    """Refresh the copies, then JupyterLab; its own arguments pass through, and the last one counts."""
    fresh, said = refresh(root)
    trust([root / LIVE / name for name in fresh if name.endswith(".ipynb")])
    if Path(sys.prefix).resolve() == (root / ".venv").resolve():  # an environment of somebody else's keeps its settings
        set_up_lab(Path(sys.prefix))
    print(f"{LIVE}/: what you change there stays; {len(fresh)} pages are new or brought up to date", *said, sep="\n", flush=True)

    from jupyterlab.labapp import main as lab

    lab([f"--notebook-dir={root / LIVE}", f"--LabApp.default_url=/lab/tree/{FIRST}", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
