"""A page is too narrow for more than three panels beside each other: with four, letters and pictures get too small to read."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from tools.tree import notebooks

MOST = 3
NARROW = 0.06  # of the figure's width: what is narrower is a color bar
RECT = re.compile(r'<clipPath[^>]*>\s*<rect x="([-0-9.]+)" y="([-0-9.]+)" width="([-0-9.]+)" height="([-0-9.]+)"')
WIDTH = re.compile(r'viewBox="\S+ \S+ (\S+) ')
Box = tuple[float, float, float, float]  # left, top, right, bottom


def panels(svg: str) -> set[Box]:
    """The frames of a figure's panels: what Matplotlib draws in a panel is cut at its frame, which the SVG therefore holds."""
    whole = float(WIDTH.search(svg)[1])
    rects = [tuple(map(float, found)) for found in RECT.findall(svg)]
    return {(x, y, x + width, y + height) for x, y, width, height in rects if width > NARROW * whole}


def across(frames: set[Box]) -> int:
    """How many panels stand beside each other at most, at any height; a panel inside another is no further one."""
    most = 0
    for _, top, _, bottom in frames:
        line, end, count = (top + bottom) / 2, float("-inf"), 0
        for left, _, right, _ in sorted((f for f in frames if f[1] <= line <= f[3]), key=lambda f: f[2]):
            if left >= end:
                count, end = count + 1, right
        most = max(most, count)
    return most


def drawn(path: Path) -> list[str]:
    """The line figures that a notebook stores."""
    outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]
    return [output.data["image/svg+xml"] for output in outputs if "image/svg+xml" in output.get("data", {})]


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_at_most_three_panels_stand_beside_each_other(path: Path) -> None:
    counts = [across(panels(svg)) for svg in drawn(path)]
    assert [(number, count) for number, count in enumerate(counts) if count > MOST] == []


@pytest.mark.parametrize("off", [False, True], ids=["axes", "pictures"])
@pytest.mark.parametrize(("rows", "columns"), [(1, 4), (2, 4), (4, 1), (2, 3)])
def test_panels_are_counted_as_they_are_drawn(rows: int, columns: int, off: bool) -> None:
    from matplotlib import pyplot as plt

    from salnb.notebook.figure_formats import render

    figure, axes = plt.subplots(rows, columns, squeeze=False, layout="constrained")
    for ax in axes.flat:
        picture = ax.imshow([[0, 1], [1, 0]])
        ax.set_axis_on() if not off else ax.set_axis_off()
    figure.colorbar(picture, ax=axes[0, -1])
    inside = axes[0, 0].inset_axes([0.5, 0.5, 0.4, 0.4])
    inside.plot([0, 1])
    assert across(panels(render(figure))) == columns
    plt.close(figure)
