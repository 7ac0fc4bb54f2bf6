"""What the tests of the playgrounds share: one browser a file, and a page that holds a playground's functions alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.page.playgrounds import FOLDER, scripts
from tools.stills import CHROMIUM, FLAGS

MISSING = "no chromium; Debian's package of that name brings it"


@pytest.fixture(scope="module")
def browser() -> Iterator:
    if not Path(CHROMIUM).is_file():
        pytest.skip(MISSING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def functions(browser) -> Callable:
    """functions(name): an empty page with the scripts of that playground, whose `salnb.models[name]` a test can call."""

    def load(name: str):
        page = browser.new_page()
        page.goto("about:blank")
        for file in scripts([name]):
            page.add_script_tag(path=FOLDER / file)
        return page

    return load
