"""The still pictures of the playgrounds, for print and for readers without scripts.

python -m tools.stills                 all of them
python -m tools.stills edge_of_chaos   those named

Each playground is opened alone in headless chromium, brought to the moment that is worth printing by its model's `pose()`
(if it has one), and photographed without its controls, on light paper.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tools.page import fonts
from tools.page.playgrounds import FOLDER, scripts
from tools.tree import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
STILLS = FOLDER / "stills"
HEAVIEST = 80 * 1024  # bytes a still
SCALE, WIDTH = 2, 720
SHARED = ("core", "linear", "deep")
ALONE = ".playground .controls { display: none } .playground.alive { border: 0; padding: 10px; margin: 0 }"


def playgrounds(folder: Path = FOLDER) -> list[str]:
    """The names of all playgrounds: every script that is neither shared nor data.

    >>> "edge_of_chaos" in playgrounds(), "core" in playgrounds()
    (True, False)
    """
    return sorted(path.stem for path in folder.glob("*.js") if path.stem not in SHARED and not path.stem.startswith("data_"))


def lone_page(name: str, theme: str = "light", margin: int = 24) -> str:
    """A page that holds one playground and the book's colours, and nothing else; it can lie anywhere."""
    files = "".join(f'<script defer src="{(FOLDER / file).as_uri()}"></script>' for file in scripts([name]))
    fonts.write(ROOT / fonts.KEPT)
    sheet = (ROOT / "book/web/book.css").read_text(encoding="utf-8").replace("url(fonts/", f"url({(ROOT / fonts.KEPT).as_uri()}/")
    styles = f'<style>{sheet}</style><link rel="stylesheet" href="{(FOLDER / "playground.css").as_uri()}">'
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8"><title>{name}</title>'
        f'<meta name="viewport" content="width=device-width">{styles}{files}'
        f"<style>body {{ margin: {margin}px; background: var(--salnb-paper, var(--pst-color-background)); }}</style></head>"
        f'<body class="bd-article"><div class="playground" data-playground="{name}">Here stands a figure: {name}.</div>'
        "</body></html>"
    )


def opened(
    browser: Browser | BrowserContext, name: str, *, width: int = 768, theme: str = "light", scale: float | None = None,
    still: bool = True, before: Path | None = None,
) -> Page:  # fmt: skip
    """The lone page in a browser, or in a context of one.

    `still`: as with reduced motion, so that nothing moves by itself; `before`: a script that runs before the page's own.
    """
    page = browser.new_page(**({"device_scale_factor": scale} if scale else {}))
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=theme, reduced_motion="reduce" if still else "no-preference")
    if before:
        page.add_init_script(path=before)
    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as file:
        file.write(lone_page(name, theme))
        file.flush()
        page.goto(Path(file.name).as_uri())
        page.evaluate("document.fonts.ready.then(() => true)")
        page.wait_for_function("document.querySelector('.playground').model && document.querySelector('canvas').width > 300")
    return page


def small_png(png: bytes, colors: int = 64) -> bytes:
    """The picture with a palette, which drawings hardly show and which saves two thirds of the bytes."""
    from PIL import Image

    out, picture = io.BytesIO(), Image.open(io.BytesIO(png)).convert("RGB")
    few = picture.quantize(colors, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)  # keeps thin lines in their own colour
    few.save(out, "PNG", optimize=True)
    return out.getvalue()


def still(browser: Browser, name: str) -> bytes:
    """The PNG of one playground, at most `HEAVIEST` bytes."""
    for scale, colors in ((SCALE, 256), (SCALE, 64), (1.5, 64), (1, 64)):  # shades need many colours, lines do with few
        page = opened(browser, name, width=WIDTH, scale=scale)
        page.add_style_tag(content=ALONE)
        page.evaluate("document.querySelector('.playground').model.pose?.()")
        page.wait_for_timeout(200)
        png = small_png(page.screenshot(clip=page.locator(".playground").bounding_box()), colors)
        page.close()
        if len(png) <= HEAVIEST:
            return png
    raise ValueError(f"{name}: its still has {len(png)} bytes even at scale 1, expected at most {HEAVIEST}; draw less in pose()")


def main(names: list[str]) -> None:
    from playwright.sync_api import sync_playwright

    STILLS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for name in names or playgrounds():
            png = still(browser, name)
            (STILLS / f"{name}.png").write_bytes(png)
            print(f"{name}: {len(png) / 1024:.0f} KB")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
