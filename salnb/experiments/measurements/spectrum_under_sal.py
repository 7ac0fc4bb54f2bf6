"""What SAL, and then learning, do to the singular values of the weights of deep networks, and to their log-sensitivity."""

from zlib import crc32

import torch
from torch import Tensor, nn

from ...common.denormals import flushed_denormals
from ...networks.deep import DeepNet
from ...sal.optimizer import SAL
from ...sal.pretrain import sal_pretrain
from ...sensitivity.formulas import log_sensitivity, neuron_sensitivity
from ...weights.tracker import SpectralTracker
from ..tasks.handwritten_digits import digits

FILE = "spectrum_under_sal"
EVERY = 60  # learning steps between two looks
ARMS = {"SAL from 0.5": dict(gain=0.5, passes=300), "gain 1": dict(gain=1.0, passes=0)}
SIZES = dict(depth=30, width=64, replicas=8, steps=600, lr=1e-3, batch=32)
FALLEN = 0.1  # nats by which the log-sensitivity of a network has to fall while it learns to count among those that lost it
CLAIMS = {"weights-sal-rank": "the change by SAL", "weights-sensitivity-rank": "the change by learning"}


@torch.no_grad()
def mean_log_sensitivity(net: DeepNet, inputs: Tensor) -> Tensor:
    """Log RMS sensitivity (R,), over samples and neurons, the mean over all hidden layers but the first."""
    states: list[Tensor] = []
    net(inputs, states)
    found = [log_sensitivity(neuron_sensitivity(layer.weight, layer(before), "tanh"), dim=(-2, -1))
             for layer, before in zip(net.hidden[1:], states, strict=False)]  # fmt: skip
    return torch.stack(found).mean(0)


def spectra_under_sal(
    seed: int, *, gain: float, passes: int, depth: int, width: int, replicas: int, steps: int, lr: float, batch: int
) -> dict:
    """Deep tanh networks before SAL, after it, and while they learn the digits by Adam without it; lists (looks, ...).

    Args:
        gain, depth, width, replicas: of ``DeepNet``. passes: of SAL at its default settings, 0 for none.
        steps, lr, batch: of Adam.

    Returns:
        "at": "start", "SAL" and the learning steps; "log_sensitivity" (looks, R); "rank" (looks, R), the mean over all hidden
        layers but the first; "rank by layer" (2, layers, R), at the start of learning and at its end; "alignment" (looks, R), the
        mean over neighboring layers; "accuracy" (R,).
    """
    generator = torch.Generator().manual_seed(seed)
    draw = lambda n, split="train": digits(n, generator, split=split, replicas=(replicas,))  # noqa: E731
    net = DeepNet(64, width, 10, depth, gain=gain, replicas=replicas, generator=generator)
    names = [f"hidden.{i}.weight" for i in range(1, depth)]
    tracker, seen = SpectralTracker(net, names), draw(100)[0]
    found: dict = {"at": [], "log_sensitivity": []}

    def look(when: str | int) -> None:
        tracker.record(len(found["at"]))
        found["at"].append(when)
        found["log_sensitivity"].append(mean_log_sensitivity(net, seen).tolist())

    look("start")
    if passes:
        sal = SAL(net)
        sal_pretrain(net, lambda: draw(batch)[0], sal, steps=passes)
        sal.detach()
    look("SAL")
    optimizer = torch.optim.Adam(net.parameters(), lr=lr, fused=True)
    for step in range(1, steps + 1):
        inputs, targets = draw(batch)
        with flushed_denormals():
            optimizer.zero_grad()
            each = nn.functional.cross_entropy(net(inputs).flatten(0, 1), targets.flatten(), reduction="none")
            each.view(targets.shape).mean(-1).sum().backward()  # a sum over networks: each learns as if alone
            optimizer.step()
        if step % EVERY == 0 or step == steps:
            look(step)
    inputs, targets = draw(1000, "test")
    with torch.no_grad():
        right = (net(inputs).argmax(-1) == targets).float().mean(-1)
    ranks = torch.stack([tracker.effective_rank(name) for name in names], 1)  # (looks, layers, R)
    alignments = torch.stack([tracker.alignment(*pair) for pair in tracker.pairs]).mean(0)
    return {**found, "rank": ranks.mean(1).tolist(), "rank by layer": ranks[[1, -1]].tolist(),
            "alignment": alignments.tolist(), "accuracy": right.tolist()}  # fmt: skip


def spectra_jobs() -> list[tuple[str, dict]]:
    """(arm, arguments) of the stored runs."""
    return [(arm, {"seed": crc32(f"{FILE}: networks".encode()) % 1_000_000, **how, **SIZES}) for arm, how in ARMS.items()]


def spectra_groups(runs: dict) -> dict[str, tuple[list[dict], dict[str, list[float]]]]:
    """For both claims the runs behind them and their groups; none as long as a run is missing."""
    if not all(arm in runs for arm in ARMS):
        return {}
    change = lambda run, a, b, key="rank": [y - x for x, y in zip(run[key][a], run[key][b], strict=True)]  # noqa: E731
    by_sal = {arm: change(run, 0, 1) for arm, run in runs.items() if ARMS[arm]["passes"]}
    by_learning = {}
    for arm, run in runs.items():
        pairs = zip(change(run, 1, -1), change(run, 1, -1, "log_sensitivity"), strict=True)
        by_learning[arm] = [rank for rank, sensitivity in pairs if sensitivity <= -FALLEN]
    kept = {arm: values for arm, values in by_learning.items() if len(values) >= 6}
    made = list(runs.values())
    return {name: (made, groups) for name, groups in zip(CLAIMS, (by_sal, kept), strict=True) if groups}
