"""Three of the 64 networks that *Inside a trained network* sorts, trained once more: a clock, a latch and a fading echo.

Which network is of which kind depends on the processor, so they are sorted here by the book's own rule, and chosen by a rule of
their own. Their weights are rounded to 12 bits. The rounded weights then are the networks: everything that is said of them, kind,
exponent and answers, is measured after the rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from salnb import TanhRNN, lyapunov_spectrum
from salnb.experiments import train_lag
from salnb.experiments.measurements import after_first_pulse, kept_bit, orbits
from salnb.experiments.measurements.working_memory import GONE, KeptBit, period_of, right_answers
from salnb.experiments.results.plan import LIVE
from salnb.experiments.results.store import FOLDER as RESULTS
from salnb.experiments.results.store import provenance
from salnb.experiments.results.trained_memory import load_trained
from salnb.experiments.training.sweeps import name_of, run_one
from salnb.networks import rnn_step
from tools.playground_data.numerals import packed, unpacked

NAME, COMMENT = "clock_latch_echo", "Three trained networks of 64 tanh neurons, weights rounded to 12 bits."
SHOWN = 600  # steps, as many as the figure can show
PARTS = {"recurrent": "recurrent.0.weight", "bias": "recurrent.0.bias", "input": "input.weight", "readout": "readout.weight",
         "readoutBias": "readout.bias"}  # fmt: skip
KINDS = ("clock", "latch", "fading echo")


def plane_of(run: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For states (R, M, N): their mean (R, 1, N), their two first principal axes (R, N, 2), and the share of these (R,)."""
    middle = run.mean(1, keepdim=True)
    _, size, axes = torch.linalg.svd(run - middle, full_matrices=False)
    share = size.square()
    return middle, axes[:, :2].mT, share[:, :2].sum(1) / share.sum(1)


def chosen(found: KeptBit, run: Tensor) -> list[int]:
    """The places of a clock, a latch and an echo among the networks, for a picture in a plane.

    Clock: of those that take 8 to 20 steps a turn, which an eye can follow, the one whose motion lies most in a plane. Latch: of
    those at rest in both places, the one whose places lie farthest apart. Echo: the one with the exponent nearest -1/30, which
    is to be seen for a while and is gone long before the last step.

    Args:
        found: of R networks. run: their states (T, R, 2, N) after the first pulse.
    """
    *_, flat = plane_of(run[len(run) // 6 :].permute(1, 0, 2, 3).flatten(1, 2))
    period, moves, largest = period_of(run[len(run) // 6 :, :, 0]), found.moves, found.exponents.amax(1)
    rest = (moves < GONE) & ((run[-1] - run[-2]).abs().amax((1, 2)) < GONE)
    fits = {"clock": (period > 8) & (period < 20), "latch": rest, "fading echo": moves < GONE}
    score = {"clock": flat, "latch": found.apart, "fading echo": -(largest + 1 / 30).abs()}
    places = []
    for kind in KINDS:
        good = torch.tensor([k == kind for k in found.kind]) & fits[kind]
        if not bool(good.any()):
            raise ValueError(f"networks: found no {kind} that suits the picture; train others, with another seed")
        places.append(int(torch.where(good, score[kind], -torch.inf).argmax()))
    return places


def rounded(net: TanhRNN, place: int) -> dict[str, dict]:
    """One network's weights, each tensor in 12 bits a number."""
    weights = net.state_dict()
    return {part: packed(weights[name][place]) for part, name in PARTS.items()}


def network_of(stored: Sequence[Mapping[str, Any]]) -> TanhRNN:
    """Stored networks as one network of the library, in double precision, a replica for each."""
    size = len(unpacked(stored[0]["bias"]))
    net = TanhRNN(1, size, 2, gain=1.0, replicas=(len(stored),), dtype=torch.float64)
    shapes = net.state_dict()
    net.load_state_dict({name: torch.stack([unpacked(one[part]) for one in stored]).view_as(shapes[name])
                         for part, name in PARTS.items()})  # fmt: skip
    return net.requires_grad_(False)


def export() -> dict[str, Any]:
    """What the script needs: settings, provenance, and the networks."""
    torch.set_num_threads(1)
    folder = RESULTS / ".partial"  # where an interrupted training goes on
    run_one(train_lag, LIVE, folder)
    net, lag = load_trained(folder / f"{name_of(LIVE)}.pt"), LIVE["lag"]
    with torch.no_grad():
        places = chosen(kept_bit(net, lag=lag, n_warmup=5000, n_steps=2000), orbits(net, after_first_pulse(net), SHOWN))
    parts = [rounded(net, place) for place in places]
    return {"lag": lag, "source": {**provenance(), "arguments": LIVE}, "networks": described(parts, places, lag)}


@torch.no_grad()
def described(parts: Sequence[dict], places: Sequence[int], lag: int) -> list[dict]:
    """The rounded networks with what is measured of them: kind, exponents after either sign, turn, and the plane to draw."""
    few = network_of(parts)
    kept = kept_bit(few, lag=lag)
    if (kinds := tuple(kept.kind)) != KINDS or not bool((right_answers(few, lag) == 4).all()):
        raise ValueError(f"rounding: {KINDS} became {kinds}, right answers {right_answers(few, lag).tolist()} of 4")
    silence = orbits(few, after_first_pulse(few), 20_000)[-1]
    long_run = lyapunov_spectrum(rnn_step(few), silence, n_steps=10_000, n_warmup=1000, k=1)
    values, errors = long_run.exponents[..., 0], long_run.stderr[..., 0]
    middle, axes, _ = plane_of(orbits(few, after_first_pulse(few), SHOWN).permute(1, 0, 2, 3).flatten(1, 2))
    networks = []
    for i, (kind, place) in enumerate(zip(KINDS, places, strict=True)):
        networks.append({
            "kind": kind, "network": place, "exponents": [float(f"{value:.6f}") for value in values[i]],
            "errors": [float(f"{error:.1e}") for error in errors[i]],
            "period": round(kept.period[i].item(), 2) if kind == "clock" else None, **parts[i],
            "middle": packed(middle[i]), "axes": packed(axes[i].mT),
        })  # fmt: skip
    return networks
