"""Files of the book: found beside the package, and never left half written."""

import json

import pytest

from salnb.notebook.book_files import read_results, write_atomically


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, json.dumps({"old": 1}))
    with pytest.raises(TypeError):
        write_atomically(path, 3)
    assert json.loads(path.read_text()) == {"old": 1}


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match="results/nothing.json"):
        read_results("nothing")
