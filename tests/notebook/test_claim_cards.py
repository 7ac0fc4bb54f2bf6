"""The cards of the ledger: each claim has one, with the stored numbers, its verdict as word and shape, and its dates."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from salnb.notebook import claims
from salnb.notebook.claim_cards import SHAPES, STYLE, Cards, counted, dates_of, planned, rule_of, small_card
from salnb.notebook.claim_ruler import signed

STORED, LEDGER = claims.read_results("claims"), claims.ledger()


def cards_of(html: str) -> dict[str, ElementTree.Element]:
    """By id, the cards in a text, which has to be well-formed for that."""
    root = ElementTree.fromstring(html.replace(STYLE, ""))
    return {card.get("id").removeprefix("claim-"): card for card in root.iter() if "claim-card" in card.get("class", "").split()}


def words(element: ElementTree.Element) -> str:
    return re.sub(r"\s+", " ", "".join(element.itertext()))


@pytest.mark.parametrize("part", [None, *claims.PARTS])
@pytest.mark.parametrize("small", [False, True], ids=["cards", "small"])
def test_every_claim_of_a_part_has_a_card_in_the_order_of_the_ledger(part: str | None, small: bool) -> None:
    shown = claims.cards(part, small=small)
    assert list(cards_of(shown.html)) == list(claims.ledger(part))
    assert shown._repr_html_() == shown.html and shown._repr_markdown_() == claims.markdown_cards(part) == repr(shown)


@pytest.mark.parametrize("small", [False, True], ids=["cards", "small"])
def test_a_card_says_claim_verdict_and_the_stored_numbers(small: bool) -> None:
    shown = cards_of(claims.cards(small=small).html)
    for name, entry in LEDGER.items():
        said, stored = words(shown[name]), STORED.get(name)
        (drawn,) = [element for element in shown[name].iter() if "claim-shape" in element.get("class", "")]
        assert drawn.get("class") == f"claim-shape {entry['verdict']}"
        if entry["verdict"] == "open":
            assert stored is None and entry["claim"] in said and "Open" in said
            continue
        low, high = (signed(end) for end in stored["interval"])
        assert entry["claim"] in said and entry["verdict"].capitalize() in said
        assert f"{signed(stored['mean'])} [{low}, {high}] {entry['unit']}" in said
        assert counted(entry, stored) in said


def test_a_card_of_the_ledger_has_rule_dates_reason_and_the_page_that_measures() -> None:
    for name, card in cards_of(claims.cards().html).items():
        entry, said = LEDGER[name], words(card)
        days = [f"{day} {month[:3]} {year}" for day, month, year in re.findall(r"(\d+) ([A-Z]\w+) (\d{4})", entry["fixed"])]
        assert days and all(day in said for day in days)
        runs = f"runs {entry['ran']:%-d %b %Y}" if "ran" in entry else "not yet run"
        assert f"Plan {days[-1]}, {runs}" in said
        assert entry["measure"] in said and entry["source"] in said and entry.get("per", "") in said
        told = [p for p in card.iter("p") if p.get("class") == "claim-reason"]
        told += [p for folded in card.iter("details") for p in folded.iter("p")]
        assert " ".join(map(words, told)) == entry.get("reason", "")
        links = [a.get("href") for a in card.iter("a")]
        assert f"../{entry['chapter']}.ipynb#claim-{name}" in links and f"#claim-{name}" in links
        assert card.get("data-part") == entry.get("part", "sensitivity") and card.get("data-verdict") == entry["verdict"]


def test_no_paragraph_of_a_card_is_long() -> None:
    for card in cards_of(claims.cards().html).values():
        assert max(len(words(p).split()) for p in card.iter("p")) <= 60


def test_shapes_differ_without_color() -> None:
    assert set(SHAPES) == {*claims.VERDICTS, "open"} and len(set(SHAPES.values())) == len(SHAPES)
    assert not [drawn for drawn in SHAPES.values() if "#" in drawn]


def test_wrong_part_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="part: got 'frames', expected one of sensitivity, geometry, practice"):
        claims.cards("frames")


def test_an_open_claim_has_a_card_without_a_ruler(monkeypatch) -> None:
    later = {"id": "later", "claim": "It < grows.", "source": "us", "chapter": "theory/network", "measure": "size",
             "unit": "nats", "verdict": "open"}  # fmt: skip
    monkeypatch.setattr(claims, "ledger", lambda part=None: {"later": later})
    for small in (False, True):
        card = cards_of(claims.cards(small=small).html)["later"]
        assert "It < grows." in words(card) and "Open" in words(card)
        assert not [svg for svg in card.iter("svg") if svg.get("class") == "claim-ruler"]


def test_counts() -> None:
    assert counted({"of": "splits"}, {"seeds": 8}) == "8 splits"
    assert counted({}, {"seeds": 8, "groups": {"a": {"seeds": 8}}}) == "8 seeds"
    groups = {"a": {"seeds": 8}, "b": {"seeds": 5}}
    assert counted({"of": "splits"}, {"seeds": 8, "groups": groups}) == "8 splits decide, 13 in 2 groups"
    assert counted({"of": "networks"}, {"seeds": 5, "with": [1, 2], "without": [0, 3]}) == "2 networks with SAL, 3 without"


def test_networks_that_held_are_filled_dots() -> None:
    shown = cards_of(claims.cards("sensitivity").html)
    for name in ("depth-300", "lag-300", "beats-spectral-radius"):
        rows = [row for row in shown[name].iter() if row.get("class") == "claim-held"]
        for row, key in zip(rows, ("with", "without"), strict=True):
            dots = [dot.get("fill") != "none" for dot in row.iter("circle")]
            assert [sum(dots), len(dots)] == STORED[name][key]


def test_rule_and_plan_in_words() -> None:
    rule = rule_of({"confirm": [0, float("inf")], "refute": [[-float("inf"), -0.5]], "per": "size"})
    assert "for each size:" in rule and "above 0 confirms" in rule and "below −0.5 refutes" in rule
    assert planned("a 1 September 2026; b") == "<span>a <b>1 Sep 2026</b></span><span>b</span>"
    assert planned("1 September 2026, before the runs") == "<span>before the runs</span>" and planned("1 May 2026") == ""


@pytest.mark.parametrize("name", LEDGER)
def test_the_small_card_has_both_dates_too(name: str) -> None:
    card = words(cards_of(claims.cards(small=True).html)[name])
    runs = f"runs {LEDGER[name]['ran']:%-d %b %Y}" if "ran" in LEDGER[name] else "not yet run"
    assert re.search(rf"Plan \d+ [A-Z][a-z][a-z] \d{{4}}, {runs}$", card)


def test_a_claim_without_runs_says_so() -> None:
    assert dates_of({"fixed": "3 May 2027"}) == "Plan <b>3 May 2027</b>, not yet run" and dates_of({}) == "no date yet"


def test_the_board_has_every_verdict_and_counts_them() -> None:
    shown = claims.overview()
    root = ElementTree.fromstring(shown.html.replace(STYLE, ""))
    links = {a.get("href").removeprefix("#claim-"): a.get("aria-label") for a in root.iter("a")}
    assert links == {name: f"{name}: {entry['verdict']}" for name, entry in LEDGER.items()}
    told = [words(element) for element in root.iter() if element.get("class") == "claim-counts"]
    for part, line in zip(claims.PARTS, told, strict=True):
        verdicts = [entry["verdict"] for entry in claims.ledger(part).values()]
        assert {tuple(count.split()) for count in line.split(", ")} == {(str(verdicts.count(v)), v) for v in set(verdicts)}


def test_the_small_card_leads_to_its_place_in_the_ledger() -> None:
    card = small_card(LEDGER["depth-300"], STORED["depth-300"], "there.html")
    assert 'href="there.html#claim-depth-300"' in card


def test_cards_are_text_where_there_is_no_html() -> None:
    assert repr(Cards("<b>x</b>", "x")) == "x"
