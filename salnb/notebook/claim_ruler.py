"""The ruler of a claim as SVG: the regions that confirm and refute, the intervals that were measured, and single networks.

Everything lies at a share of the width, so that the ruler is as wide as its column while words and lines keep their size.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

INK, PAPER = "var(--salnb-ink, currentColor)", "var(--claim-paper, none)"
CONFIRM, REFUTE = "var(--claim-confirm, currentColor)", "var(--claim-refute, #c0435c)"
FONT = "var(--pst-font-family-heading, sans-serif)"
LABELLED = 6  # up to so many groups each has its name; of more, only the one that decides
ROOM = 0.19  # of the width that a region's word needs on a phone


def signed(value: float, digits: int = 3) -> str:
    """The value with a sign and these decimals; zero never gets a minus sign.

    Example:
        >>> signed(-0.0001), signed(-0.25)
        ('+0.000', '−0.250')
    """
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def regions(entry: Mapping) -> Iterator[tuple[str, float, float]]:
    """The claim's regions, ("confirms" or "refutes", from, to), in the ledger's order; ends may be infinite."""
    if "confirm" in entry:
        yield "confirms", *entry["confirm"]
    for low, high in entry.get("refute", ()):
        yield "refutes", low, high


def span(entry: Mapping, stored: Mapping) -> tuple[float, float]:
    """Where the ruler of a claim begins and ends, in the claim's unit.

    It holds all intervals, all single values and every border of a region but the outermost two, which are often those of the
    unit, as 0 and 1 of a share. Where a region goes on beyond all of these, about a fifth of the ruler is left for it.

    Args:
        entry: the claim in the ledger. stored: its figures in ``claims.json``.

    Example:
        >>> entry = {"confirm": [-1, 1], "refute": [[-math.inf, -2], [2, math.inf]]}
        >>> low, high = span(entry, {"interval": [-0.5, 0.5], "mean": 0})
        >>> round(low, 2), round(high, 2)
        (-3.12, 3.12)
    """
    ends = sorted(end for _, low, high in regions(entry) for end in (low, high))
    groups = stored.get("groups", {"": stored}).values()
    values = [value for some in stored.get("values", {}).values() for value in some]
    points = [*ends[1:-1], *(end for group in groups for end in (*group["interval"], group["mean"])), *values]
    low, high = min(points), max(points)
    wide = high - low
    left, right = 0.06 * wide, 0.06 * wide
    if ends and ends[0] < low:
        left = min(0.28 * wide, low - ends[0] + 0.03 * wide)
    if ends and ends[-1] > high:
        right = min(0.28 * wide, ends[-1] - high + 0.03 * wide)
    return low - left, high + right


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most so many round numbers between two others, zero among them where it lies between.

    Example:
        >>> ticks(-0.13, 0.13)
        [-0.1, -0.05, 0.0, 0.05, 0.1]
    """
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * (1 - 1e-9))
    return [round(n * step, 10) + 0.0 for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


class Ruler:
    """Draws one claim; ``svg`` is the drawing, ``told`` what a screen reader says of it."""

    def __init__(self, entry: Mapping, stored: Mapping, small: bool = False) -> None:
        self.entry, self.stored, self.small = entry, stored, small
        shown = {key: stored[key] for key in ("mean", "interval")} if small else stored
        self.low, self.high = span(entry, shown)
        self.top, self.parts, self.strips = 20.0, [], []
        self.name = f"{entry['id']}{'-small' if small else ''}"

    def at(self, value: float, digits: int = 2) -> str:
        """The place of a value, in per cent of the width."""
        return f"{100 * (value - self.low) / (self.high - self.low):.{digits}f}%"

    def text(self, x: str, y: float, words: str, anchor: str = "middle", size: float = 12, **more: str) -> str:
        """Words at a place."""
        given = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in ({"fill": INK} | more).items())
        where = f'x="{x}" y="{y:g}" text-anchor="{anchor}"'
        return f'<text {where} font-size="{size:g}" font-family="{FONT}"{given}>{escape(words)}</text>'

    def caption(self, words: str, bold: bool = False) -> None:
        """A line of words between two strips."""
        self.parts.append(self.text("0%", self.top + 16, words, "start", font_weight="600" if bold else "400"))
        self.top += 22

    def row(self, name: str, group: Mapping, values: Sequence[float], decides: bool, together: bool = False) -> None:
        """One group: its interval, its mean, and a dot for each single value, below them or, of many groups, on one line."""
        (low, high), mean = group["interval"], group["mean"]
        y, dots_y, tall = (self.top + 5, self.top + 5, 2) if together else (self.top + 9, self.top + 20, 4.5)
        dots = "".join(f'<circle cx="{self.at(v, 1)}" cy="{dots_y + tall * ((i * 0.618) % 1 * 2 - 1):.1f}" r="1.6"/>'
                       for i, v in enumerate(values))  # fmt: skip
        parts = [f'<g class="networks" fill="{INK}" fill-opacity="{0.25 if together else 0.5}">{dots}</g>'] if dots else []
        parts.append(f'<line class="interval" x1="{self.at(low)}" x2="{self.at(high)}" y1="{y:g}" y2="{y:g}" '
                     f'stroke="{INK}" stroke-width="{5 if decides else 2}"/>')  # fmt: skip
        ring = f'r="{4 if self.small else 5}" fill="{PAPER}" stroke="{INK}" stroke-width="2.2"'
        fill = ring if decides else f'r="2.6" fill="{INK}"'
        parts.append(f'<circle class="mean" cx="{self.at(mean)}" cy="{y:g}" {fill}/>')
        decided = ' class="decides"' if decides else ""
        said = f"{name + ': ' if name else ''}{signed(mean)} [{signed(low)}, {signed(high)}]"
        self.parts.append(f'<g data-group="{escape(name)}"{decided}>'
                          f"<title>{escape(said)}</title>{''.join(parts)}</g>")  # fmt: skip
        self.top += 9 if together else 27 if dots else 18

    def strip(self, rows: Iterable[tuple], **how: bool) -> None:
        """Rows on a common background that shows the regions."""
        top = self.top
        for row in rows:
            self.row(*row, **how)
        self.strips.append((top, self.top))

    def rows(self) -> None:
        """The group that decides first; the others in the ledger's order, each named, or as one strip if they are many."""
        stored, worst, values = self.stored, self.stored.get("worst", ""), self.stored.get("values", {})
        groups = {name: (name, group, values.get(name, ())) for name, group in stored.get("groups", {"": stored}).items()}
        first, of = groups.pop(worst), self.entry.get("of", "seeds")
        if self.small:
            return self.strip([(*first[:2], ())], decides=True)
        if groups or first[2]:
            self.caption(f"{worst} decides" if groups else f"{len(first[2])} {of}", bold=bool(groups))
        self.strip([first], decides=True)
        if len(groups) >= LABELLED:
            self.caption(f"the other {len(groups)} groups")
            self.strip(groups.values(), decides=False, together=True)
        else:
            for name, row in groups.items():
                self.caption(name)
                self.strip([row], decides=False)

    def band(self, kind: str, low: float, high: float) -> Iterator[str]:
        """A region behind the strips."""
        start, end = max(low, self.low), min(high, self.high)
        share = (end - start) / (self.high - self.low)
        if share <= 0:
            return
        confirms = kind == "confirms"
        color, dashes = (CONFIRM, "") if confirms else (REFUTE, ' stroke-dasharray="4 3"')
        fill = f'fill="{CONFIRM}" fill-opacity="0.11"' if confirms else f'fill="url(#hatch-{self.name})" fill-opacity="0.32"'
        for top, bottom in self.strips:
            yield (f'<rect class="{kind}" x="{self.at(start)}" width="{100 * share:.2f}%" y="{top:g}" height="{bottom - top:g}" '
                   f'data-from="{low:g}" data-to="{high:g}" {fill}/>')  # fmt: skip
            for border in (low, high):
                if self.low < border < self.high:
                    yield (f'<line x1="{self.at(border)}" x2="{self.at(border)}" y1="{top:g}" y2="{bottom:g}" stroke="{color}" '
                           f'stroke-width="1.5"{dashes}/>')  # fmt: skip

    def words(self) -> Iterator[str]:
        """The word of each region above it: that of the confirming one, and the others where there is room."""
        taken: list[float] = []
        for kind, low, high in regions(self.entry):
            start, end = max(low, self.low), min(high, self.high)
            middle = ((start + end) / 2 - self.low) / (self.high - self.low)
            middle = min(max(middle, ROOM / 2), 1 - ROOM / 2)
            if start < end and all(abs(middle - other) >= ROOM for other in taken):
                taken.append(middle)
                word = f"{'← ' if low < self.low else ''}{kind}{' →' if high > self.high else ''}"
                yield self.text(f"{100 * middle:.2f}%", 13, word, fill=CONFIRM if kind == "confirms" else REFUTE)

    def axis(self, y: float) -> Iterator[str]:
        """The line with round numbers."""
        line = f'stroke="{INK}" stroke-opacity="0.6"'
        yield f'<line x1="0%" x2="100%" y1="{y:g}" y2="{y:g}" {line}/>'
        margin = 0.04 * (self.high - self.low)  # a number at the very end would stand half outside
        tried = (ticks(self.low + margin, self.high - margin, most) for most in range(4 if self.small else 5, 20))
        for value in next(numbers for numbers in tried if len(numbers) > 1):
            yield f'<line x1="{self.at(value)}" x2="{self.at(value)}" y1="{y:g}" y2="{y + 5:g}" {line}/>'
            yield self.text(self.at(value), y + 18, f"{value:g}".replace("-", "−"), size=11.5, **{"class": "tick"})

    @property
    def told(self) -> str:
        """The drawing in words."""
        low, high = (signed(end) for end in self.stored["interval"])
        lies = {"confirmed": "lies in the region that confirms", "refuted": "lies in a region that refutes"}
        where = lies.get(self.entry["verdict"], "lies in no region as a whole")
        n = len(self.stored.get("groups", ()))
        worst = f" of the worst of {n} groups, {self.stored['worst']}," if n > 1 else ""
        return f"Ruler in {self.entry['unit']}: the 95 % interval{worst} from {low} to {high} {where}."

    def svg(self) -> str:
        """The drawing as an SVG element."""
        self.rows()
        hatching = (f'<defs><pattern id="hatch-{self.name}" width="7" height="7" patternUnits="userSpaceOnUse" '
                    f'patternTransform="rotate(45)"><rect width="2" height="7" fill="{REFUTE}"/></pattern></defs>')  # fmt: skip
        bands = (piece for region in reversed(list(regions(self.entry))) for piece in self.band(*region))
        inside = "".join([hatching, *bands, *self.words(), *self.axis(self.top), *self.parts])
        return (f'<svg class="claim-ruler" role="img" aria-label="{escape(self.told)}" width="100%" height="{self.top + 24:g}" '
                f'data-low="{self.low:.10g}" data-high="{self.high:.10g}">{inside}</svg>')  # fmt: skip
