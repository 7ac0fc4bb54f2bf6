"""The gallery shows every figure of the book once, small, and each leads to its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from PIL import Image

from tests.book.web.browser import needs_pages
from tools import pages
from tools.page import gallery, reachable
from tools.tree import HTML, ROOT
from tools.tree import pages as listed

PAGE = ROOT / HTML / "book/appendix/gallery.html"


def places() -> list[tuple[Path, str]]:
    """The file and the anchor that each figure of the gallery leads to."""
    links = pages.soup(PAGE).select("div.gallery figure a")
    return [(pages.resolve(PAGE, link["href"]), link["href"].split("#")[1]) for link in links]


@needs_pages
@pytest.mark.parametrize("name", listed())
def test_every_figure_of_a_page_is_in_the_gallery(name: str) -> None:
    path = ROOT / HTML / f"{name}.html"
    outputs = pages.soup(path).select("div.cell_output:has(img, svg.ink)")
    anchors = [output.get("id") or output.find(id=re.compile(r"^figure-\d+$"))["id"] for output in outputs]
    assert sorted(anchors) == sorted(anchor for file, anchor in places() if file == path.resolve())


@needs_pages
def test_each_picture_is_there_and_small() -> None:
    pictures = [pages.resolve(PAGE, image["src"]) for image in pages.soup(PAGE).select("div.gallery img")]
    assert len(pictures) > 50
    assert all(picture.is_file() for picture in pictures)
    for picture in pictures:
        if picture.suffix == ".png":
            with Image.open(picture) as image:
                assert image.width <= gallery.WIDTH


def test_a_drawing_keeps_its_words_and_loses_digits() -> None:
    phone = '<g id="salnb-phone" display="none"><svg><path d="M 1 1"/></svg> </g>'
    svg = f'<svg>{phone}<text x="1.23456">word</text>\n\n<path d="M 1.26 -0.01"/></svg>'
    assert gallery.smaller(svg) == '<svg><text x="1.23456">word</text> <path d="M1.3 0"/></svg>'


def test_a_dense_picture_loses_pixels(tmp_path: Path) -> None:
    Image.new("RGBA", (2000, 1000), (10, 20, 30, 128)).save(tmp_path / "large.png")
    with Image.open(gallery.small_picture(tmp_path / "large.png", tmp_path / "gallery")) as small:
        assert small.size == (gallery.WIDTH, gallery.WIDTH // 2)
        assert small.convert("RGBA").getpixel((0, 0))[3] == pytest.approx(128, abs=16)  # still transparent


def test_what_a_figure_shows_stands_below_it() -> None:
    card = BeautifulSoup(gallery.card("a.html#figure-1", "a.svg", "One <neuron>", 1, 'A "curve" & a line.'), "html.parser")
    assert card.find("a")["href"] == "a.html#figure-1"
    assert card.find("img")["alt"] == "Figure 1 of One <neuron>"
    assert card.find("figcaption").get_text() == 'A "curve" & a line.'


def test_arrows_are_named_at_every_depth() -> None:
    inner = '<ul><li><a href="#">Inner  chapter</a><details><summary></summary></details></li></ul>'
    html = f'<ul><li><a href="#">Outer</a><details><summary></summary>{inner}</details></li></ul>'
    names = [arrow["aria-label"] for arrow in BeautifulSoup(reachable.with_names(html), "html.parser").select("summary")]
    assert names == ["Pages under Outer", "Pages under Inner chapter"]
