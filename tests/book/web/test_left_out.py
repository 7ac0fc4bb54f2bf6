"""Without chromium, or without built pages, a run of the tests says in its last lines what it has not checked."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import not_checked
from tests.book.web import browser


@pytest.mark.parametrize("reason", [browser.NO_CHROMIUM, browser.NO_PAGES])
def test_the_reasons_that_the_tests_give_are_counted(reason: str) -> None:
    (what, why) = not_checked([("tests/b.py", f"Skipped: {reason}"), ("tests/a.py", reason), ("tests/a.py", reason)])
    assert what == "Not checked: 3 tests in tests/a.py (2), tests/b.py (1)"
    assert "make test" in why


def test_nothing_is_said_of_other_reasons() -> None:
    assert not_checked([("tests/a.py", "Skipped: no CUDA device")]) == []
    assert not_checked([]) == []


def test_it_stands_at_the_end_of_a_run(tmp_path: Path) -> None:
    shutil.copy(browser.ROOT / "conftest.py", tmp_path)
    test = f"import pytest\n@pytest.mark.skip(reason={browser.NO_CHROMIUM!r})\ndef test_page(): pass"
    (tmp_path / "test_page.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "--rootdir", str(tmp_path), "-p", "no:cacheprovider", str(tmp_path)]
    lines = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout.splitlines()
    assert "Not checked: 1 tests in test_page.py (1)" in lines
