"""The outputs of a built page go back into its notebook, without the drawing for phones."""

import nbformat
import pytest

from tools.take_outputs import with_outputs

WIDE = '<svg width="7"><g id="wide"><path d="M0 0"/></g>'
PHONE = '<g id="salnb-phone" display="none"><svg width="3"><g id="narrow"/></svg></g>'


def notebook(source: str, outputs: list) -> nbformat.NotebookNode:
    cell = nbformat.v4.new_code_cell(source, outputs=outputs, id="a")
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("words", id="b"), cell])


def test_the_drawing_for_phones_is_left_out_and_all_else_kept():
    data = {"image/svg+xml": f"{WIDE}{PHONE}</svg>", "text/plain": "<Figure>"}
    executed = notebook("draw()", [nbformat.v4.new_output("display_data", data), nbformat.v4.new_output("stream", text="7\n")])
    found = with_outputs(notebook("draw()", []), executed)
    drawn, printed = found.cells[1].outputs
    assert drawn.data["image/svg+xml"] == f"{WIDE}</svg>" and drawn.data["text/plain"] == "<Figure>" and printed.text == "7\n"
    nbformat.validate(found)


def test_outputs_of_other_code_are_refused():
    with pytest.raises(ValueError, match="same code"):
        with_outputs(notebook("draw()", []), notebook("draw(1)", []))
