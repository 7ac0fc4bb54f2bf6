"""The loop behind the exponents (Benettin et al.): move state and tangents, and from time to time orthonormalize the tangents and
record how much they have grown."""

import math
import warnings
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .differences import Draws
from .orthogonalization import NOISE, TOLERANCE, disagreement, householder, lost, reduction, rounding_damage, stretch

SEGMENT = 128  # most steps between two checks of how far the tangents have spread; a check waits for the device
LONGEST = 64  # most steps between two reductions, however slowly the tangents spread


@dataclass
class Evolution:
    """A trajectory with its tangents, and what is needed to move both on.

    ``advance(state, tangents, *input)`` returns both after one step. ``method`` names the reduction, which takes the growth out
    of the tangents; ``interval`` is the number of steps between two reductions, None for as many as the digits of the slowest
    direction allow. ``grown`` (..., k) is the accumulated log growth.
    ``observe(state, *input)``, if given, is summed over the steps in ``observed``. ``many(state, tangents, n_steps)``, if given,
    does several steps of an undriven system at once, in new memory. With ``probe`` no direction is taken for dead that has not
    shrunk to exact zeros; instead, a step is done twice now and then, with tangents of another size and so of another rounding:
    ``noise()`` says which directions it loses.
    """

    advance: Callable
    state: Tensor
    frame: Tensor
    method: str
    interval: int | None
    check: Callable[[Tensor, Tensor], None]
    observe: Callable | None = None
    many: Callable | None = None
    probe: bool = False
    observed: Tensor | float = 0.0
    adaptive: bool = field(init=False)

    def __post_init__(self) -> None:
        k, numbers = self.frame.shape[-1], torch.finfo(self.frame.dtype)
        self.adaptive, self.interval = self.interval is None, self.interval or 1
        self.reduce, self.warned, self.longest = reduction(self.method, k), False, LONGEST
        self.eps, self.power = math.log(numbers.eps), 2 if self.method == "cholesky" else 1
        self.tolerance = math.log(TOLERANCE[self.method].get(self.frame.dtype, 1e-3))
        if k == 1:  # nothing but the range of the numbers is at stake, and of their squares
            self.tolerance = -0.4 * math.log(numbers.tiny)
        self._trying = self.adaptive and k == 1
        self._doubts, self._looks, self._moves, self._probes = 0, 0, 0, []
        self._escaped = torch.zeros(self.frame.shape[:-2], dtype=torch.bool, device=self.frame.device)
        self.grown = self._rest = self.frame.new_zeros((*self.frame.shape[:-2], k), dtype=torch.float64)

    def run(self, drive: list[tuple], ends: list[int] | None = None) -> tuple[Tensor, list[int]]:
        """Moves on by one step per entry of ``drive``.

        Returns the log growth at every reduction (n, ..., k) and the number of steps that each spans. There is a reduction after
        each number of steps in ``ends``, by default after the last step.
        """
        rows, spans, done, ends = [], [], 0, ends or [len(drive)]
        while done < len(drive):
            # whole intervals, so that looking does not add reductions; what a single tangent does is known after one
            stop = done + self.interval * (1 if self._trying else max(1, min(16, SEGMENT // self.interval)))
            stop = stop if stop + self.interval <= len(drive) else len(drive)
            draws = Draws(self.state.device) if self.adaptive else None
            state, frame = self.state, self.frame.clone()  # a reduction may overwrite the frame it gave before
            logs, lengths, observed = self._segment(drive, done, stop, ends)
            escaped = self._escaped | ~torch.isfinite(self.state).all(-1)
            damage, slope = self._damage(logs, max(lengths), escaped)
            if self.adaptive and damage > self.tolerance and self.interval > 1:
                self.state, self.frame = state, frame  # repeat this stretch with a shorter interval, and with the same noise
                draws.rewind()
                if damage == math.inf:  # out of the range of numbers, or a direction died: single steps will tell
                    self.interval //= 2
                else:  # the interval itself is too long for this system, from now on as well
                    self.interval = self.longest = self.interval - 1
                continue
            if not self.adaptive and self.interval > 1 and -2.0 < damage < math.inf and logs.shape[-1] > 1:
                self._warn()
            logs[-1].masked_fill_(escaped.unsqueeze(-1), torch.nan)
            # What has left the finite numbers once has no exponents, and no say in how often the others are looked after.
            self._escaped = escaped | ~(torch.isfinite(logs) | (logs == -torch.inf)).all(0).all(-1)
            self.grown, self.observed = self.grown + logs.sum(0), self.observed + observed
            rows.append(logs)
            spans += lengths
            done = stop
            if self.adaptive:
                # The damage belongs to the longest stretch without a reduction, at the end of a block shorter than an interval.
                possible = max(lengths) + int(max(self.tolerance - damage, 0.0) / max(slope, 1e-9))
                before, self.interval = self.interval, min(max(possible, self.interval), 2 * self.interval, self.longest)
                self._trying = self._trying and self.interval > before
        return torch.cat(rows), spans

    def settle(self, rows: Tensor) -> Tensor:
        """Adds to the last row what makes the growth up to here that of a QR decomposition of the whole product."""
        if self.method != "elimination":
            return rows
        rest = stretch(self.frame)
        change, self._rest = rest - self._rest, rest
        self.grown = self.grown + change
        return torch.cat([rows[:-1], rows[-1:] + change.nan_to_num(0.0)])  # −∞ − (−∞): dead directions stay what they are

    def orthonormal_frame(self) -> Tensor:
        """The frame as a QR decomposition of the whole product would have left it."""
        return householder(self.frame)[0] if self.method == "elimination" else self.frame

    def _segment(self, drive: list[tuple], done: int, stop: int, ends: list[int]) -> tuple[Tensor, list[int], Tensor | float]:
        diagonals, lengths, doubtful, observed = [], [], [], 0.0
        while done < stop:
            chunk = drive[done : min(done + self.interval, ends[bisect_right(ends, done)], stop)]
            done += len(chunk)
            self._try_again(chunk)
            observed = observed + self._move(chunk)
            tangents = self.frame
            self.frame, diagonal = self.reduce(tangents)
            if len(chunk) == 1 and diagonal.shape[-1] > 1 and not self.probe:  # over several steps noise and spread look alike
                doubtful.append(lost(tangents, diagonal))
            diagonals.append(diagonal)
            lengths.append(len(chunk))
        logs = torch.stack(diagonals).double().log()
        if doubtful:
            # A live direction may shrink to nothing in one step. A dead one does so in most steps, of this stretch or of the run.
            count = torch.stack(doubtful).sum(0)
            self._doubts, self._looks = self._doubts + count, self._looks + len(doubtful)
            here = count >= 0.75 * len(doubtful) if len(doubtful) > 3 else False
            logs = logs.masked_fill(here | (self._doubts >= 0.75 * self._looks), -torch.inf)
        return logs, lengths, observed

    def _move(self, chunk: list[tuple]) -> Tensor | float:
        """Moves state and tangents by one step per entry; returns the sum of what was observed."""
        observed, run = 0.0, [(self.advance, *given) for given in chunk] if self.many is None else [(self.many, len(chunk))]
        for advance, *given in run:
            if self.observe is not None:
                observed = observed + self.observe(self.state, *given)
            following, self.frame = advance(self.state, self.frame, *given)
            self.check(self.state, following)
            self.state = following
        return observed

    def _try_again(self, chunk: list[tuple]) -> None:
        """At the first 16 steps, the 32nd, the 64th, …: how far two roundings of it lie apart, in every direction (..., k)."""
        before, self._moves = self._moves, self._moves + len(chunk)
        if self.probe and self.frame.shape[-1] > 1 and (before < 16 or before.bit_length() < self._moves.bit_length()):
            draws = Draws(self.state.device)
            pair = []
            for size in (1.0, 1.1):
                pair.append(self.advance(self.state, size * self.frame, *chunk[0])[1] / size)
                draws.rewind()
            self._probes.append(disagreement(*pair))

    def noise(self) -> Tensor:
        """Directions (..., k) whose growth in one step is known to less than NOISE nats, in the mean of the trials.

        A few steps have most of the noise, so that the mean tells and the median does not. On the Lorenz flow sampled every 0.6
        in float32 it was 0.004 nats, and the exponent was off by 0.003.
        """
        if not self._probes:
            return torch.zeros_like(self.grown, dtype=torch.bool)
        return (torch.stack(self._probes).mean(0) > NOISE) & ~self._escaped.unsqueeze(-1)

    def doubted(self) -> Tensor:
        """Directions (..., k) that were taken for dead because they depend on the others in most steps."""
        return torch.as_tensor(self._doubts, device=self.grown.device).expand_as(self.grown) >= 0.75 * max(self._looks, 1)

    def _damage(self, logs: Tensor, steps: int, escaped: Tensor) -> tuple[float, float]:
        if not self.adaptive and self.interval == 1:
            return -math.inf, 0.0  # it would decide nothing
        return rounding_damage(logs, steps, (self.grown == -torch.inf) | escaped.unsqueeze(-1), self.eps, self.power)

    def _warn(self) -> None:
        if not self.warned:
            self.warned = True
            warnings.warn(
                f"qr_every: {self.interval} steps between two QR decompositions spread the tangents further than the digits of "
                f"{self.frame.dtype} can hold, so the smallest exponents are rounding noise; use a smaller number, or 'auto'",
                RuntimeWarning,
                stacklevel=6,
            )
