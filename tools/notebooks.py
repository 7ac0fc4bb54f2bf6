"""Executes chapters in place, and keeps of a notebook only what belongs into version control.

make notebooks                                          every chapter of _toc.yml
.venv/bin/python -m tools.notebooks book/intro.ipynb    those named
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import nbformat

from tools.tree import ROOT, notebooks, write_text

TIMEOUT = 180  # seconds a cell, as in _config.yml
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what changes from run to run: timestamps, versions, widget state, editor settings, random ids.

    Outputs and execution counts stay: nbval compares the first and passes over a cell that lacks the second.
    """
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for index, cell in enumerate(notebook.cells):
        kept = {key: cell.metadata[key] for key in ("tags", "mystnb") if cell.metadata.get(key)}
        cell.metadata = nbformat.from_dict(kept)
        if "id" not in cell:
            cell.id = f"cell-{index}"
        if "outputs" in cell:
            cell.outputs = joined(cell.outputs)
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output.metadata = nbformat.from_dict({})
            # a view without its state is a dead box; the text beside it remains
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    seen: set[str] = set()
    for index, cell in enumerate(notebook.cells):
        if cell.id in seen:
            cell.id = f"cell-{index}"
        seen.add(cell.id)
    return notebook


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """What a cell prints as one text: in how many pieces the kernel sent it depends on how busy the machine was."""
    pieces: list[nbformat.NotebookNode] = []
    for output in outputs:
        stream = output.output_type == "stream" and pieces and pieces[-1].output_type == "stream"
        if stream and pieces[-1].name == output.name:
            pieces[-1].text += output.text
        else:
            pieces.append(output)
    return pieces


def dumps(notebook: nbformat.NotebookNode) -> str:
    """The notebook as text, ending in a newline; raises on an invalid one."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT).rstrip("\n") + "\n"


def execute(path: Path, timeout: int = TIMEOUT) -> float:
    """Run one notebook from a fresh kernel in its own folder, write it back, return the seconds it took."""
    from nbclient import NotebookClient  # only here: the checks read this file without needing a kernel

    notebook = nbformat.read(path, as_version=4)
    start = time.monotonic()
    NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    seconds = time.monotonic() - start
    write_text(path, dumps(clean(notebook)))
    return seconds


def main(arguments: list[str]) -> None:
    """Execute the notebooks named, or all."""
    os.environ["SALNB_STATIC"] = "1"  # widgets draw a still picture: nobody can move a slider on a page
    for path in [Path(argument).resolve() for argument in arguments] or notebooks():
        print(f"{path.relative_to(ROOT)} ", end="", flush=True)
        print(f"{execute(path):.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
