"""The frozen text: what it holds, how it is split, and that it is the book's at its commit."""

import subprocess

import pytest

from salnb.experiments.tasks import frozen_text
from salnb.experiments.tasks.frozen_text import COMMIT, as_numbers, book_text, collect_text
from tools.tree import ROOT


def letters(numbers, characters) -> str:
    return "".join(characters[i] for i in numbers.tolist())


def test_each_page_is_split_into_ten_tenths():
    pages = ["".join(chr(97 + i // 60) for i in range(600)), "xyz" * 200]
    text = as_numbers("\f".join(pages))
    assert letters(text.train, text.characters) == pages[0][:480] + pages[1][:480]
    assert letters(text.selection, text.characters) == pages[0][480:540] + pages[1][480:540]
    assert letters(text.test, text.characters) == pages[0][540:] + pages[1][540:]


def test_rare_characters_are_one():
    text = as_numbers("a" * 90 + "é" * 49 + "b" * 61)
    assert text.characters == "\ufffdab" and sum((part == 0).sum().item() for part in text[:3]) == 49


def test_the_frozen_text_is_sound():
    text = book_text()
    assert all(0 <= part.min() and part.max() < len(text.characters) for part in text[:3])
    assert "sensitivity" in letters(text.test, text.characters)


def test_another_text_is_refused(monkeypatch):
    book_text.cache_clear()
    monkeypatch.setattr(frozen_text, "SHA256", "0" * 64)
    with pytest.raises(RuntimeError, match="another SHA-256 than 00000000…; restore the file"):
        book_text()
    book_text.cache_clear()


def test_it_is_the_markdown_of_the_notebooks_at_its_commit():
    """Where git has that commit; a copy without the history has the file alone."""
    known = subprocess.run(["git", "cat-file", "-e", f"{COMMIT}^{{commit}}"], cwd=ROOT, capture_output=True, check=False)
    if known.returncode:
        pytest.skip(f"git does not know {COMMIT} here")
    numbers, text = as_numbers(collect_text(ROOT)), book_text()
    assert numbers.characters == text.characters
    assert all(a.equal(b) for a, b in zip(numbers[:3], text[:3], strict=True))
