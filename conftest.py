"""What all tests share: the device as a parameter, one thread a worker, figures without a window."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator

import matplotlib
import pytest
import torch

# In the environment, because the kernels that nbval starts read it there.
os.environ["SALNB_STATIC"] = "1"
os.environ["SALNB_DRIVE_WIDGETS"] = "1"  # every slider of every chapter is moved to both of its ends
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers are the parallelism; threads inside each would only fight
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
# Not by MPLBACKEND: the kernels would inherit it, and draw nothing into their notebooks.
matplotlib.use("Agg")


PRETENDED = ["pretended"] if os.environ.get("SALNB_PRETENDED_DEVICE") else []


@pytest.fixture(params=["cpu", "cuda", *PRETENDED])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device there is, and on request one that there is not (tests/pretended_device.py)."""
    if request.param == "pretended":
        from tests.pretended_device import install

        return install()
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(request.param)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """A module that a test makes draws from the global generator: the same numbers every time, alone or among others.

    SALNB_TEST_SEED names other numbers, which the tests must hold for as well.
    """
    torch.manual_seed(int(os.environ.get("SALNB_TEST_SEED", "0")))


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """A figure that a test leaves open would be reported, as a warning, by some later and innocent one."""
    yield
    from matplotlib import pyplot

    pyplot.close("all")


# Reasons to skip that a reader of the result can do something about. The tests of the pages say them (tests/book/web/browser.py).
LACKING = {
    "no chromium": "chromium was not found: install it (Debian: `apt-get install chromium`) and run `make test` again",
    "no _build/html": "the pages were not built: run `make book`, then `make test` again",
}


def not_checked(skipped: Iterable[tuple[str, str]]) -> list[str]:
    """What was left out for want of chromium or of the built pages, from pairs of a test's file and the reason given.

    >>> not_checked([("tests/a.py", "Skipped: no chromium"), ("tests/b.py", "Skipped: no CUDA device")])[0]
    'Not checked: 1 tests in tests/a.py (1)'
    """
    lines = []
    for beginning, advice in LACKING.items():
        files = Counter(file for file, reason in skipped if beginning in reason)
        if files:
            places = ", ".join(f"{file} ({count})" for file, count in sorted(files.items()))
            lines += [f"Not checked: {files.total()} tests in {places}", f"because {advice}."]
    return lines


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The last lines of a run name what could not be checked."""
    skipped = [
        (report.nodeid.split("::")[0], report.longrepr[2])
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    ]
    if lines := not_checked(skipped):
        terminalreporter.section("left out")
        for line in lines:
            terminalreporter.line(line)
