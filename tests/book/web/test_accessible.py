"""axe-core finds nothing serious on any page, in light and in dark: names, roles, headings, contrast of all words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_FILE_PATH

from tests.book.web.browser import NARROW, address, drawn, needs_chromium, needs_pages, opened
from tools.tree import pages

pytestmark = needs_chromium
# What makes axe slow and is the same everywhere, or is measured elsewhere (test_figures_can_be_read.py), is taken out first: of
# the highlighted words of code one of each kind stays; a formula stays as the MathML that readers of screens get; a drawn figure
# keeps its name and loses its lines.
SIMPLER = """() => {
  const seen = new Set();
  document.querySelectorAll('pre span[class]').forEach((e) => {
    const kind = e.className + (e.closest('.cell_output') ? ' output' : '') + (e.closest('details') ? ' folded' : '');
    if (seen.has(kind)) e.replaceWith(...e.childNodes);
    seen.add(kind);
  });
  document.querySelectorAll('mjx-math').forEach((e) => e.replaceChildren());
  document.querySelectorAll('svg.ink').forEach((e) => e.replaceChildren(...e.querySelectorAll(':scope > :is(title, desc)')));
}"""
RUN = """() => axe.run(document, {resultTypes: ['violations'], elementRef: false}).then((r) =>
  r.violations.filter((v) => ['serious', 'critical'].includes(v.impact)).flatMap((v) =>
    v.nodes.map((n) => `${v.id}: ${n.target.join(' ')}: ${(n.any[0] || n.all[0] || n.none[0] || v).message || v.help}`)))"""


def findings(page: Any) -> list[str]:
    """What axe calls serious or critical on an open page, as it is shown now."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(SIMPLER)
        page.evaluate(AXE_FILE_PATH.read_text(encoding="utf-8"))
    return page.evaluate(RUN)


@needs_pages
@pytest.mark.parametrize("name", pages())
def test_nothing_serious_on_a_page(context, name: str) -> None:
    with opened(context, address(name)) as page:
        light = findings(page)
        page.emulate_media(color_scheme="dark")
        drawn(page)
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert {"light": light, "dark": findings(page)} == {"light": [], "dark": []}


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
