"""What shows on a link: the text of the page of symbols, or the source's entry in the bibliography."""

import re
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import pytest

from tools.page import hover
from tools.tree import ROOT


def test_every_word_and_symbol_of_the_page_has_a_text_without_markup():
    page = (ROOT / hover.WORDS).read_text(encoding="utf-8")
    texts = hover.words(ROOT)
    assert set(texts) == set(re.findall(r'<a id="([^"]+)"', page))
    left = re.compile(r"[$\\{}`]|\*\*|\]\(|</?[a-z]")  # of formulas, code, emphasis, links and tags
    assert not {name: text for name, text in texts.items() if left.search(text)}


def test_a_link_to_a_word_gets_its_text_and_others_none():
    body = '<a class="reference" href="../appendix/symbols.html#word-sensitivity">s</a> <a href="other.html#word-x">y</a>'
    marked = hover.with_tips(body, ROOT)
    assert marked.count("data-tip=") == 1 and 'data-tip="Sensitivity: The length of the gradient' in marked
    assert hover.with_tips('<a href="#nothing">x</a>', ROOT) == '<a href="#nothing">x</a>'


def test_a_source_is_named_with_its_year():
    marked = hover.with_tips('<a href="https://doi.org/10.1016/j.neunet.2021.06.015">the paper</a>', ROOT)
    assert 'data-tip="Shibata et al. (2021): Sensitivity' in marked


def test_the_address_may_be_written_otherwise_and_a_preprint_is_found():
    expected = "Yunis et al. (2024): Approaching deep learning"
    for address in ("https://arxiv.org/abs/2408.11804", "https://arxiv.org/abs/2408.11804/", "https://arXiv.org/abs/2408.11804"):
        assert f'data-tip="{expected}' in hover.with_tips(f'<a href="{address}">x</a>', ROOT)
    assert 'data-tip="Shibata' in hover.with_tips('<a href="https://doi.org/10.1016/J.NEUNET.2021.06.015">x</a>', ROOT)


def test_a_word_on_the_same_page_gets_its_text():
    assert 'data-tip="Sensitivity: ' in hover.with_tips('<a href="#word-sensitivity">x</a>', ROOT)
    assert "data-tip" not in hover.with_tips('<a href="other.html#word-sensitivity">x</a>', ROOT)


def test_signs_of_a_text_cannot_end_its_attribute(monkeypatch):
    monkeypatch.setattr(hover, "words", lambda root: {"word-odd": 'a "b" <c> & d'})
    marked = hover.with_tips('<a href="#word-odd">x</a>', ROOT)
    assert marked == '<a href="#word-odd" data-tip="a &quot;b&quot; &lt;c&gt; &amp; d">x</a>'


def test_greek_letters_are_those_of_the_alphabet():
    """By their names in Unicode, which know nothing of the table."""
    for command, sign in hover._TEX.items():
        if command != "sum" and len(sign) == 1 and "GREEK" in (name := unicodedata.name(sign)):
            case = "CAPITAL" if command[0].isupper() else "SMALL"
            assert name == f"GREEK {case} LETTER {command.removeprefix('var').upper().replace('LAMBDA', 'LAMDA')}", command


@pytest.mark.parametrize(
    ("people", "named"),
    [
        ("One, A.", "One"), ("One, A. and Two, B.", "One and Two"), ("One, A. and Two, B. and Three, C.", "One, Two and Three"),
        ("One, A. and Two, B. and Three, C. and Four, D.", "One et al."),
    ],
    ids=["one", "two", "three", "four"],
)  # fmt: skip
def test_up_to_three_authors_are_all_named(tmp_path: Path, people: str, named: str) -> None:
    (tmp_path / "book").mkdir()
    entry = f"@article{{a, author={{{people}}}, title={{A title}}, journal={{A journal}}, year={{2001}}, doi={{10.1/x}}}}"
    (tmp_path / hover.SOURCES).write_text(entry, encoding="utf-8")
    assert hover.sources(tmp_path) == {"https://doi.org/10.1/x": f"{named} (2001): A title. A journal."}


def test_the_text_of_a_word_ends_before_the_link_to_its_chapter(tmp_path: Path) -> None:
    (tmp_path / hover.WORDS).parent.mkdir(parents=True)
    (tmp_path / hover.WORDS).write_text('<a id="word-x"></a>**A word.** What it says. → [Chapter](x.md)\n', encoding="utf-8")
    assert hover.words(tmp_path) == {"word-x": "A word: What it says."}


def test_the_page_of_symbols_does_not_explain_its_own_words() -> None:
    app, body = SimpleNamespace(srcdir=str(ROOT)), '<a href="#word-sensitivity">x</a>'
    for page, explained in (("book/appendix/symbols", False), ("book/intro", True)):
        context = {"body": body}
        hover.explain_links(app, page, "page.html", context, object())
        assert ("data-tip" in context["body"]) is explained
