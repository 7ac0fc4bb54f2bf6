"""Notes in the margin have the same number in the text and at their own beginning."""

import re

import pytest

from tests.book.web.browser import NARROW, WIDE, needs_chromium, started
from tools.page import margin_notes
from tools.tree import ROOT

BODY = 'One <i>word</i>. <span class="margin-note">First.</span> Two.<span class="margin-note">Second.</span> <span>x</span>'


def test_numbers_go_up_and_stand_at_both_ends():
    body = margin_notes.numbered(BODY)
    assert re.findall(r'note-mark" aria-hidden="true">(\d)<', body) == ["1", "2"]
    at_the_note = re.findall(r'role="note"><span class="note-number" aria-hidden="true">(\d)</span>(\w+)', body)
    assert at_the_note == [("1", "First"), ("2", "Second")]
    assert "</i>.<sup" in body  # the mark stands at the word, not behind the space


@needs_chromium
@pytest.mark.parametrize(("viewport", "shown"), [(WIDE, True), (NARROW, False)], ids=["wide", "narrow"])
def test_numbers_show_only_beside_the_text(tmp_path, viewport, shown):
    style = (ROOT / "book/web/book.css").read_text(encoding="utf-8")
    text = f"<article class='bd-article'><p>{margin_notes.numbered(BODY)}</p></article>"
    (tmp_path / "page.html").write_text(f"<style>{style}</style>{text}")
    with started() as browser:
        page = browser.new_page(viewport=viewport)
        page.goto((tmp_path / "page.html").as_uri())
        for name in (".note-mark", ".note-number"):
            assert page.locator(name).first.is_visible() == shown
        page.emulate_media(media="print")
        assert not page.locator(".note-mark").first.is_visible()
