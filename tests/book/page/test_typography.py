"""Captions, the line under a title, and small spaces: what the page sets otherwise than the notebook."""

from docutils import nodes
from docutils.utils import new_document

from tools.page import colored_words, typography


def paragraphs(*texts: str) -> nodes.document:
    root = new_document("x")
    root += [nodes.paragraph("", text) for text in texts]
    return root


def test_a_formula_stays_with_the_marks_that_touch_it():
    root = paragraphs("the length (")
    root[0] += [nodes.math("", "x"), nodes.Text("), and "), nodes.math("", "y"), nodes.Text(" and "), nodes.math("", "z")]
    typography.hold_together(None, root, "x")
    assert [node.astext() for node in root.findall(nodes.inline)] == ["(x),"]
    assert root.astext() == "the length (x), and y and z"


def test_captions_and_the_line_under_a_title_are_marked():
    needs = "13 minutes · You need: nothing"
    root = paragraphs("Figure: dots.", "Table: a list.", needs, "Figures are drawn.", "To copy from · You need: a model")
    colored_words.color_words(None, root, "x")
    assert [p["classes"] for p in root] == [["figure-caption"], ["figure-caption"], ["chapter-needs"], [], ["chapter-needs"]]


def test_a_number_and_its_per_cent_sign_stay_on_one_line():
    root = paragraphs("a 95 % interval, 100% and x % of 3 steps, 1 of 2 in 3 s")
    root[0] += nodes.literal("", "3 % 2")
    typography.hold_together(None, root, "x")
    assert root.astext() == "a 95\u202f% interval, 100% and x % of 3 steps, 1\u00a0of\u00a02 in 3\u00a0s3 % 2"


def test_an_exponent_of_a_spectrum_has_not_the_color_of_a_growth_rate():
    for page, expected in (("book/theory/x", 2), ("book/geometry/x", 1)):
        root = paragraphs("Figure: the exponent α, and the Lyapunov exponent.")
        colored_words.color_words(None, root, page)
        assert len(list(root.findall(lambda node: "q-exponent" in getattr(node, "get", dict().get)("classes", [])))) == expected
