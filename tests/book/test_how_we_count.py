"""How we count: the numbers of the page are those that the library's intervals give."""

from __future__ import annotations

import re

import pytest
from scipy import stats

from salnb.notebook import difference_interval, share_interval
from tools.tree import ROOT

PAGE = (ROOT / "book/appendix/how_we_count.md").read_text(encoding="utf-8")
ROW = re.compile(r"\| (\d+) \| (\d+) of \1 \| ([\d %/]+)")
SHARES = (0.5, 0.7, 0.8, 0.9)


@pytest.mark.parametrize(("n", "most", "found"), ROW.findall(PAGE))
def test_power(n: str, most: str, found: str) -> None:
    networks = int(n)
    told = [k for k in range(networks + 1) if difference_interval(networks, networks, k, networks)[0] > 0]
    assert max(told) == int(most)
    chances = [round(100 * stats.binom.cdf(max(told), networks, share)) for share in SHARES]
    assert chances == [int(percent) for percent in re.findall(r"\d+", found)]


def test_the_table_has_its_three_rows() -> None:
    assert [row[0] for row in ROW.findall(PAGE)] == ["8", "16", "32"]


def test_factors_and_shares() -> None:
    for units, factor in ((3, "4.30"), (10, "2.26"), (30, "2.05")):
        assert f"{stats.t.ppf(0.975, units - 1):.2f}" == factor and factor in PAGE
    assert f"{stats.norm.ppf(1 - 0.025 / 29):.1f} standard errors" in PAGE
    assert f"{share_interval(16, 16)[0]:.2f}, 1]" in PAGE
