"""Blocks of code lose a linter's marks and nothing else."""

from docutils import nodes

from tools.page.plain_code import plain_code, without_marks


def test_only_marks_at_the_ends_of_lines_go():
    kept = "a = 'see # noqa: it stays here'\n# formatting: skip nothing\nb = 1  # a comment, fmt: skip is a word in it\n"
    assert without_marks(kept) == kept
    marked = "from x import y  # noqa: F401 (for chapters)\nz = 1  # why  # fmt: skip"
    assert without_marks(marked) == "from x import y\nz = 1  # why"


def test_a_page_shows_plain_code_and_keeps_its_language():
    document = nodes.section("")
    block = nodes.literal_block("", "x = (1,\n     2)  # fmt: skip", language="ipython3")
    document += [nodes.paragraph("", "say # fmt: skip"), block]
    plain_code(None, document, "x")
    assert block.astext() == block.rawsource == "x = (1,\n     2)" and block["language"] == "ipython3"
    assert block[0].parent is block, "other parts of the page go on from there"
    assert document[0].astext() == "say # fmt: skip"
