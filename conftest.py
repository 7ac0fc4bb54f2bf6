"""What all tests share: the device as a parameter, one thread a worker, figures without a window."""

import os
from collections.abc import Iterator

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
