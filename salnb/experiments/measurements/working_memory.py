"""How a trained recurrent network keeps one bit, the sign of a first pulse: as a clock, as a latch, or as a fading echo.

The network gets the pulse, once with either sign, and is then left in silence. What becomes of the two states in the long run
sorts it, by ``kind_of``. Three exponents stand side by side, because they answer different questions: the *asymptotic* one,
after a long warm-up, what the silence does to a small difference in the end; the *finite-time* one, from the singular values of
the product of Jacobians, how much the direction grows that grows most from the first pulse to the answer; and the growth of *one
random tangent* over the same steps, which is what the stored training runs call ``exponent``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...lyapunov.exponents import lyapunov_spectrum
from ...lyapunov.finite_time import finite_time_exponents
from ...networks.recurrent import TanhRNN
from ...networks.steps import rnn_step

NEUTRAL = 1e-3  # nats per step: a largest exponent nearer to 0 counts as 0
GONE = 1e-6  # RMS distance per neuron: two signs nearer to each other have become one state
# On one orbit the second sign's points lie near those of the first: at most ALIKE times as far from them as the first sign's own
# later points, or nearer than the share CLOSE of the size of the motion.
ALIKE, CLOSE = 3.0, 0.02
ASKED = 200  # points that are looked up in the orbit
KINDS = ("clock", "locked clock", "latch", "fading echo", "chaos")


def kind_of(exponent: float, apart: float, across: float, within: float, moves: float) -> str:
    """Clock, latch, fading echo or chaos, from the long run of one network after either sign of the first pulse.

    The rule was committed before any network at lag 300 was measured; the exponents and the ends of five networks at lag 50 were
    known. In this order:

    1. *fading echo*: both signs end in the same state (``apart`` below ``GONE``). The bit can be read only while it lasts.
    2. *latch*: the signs end on two different orbits (``across`` above ``ALIKE`` · ``within``, ``CLOSE`` · ``moves`` and
       ``GONE``). The bit is kept by the place of the state, which may be at rest or in motion there.
    3. *chaos*: one orbit, and an exponent above ``NEUTRAL``. Small differences grow, so a phase is not kept.
    4. *clock*: one orbit, and an exponent within ``NEUTRAL`` of 0. The motion is quasi-periodic and the bit is its phase.
    5. *locked clock*: one orbit, and a negative exponent. The motion is periodic, in whole steps, and pulls its phase back.

    Args:
        exponent: the largest asymptotic one, nats per step. apart: largest RMS distance per neuron between the two signs at equal
            times. across: median distance of the second sign's points from the nearest of the first one's orbit; within: that of
            the first sign's own later points. moves: RMS distance per neuron of the orbit's points from their mean.

    Example:
        >>> kind_of(0.0, 0.5, 1e-3, 1e-3, 0.4), kind_of(-0.1, 0.5, 0.5, 0.0, 0.0), kind_of(-0.1, 1e-9, 0.0, 0.0, 0.0)
        ('clock', 'latch', 'fading echo')
    """
    if apart < GONE:
        return "fading echo"
    if across > max(ALIKE * within, CLOSE * moves, GONE):
        return "latch"
    if exponent > NEUTRAL:
        return "chaos"
    return "clock" if exponent > -NEUTRAL else "locked clock"


@dataclass(frozen=True)
class KeptBit:
    """What becomes of the first pulse in R trained networks.

    Attributes:
        kind: R words of ``KINDS``.
        exponents: (R, 2), largest asymptotic exponent after either sign (+1, −1), nats per step.
        finite_time: (R,), largest finite-time exponent over the task's own lag + 1 steps, mean over its four sequences.
        random_tangent: (R,), growth of one random tangent over the same steps, in the same mean.
        times: (C,), steps after the first pulse. distance: (C, R), RMS distance per neuron between the two signs at that time.
        apart, across, within, moves: (R,), as in ``kind_of``.
        period: (R,), steps per turn of the strongest component of the orbit in the long run; infinity at rest.
        waits: (W,), times of the second pulse. right: (W, R), how many of the four sequences are then answered rightly.
    """

    kind: list[str]
    exponents: Tensor
    finite_time: Tensor
    random_tangent: Tensor
    times: Tensor
    distance: Tensor
    apart: Tensor
    across: Tensor
    within: Tensor
    moves: Tensor
    period: Tensor
    waits: Tensor
    right: Tensor


def four_sequences(lag: int, net: TanhRNN) -> tuple[Tensor, Tensor]:
    """The four sequences of two pulses (lag + 1, R, 4, 1) that there are, and their exclusive or (4,)."""
    pulses = net.readout.weight.new_tensor([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])
    inputs = pulses.new_zeros(lag + 1, *net.replicas, 4, 1)
    inputs[0, ..., 0], inputs[-1, ..., 0] = pulses
    return inputs, (pulses[0] != pulses[1]).long()


def orbits(net: TanhRNN, state: Tensor, n_steps: int) -> Tensor:
    """The states (n_steps, ...) that follow this one in silence."""
    step, found = rnn_step(net).frozen(), []
    for _ in range(n_steps):
        state = step(state)
        found.append(state)
    return torch.stack(found)


def after_first_pulse(net: TanhRNN) -> Tensor:
    """The states (R, 2, N) right after a first pulse of +1 and of −1."""
    rest = net.readout.weight.new_zeros(*net.replicas, 2, net.n_hidden[-1])
    return rnn_step(net)(rest, rest.new_tensor([1.0, -1.0]).view(-1, 1).expand(*rest.shape[:-1], 1))


def distance_to(orbit: Tensor, points: Tensor) -> Tensor:
    """Median RMS distance per neuron (R,) of points (M, R, N) to the nearest of an orbit (T, R, N)."""
    nearest = torch.cdist(points.transpose(0, 1), orbit.transpose(0, 1)).amin(-1)
    return nearest.median(-1).values / orbit.shape[-1] ** 0.5


def period_of(orbit: Tensor) -> Tensor:
    """Steps per turn (R,) of the strongest frequency in orbits (T, R, N), all neurons together; infinity at rest."""
    moving = orbit - orbit.mean(0)
    window = torch.hann_window(len(orbit), dtype=orbit.dtype).view(-1, 1, 1)
    power = torch.fft.rfft(moving * window, dim=0).abs().square().sum(-1)  # (frequencies, R)
    period = len(orbit) / power[1:].argmax(0).add(1).double()
    return torch.where(moving.abs().amax((0, 2)) > GONE, period, torch.inf)


@torch.no_grad()
def kept_bit(
    net: TanhRNN, *, lag: int, n_warmup: int = 20_000, n_steps: int = 10_000, around: int = 8, looks: int = 48
) -> KeptBit:  # fmt: skip
    r"""Sorts R networks that were trained on the exclusive or of two pulses by how they keep the first one.

    Args:
        net: flat, one replica dimension, one input channel, two outputs, float64.
        lag: steps from the first pulse to the second in training. n_warmup: steps of silence that count as the approach to the
            long run; n_steps: steps of the long run, at least twice ``ASKED``; its first half is the orbit.
        around: the second pulse is also given up to so many steps earlier and later, and at twice the lag.
        looks: times, evenly spread on a logarithmic axis, at which the distance between the signs is noted.

    Returns:
        ``KeptBit``.

    Raises:
        ValueError: another kind of network, or not in double precision; too few steps.

    Source: the words are this project's. Bistable attractors as memory: Hopfield 1982; memory in quasi-periodic motion: Park,
    Ságodi and Sokół 2023 (arXiv 2308.12585); networks that forget in time: Ghazizadeh and Ching 2021 (PLOS Comp. Biol. 17).

    Example:
        >>> net = TanhRNN(1, 8, 2, gain=0.5, replicas=(3,), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> kept_bit(net, lag=10, n_warmup=200, n_steps=400).kind
        ['fading echo', 'fading echo', 'fading echo']
    """
    if len(net.replicas) != 1 or net.n_in != 1 or net.readout.weight.dtype != torch.float64:
        raise ValueError("net: expected a flat TanhRNN with one replica dimension and one input channel, in float64")
    if n_warmup < 1 or n_steps < 2 * ASKED:
        raise ValueError(f"n_warmup, n_steps: got {n_warmup}, {n_steps}, expected at least 1 and {2 * ASKED}")
    approach = orbits(net, after_first_pulse(net), n_warmup)  # (T, R, 2, N)
    late = orbits(net, approach[-1], n_steps)
    long_run = lyapunov_spectrum(rnn_step(net), approach[-1], n_steps=n_steps, n_warmup=1000, k=1, history=False)
    exponents, measures = long_run.exponents[..., 0], compared(late[..., 0, :], late[..., 1, :])
    columns = zip(exponents.amax(1).tolist(), *(values.tolist() for values in measures.values()), strict=True)
    times = torch.logspace(0, torch.tensor(n_warmup).log10(), looks).round().long().unique()
    looked = approach[times - 1]
    inputs, _ = four_sequences(lag, net)
    rest = inputs.new_zeros(*net.replicas, 4, net.n_hidden[-1])
    along = dict(step=rnn_step(net), state=rest, n_steps=lag + 1, k=1, inputs=inputs)
    waits = torch.tensor(sorted({*range(max(1, lag - around), lag + around + 1), 2 * lag}))
    return KeptBit(
        kind=[kind_of(*column) for column in columns], exponents=exponents,
        finite_time=finite_time_exponents(**along)[..., 0].mean(-1),
        random_tangent=lyapunov_spectrum(**along, n_warmup=0, history=False).exponents[..., 0].mean(-1),
        times=times, distance=rms(looked[..., 0, :] - looked[..., 1, :]), **measures, period=period_of(late[..., 0, :]),
        waits=waits, right=torch.stack([right_answers(net, int(wait)) for wait in waits]))  # fmt: skip


def compared(plus: Tensor, minus: Tensor) -> dict[str, Tensor]:
    """How two long runs (T, R, N) lie to each other: the four distances (R,) that ``kind_of`` goes by."""
    half = len(plus) // 2
    asked = torch.linspace(half, len(plus) - 1, ASKED).long()
    return dict(
        apart=rms(plus - minus).amax(0), across=distance_to(plus[:half], minus[asked]),
        within=distance_to(plus[:half], plus[asked]), moves=rms(plus - plus.mean(0)).square().mean(0).sqrt())  # fmt: skip


@torch.no_grad()
def portrait(net: TanhRNN, *, lag: int, n_warmup: int = 20_000, shown: int = 20, dots: int = 60) -> tuple[Tensor, Tensor]:
    """Two trajectories in a plane, for a figure: the last steps before the second pulse, and the long run.

    The plane is that of the two largest principal components of the last ``shown`` steps before the second pulse.

    Returns:
        path (R, 2, shown + 1, 2) and dots (R, 2, dots, 2): replica, sign of the first pulse, time, and place in the plane.
    """
    run = orbits(net, after_first_pulse(net), max(n_warmup, lag) + dots)  # entry t - 1 is time t
    path, late = (part.movedim(0, 2) for part in (run[lag - shown - 2 : lag - 1], run[-dots:]))  # (R, 2, time, N)
    both = path.flatten(1, 2)
    middle = both.mean(1, keepdim=True)
    plane = torch.linalg.svd(both - middle, full_matrices=False).Vh[:, :2].mT.unsqueeze(1)  # (R, 1, N, 2)
    return (path - middle.unsqueeze(1)) @ plane, (late - middle.unsqueeze(1)) @ plane


def rms(difference: Tensor) -> Tensor:
    """Root mean square over the neurons, the last dimension."""
    return difference.square().mean(-1).sqrt()


def right_answers(net: TanhRNN, wait: int) -> Tensor:
    """How many (R,) of the four sequences are answered rightly when the second pulse comes after so many steps."""
    inputs, wanted = four_sequences(wait, net)
    return (net(inputs)[0][-1].argmax(-1) == wanted).sum(-1)
