"""Captions, the line under a title, and small spaces: what the page sets otherwise than the notebook."""

from docutils import nodes
from docutils.utils import new_document

from tools.page import colored_words, typography


def paragraphs(*texts: str) -> nodes.document:
    root = new_document("x")
    root += [nodes.paragraph("", text) for text in texts]
    return root


def test_captions_and_the_line_under_a_title_are_marked():
    needs = "13 minutes · You need: nothing"
    root = paragraphs("Figure: dots.", "Live figure: a network.", needs, "Figures are drawn.", "It takes 13 minutes")
    colored_words.color_words(None, root, "x")
    assert [p["classes"] for p in root] == [["figure-caption"], ["figure-caption"], ["chapter-needs"], [], []]


def test_a_number_and_its_per_cent_sign_stay_on_one_line():
    root = paragraphs("a 95 % interval, 100% and x % of 3 steps")
    root[0] += nodes.literal("", "3 % 2")
    typography.hold_together(None, root, "x")
    assert root.astext() == "a 95\u202f% interval, 100% and x % of 3 steps3 % 2"
