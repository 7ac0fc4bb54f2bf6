"""The picture in the README is the preface's own figure, taken out of the executed notebook."""

from __future__ import annotations

import nbformat

from tools.tree import ROOT

PREFACE, PICTURE = ROOT / "book" / "intro.ipynb", ROOT / "book" / "results" / "hero.svg"


def first_figure() -> str:
    """The first drawing among the preface's outputs."""
    notebook = nbformat.read(PREFACE, as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/svg+xml" in output.get("data", {}):
                return output["data"]["image/svg+xml"]
    raise ValueError(f"{PREFACE}: holds no figure; execute it with `make notebooks`")


def main() -> None:
    scratch = PICTURE.with_suffix(".tmp")
    scratch.write_text(first_figure(), encoding="utf-8")
    scratch.replace(PICTURE)


if __name__ == "__main__":
    main()
