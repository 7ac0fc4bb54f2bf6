"""The page for practitioners: its code runs and does what it promises, and its counts are those of the stored runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from statistics import median

import numpy as np
import pytest
import torch

from salnb.experiments.results import count_held
from salnb.notebook import read_results
from tools.tree import ROOT

PAGE = (ROOT / "book/at_work/should_you_use_sal.md").read_text(encoding="utf-8")
TASKS = ("disc_and_ring", "parity", "two_moons")


def held(file: str, name: str) -> str:
    return "{} of {}".format(*count_held(read_results(file)[name], 0.95 if file == "depth" else 0.98))


def mean_of(name: str, what: str) -> float:
    found = read_results("own_model")[name][what]
    return sum(found) / len(found)


def over_tasks(end: str) -> str:
    counts = [count_held(read_results("depth")[f"{task}, {end}"], 0.95) for task in TASKS]
    assert {n for _, n in counts} == {16}
    return " / ".join(str(k) for k, _ in counts)


def row(start: str) -> str:
    """The line of the table that begins so."""
    (line,) = (line for line in PAGE.splitlines() if line.startswith(f"| **{start}"))
    return line


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The layers are small: on a busy machine several threads take fifty times as long as one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_code_brings_a_deep_network_to_sensitivity_one(one_thread: None) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict = {}
    exec(code, names)
    assert names["passes"] < 1000, "SAL did not come to rest"
    reached = names["sal"].log_sensitivity()
    assert reached.shape == (30,)
    # 5 % of the neurons may still be below target; above it they end by at most what the average lags, η / (1 - β) = 0.02
    assert (reached.abs() < 0.05).all()
    before = [layer.weight.clone() for layer in names["inner"][::2]]
    names["net"](torch.randn(4, 8)).sum().backward()
    assert all(torch.equal(old, layer.weight) for old, layer in zip(before, names["inner"][::2], strict=True))
    first, last = (names["inner"][i].weight.grad.norm() for i in (0, -2))
    assert 0.01 < first / last < 100  # at PyTorch's own start it would be some 3 ** -15


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ("tanh, 300 layers, you may", lambda: over_tasks("gain 1.1, rate 1e-05") + " of 16"),
        ("tanh, 300 layers, you may", lambda: over_tasks("SAL") + " at"),
        ("tanh, 300 layers, gain 1,", lambda: over_tasks("gain 1") + " of 16"),
        ("ReLU, 30", lambda: "PyTorch's start {:.2f} right, He's {:.2f} | {:.2f} from".format(
            *(mean_of(f"digits, relu, {arm}", "accuracy") for arm in ("default", "He", "SAL")))),
        ("LayerNorm and", lambda: "loss {:.2f} nats a character | {:.2f} throughout, {:.2f} before".format(
            *(mean_of(f"characters, {arm}", "loss") for arm in ("default", "SAL throughout, RMS", "SAL before")))),
        ("any depth", lambda: over_tasks("residual") + " of 16"),
        ("LayerNorm with", lambda: held("depth", "disc_and_ring, layer norm") + " | "),
        ("LayerNorm with", lambda: held("depth", "disc_and_ring, layer norm + SAL") + " | "),
        ("tanh RNN", lambda: "gain 1.1: " + held("lag", "xor, gain 1.1")),
        ("tanh RNN", lambda: "gain 1: " + held("lag", "xor, gain 1")),
        ("tanh RNN", lambda: "before learning " + held("lag", "xor, SAL before")),
        ("tanh RNN", lambda: "with a clause " + held("lag", "xor, SAL from 0.5")),
        ("tanh RNN", lambda: "16 of 16, again " + held("lag", "xor, SAL, rate 0.0003, again")),
        ("tanh RNN", lambda: "15 of 16, again " + held("lag", "xor, gain 1.1, rate 0.0003, again")),
        ("tanh, up to 100", lambda: held("depth", "disc_and_ring, gain 1, depth 10") + " at 10, with"),
        ("GRU, the lag", lambda: "lag: " + held("lag", "xor, gru")),
        ("GRU, the lag", lambda: held("lag", "xor, gru + SAL") + " | "),
        ("GRU, biases 0", lambda: held("lag", "xor, plain_gru") + " | " + held("lag", "xor, plain_gru + SAL")),
    ],
)
def test_a_count_is_that_of_the_stored_runs(start: str, told) -> None:
    assert told() in row(start)


def test_a_hundred_layers_need_no_sal() -> None:
    names = [f"disc_and_ring, {kind}, depth {depth}" for kind in ("gain 1", "SAL") for depth in (30, 100)]
    names.append("disc_and_ring, SAL, depth 10")
    assert {held("depth", name) for name in names} == {"16 of 16"}


def test_the_other_numbers() -> None:
    deep, lag = read_results("depth"), read_results("lag")
    for name, text in (("orthogonal", "start 0.91"), ("residual", "shortcuts 0.86"), ("SAL", "| 0.47")):
        assert f"{np.mean(deep[f'digits, {name}']['accuracy']):.2f}" == text[-4:]
        assert text in row("many classes")
    passes = deep["disc_and_ring, SAL"]["passes"], lag["xor, SAL before"]["passes"]
    assert "{} passes at 300 layers and {} over 300 steps".format(*passes) in PAGE
    assert f"| before learning only | {held('lag', 'xor, SAL before')} |" in PAGE
    assert f"at a constant rate | {held('lag', 'xor, SAL throughout')} |" in PAGE
    for start, name in (("falls to 0 with the optimizer's", "SAL throughout, falling"), ("again under the clause", "SAL")):
        first = "xor, SAL from 0.5" if name == "SAL" else f"xor, {name}"
        counts = held("lag", first), *(held("lag", f"xor, {name}, rate {rate}") for rate in ("0.0001", "0.001"))
        assert f"{start} | {{}} | {{}} and {{}} |".format(*counts) in PAGE


def test_the_costs_are_those_of_the_benchmarks() -> None:
    ratios = []
    for name in ("sal-deep", "sal-rnn"):
        lines = read_results("benchmarks")[name]["lines"]
        ours, peer = (next(line for line in lines if line["role"] == role) for role in ("ours", "peer"))
        turns = [a / b for a, b in zip(ours["seconds"], peer["seconds"], strict=True)]
        ratios.append(median(turns))
    assert "{:.2f} times as long with SAL at 300 layers and {:.2f} times in a".format(*ratios) in PAGE
