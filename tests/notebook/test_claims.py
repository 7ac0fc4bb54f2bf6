"""The ledger decides by intervals, and a verdict that no longer holds stops the build."""

import json
import math
import re
import subprocess
from datetime import date, datetime

import pytest

from salnb.notebook import claims
from salnb.notebook.book_files import BOOK
from salnb.weights.study.verdicts import MEASURES

MEASURED = ["lyapunov-match", "architectures", "edge-of-chaos", "moderate-transmission"]
FIRST_PAPER = [*MEASURED, "depth-300", "lag-300", "beats-spectral-radius", "local-rule-beats-tuned-gain",
               "going-on-keeps-the-answer"]  # fmt: skip
GEOMETRY = ["power-law", "power-law-learned", "local-beats-backpropagation", "local-beats-decay", "local-noise",
            "local-less-accurate", "decay-beats-jacobian", "steeper-is-more-robust", "local-smoother", "one-frontier",
            "exponent-floats"]  # fmt: skip
PRACTICE = ["own-model-start", "own-model-line", "own-model-cost", "flossing-directions", "flossing-lag", "flossing-alone"]
NEIGHBOURS = [*MEASURES, "weights-sal-rank", "weights-sensitivity-rank"]
EDGE = {"id": "edge", "measure": "maximum exponent", "unit": "nats per step", "of": "networks", "verdict": "confirmed",
        "confirm": [-0.05, 0.05], "refute": [[-math.inf, -0.1], [0.1, math.inf]]}  # fmt: skip


@pytest.fixture
def edge(monkeypatch):
    """A ledger with one claim, so that these tests do not depend on the book's verdicts; as a function, to set other fields."""

    def with_fields(**fields):
        monkeypatch.setattr(claims, "ledger", lambda part=None: {"edge": {**EDGE, **fields}})

    with_fields()
    return with_fields


def test_ledger_holds_the_claims_of_both_papers_and_of_the_book_with_their_sources():
    assert list(claims.ledger("sensitivity")) == FIRST_PAPER and list(claims.ledger("geometry")) == GEOMETRY
    assert list(claims.ledger("practice")) == PRACTICE and list(claims.ledger("neighbours")) == NEIGHBOURS
    assert list(claims.ledger()) == FIRST_PAPER + GEOMETRY + PRACTICE + NEIGHBOURS
    with pytest.raises(ValueError, match="part: got 'frames', expected one of sensitivity, geometry, practice, neighbours"):
        claims.ledger("frames")
    for entry in claims.ledger().values():
        assert entry["claim"] and entry["source"] and entry["measure"] and entry["unit"]
        assert entry["verdict"] in (*claims.VERDICTS, "open")
        if entry["verdict"] != "open":
            low, high = entry["confirm"]
            assert low < high and all(b <= low or a >= high or a < low < b < high for a, b in entry["refute"])


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((-0.01, 0.02), "confirmed"),
        ((-0.06, 0.02), "undecided"),
        ((0.2, 0.3), "refuted"),
        ((-9.0, -0.2), "refuted"),
        ((0.06, 0.3), "undecided"),
    ],
)
def test_verdict_is_where_the_whole_interval_lies(interval, verdict):
    assert claims.decide(interval, [-0.05, 0.05], [[-math.inf, -0.1], [0.1, math.inf]]) == verdict


def test_check_prints_one_line_and_returns_the_verdict(edge, capsys):
    assert claims.check("edge", [0.001, -0.002, 0.003]) == "confirmed"
    line = capsys.readouterr().out
    assert line.count("\n") == 1 and "3 networks" in line and "confirmed" in line and "nats" in line


def test_check_raises_when_the_stored_verdict_no_longer_holds(edge, capsys):
    with pytest.raises(claims.ClaimError, match="measured refuted, but the ledger says confirmed"):
        claims.check("edge", [0.31, 0.32, 0.33])
    with pytest.raises(claims.ClaimError, match="undecided"):
        claims.check("edge", [-0.3, 0.3, 0.0])


def test_check_shares_holds_counts_against_the_ledger(edge, capsys):
    edge(unit="share", confirm=[0.5, 1.0], refute=[[-1.0, 0.2]])
    assert claims.check_shares("edge", (16, 16), (0, 16)) == "confirmed"
    assert "32 networks" in capsys.readouterr().out
    with pytest.raises(claims.ClaimError, match="measured refuted"):
        claims.check_shares("edge", (2, 16), (15, 16))
    with pytest.raises(claims.ClaimError, match="measured undecided"):
        claims.check_shares("edge", (16, 16), (8, 16))
    with pytest.raises(ValueError, match="expected one of"):
        claims.check_shares("other", (1, 2), (1, 2))


INSIDE, WIDE, OUTSIDE = [0.001, -0.002, 0.003], [-0.3, 0.3, 0.0], [0.31, 0.32, 0.33]


def test_one_group_is_not_called_the_worst(edge, capsys):
    assert claims.check_groups("edge", {"a": INSIDE}) == "confirmed"
    assert "worst" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("groups", "verdict", "worst"),
    [
        ({"a": INSIDE, "b": [0.03, 0.031, 0.029]}, "confirmed", "b"),
        ({"a": [-0.02, -0.021, -0.019], "b": [0.01, 0.011, 0.009]}, "confirmed", "a"),
        ({"a": INSIDE, "b": WIDE}, "undecided", "b"),
        ({"a": INSIDE, "b": WIDE, "c": OUTSIDE}, "refuted", "c"),
        ({"a": [0.3, 0.3001, 0.3002], "b": [-0.3, -0.3001, -0.3002], "c": WIDE, "d": OUTSIDE}, "refuted", "d"),
    ],
)
def test_the_worst_group_decides(groups, verdict, worst, edge, capsys):
    edge(verdict=verdict)
    assert claims.check_groups("edge", groups) == verdict
    line = capsys.readouterr().out
    assert line.count("\n") == 1 and f"worst of {len(groups)} groups: {worst} · 3 networks" in line
    figures = claims.group_figures("edge", groups)
    assert figures["worst"] == worst and list(figures["groups"]) == list(groups)
    assert figures["groups"][worst] == {key: figures[key] for key in ("mean", "interval", "seeds")}
    assert figures["lowest"] == min(map(min, groups.values())) and figures["highest"] == max(map(max, groups.values()))


def test_opposite_errors_of_two_groups_do_not_cancel(edge):
    with pytest.raises(claims.ClaimError, match="measured refuted, but the ledger says confirmed"):
        claims.check_groups("edge", {"above": OUTSIDE, "below": [-value for value in OUTSIDE]})


def test_check_groups_refuses_what_it_cannot_judge(edge):
    for claim, groups, message in (
        ("no-such-claim", {"a": INSIDE}, "expected one of edge"),
        ("edge", {}, "groups: got none"),
        ("edge", {"a": INSIDE, "b": [0.1]}, "at least two finite numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            claims.check_groups(claim, groups)


def test_table_names_the_worst_group(edge, monkeypatch):
    figures = claims.group_figures("edge", {"N = 50": INSIDE, "N = 100": OUTSIDE}) | {"seconds": 3, "device": "a CPU"}
    monkeypatch.setattr(claims, "read_results", lambda name: {"edge": figures})
    assert "worst of 2 groups, N = 100: +0.320 [+0.295, +0.345] nats per step; 3 networks" in claims._measured(EDGE)


def test_check_refuses_unknown_and_open_claims(monkeypatch):
    with pytest.raises(ValueError, match="expected one of lyapunov-match"):
        claims.check("no-such-claim", [0.0, 0.0])
    monkeypatch.setattr(claims, "ledger", lambda part=None: {"later": {"verdict": "open"}})
    with pytest.raises(claims.ClaimError, match="open"):
        claims.check("later", [1.0, 1.0])


def test_table_shows_every_claim_and_says_open_where_nothing_is_measured():
    rows = claims.markdown_table().splitlines()
    assert len(rows) == 2 + len(FIRST_PAPER) + len(GEOMETRY) + len(PRACTICE) + len(NEIGHBOURS)
    assert claims.markdown_table("geometry").splitlines()[2:] == rows[2 + len(FIRST_PAPER) : -len(PRACTICE + NEIGHBOURS)]
    for row, entry in zip(rows[2:], claims.ledger().values(), strict=True):
        assert row.count("|") == 6 and entry["id"] in row and f"**{entry['verdict']}**" in row
        assert (entry["verdict"] == "open") == ("not yet measured" in row)


def test_stored_figures_agree_with_the_stored_verdicts():
    stored = claims.read_results("claims")
    for name, entry in claims.ledger().items():
        assert (name in stored) == (entry["verdict"] != "open"), name
        if name in stored:
            if "groups" in stored[name]:  # the worst group's figures stand where those of other claims do
                worst = stored[name]["groups"][stored[name]["worst"]]
                assert worst == {key: stored[name][key] for key in ("mean", "interval", "seeds")}
                groups = stored[name]["groups"].values()
                verdicts = {claims.decide(tuple(g["interval"]), entry["confirm"], entry["refute"]) for g in groups}
                assert "refuted" not in verdicts or entry["verdict"] == "refuted"
                assert entry["verdict"] != "confirmed" or verdicts == {"confirmed"}
            assert claims.decide(tuple(stored[name]["interval"]), entry["confirm"], entry["refute"]) == entry["verdict"]


def test_cards_say_claim_verdict_rule_and_date(tmp_path, monkeypatch):
    cards = claims.markdown_cards()
    for entry in claims.ledger().values():
        assert entry["claim"] in cards and f"**Verdict: {entry['verdict']}.**" in cards and entry["fixed"] in cards
    assert "from −0.05 to 0.05 confirms, below −0.1 or above 0.1 refutes" in cards
    assert "for each architecture" in cards


def test_every_claim_says_when_its_rule_was_written_down():
    assert all(entry.get("fixed") for entry in claims.ledger().values())


def last_day_of_the_plan(entry: dict) -> date:
    return max(datetime.strptime(day, "%d %B %Y").date() for day in re.findall(r"\d+ [A-Z][a-z]+ \d{4}", entry["fixed"]))


@pytest.mark.parametrize("name", claims.ledger())
def test_a_claim_that_was_run_says_when_and_that_is_not_before_its_plan(name):
    entry = claims.ledger()[name]
    assert ("ran" in entry) == (name in claims.read_results("claims"))
    if "ran" in entry:
        assert type(entry["ran"]) is date, "a day without quotes, as 2026-11-22"
        assert last_day_of_the_plan(entry) <= entry["ran"], "a rule younger than its runs: the card has to say so in words"


def test_runs_have_the_day_of_the_commit_that_stored_them():
    """A run made again takes other seconds, so the last commit in which a claim's seconds change has stored its runs."""
    git = lambda *said: subprocess.run(["git", *said], cwd=BOOK.parent, capture_output=True, text=True)  # noqa: E731
    path, stored, days = "book/results/claims.json", {}, {}
    if git("rev-parse", "--is-shallow-repository").stdout.strip() != "false":
        pytest.skip("no history of this folder to compare with")
    for line in git("log", "--reverse", "--format=%h %ad", "--date=short", "--", path).stdout.splitlines():
        commit, day = line.split()
        for name, figures in json.loads(git("show", f"{commit}:{path}").stdout).items():
            if stored.get(name) != figures["seconds"]:
                stored[name], days[name] = figures["seconds"], date.fromisoformat(day)
    said = {name: entry.get("ran") for name, entry in claims.ledger().items() if name in days}
    assert said == {name: days[name] for name in said}
