"""How many digits of its exponents a run keeps: seen by doing it again with its tangents rounded otherwise.

Two runs along the same trajectory differ by rounding alone, and what rounding does hangs on the trajectory: a direction that has
shrunk by so many decades beside the fastest one, since the last time the growth was taken out, has lost as many digits. Another
processor follows another chaotic trajectory, so no number that was green here need be green there. ``kept`` measures it anew.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from salnb import LyapunovSpectrum, lyapunov_spectrum
from salnb.lyapunov.tangents import automatic_tangent_step
from tests.problems import gaussian, random, seeded, tanh_step
from tests.tolerances import rounding

# An error of rounding is a draw, and so are the three that are measured. Over 120 chaotic networks of 20 units (g = 2.5), three
# methods and intervals of 1, 2 and "auto", the distance of two runs was at most 2.2 times the largest of the three on both sides.
FACTOR = 10


def otherwise_rounded(step: Callable, seed: int) -> Callable:
    """The same step, the same states; every tangent is off by an eps of its length, as by the rounding of another processor."""
    jvp, noise = getattr(step, "jvp", None) or automatic_tangent_step(step), seeded(1000 + seed)

    def moved_otherwise(state: Tensor, tangents: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        following, moved = jvp(state, tangents, *inputs)
        draw = torch.randn(moved.shape, generator=noise, dtype=moved.dtype).to(moved.device)
        size = torch.linalg.vector_norm(moved, dim=-2, keepdim=True)
        return following, moved + torch.finfo(moved.dtype).eps * size * draw

    def same(state: Tensor, *inputs: Tensor) -> Tensor:
        return step(state, *inputs)

    same.jvp = moved_otherwise
    return same


class Kept(NamedTuple):
    """How far another rounding may move each of these, in the worst of all directions and systems."""

    exponents: float
    stderr: float
    sum: float


def kept(step: Callable, state: Tensor, *, times: int = 3, **given) -> Kept:
    """What rounding may do to a run with these settings: FACTOR times what it was seen to do.

    >>> step, state = tanh_step(gaussian(6, 1.5)), random(6)
    >>> 0 < kept(step, state, n_steps=50).exponents < kept(step, state, n_steps=50, qr_every=3).exponents < 1e-3
    True
    """
    runs = [lyapunov_spectrum(otherwise_rounded(step, seed), state, **given) for seed in range(times + 1)]
    return Kept(*(_moved([read(run) for run in runs]) for read in (_exponents, _stderr, LyapunovSpectrum.sum)))


def _exponents(spectrum: LyapunovSpectrum) -> Tensor:
    return spectrum.exponents


def _stderr(spectrum: LyapunovSpectrum) -> Tensor:
    return spectrum.stderr


def _moved(values: list[Tensor]) -> float:
    first, *others = values
    alive = torch.isfinite(first)
    if not alive.any():
        return 0.0
    seen = max(float((other - first)[alive].abs().max()) for other in others)
    # These are means of logs: they are not known better than their own rounding.
    return FACTOR * seen + rounding(torch.float64, 8, 1 + float(first[alive].abs().max()))


def chaotic(n: int, gain: float, *, count: int, gaps: int, n_steps: int = 600, n_warmup: int = 200) -> Tensor:
    """Weights (count, N, N) of random networks, drawn until the first exponent is positive and the first ``gaps`` gaps are wide.

    A gap is what aligns a frame: after T steps a wrong start still shows by exp(−gap · T). With 0.1 that is below the digits of
    float64 after 400 steps, whatever happens to be drawn.
    """
    found: list[Tensor] = []
    for seed in itertools.count():
        weights = gaussian(n, gain, replicas=(32,), seed=seed)
        exponents = lyapunov_spectrum(tanh_step(weights), random(32, n), n_steps=n_steps, n_warmup=n_warmup).exponents
        wide = (exponents[:, :gaps] - exponents[:, 1 : gaps + 1] > 0.1).all(-1) & (exponents[:, 0] > 0.05)
        found += list(weights[wide])
        if len(found) >= count:
            return torch.stack(found[:count])
    raise AssertionError("an endless loop has ended")
