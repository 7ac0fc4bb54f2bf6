"""Three networks as *Inside a trained network* sorts them, trained by its own functions: a clock, a latch and a fading echo.

Which network is of which kind depends on the processor, so they are chosen anew wherever this runs. Their weights are rounded to
12 bits. The rounded weights then are the networks: what is said of them (kind by the rule of the book, exponent, answers) is
measured after the rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from salnb import TanhRNN, lyapunov_spectrum
from salnb.experiments import train_lag
from salnb.experiments.measurements import after_first_pulse, kept_bit, orbits
from salnb.experiments.measurements.working_memory import period_of, right_answers, rms
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
SEEDS = (LIVE["seed"], 1, 2, 3, 4, 5, 6)  # the stored run's, then others; latches that rest in both places are rare


def plane_of(run: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For states (R, M, N): their mean (R, 1, N), their two first principal axes (R, N, 2), and the share of these (R,)."""
    middle = run.mean(1, keepdim=True)
    _, size, axes = torch.linalg.svd(run - middle, full_matrices=False)
    share = size.square()
    return middle, axes[:, :2].mT, share[:, :2].sum(1) / share.sum(1)


def suitable(run: Tensor) -> dict[str, int]:
    """For each kind the place of the network that suits a picture best, as far as 600 steps tell; a kind may be missing.

    Clock: of those that take 8 to 20 steps a turn, which an eye can follow, the one whose motion lies most in a plane. Latch: of
    those at rest in two places, the one whose places lie farthest apart. Echo: the one whose signs near each other at a rate
    nearest 1/30 per step, which is to be seen for a while and is gone long before the last step.

    Args:
        run: states of R networks after the first pulse, (T, R, 2, N).
    """
    early = len(run) // 6
    *_, flat = plane_of(run[early:].permute(1, 0, 2, 3).flatten(1, 2))
    period, still = period_of(run[early:, :, 0]), (run[-1] - run[-2]).abs().amax((1, 2)) < 1e-3
    apart, before = (rms(run[t, :, 0] - run[t, :, 1]) for t in (-1, early))
    rate = (before / apart).log() / (len(run) - 1 - early)
    fits = {"clock": ~still & (apart > 0.1) & (period > 8) & (period < 20), "latch": still & (apart > 0.1),
            "fading echo": still & (apart < 0.01)}  # fmt: skip
    score = {"clock": flat, "latch": apart, "fading echo": -(rate - 1 / 30).abs()}
    return {kind: int(torch.where(good, score[kind], -torch.inf).argmax()) for kind, good in fits.items() if bool(good.any())}


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
    """What the script needs: settings, provenance, and the networks; of each kind the first that suits, in the order of seeds."""
    torch.set_num_threads(1)
    folder, lag = RESULTS / ".partial", LIVE["lag"]  # where an interrupted training goes on
    chosen: dict[str, tuple[int, int, dict]] = {}
    for seed in SEEDS:
        arguments = {**LIVE, "seed": seed}
        run_one(train_lag, arguments, folder)
        net = load_trained(folder / f"{name_of(arguments)}.pt")
        with torch.no_grad():
            best = suitable(orbits(net, after_first_pulse(net), SHOWN))
        for kind, place in best.items():
            chosen.setdefault(kind, (seed, place, rounded(net, place)))
        if len(chosen) == len(KINDS):
            break
    else:
        raise ValueError(f"seeds: found only {', '.join(chosen)} among {len(SEEDS)} times {LIVE['replicas']} networks")
    origins = [{"seed": chosen[kind][0], "place": chosen[kind][1]} for kind in KINDS]
    parts = [chosen[kind][2] for kind in KINDS]
    return {"lag": lag, "source": {**provenance(), "arguments": LIVE}, "networks": described(parts, origins, lag)}


@torch.no_grad()
def described(parts: Sequence[dict], origins: Sequence[dict], lag: int) -> list[dict]:
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
    for i, (kind, origin) in enumerate(zip(KINDS, origins, strict=True)):
        networks.append({
            "kind": kind, **origin, "exponents": [float(f"{value:.6f}") for value in values[i]],
            "errors": [float(f"{error:.1e}") for error in errors[i]],
            "period": round(kept.period[i].item(), 2) if kind == "clock" else None, **parts[i],
            "middle": packed(middle[i]), "axes": packed(axes[i].mT),
        })  # fmt: skip
    return networks
