"""A playground's arithmetic in headless chromium, for tests that compare it with salnb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools.stills import CHROMIUM, FLAGS, opened

needs_chromium = pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason="no chromium; Debian's package of that name brings it")


@contextmanager
def playground(name: str) -> Iterator:
    """The lone page of one playground; nothing on it moves by itself."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        errors: list[str] = []
        page = opened(browser, name)
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        browser.close()
        assert not errors
