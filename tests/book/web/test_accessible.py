"""axe-core finds nothing serious on any page, in light and in dark: names, roles, headings, contrast of all words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_FILE_PATH

from tests.book.web.browser import NARROW, address, drawn, needs_chromium, needs_pages, opened
from tools.tree import pages

pytestmark = needs_chromium
# What makes axe slow and is the same everywhere, or is measured elsewhere (test_figures_can_be_read.py), is taken out first. Of
# the highlighted words of code one of each kind stays, of a formula a letter in its color, of a drawn figure its name. The list
# of all pages stays on the first page alone.
SIMPLER = """(first) => {
  const seen = new Set();
  document.querySelectorAll('pre span[class]').forEach((e) => {
    const kind = e.className + (e.closest('.cell_output') ? ' output' : '') + (e.closest('details') ? ' folded' : '');
    if (seen.has(kind)) e.replaceWith(...e.childNodes);
    seen.add(kind);
  });
  document.querySelectorAll('mjx-container').forEach((e) => e.replaceChildren('x'));
  document.querySelectorAll('svg.ink').forEach((e) => e.replaceChildren(...e.querySelectorAll(':scope > :is(title, desc)')));
  if (!first) document.querySelectorAll('.bd-sidebar-primary nav').forEach((e) => e.remove());
}"""
RUN = """(rules) => axe.run(document, {resultTypes: ['violations'], elementRef: false, ...rules}).then((r) =>
  r.violations.filter((v) => ['serious', 'critical'].includes(v.impact)).flatMap((v) =>
    v.nodes.map((n) => `${v.id}: ${n.target.join(' ')}: ${(n.any[0] || n.all[0] || n.none[0] || v).message || v.help}`)))"""
COLORS_ALONE = {"runOnly": ["color-contrast"]}  # nothing else of a page hangs on light and dark


def findings(page: Any, *, first: bool = True, rules: dict | None = None) -> list[str]:
    """What axe calls serious or critical on an open page, as it is shown now."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(SIMPLER, first)
        page.evaluate(AXE_FILE_PATH.read_text(encoding="utf-8"))
    return page.evaluate(RUN, rules or {})


@needs_pages
@pytest.mark.parametrize("name", pages())
def test_nothing_serious_on_a_page(context, name: str) -> None:
    with opened(context, address(name)) as page:
        light = findings(page, first=name == pages()[0])
        page.emulate_media(color_scheme="dark")
        drawn(page)
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert {"light": light, "dark": findings(page, rules=COLORS_ALONE)} == {"light": [], "dark": []}


@needs_pages
@pytest.mark.parametrize("name", [pages()[0], "book/appendix/claims", "book/appendix/symbols"])
def test_nothing_serious_on_a_phone(context, name: str) -> None:
    with opened(context, address(name), NARROW) as page:
        assert findings(page) == []


def test_a_bad_page_is_seen_as_one(context, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text(
        "<html lang='en'><title>t</title><body><main><h1>t</h1><p style='color: #999; background: #fff'>faint</p>"
        "<button></button><img src='data:,'></main></body></html>"
    )
    with opened(context, (tmp_path / "bad.html").as_uri()) as page:
        assert {finding.split(":")[0] for finding in findings(page)} == {"color-contrast", "button-name", "image-alt"}
