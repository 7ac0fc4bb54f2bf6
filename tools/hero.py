"""The picture in the README is the preface's own figure, taken out of the executed notebook."""

from __future__ import annotations

import base64

import nbformat

from tools.tree import ROOT

PREFACE, PICTURE = ROOT / "book" / "intro.ipynb", ROOT / "book" / "results" / "hero.png"


def first_figure() -> bytes:
    """The first PNG among the preface's outputs."""
    notebook = nbformat.read(PREFACE, as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                return base64.b64decode(output["data"]["image/png"])
    raise ValueError(f"{PREFACE}: holds no figure; execute it with `make notebooks`")


def main() -> None:
    scratch = PICTURE.with_suffix(".tmp")
    scratch.write_bytes(first_figure())
    scratch.replace(PICTURE)


if __name__ == "__main__":
    main()
