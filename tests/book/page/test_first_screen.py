"""A chapter opens with its best figure: the tags in the notebooks, and the copy at the top of the page."""

import nbformat
import pytest
from docutils import nodes
from docutils.utils import new_document

from tools.page import colored_words, first_screen
from tools.tree import ROOT, notebooks

CHAPTERS = [path for path in notebooks() if "In one breath." in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", CHAPTERS, ids=[str(path.relative_to(ROOT)) for path in CHAPTERS])
def test_a_chapter_opens_with_a_playground_or_its_best_figure(path):
    notebook = nbformat.read(path, as_version=4)
    answers = [cell for cell in notebook.cells if cell.cell_type == "markdown" and 'class="playground"' in cell.source]
    tagged = [cell for cell in notebook.cells if "best-figure" in cell.metadata.get("tags", [])]
    drawn = [cell for cell in notebook.cells if "image" in cell.metadata.get("mystnb", {})]
    assert len(tagged) == 1 or answers or not drawn
    shown = [output for cell in tagged for output in cell.outputs if output.output_type == "display_data"]
    assert all("image/svg+xml" in output.data for output in shown)


def document(before_first_heading: bool) -> nodes.document:
    """A chapter with an opening paragraph and a tagged figure, in its first section or before it."""
    root = new_document("x")
    chapter = nodes.section(ids=["chapter"])
    chapter += nodes.title("", "Chapter")
    chapter += nodes.paragraph("", "In one breath. A sensitivity is a gradient's length.")
    section = nodes.section(ids=["inside"])
    section += nodes.title("", "Inside")
    cell = nodes.container(classes=["cell", "tag_best-figure"])
    cell += nodes.image(uri="figure.svg", alt="what it shows")
    chapter += [cell, section] if before_first_heading else [section]
    if not before_first_heading:
        section += cell
    root += chapter
    return root


def test_the_tagged_figure_is_shown_behind_the_opening_with_a_link_to_its_place():
    root = document(before_first_heading=False)
    first_screen.lead_with_the_best_figure(None, root, "x")
    lead = root[0][2]
    assert lead["classes"] == ["lead-figure"] and lead[0]["alt"] == "what it shows"
    assert next(lead.findall(nodes.reference))["refuri"] == "#inside"
    assert len(list(root.findall(nodes.image))) == 2


def test_a_figure_that_stands_near_the_top_is_not_repeated():
    root = document(before_first_heading=True)
    first_screen.lead_with_the_best_figure(None, root, "x")
    assert len(list(root.findall(nodes.image))) == 1


def test_a_figure_behind_code_is_shown_at_the_top():
    root = document(before_first_heading=True)
    root[0].insert(2, nodes.container(classes=["cell"]))
    first_screen.lead_with_the_best_figure(None, root, "x")
    assert root[0][2]["classes"] == ["lead-figure"] and root[0][2][1].astext() == "Explained below."


def test_the_opening_names_quantities_in_their_colors():
    root = document(before_first_heading=False)
    before = root.astext()
    colored_words.color_words(None, root, "x")
    found = {word.astext(): word["classes"] for word in root.findall(nodes.inline)}
    assert found == {"sensitivity": ["quantity", "q-sensitivity"], "gradient": ["quantity", "q-gradient"]}
    assert root.astext().replace("\n\n", "") == before.replace("\n\n", "")
