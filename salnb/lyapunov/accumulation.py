"""The accumulated log growth of every direction, block by block, with the mean growth rates and their standard errors."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Growth:
    """Accumulated log growth of k directions, in nats.

    Attributes:
        dt: time per step.
        blocks: log growth (..., k) of each block; lengths: the number of its steps.
        rows: log growth (n, ..., k) at every reduction, block by block, if a history is kept; spans: the steps of each row.
        squares: (L, ...), mean squared sensitivity of every layer, summed over the steps that were asked for; seen: these steps.
        n_warmup: steps before the first block, in which the tangents could align.
    """

    dt: float
    blocks: tuple[Tensor, ...] = ()
    lengths: tuple[int, ...] = ()
    rows: tuple[Tensor, ...] = ()
    spans: tuple[int, ...] = ()
    squares: Tensor | None = None
    seen: int = 0
    n_warmup: int = 0

    @classmethod
    def empty(cls, dt: float, n_warmup: int = 0) -> "Growth":
        return cls(dt, n_warmup=n_warmup)

    def extended(self, rows: Tensor, spans: list[int], history: bool) -> "Growth":
        """The same with one more block. A history is kept over the whole run or not at all."""
        kept = history and (bool(self.rows) or not self.blocks)
        return replace(
            self, blocks=(*self.blocks, rows.sum(0)), lengths=(*self.lengths, sum(spans)),
            rows=(*self.rows, rows) if kept else (), spans=(*self.spans, *spans) if kept else (),
        )  # fmt: skip

    def observing(self, squares: Tensor, steps: int) -> "Growth":
        """The same with the squared sensitivities of the newly added steps."""
        return replace(self, squares=squares if self.squares is None else self.squares + squares, seen=self.seen + steps)

    def without(self, noise: Tensor) -> "Growth":
        """The same with NaN for the directions (..., k) of which nothing is known."""
        blocks, rows = (tuple(v.masked_fill(noise, torch.nan) for v in values) for values in (self.blocks, self.rows))
        return replace(self, blocks=blocks, rows=rows)

    def order(self) -> Tensor:
        """The directions (..., k) from the largest growth to the smallest; those of which nothing is known come last."""
        rates = self.rates()
        return torch.where(rates.isnan(), -torch.inf, rates).argsort(dim=-1, descending=True, stable=True)

    @property
    def n_steps(self) -> int:
        return sum(self.lengths)

    def rates(self) -> Tensor:
        """Growth per unit time (..., k)."""
        return torch.stack(self.blocks).sum(0) / (self.n_steps * self.dt)

    def alignment(self, n: int) -> Tensor:
        """Nats (..., k) by which each of k directions of N separated from its neighbors before the first block."""
        rates = self.rates()
        ranked = rates.gather(-1, self.order())
        # Two dead directions never separate: −∞ − (−∞) is no gap.
        gaps = (ranked[..., :-1] - ranked[..., 1:]).nan_to_num(0.0, posinf=torch.inf)
        first, last = torch.full_like(ranked[..., :1], torch.inf), torch.full_like(ranked[..., :1], torch.inf)
        if ranked.shape[-1] < n:
            last = torch.full_like(last, torch.nan)  # the next exponent was not measured
        gap = torch.minimum(torch.cat([first, gaps], -1), torch.cat([gaps, last], -1))
        return gap * (self.n_warmup * self.dt) if self.n_warmup else torch.where(gap.isnan(), gap, 0.0)

    def stderr(self) -> Tensor:
        r"""Standard error (..., k) of the rates, from the scatter of the blocks.

        .. math:: \frac{\sigma}{\sqrt T} \sqrt{\frac{1 + \rho}{1 - \rho}},\qquad
            \sigma^2 = \frac{1}{n - 1} \sum_b T_b\, (\lambda_b - \lambda)^2

        with the rates of n blocks of T_b steps, T in all, and the correlation of neighboring ones, where it is positive.
        Without the second factor the error of a slowly wandering system would be claimed too small.
        """
        blocks, n = torch.stack(self.blocks), len(self.blocks)
        if n < 2:
            return torch.full_like(blocks[0], torch.nan)
        lengths = blocks.new_tensor(self.lengths).view(-1, *[1] * (blocks.ndim - 1))
        deviation = (blocks / (lengths * self.dt) - self.rates()) * lengths.sqrt()  # equally uncertain, however long
        variance = deviation.square().sum(0) / (n - 1)
        together = (deviation[1:] * deviation[:-1]).sum(0) / (n - 1)
        # The mean is taken from the same blocks, which pulls the correlation down by about 1/n. Where nothing varies, 0/0.
        correlation = (together / variance).nan_to_num(0.0) + 1 / n
        correlation = correlation.clamp(0.0, 0.9) if n >= 8 else torch.zeros_like(correlation)
        return (variance / self.n_steps * (1 + correlation) / (1 - correlation)).sqrt()

    def local(self) -> Tensor:
        """Growth rate (n, ..., k) of every row, per unit time."""
        rows = torch.cat(self.rows)
        return rows / (rows.new_tensor(self.spans) * self.dt).view(-1, *[1] * (rows.ndim - 1))

    def running(self) -> Tensor | None:
        """Running estimate (n, ..., k) of the rates; None without a history."""
        if not self.rows:
            return None
        rows = torch.cat(self.rows)
        times = rows.new_tensor(self.spans).cumsum(0) * self.dt
        return rows.cumsum(0) / times.view(-1, *[1] * (rows.ndim - 1))
