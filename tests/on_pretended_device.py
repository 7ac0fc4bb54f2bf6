"""Runs chapters on the pretended device (tests/pretended_device.py) and names the cells that would not run on a GPU.

    .venv/bin/python -m tests.on_pretended_device book/theory/x.ipynb …

A chapter's code runs in one process; its figures are drawn, its controls moved to both ends. Only a chapter that asks
``runtime()`` for its device uses the device. Cells after the first that fails may fail for want of what that one should
have made. It takes a few times as long as the chapter. Exit status: 1 if a cell failed.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import traceback
from pathlib import Path

from tests.pretended_device import NAME, form, install
from tools.tree import ROOT


def failures(path: Path) -> list[tuple[str, str]]:
    """Cell by cell what went wrong: id, and a line for each frame of the cell and the library."""
    import nbformat
    from IPython.core.interactiveshell import InteractiveShell
    from matplotlib import pyplot

    shell, found = InteractiveShell.instance(), []
    shell.showtraceback = shell.showsyntaxerror = lambda *args, **kwargs: None
    pyplot.switch_backend("Agg")
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            result = shell.run_cell(cell.source)
            error = result.error_before_exec or result.error_in_exec
            try:
                for number in pyplot.get_fignums():
                    pyplot.figure(number).canvas.draw()
            except Exception as late:
                error = error or late
            pyplot.close("all")
        if error is not None:
            found.append((cell.get("id", "?"), told(error)))
    return found


def told(error: BaseException) -> str:
    """The error, and the lines on the way to it that are the chapter's or the library's."""
    lines = []
    for frame in traceback.extract_tb(error.__traceback__):
        place = Path(frame.filename)
        if place.is_relative_to(ROOT / "salnb"):
            lines.append(f"{place.relative_to(ROOT)}:{frame.lineno}: {frame.line}")
        elif "ipykernel_" in frame.filename or frame.filename.startswith("<ipython-input"):
            lines.append(f"line {frame.lineno}: {frame.line}")
    return "\n    ".join([f"{type(error).__name__}: {error}", *lines])


def main(paths: list[str]) -> int:
    """One chapter here; of several each in a process of its own."""
    if len(paths) != 1:
        return max([subprocess.call([sys.executable, "-m", "tests.on_pretended_device", path]) for path in paths], default=0)
    path = Path(paths[0]).resolve()
    os.environ.update(SALNB_DEVICE=NAME, SALNB_STATIC="1", SALNB_DRIVE_WIDGETS="1")
    install()
    os.chdir(path.parent)
    found = failures(path)
    calls = sum(form.cache_info()[:2])  # every operation asks for its form
    verdict = f"{len(found)} cells failed" if found else "every cell runs"
    print(f"{paths[0]}: {verdict}, {calls:,} operations on the device", flush=True)
    for cell, what in found:
        print(f"  {cell}: {what}", flush=True)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
