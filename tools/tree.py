"""Where things are in the repository, and how a file is written so that a half-written one is never seen."""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
HTML = Path("_build/html")  # relative to the root, like every path below


def toc_files(toc: dict) -> Iterator[str]:
    """Yield the documents of a table of contents in reading order, without suffix.

    >>> list(toc_files({"root": "a", "parts": [{"chapters": [{"file": "b", "sections": [{"file": "c"}]}]}]}))
    ['a', 'b', 'c']
    """
    if "root" in toc:
        yield toc["root"]
    if "file" in toc:
        yield toc["file"]
    for kind in ("parts", "chapters", "sections"):
        for entry in toc.get(kind, []):
            yield from toc_files(entry)


def pages(root: Path = ROOT) -> list[str]:
    """Every document that `_toc.yml` names, without suffix."""
    return list(toc_files(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))))


def notebooks(root: Path = ROOT) -> list[Path]:
    """Every document of `_toc.yml` that is a notebook."""
    return [path for page in pages(root) if (path := root / f"{page}.ipynb").is_file()]


def settings(root: Path = ROOT) -> dict:
    """The `[tool.salnb]` table of pyproject.toml, and the library's version."""
    table = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return {**table["tool"]["salnb"], "version": table["project"]["version"]}


def write_text(path: Path, text: str) -> bool:
    """Write `text` to `path` in one step, and say whether that changed the file.

    An unchanged file is left alone, so that neither git nor the book's cache sees a difference.
    """
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return True
