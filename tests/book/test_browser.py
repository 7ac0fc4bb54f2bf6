"""The built pages in a real browser: wide and narrow, light and dark, without a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.book.web.browser import needs_chromium, needs_pages, started
from tools.tree import HTML, ROOT, pages

pytestmark = needs_chromium
# Everything wider than the window that does not sit in a box with a scroll bar of its own.
TOO_WIDE = """() => {
  const wide = document.documentElement.clientWidth;
  const scrolls = (e) => /auto|scroll|hidden/.test(getComputedStyle(e).overflowX);
  const boxed = (e) => e && e !== document.body && (scrolls(e) || boxed(e.parentElement));
  return [...document.querySelectorAll('.bd-main *')]
    .filter((e) => e.getBoundingClientRect().right > wide + 1 && e.getClientRects().length && !boxed(e))
    // what is inside a drawing is measured with the figures
    .filter((e) => !e.closest('mjx-assistive-mml, .visually-hidden, .sr-only'))
    .filter((e) => !e.ownerSVGElement || !e.closest('svg.ink'))
    .map((e) => e.tagName + '.' + e.className).slice(0, 5);
}"""

# Figures are transparent and stand on either background: no white card behind them, no dimming in dark mode.
# A notebook writes width and height into the tag; on a narrow page only the width gives way unless the style says otherwise.
SQUEEZED = "e.naturalWidth && getComputedStyle(e).objectFit !== 'contain' && " \
    "Math.abs(e.clientWidth / e.clientHeight / (e.naturalWidth / e.naturalHeight) - 1) > 0.03"
SPOILT = "getComputedStyle(e).filter !== 'none' || getComputedStyle(e).backgroundColor !== 'rgba(0, 0, 0, 0)'"


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """One browser for all pages."""
    with started() as browser:
        yield browser


def look(browser, address: str, width: int, scheme: str) -> dict:
    """Open a page and say what happened: errors, foreign requests, and what a reader would see."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, errors, foreign = context.new_page(), [], []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(f"could not load {request.url}"))
    page.on("request", lambda request: foreign.append(request.url))

    def count(elements: str, condition: str) -> int:
        return page.evaluate(f"[...{elements}].filter((e) => {condition}).length")

    page.goto(address, wait_until="load")
    page.wait_for_function("!window.MathJax || !MathJax.startup || !MathJax.startup.promise || "
                           "MathJax.startup.promise.then(() => true)", timeout=30_000)  # fmt: skip
    seen = {
        "errors": errors,
        "foreign": [url for url in foreign if not url.startswith(("file://", "data:", "blob:"))],
        "overflow": page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"),
        "too wide": page.evaluate(TOO_WIDE),
        "unrendered math": count("document.querySelectorAll('.math')", "!e.querySelector('mjx-container')"),
        "math errors": page.locator("mjx-merror").count(),
        "broken pictures": count("document.images", "e.complete && !e.naturalWidth"),
        "no alt": count("document.querySelectorAll('article img')", "!e.alt.trim()"),
        "theme": page.evaluate("document.documentElement.dataset.theme"),
        "dead widgets": page.locator("article .jupyter-widgets, article script[type*=widget]").count(),
        "squeezed pictures": count("document.querySelectorAll('article img')", SQUEEZED),
        "spoilt figures": count("document.querySelectorAll('.cell_output img')", SPOILT),
    }
    context.close()
    return seen


def expected(scheme: str) -> dict:
    """What `look` says of a page that is as it should be."""
    return {
        "errors": [], "foreign": [], "overflow": 0, "too wide": [], "unrendered math": 0, "math errors": 0,
        "broken pictures": 0, "no alt": 0, "theme": scheme, "dead widgets": 0, "squeezed pictures": 0,
        "spoilt figures": 0,
    }  # fmt: skip


@needs_pages
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", pages())
def test_page_in_a_browser(browser, name: str, width: int, scheme: str) -> None:
    address = (ROOT / HTML / f"{name}.html").as_uri()
    assert look(browser, address, width, scheme) == expected(scheme)


def test_a_bad_page_is_seen_as_one(browser, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text(
        "<html data-theme='light'><body><article class='bd-main'><span class='math'>x</span><img src='gone.png'>"
        "<script src='https://example.invalid/a.js'></script><div style='width: 3000px'>wide</div>"
        "<script>console.error('bad')</script></article></body></html>"
    )
    seen = look(browser, (tmp_path / "bad.html").as_uri(), 390, "light")
    good = expected("light")
    named = {"errors", "foreign", "overflow", "too wide", "unrendered math", "broken pictures", "no alt"}
    assert {key for key in seen if seen[key] != good[key]} == named
