"""`make book`: builds the pages, never from stale outputs, and looks at what came out.

Jupyter Book re-executes a notebook only when the notebook's own code changes, and Sphinx repeats the warnings of a
page only when the page changes. So the outputs are thrown away when anything that they were computed from has changed,
and the parsed pages when the last build was not a clean one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tools.execution import BUILD, CACHE, COMPUTED_FROM, RECORD, fill, fingerprint
from tools.pages import complaints
from tools.take_home import behind_the_buttons
from tools.tree import HTML, ROOT, pages, write_text

RENDERED_FROM = (
    "_config.yml", "_toc.yml", "pyproject.toml", "tools/**/*.py", "book/web/**/*", "book/references.bib",
)  # fmt: skip
# Not `jupyter-book` itself: the first line of that script holds the path of the interpreter, and breaks at a space.
JUPYTER_BOOK = ("-c", "from jupyter_book.cli.main import main; main()")


def stale(root: Path) -> list[Path]:
    """What of the last build must go before the next; a missing record counts as a changed one."""
    build, gone = root / BUILD, []

    def differs(record: str, patterns: Iterable[str]) -> bool:
        path = build / record
        return not path.is_file() or path.read_text().strip() != fingerprint(root, patterns)

    code_changed = differs(RECORD.name, COMPUTED_FROM)
    if code_changed:
        gone += [root / CACHE, build / "jupyter_execute"]
    if code_changed or differs("rendered-from", RENDERED_FROM):
        gone += [build / ".doctrees", root / HTML]
    return [path for path in gone if path.exists()]


def main(root: Path = ROOT) -> int:
    """Build and check; the exit code."""
    start = time.monotonic()
    os.environ["SALNB_STATIC"] = "1"  # widgets draw a still picture: nobody can move a slider on a page
    os.environ["SALNB_PHONE"] = "1"  # every figure is drawn once more, for narrow pages
    for path in stale(root):
        shutil.rmtree(path)
    (root / BUILD).mkdir(exist_ok=True)
    computed, rendered = (fingerprint(root, patterns) for patterns in (COMPUTED_FROM, RENDERED_FROM))
    # From here on the cache holds outputs of this code, finished or not. Good pages are recorded at the end.
    write_text(root / RECORD, computed + "\n")
    (root / BUILD / "rendered-from").unlink(missing_ok=True)

    fill(root)
    code = subprocess.call([sys.executable, *JUPYTER_BOOK, "build", ".", "--warningiserror", "--keep-going"], cwd=root)
    if code:
        print("\nThe book did not build: see the warnings and errors above.", file=sys.stderr)
        return code
    html = root / HTML
    behind_the_buttons(root)
    found = [
        line for page in pages(root) for line in complaints(html, page, notebook=(root / f"{page}.ipynb").is_file())
    ]
    if not (html / "index.html").is_file():
        found.append("index.html: the page was not built")
    if found:
        print("\nThe book was built, but:\n  " + "\n  ".join(found), file=sys.stderr)
        return 1
    write_text(root / BUILD / "rendered-from", rendered + "\n")
    seconds = time.monotonic() - start
    print(f"\n{len(pages(root))} pages, built and checked in {seconds:.0f} s: open {HTML / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
