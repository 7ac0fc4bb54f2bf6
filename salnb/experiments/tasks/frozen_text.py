"""The words of this book as a text to learn: the markdown of its pages as it stood at one commit, frozen in a file."""

import hashlib
import json
import lzma
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ...notebook.book_files import data_path

COMMIT = "9a6af37"  # the commit before these runs were planned; the book may change, the text does not
SHA256 = "852f336059d3fd468caa64862ae3298f89e108859dd9aa16970eeacd0d47219d"
PAGE_ENDS = "\f"
RARE = 50  # a character that is rarer in the text is read as the first one, which stands for all of these
SHARES = {"train": (0.0, 0.8), "selection": (0.8, 0.9), "test": (0.9, 1.0)}


class Text(NamedTuple):
    """A text as numbers. Each part holds its share of every page: the first 80 %, then 10 %, then the last 10 %."""

    train: Tensor
    selection: Tensor
    test: Tensor
    characters: str


def collect_text(folder: Path, commit: str = COMMIT) -> str:
    """The markdown cells of all notebooks of the book at a commit of the repository in ``folder``, page after page by path.

    Raises:
        subprocess.CalledProcessError: no such commit there, for instance in a copy without its history.
    """
    git = lambda *words: subprocess.run(  # noqa: E731
        ["git", *words], cwd=folder, capture_output=True, text=True, encoding="utf-8", check=True).stdout  # fmt: skip
    paths = sorted(path for path in git("ls-tree", "-r", "--name-only", commit, "book").splitlines() if path.endswith(".ipynb"))
    pages = (json.loads(git("show", f"{commit}:{path}"))["cells"] for path in paths)
    markdown = (["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"] for cells in pages)
    return PAGE_ENDS.join("\n\n".join(cells) for cells in markdown)


@cache
def book_text() -> Text:
    """The frozen text, 38 pages and half a million characters, as numbers below the length of ``characters``.

    Raises:
        RuntimeError: the stored file is not the text that the stored runs have learned.

    Example:
        >>> text = book_text()
        >>> len(text.characters), len(text.train), len(text.test)
        (91, 399747, 49970)
    """
    stored = lzma.decompress(data_path("results/own_model_text.xz").read_bytes())
    if hashlib.sha256(stored).hexdigest() != SHA256:
        raise RuntimeError(f"own_model_text.xz: the text has another SHA-256 than {SHA256[:8]}…; restore the file from git")
    return as_numbers(stored.decode("utf-8"))


def as_numbers(text: str) -> Text:
    """Pages to numbers: a place for every character that is not rare, in the order of Unicode, behind one for all others."""
    counts = Counter(text)
    characters = "\ufffd" + "".join(sorted(one for one in counts if counts[one] >= RARE and one != PAGE_ENDS))
    place, pages = {one: i for i, one in enumerate(characters)}, text.split(PAGE_ENDS)
    parts = {name: "".join(page[round(low * len(page)) : round(high * len(page))] for page in pages)
             for name, (low, high) in SHARES.items()}  # fmt: skip
    numbers = {name: torch.tensor([place.get(one, 0) for one in part]) for name, part in parts.items()}
    return Text(**numbers, characters=characters)
