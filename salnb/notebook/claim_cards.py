"""The claims ledger as cards in HTML: sentence, ruler, verdict, what was counted, rule, dates, where it is measured.

They look right with the book's style sheet (``book/web/ledger.css``), and without it in Jupyter and on Colab.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from html import escape

from .claim_ruler import INK, Ruler, signed

# Each verdict has a shape of its own: a disc with a tick, a square with a cross, an empty rhomb with a dash.
SHAPES = {
    "confirmed": '<circle cx="10" cy="10" r="9"/><path d="M5.8 10.4 8.8 13.4 14.2 7" class="mark"/>',
    "refuted": '<rect x="2" y="2" width="16" height="16"/><path d="M6.4 6.4 13.6 13.6M13.6 6.4 6.4 13.6" class="mark"/>',
    "undecided": '<path d="M10 1.4 18.6 10 10 18.6 1.4 10Z" class="empty"/><path d="M6.6 10H13.4" class="empty"/>',
    "open": '<circle cx="10" cy="10" r="8.4" class="empty" stroke-dasharray="3 3"/>',
}
# Without the book's style sheet; `:where` counts for nothing, so that every rule of the sheet goes before these.
STYLE = """<style>
:where(.claim-card){border:1px solid rgba(128,128,128,.4);border-radius:8px;padding:12px 18px;margin:0 0 16px;max-width:46em}
:where(.claim-card.small){padding:8px 14px}
:where(.claim-card) :where(.claim-sentence){font-size:1.15em;font-weight:600;margin:.4em 0 .6em;line-height:1.4}
:where(.claim-card) :where(svg.claim-ruler){display:block;overflow:visible}
:where(.claim-card) :where(dt){font-weight:600}:where(.claim-card) :where(dd){margin:0 0 .4em}
:where(.claim-verdict){font-weight:700;margin-right:1em}
:where(.claim-shape){vertical-align:-.2em;margin-right:.35em;fill:currentColor}
:where(.claim-shape) :where(.mark){fill:none;stroke:#fff;stroke-width:2.4}
:where(.claim-shape) :where(.empty){fill:none;stroke:currentColor;stroke-width:2}
</style>"""
DATE = re.compile(r"\d{1,2} [A-Z][a-z]{2,3} \d{4}")
MONTHS = re.compile(r"\b(January|February|August|September|October|November|December)\b")
SHORT_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()  # in English wherever the page is built
SENTENCE = re.compile(r"(?<=[.;:?]) (?=[A-Z])")
SHORT = 150  # characters of a reason that are shown; what follows is folded away


@dataclass(frozen=True)
class Cards:
    """What a notebook shows as cards, and as plain text where it cannot."""

    html: str
    markdown: str

    def __repr__(self) -> str:
        return self.markdown

    def _repr_html_(self) -> str:
        return self.html

    def _repr_markdown_(self) -> str:
        return self.markdown


def bounds_in_words(bounds: Iterable[float]) -> str:
    """An interval in words: "below −0.1", "above 0.1", "from −0.05 to 0.05"."""
    low, high = bounds
    told = lambda bound: f"{bound:g}".replace("-", "−")  # noqa: E731
    if math.isinf(low):
        return f"below {told(high)}"
    return f"above {told(low)}" if math.isinf(high) else f"from {told(low)} to {told(high)}"


def shape(verdict: str) -> str:
    """The shape of a verdict, 20 by 20; the word stands beside it."""
    return (f'<svg class="claim-shape {verdict}" width="1em" height="1em" viewBox="0 0 20 20" aria-hidden="true">'
            f"{SHAPES[verdict]}</svg>")  # fmt: skip


def verdict_of(entry: Mapping) -> str:
    """The verdict as a word with its shape."""
    verdict = entry["verdict"]
    return f'<span class="claim-verdict {verdict}">{shape(verdict)}{verdict.capitalize()}</span>'


def counted(entry: Mapping, stored: Mapping) -> str:
    """How many of what: "30 networks decide, 120 in 4 groups"."""
    of, n = entry.get("of", "seeds"), stored["seeds"]
    if "with" in stored:
        return f"{stored['with'][1]} {of} with SAL, {stored['without'][1]} without"
    groups = stored.get("groups", {})
    total = sum(group["seeds"] for group in groups.values())
    return f"{n} {of} decide, {total} in {len(groups)} groups" if len(groups) > 1 else f"{n} {of}"


def held(stored: Mapping) -> str:
    """For a difference of shares: a dot for each network, filled if it held."""
    rows = []
    for label, key in (("with SAL", "with"), ("without", "without")):
        (n, of), wide = stored[key], 24
        dots = "".join(f'<circle cx="{6 + 9 * (i % wide)}" cy="{6 + 10 * (i // wide)}" r="3.2" stroke="{INK}" '
                       f'fill="{INK if i < n else "none"}"/>' for i in range(of))  # fmt: skip
        tall = 12 + 10 * ((of - 1) // wide)
        rows.append(f'<div class="claim-held"><span>{label}</span><svg width="{3 + 9 * min(of, wide)}" height="{tall}" '
                    f'aria-hidden="true">{dots}</svg><span>{n} of {of} held</span></div>')  # fmt: skip
    return "".join(rows)


def short(day: date) -> str:
    """A day as the cards write it.

    Example:
        >>> short(date(2026, 11, 3))
        '3 Nov 2026'
    """
    return f"{day.day} {SHORT_MONTHS[day.month - 1]} {day.year}"


def dates_of(entry: Mapping) -> str:
    """The day of the plan as it stands, which is that of its last step, beside the day of the runs that decide.

    Example:
        >>> dates_of({"fixed": "intervals 22 November 2026; groups 3 May 2027", "ran": date(2027, 5, 4)})
        'Plan <b>3 May 2027</b>, runs <b>4 May 2027</b>'
    """
    steps = DATE.findall(MONTHS.sub(lambda match: match[0][:3], entry.get("fixed", "")))
    if not steps:
        return "no date yet"
    return f"Plan <b>{steps[-1]}</b>, " + (f"runs <b>{short(entry['ran'])}</b>" if "ran" in entry else "not yet run")


def planned(text: str) -> str:
    """How the rule came about: a line for each step, months with three letters, dates in bold.

    A single step does not repeat its date, which `dates_of` has said.

    Example:
        >>> planned("intervals 22 November 2026; groups 3 May 2027")
        '<span>intervals <b>22 Nov 2026</b></span><span>groups <b>3 May 2027</b></span>'
        >>> planned("3 May 2027, before the runs")
        '<span>before the runs</span>'
    """
    steps = [MONTHS.sub(lambda match: match[0][:3], step) for step in escape(text).split("; ")]
    if len(steps) == 1:
        steps = [step for step in [re.sub(rf"^{DATE.pattern}(, )?", "", steps[0])] if step]
    return "".join(f"<span>{DATE.sub(lambda match: f'<b>{match[0]}</b>', step)}</span>" for step in steps)


def rule_of(entry: Mapping) -> str:
    """The regions in words, each with a patch of its pattern, and for what each has to hold."""
    refuted = " or ".join(bounds_in_words(bounds) for bounds in entry.get("refute", ()))
    lines = [("confirms", bounds_in_words(entry["confirm"])), ("refutes", refuted)] if "confirm" in entry else []
    told = "".join(f'<span class="claim-rule"><i class="{kind}"></i>{words} {kind}</span>' for kind, words in lines)
    return (f"<span>for each {escape(entry['per'])}:</span>" if "per" in entry else "") + told


def figure_of(entry: Mapping, stored: Mapping, small: bool) -> str:
    """The ruler, and the numbers that it shows."""
    low, high = (signed(end) for end in stored["interval"])
    numbers = (f'<p class="claim-numbers"><span><b>{signed(stored["mean"])}</b> [{low}, {high}] {escape(entry["unit"])}</span> '
               f'<span class="claim-counted">{escape(counted(entry, stored))}</span></p>')  # fmt: skip
    more = held(stored) if "with" in stored and not small else ""
    title = "" if small else f'<p class="claim-measure">{escape(entry["measure"])}</p>'
    return f'<div class="claim-figure">{title}{Ruler(entry, stored, small).svg()}{numbers}{more}</div>'


def to_measure(entry: Mapping) -> str:
    """What will be measured, of a claim whose plan stands and whose runs are not in."""
    return f'<p class="claim-measure">Not yet measured: {escape(entry["measure"])}</p>'


def reason_of(entry: Mapping) -> str:
    """The reason: its first sentences, as far as they are short; the rest is folded away."""
    sentences = SENTENCE.split(entry.get("reason", ""))
    shown = sentences.pop(0)
    while sentences and len(shown) + len(sentences[0]) < SHORT:
        shown += f" {sentences.pop(0)}"
    rest = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    folded = f"<details><summary>More on the verdict</summary>{rest}</details>" if rest else ""
    return f'<p class="claim-reason">{escape(shown)}</p>{folded}' if shown else ""


def apart(card: str) -> str:
    """The card with a space between neighbors, so that words do not run together where no style sheet sets them apart.

    Example:
        >>> apart("<b>a</b><span>b</span>")
        '<b>a</b> <span>b</span>'
    """
    return re.sub(r"(</(?:span|a|b)>)(?=<(?:span|a|b)\b)|(?<=[^\s>])(?=<a\b)", r"\1 ", card)


def card(entry: Mapping, stored: Mapping | None, part: str, chapter: str | None = None) -> str:
    """The card of a claim, with an anchor of its own.

    Args:
        entry: the claim in the ledger. stored: its figures, None if there are none. part: to which part of the ledger it belongs.
        chapter: the address of the page that measures it, None if there is none to go to.
    """
    name, source = entry["id"], f"<span>{escape(entry['source'])}</span>"
    page = f'<a class="claim-chapter" href="{chapter}">the chapter that measures it</a>' if chapter else escape(entry["chapter"])
    dates = f'<span class="claim-dates">{dates_of(entry)}</span>{planned(entry.get("fixed", ""))}'
    facts = {"Rule": rule_of(entry), "Plan and runs": dates, "Source and chapter": source + page}
    listed = "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in facts.items() if value)
    return apart(f'<article class="claim-card" id="claim-{name}" data-part="{part}" data-verdict="{entry["verdict"]}" '
            f'aria-labelledby="sentence-{name}"><p class="claim-head">{verdict_of(entry)}'
            f'<a class="claim-id" href="#claim-{name}">{name}</a></p>'
            f'<h3 class="claim-sentence" id="sentence-{name}">{escape(entry["claim"])}</h3>'
            f"{figure_of(entry, stored, False) if stored else to_measure(entry)}{reason_of(entry)}"
            f'<dl class="claim-facts">{listed}</dl></article>')  # fmt: skip


def small_card(entry: Mapping, stored: Mapping | None, ledger: str) -> str:
    """The card of a claim for a chapter: sentence, verdict, the interval that decides, the dates, and a link to ``ledger``."""
    name = entry["id"]
    return apart(f'<aside class="claim-card small" id="claim-{name}" data-verdict="{entry["verdict"]}" '
            f'aria-labelledby="sentence-{name}"><p class="claim-head">{verdict_of(entry)}'
            f'<a class="claim-ledger" href="{ledger}#claim-{name}">in the claims ledger</a></p>'
            f'<p class="claim-sentence" id="sentence-{name}">{escape(entry["claim"])}</p>'
            f"{figure_of(entry, stored, True) if stored else ''}"
            f'<p class="claim-dates">{dates_of(entry)}</p></aside>')  # fmt: skip


def board(rows: Mapping[str, Iterable[Mapping]]) -> str:
    """All verdicts at a glance: by the title of a part its claims, a shape for each that leads to its card, and the counts."""
    told = []
    for title, entries in rows.items():
        verdicts = [entry["verdict"] for entry in entries]
        shapes = "".join(
            f'<a href="#claim-{entry["id"]}" aria-label="{entry["id"]}: {entry["verdict"]}">'
            f"<title>{escape(entry['claim'])}</title>"
            f'<rect x="{30 * i}" width="30" height="30" rx="5" fill="transparent"/>'
            f'<svg class="claim-shape {entry["verdict"]}" x="{30 * i + 5}" y="5" width="20" height="20" viewBox="0 0 20 20">'
            f"{SHAPES[entry['verdict']]}</svg></a>" for i, entry in enumerate(entries))  # fmt: skip
        counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in SHAPES if verdict in verdicts)
        told.append(f'<span class="claim-part">{escape(title)} <span class="claim-counts">{counts}</span></span>'
                    f'<svg class="claim-row" width="{30 * len(verdicts)}" viewBox="0 0 {30 * len(verdicts)} 30">'
                    f"{shapes}</svg>")  # fmt: skip
    return f'<div class="claim-board">{"".join(told)}</div>'
