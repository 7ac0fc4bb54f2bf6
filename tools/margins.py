"""How much of each tolerance was used: a pytest plugin that finds the tolerances which hold by luck.

SALNB_MARGINS=margins.jsonl .venv/bin/python -m pytest -p tools.margins tests

Every comparison by ``torch.testing.assert_close`` or ``pytest.approx`` writes one line to that file: where it stands, the test,
and the largest share of its tolerance that the error took. ``python -m tools.margins margins.jsonl`` prints those that come near
1, worst first. One test run only ever sees one rounding, so `make test-everywhere` collects over all its combinations.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEAR = 0.1  # an error of a tenth of its tolerance deserves a look: another processor or draw may well make it ten times larger


def used(actual, expected, rtol: float, atol: float) -> float:
    """The largest share of atol + rtol |expected| that |actual − expected| takes; 0 where exact equality is asked for.

    >>> used(1.05, 1.0, rtol=0.0, atol=0.1) > 0.49
    True
    """
    import torch

    a, b = (torch.as_tensor(x).detach().cpu().double() for x in (actual, expected))
    allowed = atol + rtol * b.abs()
    finite = torch.isfinite(a) & torch.isfinite(b) & (allowed > 0)
    share = ((a - b).abs() / allowed)[finite.expand_as(a - b)]
    return float(share.max()) if share.numel() else 0.0


def note(share: float) -> None:
    """Writes one line, with the place of the test's own line that compared."""
    frame = sys._getframe(1)
    while frame and not frame.f_code.co_filename.startswith(str(ROOT / "tests")):
        frame = frame.f_back
    if frame is None or not share:
        return
    place = f"{Path(frame.f_code.co_filename).relative_to(ROOT)}:{frame.f_lineno}"
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[2].removesuffix(" (call)")
    with open(os.environ["SALNB_MARGINS"], "a", encoding="utf-8") as file:
        file.write(json.dumps([place, test, share]) + "\n")


def pytest_configure(config) -> None:
    """Has both ways to compare write down what they saw."""
    if "SALNB_MARGINS" not in os.environ:
        return
    import pytest
    import torch

    scalar = type(pytest.approx(1.0))
    plain_close, plain_equal = torch.testing.assert_close, scalar.__eq__

    def assert_close(actual, expected, *args, rtol=None, atol=None, **keywords):
        try:
            one = torch.is_tensor(actual) or isinstance(actual, float)
            both = [(actual, expected)] if one else list(zip(actual, expected, strict=True))
            for a, b in both:
                wide = torch.as_tensor(a).dtype
                default = {torch.float64: (1e-7, 1e-7), torch.float32: (1.3e-6, 1e-5)}.get(wide, (0.0, 0.0))
                note(used(a, b, default[0] if rtol is None else rtol, default[1] if atol is None else atol))
        except (TypeError, ValueError, RuntimeError):
            pass  # what cannot be measured is judged by the comparison itself, below
        return plain_close(actual, expected, *args, rtol=rtol, atol=atol, **keywords)

    def equal(self, actual):
        try:
            note(abs(float(actual) - float(self.expected)) / self.tolerance)
        except (TypeError, ValueError, ZeroDivisionError):
            pass
        return plain_equal(self, actual)

    torch.testing.assert_close, scalar.__eq__ = assert_close, equal


def worst(lines: list[str]) -> dict[str, tuple[float, str]]:
    """Place -> largest share and the test that used it.

    >>> worst(['["a:1", "t", 0.2]', '["a:1", "u", 0.3]'])
    {'a:1': (0.3, 'u')}
    """
    found: dict[str, tuple[float, str]] = {}
    for place, test, share in map(json.loads, lines):
        found[place] = max(found.get(place, (0.0, "")), (share, test))
    return found


if __name__ == "__main__":
    everything = worst(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())
    for place, (share, test) in sorted(everything.items(), key=lambda item: -item[1][0]):
        if share > NEAR:
            print(f"{share:8.3f}  {place}  {test}")
