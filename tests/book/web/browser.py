"""The built pages as a reader's browser shows them: one headless Chromium, a small server, a page that is open and drawn."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tools.tree import HTML, ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
# conftest.py counts the tests that were skipped for these two reasons, and says so at the end.
NO_CHROMIUM = "no chromium; Debian's package of that name brings it"
NO_PAGES = "no _build/html: run `make book` first"
needs_chromium = pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason=NO_CHROMIUM)
needs_pages = pytest.mark.skipif(not (ROOT / HTML / "index.html").is_file(), reason=NO_PAGES)

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
MEASURE = (Path(__file__).parent / "measure.js").read_text(encoding="utf-8")
# Fonts, formulas, two frames; and colors that are on their way to another scheme have arrived.
DRAWN = """() => Promise.all([
  document.fonts.ready,
  window.MathJax && MathJax.startup && MathJax.startup.promise,
]).then(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
  document.getAnimations().filter((a) => a instanceof CSSTransition).forEach((a) => a.finish());
  done(true);
}))))"""


class Quiet(SimpleHTTPRequestHandler):
    """A server that writes no log."""

    def log_message(self, *args: Any) -> None:
        """Nothing: pytest would show it beside a failure that it does not explain."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address under which `folder` is served on this machine, while the block lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def started() -> Iterator:
    """A headless Chromium, while the block lasts."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def drawn(page: Any) -> None:
    """Wait until fonts, formulas and the next frame are there."""
    page.evaluate(DRAWN)


@contextmanager
def opened(context: Any, address: str, viewport: dict[str, int] = WIDE, scheme: str = "light") -> Iterator:
    """A page of the browser's `context` with fonts and formulas drawn and `measure` (measure.js) defined."""
    page = context.new_page()
    try:
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme=scheme)
        page.goto(address, wait_until="load")
        drawn(page)
        page.evaluate(MEASURE)
        yield page
    finally:
        page.close()


def address(name: str) -> str:
    """The address of a built page, straight from the folder."""
    return (ROOT / HTML / f"{name}.html").as_uri()
