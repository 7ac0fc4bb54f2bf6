"""Words of a drawing are as long in any typeface as in the book's own."""

import re

import matplotlib
import pytest
from matplotlib import pyplot as plt

from salnb.notebook import figure_formats
from salnb.notebook.word_widths import length, with_lengths
from tests.book.web.browser import needs_chromium, started

pytestmark = pytest.mark.skipif(not figure_formats.page_font(), reason="the typeface's package is not installed")
WORDS = "a name that stands & ends at the very edge"


def drawing() -> str:
    with matplotlib.rc_context({**figure_formats.page_font(), "svg.fonttype": "none"}):
        figure = plt.figure(figsize=(4, 1))
        figure.text(0.1, 0.5, WORDS)
        figure.text(0.1, 0.2, "12")
        figure.text(0.1, 0.8, r"weights $w_1$")
        text = figure_formats.as_svg(figure)
    plt.close("all")
    return text


def test_only_words_get_a_length_and_all_get_fonts_to_choose_from():
    svg = drawing()
    assert re.findall(r'textLength="([0-9.]+)"[^>]*>([^<]+)<', svg) == [
        (f"{length(WORDS, 10.0, 'normal', 'normal'):.1f}", WORDS.replace("&", "&amp;"))
    ]
    assert "'Source Sans Pro'" in svg and not re.search(r"'Source Sans Pro'(?!, 'DejaVu Sans', sans-serif)", svg)


def test_a_drawing_with_another_typeface_stays_as_it_is():
    svg = '<svg><text style="font-size: 10px; font-family: \'DejaVu Sans\'" x="1">some words</text></svg>'
    assert with_lengths(svg) == svg


def text(words: str, more: str = "") -> str:
    return f"<svg><text style=\"font-size: 10px; font-family: 'Source Sans Pro'{more}\" x=\"1\">{words}</text></svg>"


def test_three_letters_have_no_length_and_four_have():
    assert "textLength" not in with_lengths(text("123")) and "textLength" in with_lengths(text("1234"))


def test_bold_words_have_the_length_of_bold_letters():
    bold, light = (f"{length(WORDS[:12], 10.0, weight, 'normal'):.1f}" for weight in ("bold", "normal"))
    assert bold != light and f'textLength="{bold}"' in with_lengths(text(WORDS[:12], "; font-weight: 700"))


@needs_chromium
def test_a_browser_without_the_typeface_obeys(tmp_path):
    (tmp_path / "page.html").write_text(f"<body>{drawing()}</body>", encoding="utf-8")
    with started() as browser:
        page = browser.new_page()
        page.goto((tmp_path / "page.html").as_uri())
        long = page.evaluate("document.querySelector('text[textLength]').getBBox().width")
    assert long == pytest.approx(length(WORDS, 10.0, "normal", "normal"), abs=1)
