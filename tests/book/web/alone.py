"""A playground on an empty page: its scripts and nothing else of the book, in headless Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tools.playgrounds import FOLDER, scripts

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
needs_chromium = pytest.mark.skipif(
    not Path(CHROMIUM).is_file(), reason="no chromium; Debian's package of that name brings it"
)  # fmt: skip


@contextmanager
def alone(name: str) -> Iterator[Any]:
    """A page that holds this playground alone; what goes wrong in its scripts fails the test."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page, errors = browser.new_page(reduced_motion="reduce"), []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.set_content(f'<!doctype html><meta charset="utf-8"><div class="playground" data-playground="{name}">Here: it.</div>')
        for script in scripts([name]):
            page.add_script_tag(path=FOLDER / script)
        yield page
        browser.close()
    assert not errors, errors
