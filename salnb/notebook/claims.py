"""The claims ledger: what the paper says, what would confirm or refute it, and what was measured here."""

import tomllib
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from .book_files import BOOK, data_path, read_results
from .claim_cards import STYLE, Cards, board, bounds_in_words, card, short, small_card
from .claim_ruler import signed
from .intervals import confidence_interval, difference_interval

VERDICTS = ("confirmed", "refuted", "undecided")


class ClaimError(AssertionError):
    """A measurement no longer gives the verdict that the ledger states."""


PARTS = {"sensitivity": "Sensitivity", "geometry": "Geometry", "practice": "On your own model",
         "neighbours": "Neighbors"}  # with the ledger's titles


def ledger(part: str | None = None) -> dict[str, dict]:
    """All claims by id, in the ledger's order, or those of one part.

    Args:
        part: "sensitivity" (the first paper), "geometry" (the second), "practice" (networks as people build them;
            no paper's) or "neighbours" (the papers that the second names as its own neighbors).

    Raises:
        ValueError: an unknown part.

    Example:
        >>> list(ledger("geometry"))[0]
        'power-law'
    """
    if part is not None and part not in PARTS:
        raise ValueError(f"part: got {part!r}, expected one of {', '.join(PARTS)}, or None for all claims")
    table = tomllib.loads(data_path("claims.toml").read_text(encoding="utf-8"))["claim"]
    return {entry["id"]: entry for entry in table if part in (None, entry.get("part", "sensitivity"))}


def decide(interval: tuple[float, float], confirm: list[float], refute: list[list[float]]) -> str:
    """Returns "confirmed" or "refuted" if the whole interval lies in a region of this kind, else "undecided"."""
    low, high = interval
    if confirm[0] <= low and high <= confirm[1]:
        return "confirmed"
    return "refuted" if any(a <= low and high <= b for a, b in refute) else "undecided"


def check(claim: str, values: Iterable[float]) -> str:
    """Compares new measurements with the ledger, prints one line and returns the verdict.

    Args:
        claim: its id. values: the measured quantity, one number per independent seed.

    Raises:
        ValueError: an unknown claim, or fewer than two finite values.
        ClaimError: the values give another verdict than the ledger states.
    """
    sample = np.asarray(list(values), dtype=float).ravel()
    return _compare(claim, sample.mean() if sample.size else 0.0, lambda: confidence_interval(sample), sample.size)


def check_shares(claim: str, ours: tuple[int, int], others: tuple[int, int]) -> str:
    """Does the same as ``check`` for a claim about shares: how many of how many networks held with SAL, and how many without.

    Returns:
        the verdict on the difference of the two shares, by Newcombe's interval.

    Raises:
        ValueError: an unknown claim, impossible counts. ClaimError: as ``check``.
    """
    difference = ours[0] / max(ours[1], 1) - others[0] / max(others[1], 1)
    return _compare(claim, difference, lambda: difference_interval(*ours, *others), ours[1] + others[1])


def check_groups(claim: str, groups: Mapping[str, Iterable[float]]) -> str:
    """Does the same as ``check`` for a claim that should hold in each of several groups: the worst group decides.

    Confirmed if the interval of *every* group lies in the region that confirms, refuted if the interval of *any* group lies in
    one that refutes, else undecided. A confirmation needs no correction for the number of groups: each of them has to pass on
    its own (an intersection-union test, R. L. Berger, Technometrics 24, 1982). Nor does a refutation where the two regions lie
    many standard errors apart: no number of looks then carries a group across from the one to the other.

    Args:
        claim: its id. groups: by name, the measured quantity in this group, one number per independent seed.

    Raises:
        ValueError: an unknown claim, no group, a group with fewer than two finite values. ClaimError: as ``check``.

    Example:
        >>> group_figures("edge-of-chaos", {"N = 50": [0.003, -0.004, 0.001], "N = 100": [0.01, 0.02, 0.012]})["worst"]
        'N = 100'
    """
    found = group_figures(claim, groups)
    where = f"worst of {len(found['groups'])} groups: {found['worst']} · " if len(found["groups"]) > 1 else ""
    return _compare(claim, found["mean"], lambda: tuple(found["interval"]), found["seeds"], where)


def group_figures(claim: str, groups: Mapping[str, Iterable[float]]) -> dict:
    """Mean, 95 % interval and number of seeds of each group, and the worst group by the claim's own regions.

    Returns:
        "groups": by name, "mean", "interval" and "seeds"; "worst": the name of the group that decides; "mean", "interval" and
        "seeds" of this one, and "lowest" and "highest" of all values, rounded to six decimals, as stored; "values": by name,
        the single numbers with four decimals, which is what a dot on a ruler can show.
    """
    entry, rounded = _entry(claim), lambda v: round(float(v), 6)
    samples = {name: np.asarray(list(values), dtype=float).ravel() for name, values in groups.items()}
    if not samples:
        raise ValueError(f"groups: got none for {claim}, expected at least one group by name")
    figures = {name: {"mean": rounded(sample.mean()), "interval": [rounded(bound) for bound in confidence_interval(sample)],
                      "seeds": sample.size} for name, sample in samples.items()}  # fmt: skip

    def badness(name: str) -> tuple[int, float]:
        """How bad its verdict is, then how far its interval reaches out of the region that confirms (below 0: stays inside)."""
        (low, high), (floor, ceiling) = figures[name]["interval"], entry["confirm"]
        verdict = decide((low, high), entry["confirm"], entry["refute"])
        return ("confirmed", "undecided", "refuted").index(verdict), max(floor - low, high - ceiling)

    worst, values = max(figures, key=badness), np.concatenate(list(samples.values()))
    single = {name: [round(float(value), 4) for value in sample] for name, sample in samples.items()}
    return {**figures[worst], "lowest": rounded(values.min()), "highest": rounded(values.max()),
            "worst": worst, "groups": figures, "values": single}  # fmt: skip


def _entry(claim: str) -> dict:
    """The ledger's entry of a claim."""
    claims = ledger()
    if claim not in claims:
        raise ValueError(f"claim: got {claim!r}, expected one of {', '.join(claims)}")
    return claims[claim]


def _compare(claim: str, mean: float, interval_of: Callable[[], tuple[float, float]], n: int, where: str = "") -> str:
    """Prints the verdict on a measurement; it is an error if it differs from the ledger's verdict."""
    entry = _entry(claim)
    if entry["verdict"] == "open":
        raise ClaimError(f"{claim}: the ledger says open; enter its verdict, measure and intervals before checking it")
    interval = interval_of()
    verdict = decide(interval, entry["confirm"], entry["refute"])
    print(f"{claim}: {verdict} · {where}{n} {entry.get('of', 'seeds')} · mean {signed(mean)}, 95 % interval "
          f"[{signed(interval[0])}, {signed(interval[1])}] {entry['unit']}")  # fmt: skip
    if verdict != entry["verdict"]:
        raise ClaimError(f"{claim}: measured {verdict}, but the ledger says {entry['verdict']}: one of the two has to change")
    return verdict


def _measured(entry: dict) -> str:
    """The stored measurement of a claim, as text for the table."""
    if entry["verdict"] == "open":
        return "not yet measured"
    stored = read_results("claims").get(entry["id"])
    if stored is None:
        return "measured in its chapter, no stored result"
    mean, low, high = (signed(v) for v in (stored["mean"], *stored["interval"]))
    where = f"{stored['seconds']:.0f} s on {stored['device']}"
    what, n = entry["measure"], f"{stored['seeds']} {entry.get('of', 'seeds')}"
    if len(stored.get("groups", ())) > 1:
        what += f"; worst of {len(stored['groups'])} groups, {stored['worst']}"
    return f"{what}: {mean} [{low}, {high}] {entry['unit']}; {n}; {where}"


def markdown_table(part: str | None = None) -> str:
    """The ledger, or one part of it, as a Markdown table with a row for each claim."""
    lines = ["| claim | the paper says | source | we measured | verdict |", "|---|---|---|---|---|"]
    for entry in ledger(part).values():
        note = f" {entry['reason']}" if entry.get("reason") else ""
        cells = (f"`{entry['id']}`", entry["claim"], entry["source"], _measured(entry), f"**{entry['verdict']}**{note}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def markdown_cards(part: str | None = None) -> str:
    """The ledger, or one part of it, as a short text for each claim: what it says, what was measured, the rule, and the dates."""
    cards = []
    for entry in ledger(part).values():
        groups = f", for each {entry['per']}" if "per" in entry else ""
        refuted = " or ".join(bounds_in_words(bounds) for bounds in entry.get("refute", []))
        rule = f"{bounds_in_words(entry['confirm'])} confirms, {refuted} refutes" if "confirm" in entry else "not fixed yet"
        runs = f" Runs: {short(entry['ran'])}." if "ran" in entry else ""
        lines = [
            f"**{entry['claim']}** (`{entry['id']}`, {entry['source']})",
            f"- **Verdict: {entry['verdict']}.** {entry.get('reason', '')}".rstrip(),
            f"- We measured: {_measured(entry)}.",
            f"- Rule{groups}: {rule}. Written down: {entry.get('fixed', 'no date')}.{runs}",
        ]
        cards.append(lines[0] + "\n\n" + "\n".join(lines[1:]))
    return "\n\n".join(cards)


def overview() -> Cards:
    """All verdicts at a glance, part by part: a shape for each claim, with a link to its card among ``cards``.

    Example:
        >>> print(overview().markdown.splitlines()[1])
        - Geometry: 3 confirmed, 5 refuted, 3 undecided
    """
    rows = {title: list(ledger(part).values()) for part, title in PARTS.items()}
    lines = []
    for title, entries in rows.items():
        found = [entry["verdict"] for entry in entries]
        lines.append(f"- {title}: " + ", ".join(f"{found.count(v)} {v}" for v in (*VERDICTS, "open") if v in found))
    return Cards(STYLE + board(rows), "\n".join(lines))


def cards(part: str | None = None, small: bool = False) -> Cards:
    """The ledger, or one part of it, as cards: sentence, interval on a ruler, verdict, what was counted, rule and dates.

    Args:
        part: as in ``ledger``. small: only sentence, verdict, the interval that decides and the two dates, as chapters show them.

    Returns:
        what a notebook shows as HTML; where it cannot, it takes the text of ``markdown_cards``.

    Raises:
        ValueError: an unknown part.

    Example:
        >>> cards("geometry").html.count("<article")
        11
    """
    measured, drawn, inside = read_results("claims"), [], BOOK.exists()
    for name, entry in ledger(part).items():
        if small:
            drawn.append(small_card(entry, measured.get(name), "../appendix/claims.ipynb" if inside else ""))
        else:
            page = f"../{entry['chapter']}.ipynb#claim-{name}" if inside else None
            drawn.append(card(entry, measured.get(name), entry.get("part", "sensitivity"), page))
    return Cards(f'{STYLE}<div class="claim-cards">{"".join(drawn)}</div>', markdown_cards(part))
