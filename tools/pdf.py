"""`make pdf`: the whole book as one file, _build/book.pdf, printed by headless Chromium from the built pages.

Each page is printed alone, in the order of `_toc.yml`, behind a title page; then pypdf puts them together. A link that leads to
another page of the book leads to where that page begins in the file; the reader's list of contents has one entry for each page.
What answers to a reader's hand is there as a still picture, and what is folded away stays so.
"""

from __future__ import annotations

import io
import shutil
import sys
import tomllib
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, NameObject

from tools.tree import HTML, ROOT, pages, settings

PDF = Path("_build/book.pdf")
# A4 with the type as large as in a book: at four fifths a line of code of 88 characters fits.
PAPER = {"format": "A4", "scale": 0.8, "print_background": True,
         "margin": {"top": "18mm", "bottom": "20mm", "left": "19mm", "right": "19mm"}}  # fmt: skip
FOOT = ('<div style="width: 100%; font: 8px sans-serif; color: #555; padding: 0 19mm; text-align: {side}">'
        '<span class="{what}"></span></div>')  # fmt: skip
TITLE, NUMBER = (FOOT.format(side=side, what=what) for side, what in (("left", "title"), ("right", "pageNumber")))
DRAWN = """() => Promise.all([document.fonts.ready, window.MathJax && MathJax.startup && MathJax.startup.promise,
  ...[...document.images].map((image) => { image.loading = 'eager'; return image.decode().catch(() => 0); })]).then(() => true)"""


def title_page(root: Path = ROOT) -> str:
    """The first sheet: title, subject, authors and version, as `_config.yml` and `pyproject.toml` have them."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    setting = settings(root)
    description = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["description"]
    picture = (root / "book/web/cover.svg").as_uri()
    return f"""<!doctype html><html lang="en"><title>{escape(config["title"])}</title>
<body style="font-family: Georgia, serif; text-align: center; color: #24292e">
<h1 style="font-size: 48pt; font-weight: 600; margin: 60mm 0 6mm">{escape(config["title"])}</h1>
<p style="font-size: 16pt; margin: 0 20mm 16mm">{escape(description)}</p>
<img src="{picture}" alt="" style="width: 70%"><p style="font-size: 12pt; margin-top: 30mm">{escape(config["author"])}</p>
<p style="font-size: 10pt">version {escape(setting["version"])} · {escape(config["copyright"])}</p></body></html>"""


def led_inside(address: str, begins: dict[str, int]) -> int | None:
    """The sheet that an address on this machine leads to, if it is a page of the book.

    >>> led_inside("file:///x/html/book/a.html#b", {"/x/html/book/a.html": 7})
    7
    >>> led_inside("https://example.org/a.html", {}) is None
    True
    """
    parts = urlsplit(address)
    return begins.get(unquote(parts.path)) if parts.scheme == "file" else None


def join(printed: list[tuple[str, str, bytes]]) -> PdfWriter:
    """One document made of `(path of the page, title, its PDF)`, with its links inside and a list of contents."""
    writer, begins = PdfWriter(), {}
    for path, title, content in printed:
        begins[path] = len(writer.pages)
        writer.append(PdfReader(io.BytesIO(content)), import_outline=False)
        writer.add_outline_item(title=title, page_number=begins[path])
    for sheet in writer.pages:
        kept = ArrayObject()
        for reference in sheet.get("/Annots") or ():
            note: Any = reference.get_object()
            address = str(note.get("/A", {}).get("/URI", ""))
            inside = led_inside(address, begins)
            if inside is not None:
                del note["/A"]
                note[NameObject("/Dest")] = ArrayObject([writer.pages[inside].indirect_reference, NameObject("/Fit")])
            if inside is not None or not address.startswith("file:"):  # nothing may lead to a file of the machine that printed
                kept.append(reference)
        sheet[NameObject("/Annots")] = kept
    return writer


def numbered(page: Any, sheets: int) -> bytes:
    """Empty sheets with their numbers alone: laid over the book's, which begin anew with every page of it."""
    page.set_content("<div style='break-after: page'>&nbsp;</div>" * (sheets - 1) + "&nbsp;")
    return page.pdf(**PAPER, display_header_footer=True, header_template="<span></span>", footer_template=NUMBER)


def main(root: Path = ROOT) -> int:
    """Print and join; the exit code."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None or not (root / HTML / "index.html").is_file():
        print("make pdf needs chromium (Debian: apt-get install chromium) and the built pages (make book).", file=sys.stderr)
        return 1
    from playwright.sync_api import sync_playwright

    names = sys.argv[1:] or [name for name in pages(root) if not name.endswith("/gallery")]  # it repeats what the others show
    first = root / "_build/title_page.html"
    first.write_text(title_page(root), encoding="utf-8")
    files = [first, *(root / HTML / f"{name}.html" for name in names)]
    printed = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(color_scheme="light", viewport={"width": 1280, "height": 900})
        for file in files:
            page.goto(file.as_uri(), wait_until="load")
            page.evaluate(DRAWN)
            title = page.title().split(" — ")[0]
            foot = {"display_header_footer": file != first, "header_template": "<span></span>", "footer_template": TITLE}
            printed.append((str(file), title, page.pdf(**PAPER, **foot)))
        book = join(printed)
        numbers = PdfReader(io.BytesIO(numbered(page, len(book.pages))))
        browser.close()
    for sheet, number in list(zip(book.pages, numbers.pages, strict=True))[1:]:
        sheet.merge_page(number)
        sheet.compress_content_streams()  # laying one over the other has unpacked them
    book.compress_identical_objects()
    book.write(root / PDF)
    print(f"{len(names)} pages of the book on {len(book.pages)} sheets, {(root / PDF).stat().st_size / 1e6:.1f} MB: {PDF}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
