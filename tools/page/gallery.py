"""The gallery: every figure that a cell of the book draws, small, with what it shows and a link to its place.

While the pages are read, each output that holds a picture gets an anchor and is noted with its description. When the page that
holds `<div class="gallery"></div>` is written, the notes become its content, in the order of the book. The small pictures are the
notebooks' own, which can be read on white and on black: drawings with fewer digits, dense pictures with fewer pixels. The page
loads them only as a reader comes near.
"""

from __future__ import annotations

import hashlib
import html
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from salnb.notebook.figure_formats import FOR_A_PHONE
from tools.tree import pages

PLACE = '<div class="gallery"></div>'
FOLDER = "_images/gallery"
WIDTH = 480  # pixels of a dense picture: shown at half of that, on screens with two pixels for one
NOTES = "salnb_figures"
_PHONE = re.compile(rf'<g id="{FOR_A_PHONE}" display="none">.*?</svg>\s*</g>', re.DOTALL)
_PATH = re.compile(r'(?<=\bd=")[^"]*')
_LONG = re.compile(r"-?\d+\.\d+")


def note_figures(app: Sphinx, doctree: nodes.document) -> None:
    """Give each output with a picture an anchor, and remember it."""
    notes = app.env.metadata[app.env.docname].setdefault(NOTES, [])
    for output in doctree.findall(nodes.container):
        images = list(output.findall(nodes.image)) if "cell_output" in output.get("classes", []) else []
        # a bundle may hold one picture in two formats
        image = next((image for image in images if image["uri"].endswith(".svg")), images[0] if images else None)
        if image is not None:
            anchor = f"figure-{len(notes) + 1}"
            output["ids"].append(anchor)
            notes.append({"anchor": anchor, "uri": image["uri"], "alt": image.get("alt", "")})


def tenth(number: str) -> str:
    """A number with one digit behind the point, and none where that is a zero.

    >>> tenth("188.198382"), tenth("1.96"), tenth("-0.01")
    ('188.2', '2', '0')
    """
    return f"{round(float(number), 1) + 0.0:.1f}".removesuffix(".0")


def smaller(svg: str) -> str:
    """A drawing for a small picture: without the second one for phones, with a tenth of a point as the smallest length.

    >>> smaller('<svg>  <path d="M 188.198382 -190.602436 L 0 1.96"/></svg>')
    '<svg> <path d="M188.2 -190.6L0 2"/></svg>'
    """
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", _PHONE.sub("", svg), flags=re.DOTALL)

    def short(path: re.Match) -> str:
        return re.sub(r"\s*([A-Za-z])\s*", r"\1", _LONG.sub(lambda number: tenth(number[0]), path[0])).strip()

    return re.sub(r"\s+", " ", _PATH.sub(short, svg))


def small_picture(source: Path, folder: Path) -> Path:
    """Write the small picture of a figure, under a name made of its content, and say where."""
    name = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    target = folder / f"{name}{source.suffix}"
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".svg":
            target.write_text(smaller(source.read_text(encoding="utf-8")), encoding="utf-8")
        else:
            with Image.open(source) as picture:
                picture.thumbnail((WIDTH, 4 * WIDTH))
                picture.quantize(128).save(target, optimize=True)
    return target


def card(address: str, picture: str, title: str, number: int, alt: str) -> str:
    """One figure of the gallery."""
    name = html.escape(f"Figure {number} of {title}", quote=True)
    return (f'<figure><a href="{address}"><img src="{picture}" alt="{name}" loading="lazy"></a>'
            f"<figcaption>{html.escape(alt)}</figcaption></figure>")  # fmt: skip


def fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put all figures into the gallery's page."""
    place = next((raw for raw in doctree.findall(nodes.raw) if PLACE in raw.astext()), None)
    if place is None or app.builder.format != "html":
        return
    folder, parts = Path(app.outdir) / FOLDER, []
    for page in (page for page in pages(Path(app.srcdir)) if page in app.env.all_docs):
        notes, title = app.env.metadata[page].get(NOTES, []), app.env.titles[page].astext()
        cards = []
        for number, note in enumerate(notes, 1):
            source = Path(app.srcdir) / note["uri"]
            picture = small_picture(source, folder).relative_to(app.outdir).as_posix()
            address = f"{app.builder.get_relative_uri(docname, page)}#{note['anchor']}"
            cards.append(card(address, "../" * docname.count("/") + picture, title, number, note["alt"]))
        if cards:
            parts.append(f"<h2>{html.escape(title)}</h2><div class='gallery'>{''.join(cards)}</div>")
    place.replace_self(nodes.raw("", "".join(parts), format="html"))


def always_outdated(app: Sphinx, env: BuildEnvironment, *changes: Any) -> list[str]:
    """The gallery is written again after any change, for a figure may have changed."""
    return [page for page in env.found_docs if page.endswith("/gallery")]


def setup(app: Sphinx) -> None:
    """`tools.sphinx_ext` calls this."""
    app.connect("doctree-read", note_figures)
    app.connect("env-get-outdated", always_outdated)
    app.connect("doctree-resolved", fill, priority=650)
