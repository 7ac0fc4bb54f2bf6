"""Spectra under SAL on a small network, and the claims' figures on made-up runs."""

import math

import pytest
import torch

from salnb import SAL, DeepNet
from salnb.experiments.measurements.spectrum_under_sal import (
    ARMS,
    mean_log_sensitivity,
    spectra_groups,
    spectra_jobs,
    spectra_under_sal,
)
from tests.problems import random, seeded
from tests.tolerances import close


def test_the_log_sensitivity_is_that_of_sal():
    net, x = DeepNet(5, 8, 3, 4, gain=0.8, replicas=2, generator=seeded()), random(2, 30, 5).float()
    sal = SAL(net)
    net(x)
    torch.testing.assert_close(mean_log_sensitivity(net.eval(), x), sal.log_sensitivity().mean(0), **close(torch.float32, 200))


def test_a_small_run_records_start_sal_and_learning():
    found = spectra_under_sal(3, gain=0.5, passes=20, depth=4, width=8, replicas=2, steps=70, lr=1e-3, batch=8)
    assert found["at"] == ["start", "SAL", 60, 70]
    assert all(len(found[key]) == 4 and len(found[key][0]) == 2 for key in ("log_sensitivity", "rank", "alignment"))
    by_layer = torch.tensor(found["rank by layer"])
    assert by_layer.shape == (2, 3, 2)
    torch.testing.assert_close(by_layer.mean(1), torch.tensor([found["rank"][1], found["rank"][-1]]))
    start, after = found["log_sensitivity"][:2]
    assert all(a > s for a, s in zip(after, start, strict=True))  # SAL raises it
    plain = spectra_under_sal(3, gain=0.5, passes=0, depth=4, width=8, replicas=2, steps=1, lr=1e-3, batch=8)
    assert plain["rank"][0] == plain["rank"][1]


def run(by_sal: float, by_learning: float, sensitivity: list[float]) -> dict:
    n = len(sensitivity)
    return {"rank": [[0.8] * n, [0.8 + by_sal] * n, [0.8 + by_sal + by_learning] * n], "seconds": 1.0,
            "log_sensitivity": [[-0.7] * n, [0.0] * n, sensitivity]}  # fmt: skip


def test_networks_that_kept_their_sensitivity_do_not_count():
    runs = dict(zip(ARMS, (run(0.01, -0.2, [-0.3] * 7 + [-0.05]), run(0.0, -0.1, [-0.3] * 3 + [0.0] * 5)), strict=True))
    groups = {name: found for name, (_, found) in spectra_groups(runs).items()}
    assert groups["weights-sal-rank"] == {"SAL from 0.5": pytest.approx([0.01] * 8)}
    assert groups["weights-sensitivity-rank"] == {"SAL from 0.5": pytest.approx([-0.2] * 7)}  # three of the other are too few
    assert spectra_groups({"gain 1": runs["gain 1"]}) == {}
    assert all(math.isfinite(arguments["gain"]) for _, arguments in spectra_jobs())
