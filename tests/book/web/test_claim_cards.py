"""The cards of the claims on the pages: a small one in each chapter that measures a claim, and the ledger's filters."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from docutils import nodes

from salnb.notebook import claims
from tools.notebooks import clean, dumps
from tools.page.claim_cards import LEDGER, cards_of, cell_of, lead_to_pages, put_small_cards, sentence
from tools.tree import HTML, ROOT, notebooks

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
PAGE = ROOT / HTML / f"{LEDGER}.html"
ALL = claims.ledger()
in_a_browser = [
    pytest.mark.skipif(not PAGE.is_file(), reason="no _build/html: run `make book` first"),
    pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason="no chromium; Debian's package of that name brings it"),
]


def prose(path: Path) -> str:
    """The Markdown of a notebook."""
    return "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("name", ALL)
def test_the_chapter_that_measures_a_claim_holds_its_card(name: str) -> None:
    path = ROOT / "book" / f"{ALL[name]['chapter']}.ipynb"
    assert path in notebooks(), "no such chapter"
    assert name in dict(cards_of(prose(path)))


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_the_sentence_in_a_card_s_place_is_that_of_the_ledger(path: Path) -> None:
    page, text = path.relative_to(ROOT).with_suffix("").as_posix(), prose(path)
    found = list(cards_of(text))
    assert text.count("data-claim=") == len(found), "a card needs an empty line around its sentence"
    for name, told in found:
        assert told == sentence(ALL[name], page), "run `python -m tools.page.claim_cards`"


class Environment:
    """As much of Sphinx's environment and builder as the cards need."""

    docname, format, titles = "book/theory/a", "html", {"book/theory/b": nodes.title("", "The other chapter")}

    def __init__(self) -> None:
        self.metadata, self.dependencies, self.env, self.builder = {self.docname: {}}, set(), self, self

    def note_dependency(self, name: str) -> None:
        self.dependencies.add(Path(name).name)

    def get_relative_uri(self, here: str, there: str) -> str:
        return f"to/{there}"


def document(*html: str) -> nodes.document:
    """A document of raw HTML, and a paragraph for each text that is none."""
    from docutils.utils import new_document

    made = new_document("page")
    made += [nodes.raw("", text, format="html") if text.startswith("<") else nodes.paragraph("", text) for text in html]
    return made


def test_a_card_takes_the_place_of_its_sentence_and_neighbors_share_a_frame() -> None:
    opening = '<div class="claim-card" data-claim="{}">'.format
    page = document("before", opening("depth-300"), "told", "</div>", opening("lag-300"), "told", "</div>", "after")
    app = Environment()
    put_small_cards(app, page)
    first, cards, last = page.children
    assert (first.astext(), last.astext()) == ("before", "after")
    html = cards.astext()
    assert html.count('<div class="claim-cards">') == 1 and html.count("<aside") == 2 == html.count("</aside>")
    assert html.index('id="claim-depth-300"') < html.index('id="claim-lag-300"') and "told" not in html
    assert "../appendix/claims.ipynb#claim-lag-300" in html
    assert set(app.metadata[app.docname]["myst_slugs"]) == {"claim-depth-300", "claim-lag-300"}
    assert app.dependencies == {"claims.toml", "claims.json"}


def test_links_lead_to_pages_under_the_chapter_s_title() -> None:
    card = '<article class="claim-card" id="claim-x"><a class="claim-chapter" href="../theory/b.ipynb#claim-x">w</a></article>'
    page, app = document(card, '<a href="b.ipynb">left alone</a>'), Environment()
    lead_to_pages(app, page, app.docname)
    assert 'href="to/book/theory/b#claim-x">The other chapter</a>' in page.children[0].astext()
    assert page.children[1].astext() == '<a href="b.ipynb">left alone</a>'


def test_a_changed_verdict_is_written_into_every_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tools.page import claim_cards

    path = tmp_path / "book/theory/a.ipynb"
    path.parent.mkdir(parents=True)
    other = {**ALL["depth-300"], "verdict": "refuted"}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("x\n\n" + cell_of(other, "book/theory/a"))])
    path.write_text(dumps(clean(notebook)), encoding="utf-8")
    monkeypatch.setattr(claim_cards, "notebooks", lambda: [path])
    monkeypatch.setattr(claim_cards, "ROOT", tmp_path)
    assert "**Refuted**" in prose(path)
    claim_cards.main()
    assert prose(path) == "x\n\n" + cell_of(ALL["depth-300"], "book/theory/a") and "**Confirmed**" in prose(path)


@pytest.fixture(scope="module")
def window() -> Iterator:
    """A window of a browser that all tests of this file share."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def ledger_page(window) -> Iterator:
    """The ledger, straight from the folder."""
    page = window.new_page()
    page.goto(PAGE.as_uri())
    yield page
    page.close()


SHOWN = "[...document.querySelectorAll('article.claim-card')].filter((e) => e.getClientRects().length).map((e) => e.id.slice(6))"


class TestLedger:
    """The built page in a browser."""

    pytestmark = in_a_browser

    def test_every_claim_has_an_anchor_and_a_link_to_its_chapter(self, ledger_page) -> None:
        assert ledger_page.evaluate(SHOWN) == list(ALL)
        links = ledger_page.evaluate("[...document.querySelectorAll('a.claim-chapter')].map((e) => [e.href, e.textContent])")
        for (address, title), (name, entry) in zip(links, ALL.items(), strict=True):
            target = address.removeprefix("file://")
            assert target == f"{ROOT / HTML / 'book' / entry['chapter']}.html#claim-{name}"
            chapter = Path(target.split("#")[0]).read_text(encoding="utf-8")
            assert f'id="claim-{name}"' in chapter and f"{title}#</h1>" not in title and title in chapter

    def test_filters_by_part_and_verdict(self, ledger_page) -> None:
        button = lambda words: ledger_page.locator(".ledger-filters button", has_text=words)  # noqa: E731
        said = ledger_page.locator(".ledger-filters output")
        assert said.inner_text() == f"All {len(ALL)} claims are shown."
        button("Refuted").click()
        wanted = [name for name, entry in ALL.items() if entry["verdict"] == "refuted"]
        assert ledger_page.evaluate(SHOWN) == wanted and said.inner_text() == f"{len(wanted)} of {len(ALL)} claims are shown."
        button("Geometry").click()
        wanted = [name for name, entry in claims.ledger("geometry").items() if entry["verdict"] == "refuted"]
        assert ledger_page.evaluate(SHOWN) == wanted
        assert not ledger_page.get_by_role("heading", name="Sensitivity", exact=True).is_visible()
        pressed = ledger_page.locator(".ledger-filters button[aria-pressed=true]").all_inner_texts()
        assert [text.split()[0] for text in pressed] == ["Geometry", "Refuted"]
        assert pressed[1].split()[-1] == str(len(wanted))  # the number on a button is what it would show
        button("Refuted").click()  # pressed again, it lets go
        assert ledger_page.evaluate(SHOWN) == list(claims.ledger("geometry"))

    def test_filters_work_from_the_keyboard(self, ledger_page) -> None:
        ledger_page.locator(".ledger-filters button", has_text="Undecided").focus()
        ledger_page.keyboard.press("Space")
        assert ledger_page.evaluate(SHOWN) == [name for name, entry in ALL.items() if entry["verdict"] == "undecided"]
        ledger_page.keyboard.press("Enter")
        assert ledger_page.evaluate(SHOWN) == list(ALL)

    def test_a_link_to_a_card_that_is_filtered_away_brings_it_back(self, ledger_page) -> None:
        ledger_page.locator(".ledger-filters button", has_text="Refuted").click()
        ledger_page.locator(".claim-board a[aria-label^='lag-300']").click()
        ledger_page.wait_for_function("document.getElementById('claim-lag-300').getClientRects().length > 0")
        assert ledger_page.evaluate(SHOWN) == list(ALL)
        ledger_page.wait_for_function("document.getElementById('claim-lag-300').getBoundingClientRect().top < innerHeight")

    def test_without_script_all_cards_show_and_no_button_is_dead(self, window) -> None:
        context = window.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(PAGE.as_uri())
        assert page.locator("article.claim-card").count() == len(ALL) == page.locator("article.claim-card:visible").count()
        assert page.locator(".ledger-filters button").count() == 0
        context.close()

    @pytest.mark.parametrize("width", [1280, 390])
    def test_words_of_a_ruler_stay_on_the_card_and_do_not_touch(self, window, width: int) -> None:
        page = window.new_page(viewport={"width": width, "height": 900})
        page.goto(PAGE.as_uri())
        page.evaluate("document.fonts.ready")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        found = page.evaluate("""[...document.querySelectorAll('article.claim-card')].flatMap((card) => {
          const frame = card.getBoundingClientRect(), told = [];
          const words = [...card.querySelectorAll('.claim-ruler text')].map((e) => [e.textContent, e.getBoundingClientRect(), e]);
          for (const [text, box, e] of words) {
            if (box.left < frame.left + 1 || box.right > frame.right - 1) told.push(card.id + ' beyond the card: ' + text);
            if (parseFloat(getComputedStyle(e).fontSize) < 11) told.push(card.id + ' too small: ' + text);
            for (const [other, place] of words) {
              const apart = box.right < place.left || place.right < box.left || box.bottom < place.top + 3
                ||  place.bottom < box.top + 3;
              if (other !== text && !apart) told.push(card.id + ': ' + text + ' touches ' + other);
            }
          }
          return told;
        })""")
        page.close()
        assert found == []
