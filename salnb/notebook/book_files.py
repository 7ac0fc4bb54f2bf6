"""The files of the book that the library reads: the claims ledger and the stored results."""

import json
import os
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
BOOK = PACKAGE.parent / "book"  # in a checkout


def data_path(name: str) -> Path:
    """The path of a file of the book. In a checkout it lies beside the package; in an installed wheel, inside the package."""
    for candidate in (BOOK / name, PACKAGE / "data" / name):
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"{name}: found neither beside the package nor inside it; is this a complete copy of the book?")


def read_results(name: str) -> dict:
    """The stored results of paper-scale runs in the file ``book/results/<name>.json``, each with its provenance."""
    return json.loads(data_path(f"results/{name}.json").read_text(encoding="utf-8"))


def write_atomically(path: Path, text: str) -> None:
    """Writes a file in one step: if the program is interrupted, the old file is still complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)
