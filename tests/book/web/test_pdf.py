"""`make pdf`: sheets in order, links that lead inside, and nothing that names the machine it was printed on."""

from __future__ import annotations

import io

import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.annotations import Link

from tests.book.web.browser import needs_chromium, needs_pages, started
from tools import pdf
from tools.tree import ROOT


def printed(sheets: int, *links: str) -> bytes:
    """A small document whose first sheet has links."""
    writer, out = PdfWriter(), io.BytesIO()
    for _ in range(sheets):
        writer.add_blank_page(200, 200)
    for address in links:
        writer.add_annotation(0, Link(rect=(0, 0, 10, 10), url=address))
    writer.write(out)
    return out.getvalue()


@pytest.fixture
def book() -> PdfReader:
    """Two pages of a book, of two sheets and three; the first leads to the second, away, and to a file."""
    first = printed(2, "file:///book/b.html#place", "https://example.org/", "file:///home/somebody/secret.txt")
    out = io.BytesIO()
    pdf.join([("/book/a.html", "A", first), ("/book/b.html", "B", printed(3))]).write(out)
    return PdfReader(out)


def test_sheets_and_contents_are_in_order(book: PdfReader) -> None:
    assert len(book.pages) == 5
    assert [(item.title, book.get_destination_page_number(item)) for item in book.outline] == [("A", 0), ("B", 2)]


def test_links_lead_inside_or_to_the_web_and_never_to_a_file(book: PdfReader) -> None:
    notes = [note.get_object() for note in book.pages[0]["/Annots"]]
    (inside,) = [note["/Dest"][0].get_object() for note in notes if "/Dest" in note]
    assert book.get_page_number(inside) == 2
    assert [note["/A"]["/URI"] for note in notes if "/A" in note] == ["https://example.org/"]


def test_the_title_page_has_title_and_version() -> None:
    assert "<h1" in pdf.title_page() and "Sensitivity" in pdf.title_page() and "version 0." in pdf.title_page()


@needs_chromium
def test_numbers_are_laid_over_each_sheet() -> None:
    with started() as browser:
        numbers = PdfReader(io.BytesIO(pdf.numbered(browser.new_page(), 3)))
    assert [sheet.extract_text().strip() for sheet in numbers.pages] == ["1", "2", "3"]


@needs_chromium
@needs_pages
def test_a_chapter_is_printed_with_its_title_and_its_words(tmp_path) -> None:
    with started() as browser:
        page = browser.new_page()
        page.goto((ROOT / "_build/html/book/theory/one_neuron.html").as_uri())
        page.evaluate(pdf.DRAWN)
        text = PdfReader(io.BytesIO(page.pdf(**pdf.PAPER))).pages[0].extract_text()
    assert text.lstrip().startswith("One neuron") and "In one breath" in text
