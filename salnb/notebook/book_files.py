"""Files of the book that the library reads: the claims ledger and the stored results, in a checkout or in an installed wheel."""

import json
import os
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
BOOK = PACKAGE.parent / "book"  # in a checkout


def data_path(name: str) -> Path:
    """A file of the book: beside the package in a checkout, inside it where it was installed from a wheel."""
    for candidate in (BOOK / name, PACKAGE / "data" / name):
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"{name}: found neither beside the package nor inside it; is this a complete copy of the book?")


def read_results(name: str) -> dict:
    """A stored paper-scale result from ``book/results``, with the provenance that was written with it."""
    return json.loads(data_path(f"results/{name}.json").read_text(encoding="utf-8"))


def write_atomically(path: Path, text: str) -> None:
    """Writes all or nothing: an interrupted run leaves the old file as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)
