"""The typefaces lie in the book itself: every file that the style sheet names is made, with the signs that the pages show."""

import re

from tools.page import fonts
from tools.tree import ROOT


def test_the_style_sheet_names_the_files_that_are_made():
    sheet = (ROOT / "book/web/book.css").read_text(encoding="utf-8")
    assert set(re.findall(r"url\(fonts/([^)]+)\)", sheet)) == set(fonts.FACES)


def test_a_face_keeps_the_signs_of_the_book_and_gets_small(tmp_path, monkeypatch):
    from fontTools.ttLib import TTFont

    monkeypatch.setattr(fonts, "FACES", {"serif-400.woff2": fonts.FACES["serif-400.woff2"]})
    (face,) = fonts.write(tmp_path)
    with TTFont(face) as font:
        known = font.getBestCmap()
    assert not [sign for sign in "Az09äé–—“”…×−±·" if ord(sign) not in known]
    assert face.stat().st_size < 60_000 and (tmp_path / "font_source_serif_pro-license.txt").stat().st_size > 1000
    made = face.stat().st_mtime_ns
    assert fonts.write(tmp_path)[0].stat().st_mtime_ns == made  # what is there is not made again
