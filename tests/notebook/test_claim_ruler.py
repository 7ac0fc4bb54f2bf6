"""A ruler shows exactly what is stored: every place on it is checked against the numbers printed on its own axis."""

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import pytest

from salnb.notebook import claims
from salnb.notebook.claim_ruler import Ruler, regions, signed, span, ticks

STORED, LEDGER = claims.read_results("claims"), claims.ledger()
EDGE = {"id": "edge", "unit": "nats", "of": "networks", "verdict": "confirmed", "confirm": [-0.05, 0.05],
        "refute": [[-math.inf, -0.1], [0.1, math.inf]]}  # fmt: skip


def drawing(entry: dict, stored: dict, small: bool = False) -> ElementTree.Element:
    return ElementTree.fromstring(Ruler(entry, stored, small).svg())


def percent(element: ElementTree.Element, key: str) -> float:
    return float(element.get(key).removesuffix("%"))


def of_kind(element: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    return [found for found in element.iter() if found.get("class") == kind]


def axis(svg: ElementTree.Element) -> tuple[Callable[[float], float], float]:
    """The affine map that the two outer numbers of the axis define, and how far a place may miss it.

    Places are written with two decimals, so each is off by 0.005 at most. The line through two of them, D apart, is at a place x
    off by at most 0.005 (|x - x1| + |x - x2|) / D, which is at most 0.005 (200 / D) on the ruler; the place itself adds 0.005.
    """
    numbers = [(float(tick.text.replace("−", "-")), percent(tick, "x")) for tick in of_kind(svg, "tick")]
    (a, x), (b, y) = numbers[0], numbers[-1]
    slope = (y - x) / (b - a)
    return lambda value: x + slope * (value - a), 0.005 * (1 + 200 / (y - x))


@pytest.mark.parametrize("small", [False, True], ids=["card", "small"])
@pytest.mark.parametrize("name", STORED)
def test_every_interval_stands_where_the_axis_says(name: str, small: bool) -> None:
    stored, entry = STORED[name], LEDGER[name]
    svg = drawing(entry, stored, small)
    at, off = axis(svg)
    groups = stored.get("groups", {"": stored})
    drawn = {group.get("data-group"): group for group in svg.iter() if group.get("data-group") is not None}
    assert set(drawn) == ({stored.get("worst", "")} if small else set(groups))
    for group, element in drawn.items():
        (line,), (mean,) = of_kind(element, "interval"), of_kind(element, "mean")
        places = [percent(line, "x1"), percent(line, "x2"), percent(mean, "cx")]
        values = [*groups[group]["interval"], groups[group]["mean"]]
        assert places == pytest.approx([at(value) for value in values], rel=0, abs=off)
        assert 0 <= min(places) and max(places) <= 100


@pytest.mark.parametrize("name", STORED)
def test_every_single_value_has_its_dot(name: str) -> None:
    svg = drawing(LEDGER[name], STORED[name])
    at, off = axis(svg)
    values = STORED[name].get("values", {})
    drawn = {g.get("data-group"): [percent(dot, "cx") for dots in of_kind(g, "networks") for dot in dots]
             for g in svg.iter() if g.get("data-group") is not None}  # fmt: skip
    for group, found in drawn.items():  # dots have one decimal: 0.05 instead of 0.005
        assert found == pytest.approx([at(value) for value in values.get(group, ())], rel=0, abs=off + 0.045)
    assert sum(map(len, drawn.values())) == sum(map(len, values.values()))


@pytest.mark.parametrize("small", [False, True], ids=["card", "small"])
@pytest.mark.parametrize("name", STORED)
def test_regions_are_those_of_the_ledger(name: str, small: bool) -> None:
    entry = LEDGER[name]
    svg = drawing(entry, STORED[name], small)
    at, off = axis(svg)
    asked = [("confirms", *entry["confirm"]), *(("refutes", *bounds) for bounds in entry["refute"])]
    assert list(regions(entry)) == asked
    bands = [band for kind in ("confirms", "refutes") for band in of_kind(svg, kind)]
    told = {(band.get("class"), float(band.get("data-from")), float(band.get("data-to"))) for band in bands}
    assert told == set(asked)  # the ends of a region are round numbers, so that six digits hold them
    for band in bands:
        start, end = float(band.get("data-from")), float(band.get("data-to"))
        left, right = percent(band, "x"), percent(band, "x") + percent(band, "width")
        assert left == pytest.approx(0 if start == -math.inf else max(at(start), 0), rel=0, abs=off)
        assert right == pytest.approx(100 if end == math.inf else min(at(end), 100), rel=0, abs=off + 0.01)
        hatched = "url(#hatch-" in band.get("fill")
        assert hatched == (band.get("class") == "refutes")
    words = {text.text.strip("← →") for text in svg.iter("text")}
    assert "confirms" in words


@pytest.mark.parametrize("name", STORED)
def test_single_values_are_those_behind_the_means(name: str) -> None:
    stored = STORED[name]
    for group, values in stored.get("values", {}).items():
        figures = stored["groups"][group]
        assert len(values) == figures["seeds"]  # each value is rounded to four decimals, so their mean is off by as much at most
        assert sum(values) / len(values) == pytest.approx(figures["mean"], rel=0, abs=5.1e-5)


def test_a_region_without_an_end_goes_to_the_end_of_the_ruler() -> None:
    svg = drawing(EDGE, {"mean": 0.0, "interval": [-0.01, 0.01]})
    left, right = sorted(of_kind(svg, "refutes"), key=lambda band: percent(band, "x"))
    assert percent(left, "x") == 0 and percent(right, "x") + percent(right, "width") == pytest.approx(100, rel=0, abs=0.011)
    assert {"← refutes", "refutes →"} <= {text.text for text in svg.iter("text")}


def test_a_ruler_holds_intervals_values_and_borders_but_not_the_ends_of_the_unit() -> None:
    entry = {**EDGE, "unit": "share", "confirm": [0.5, 1.0], "refute": [[-1.0, 0.2]]}
    low, high = span(entry, {"mean": 0.6, "interval": [0.55, 0.65], "values": {"": [0.3, 0.8]}})
    assert -1 < low < 0.2 and 0.8 < high < 1.02
    low, high = span(EDGE, {"mean": 0, "interval": [-0.01, 0.01], "values": {"": [-0.4]}})
    assert low < -0.4 and high > 0.1


@pytest.mark.parametrize(("low", "high"), [(-0.13, 0.13), (0.9, 1.003), (-6.2, 2.1), (0, 1), (1e-4, 3e-4)])
@pytest.mark.parametrize("most", [3, 5, 8])
def test_ticks_are_round_and_few(low: float, high: float, most: int) -> None:
    found = ticks(low, high, most)
    assert len(found) <= most + 1 and all(low <= value <= high for value in found)
    steps = {round((b - a) / 10 ** math.floor(math.log10(b - a) + 1e-9), 6) for a, b in zip(found, found[1:], strict=False)}
    assert steps <= {1, 2, 5}


def test_the_drawing_says_what_it_shows() -> None:
    svg = drawing(LEDGER["moderate-transmission"], STORED["moderate-transmission"])
    low, high = (signed(end) for end in STORED["moderate-transmission"]["interval"])
    assert svg.get("role") == "img"
    told = rf"Ruler in nats per layer: .* of the worst of 18 groups, .*from \{low} to \{high} lies in a region that refutes\."
    assert re.fullmatch(told, svg.get("aria-label"))
