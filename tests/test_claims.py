"""The ledger decides by intervals, and a verdict that no longer holds stops the build."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from salnb import claims

MEASURED = ["lyapunov-match", "architectures", "edge-of-chaos", "moderate-transmission"]
SEVEN = [*MEASURED, "depth-300", "lag-300", "beats-spectral-radius"]


def test_ledger_holds_the_seven_claims_and_their_sources():
    assert list(claims.ledger()) == SEVEN
    for entry in claims.ledger().values():
        assert entry["claim"] and entry["source"] and entry["measure"] and entry["unit"]
        assert entry["verdict"] in (*claims.VERDICTS, "open")
        if entry["verdict"] != "open":
            low, high = entry["confirm"]
            assert low < high and all(b <= low or a >= high for a, b in entry["refute"])


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 30, 400])
def test_student_t_against_scipy(freedom):
    # No rounding: the series ends after its third term, and what it promises is 1 % from 3 degrees of freedom on.
    assert claims.student_t(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.01 if freedom < 9 else 1e-3)


def test_confidence_interval_against_scipy():
    sample = np.random.default_rng(0).normal(3.0, 2.0, 12)
    wanted = stats.t.interval(0.95, 11, loc=sample.mean(), scale=stats.sem(sample))
    # The error is that of the quantile, on half the length of the interval.
    assert claims.confidence_interval(sample) == pytest.approx(wanted, abs=1e-3 * (wanted[1] - wanted[0]) / 2)


@pytest.mark.parametrize("values", [[1.0], [], [1.0, math.nan], [math.inf, 0.0]])
def test_confidence_interval_refuses_what_has_none(values):
    with pytest.raises(ValueError, match="at least two finite numbers"):
        claims.confidence_interval(values)


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


def test_check_prints_one_line_and_returns_the_verdict(capsys):
    assert claims.check("edge-of-chaos", [0.001, -0.002, 0.003]) == "confirmed"
    line = capsys.readouterr().out
    assert line.count("\n") == 1 and "3 networks" in line and "confirmed" in line and "nats" in line


def test_check_raises_when_the_stored_verdict_no_longer_holds(capsys):
    with pytest.raises(claims.ClaimError, match="measured refuted, but the ledger says confirmed"):
        claims.check("edge-of-chaos", [0.31, 0.32, 0.33])
    with pytest.raises(claims.ClaimError, match="undecided"):
        claims.check("edge-of-chaos", [-0.3, 0.3, 0.0])


def test_check_shares_holds_counts_against_the_ledger(capsys, monkeypatch):
    entry = {**claims.ledger()["edge-of-chaos"], "unit": "share", "confirm": [0.5, 1.0], "refute": [[-1.0, 0.2]]}
    monkeypatch.setattr(claims, "ledger", lambda: {"shares": entry})
    assert claims.check_shares("shares", (16, 16), (0, 16)) == "confirmed"
    assert "32 networks" in capsys.readouterr().out
    with pytest.raises(claims.ClaimError, match="measured refuted"):
        claims.check_shares("shares", (2, 16), (15, 16))
    with pytest.raises(claims.ClaimError, match="measured undecided"):
        claims.check_shares("shares", (16, 16), (8, 16))
    with pytest.raises(ValueError, match="expected one of"):
        claims.check_shares("other", (1, 2), (1, 2))


def test_check_refuses_unknown_and_open_claims(monkeypatch):
    with pytest.raises(ValueError, match="expected one of lyapunov-match"):
        claims.check("no-such-claim", [0.0, 0.0])
    monkeypatch.setattr(claims, "ledger", lambda: {"later": {"verdict": "open"}})
    with pytest.raises(claims.ClaimError, match="open"):
        claims.check("later", [1.0, 1.0])


def test_table_shows_every_claim_and_says_open_where_nothing_is_measured():
    rows = claims.markdown_table().splitlines()
    assert len(rows) == 2 + len(SEVEN)
    for row, entry in zip(rows[2:], claims.ledger().values(), strict=True):
        assert row.count("|") == 6 and entry["id"] in row and f"**{entry['verdict']}**" in row
        assert (entry["verdict"] == "open") == ("not yet measured" in row)


def test_stored_figures_agree_with_the_stored_verdicts():
    stored = claims.read_results("claims")
    for name, entry in claims.ledger().items():
        assert (name in stored) == (entry["verdict"] != "open"), name
        if name in stored:
            assert claims.decide(tuple(stored[name]["interval"]), entry["confirm"], entry["refute"]) == entry["verdict"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    claims.write_atomically(path, json.dumps({"old": 1}))
    with pytest.raises(TypeError):
        claims.write_atomically(path, 3)
    assert json.loads(path.read_text()) == {"old": 1}


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match="results/nothing.json"):
        claims.read_results("nothing")
