"""A notebook's SVG as a part of the page: its names, its colors, its font, and the two drawings."""

import re

import matplotlib
import pytest
from matplotlib import pyplot as plt

from salnb.notebook import figure_formats, plotting
from tools.page import ink
from tools.tree import ROOT


@pytest.fixture
def svg(monkeypatch) -> str:
    monkeypatch.setenv("SALNB_PHONE", "1")
    with matplotlib.rc_context(plotting.STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(7, 3))
        for ax, quantity in zip(axes, ("sensitivity", "exponent"), strict=True):
            ax.plot([0, 1], [0, 1], color=plotting.COLORS[quantity], label=quantity)
            ax.set_title(r"the size of $\lambda$")
            ax.text(0.5, 0.5, "a word", color=plotting.COLORS[quantity])
        text = figure_formats.as_svg(figure)
    plt.close("all")
    return text


def test_both_drawings_are_there_and_described_once(svg):
    page = ink.figure(svg, 'a "quoted" description', "f1")
    assert re.findall(r'<svg class="ink (\w+)"', page) == ["wide", "phone"]
    assert 'role="img" aria-label="a &quot;quoted&quot; description"' in page and page.count("aria-label") == 1


def test_the_colors_are_the_style_sheets(svg):
    page = ink.figure(svg, "x", "f1")
    assert not re.findall("|".join(plotting.COLORS.values()), page)
    used = set(re.findall(r"var\((--salnb-[a-z]+)\)", page))
    assert used >= {"--salnb-ink", "--salnb-neutral", "--salnb-sensitivity", "--salnb-exponent"}
    sheet = (ROOT / "book/web/book.css").read_text(encoding="utf-8")
    assert all(len(re.findall(rf"{name}:", sheet)) >= 2 for name in used), "each color is set for light and for dark"


def test_words_have_no_font_of_their_own_and_the_color_of_the_text(svg):
    page = ink.figure(svg, "x", "f1")
    assert "font-family" not in page and "DejaVu" not in page
    titles = re.findall(r'<tspan [^>]*style="([^"]*)">the size of ', page)  # one run of letters, not letter by letter
    assert len(titles) == 4 and all("var(--salnb-ink)" in title for title in titles)


def test_names_are_told_apart(svg):
    one, other = ink.figure(svg, "x", "f1"), ink.figure(svg, "x", "f2")
    names = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (one, other)]
    assert names[0] and not names[0] & names[1]
    for text, known in zip((one, other), names, strict=True):
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= known


def test_a_stored_figure_without_a_second_drawing_shows_everywhere():
    page = ink.figure('<svg viewBox="0 0 10 5"><path d="M 0 0"/></svg>', "x", "f1")
    assert re.findall(r'<svg class="ink (\w+)"', page) == ["both"]


def test_a_subscript_stands_below_its_line_and_an_exponent_above():
    """Heights in an SVG grow downward; the words after the formula are on the line again."""
    with matplotlib.rc_context(plotting.STYLE):
        figure, ax = plt.subplots()
        ax.set_title(r"before $x_a y^b$ after")
        page = ink.figure(figure_formats.as_svg(figure), "x", "f1")
    plt.close("all")
    height, at = 0.0, {}
    for shift, letters in re.findall(r'<tspan dy="([^"]+)"[^>]*>([^<]*)</tspan>', page):
        height += float(shift)
        at |= dict.fromkeys(letters.split(), height)
    assert abs(at["before"] - at["after"]) < 0.05 and at["b"] < at["before"] - 1 < at["a"] - 2  # two decimals are written


def formula(*runs: tuple[str, int]) -> str:
    """A text as Matplotlib writes it, each run of letters from its place on."""
    spans = ""
    for letters, start in runs:
        places = " ".join(str(start + at) for at in range(len(re.sub("&[a-z]+;", "x", letters))))
        spans += f'<tspan x="{places}" y="0" style="a">{letters}</tspan>'
    return f"<text>{spans}</text>"


def said(text: str) -> str:
    return re.sub("<[^>]*>", "", ink.recolored(text))


def test_a_drawing_keeps_its_shape_in_the_page():
    assert "aspect-ratio: 200 / 100" in ink.svg_of_page('<svg viewBox="0 0 200 100"></svg>', "both", "f1-")


def test_letters_of_a_formula_are_read_from_left_to_right():
    assert said(formula(("words", 20), ("some", 0))) == "somewords"


def test_a_relation_has_thin_spaces_around_it():
    assert said(formula(("size=1", 0))) == "size\u2009=\u20091"


def test_a_sign_of_a_formula_cannot_begin_a_tag():
    assert said(formula(("size &lt; 1", 0))) == "size &lt; 1"


def test_spaces_at_the_ends_of_a_run_are_kept():
    assert ink.recolored(formula(("a word ", 0))).startswith('<text xml:space="preserve">')


def test_the_signs_of_a_scale_keep_their_places():
    assert ink.recolored(formula(("10", 0), ("ab", 2))) == formula(("10", 0), ("ab", 2))


def test_bold_words_stay_bold_without_their_font():
    bold = ink.recolored("<text style=\"font: 700 12px 'DejaVu Sans'\">x</text>")
    assert bold == '<text style="font-size: 12px; font-weight: 700">x</text>'
