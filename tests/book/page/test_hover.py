"""What shows on a link: the text of the page of symbols, or the source's entry in the bibliography."""

import re

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
