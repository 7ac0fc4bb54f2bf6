"""The book's typefaces, served from the book itself: from their packages, with the signs that the pages need, as WOFF2."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx

KEPT = Path("_build/fonts")  # below the root; making them takes seconds, and a new build throws its pages away
# file name on the page -> package and file; the license of each lies beside them
FACES = {
    "serif-400.woff2": ("font_source_serif_pro", "SourceSerifPro-Regular.otf"),
    "serif-400-italic.woff2": ("font_source_serif_pro", "SourceSerifPro-It.otf"),
    "serif-600.woff2": ("font_source_serif_pro", "SourceSerifPro-Semibold.otf"),
    "sans-400.woff2": ("font_source_sans_pro", "SourceSansPro-Regular.otf"),
    "sans-400-italic.woff2": ("font_source_sans_pro", "SourceSansPro-It.otf"),
    "sans-600.woff2": ("font_source_sans_pro", "SourceSansPro-Semibold.otf"),
}
# Latin with its accents, Greek, marks and arrows, and the signs of mathematics; no Cyrillic, no Vietnamese.
SIGNS = [*range(0x20, 0x180), *range(0x2C0, 0x2E0), *range(0x300, 0x315), *range(0x370, 0x400), *range(0x2000, 0x2070),
         *range(0x2070, 0x20A0), *range(0x2190, 0x2200), *range(0x2200, 0x2300), *range(0x25A0, 0x2600), 0x20AC]  # fmt: skip


def source(package: str, name: str) -> Path:
    """Where a file of a font package lies; the package itself is not imported."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"{package} is not installed: requirements.txt names it, `make env` brings it")
    return Path(found.submodule_search_locations[0]) / "files" / name


def write(folder: Path) -> list[Path]:
    """Write all faces that the folder lacks, and their licenses."""
    from fontTools import subset

    folder.mkdir(parents=True, exist_ok=True)
    for target, (package, name) in FACES.items():
        if (folder / target).is_file():
            continue
        options = subset.Options(flavor="woff2", layout_features=["kern", "liga", "mark", "mkmk", "ccmp", "locl", "tnum"])
        font = subset.load_font(source(package, name), options)
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=SIGNS)
        cutter.subset(font)
        # Written beside its place first: another process may look at the same moment.
        unfinished = folder / f".{target}.{os.getpid()}"
        subset.save_font(font, unfinished, options)
        unfinished.replace(folder / target)
        font.close()
    for package in {package for package, _ in FACES.values()}:
        (folder / f"{package}-license.txt").write_bytes(source(package, "LICENSE.txt").read_bytes())
    return [folder / name for name in FACES]


def serve(app: Sphinx, exception: Exception | None) -> None:
    """Put the faces where `book.css` looks for them."""
    if exception is not None or app.builder.format != "html":
        return
    kept = Path(app.srcdir) / KEPT
    write(kept)
    shutil.copytree(kept, Path(app.outdir) / "_static" / "fonts", dirs_exist_ok=True)
