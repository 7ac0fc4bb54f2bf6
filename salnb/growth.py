"""The books of a run: how much every direction has grown, block by block, and how sure one may be of the average."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Growth:
    """Log growth of k directions, in nats.

    Attributes:
        dt: time per step.
        blocks: log growth (..., k) of each block; lengths: its steps.
        rows: log growth (n, ..., k) at every reduction, block by block, if a history is kept; spans: the steps of each row.
        squares: (L, ...), mean squared sensitivity of every layer, summed over the steps, if it was asked for.
    """

    dt: float
    blocks: tuple[Tensor, ...] = ()
    lengths: tuple[int, ...] = ()
    rows: tuple[Tensor, ...] = ()
    spans: tuple[int, ...] = ()
    squares: Tensor | None = None

    @classmethod
    def empty(cls, dt: float) -> "Growth":
        return cls(dt)

    def extended(self, rows: Tensor, spans: list[int], history: bool) -> "Growth":
        """With one more block. A history that was not kept from the start is not begun later."""
        added = replace(self, blocks=(*self.blocks, rows.sum(0)), lengths=(*self.lengths, sum(spans)))
        if history and len(self.spans) == sum(map(len, self.rows)) and (self.rows or not self.blocks):
            added = replace(added, rows=(*self.rows, rows), spans=(*self.spans, *spans))
        return added

    def observing(self, squares: Tensor) -> "Growth":
        """With the squared sensitivities of the newly added steps."""
        return replace(self, squares=squares if self.squares is None else self.squares + squares)

    @property
    def n_steps(self) -> int:
        return sum(self.lengths)

    def rates(self) -> Tensor:
        """Growth per unit time (..., k)."""
        return torch.stack(self.blocks).sum(0) / (self.n_steps * self.dt)

    def stderr(self) -> Tensor:
        r"""Standard error (..., k) of the rates, from the scatter of the blocks.

        .. math:: \frac{\sigma}{\sqrt n} \sqrt{\frac{1 + \rho}{1 - \rho}}

        with the standard deviation of n blocks and the correlation of neighboring ones, where it is positive. Without the
        second factor the error of a slowly wandering system would be claimed too small.
        """
        blocks, n = torch.stack(self.blocks), len(self.blocks)
        if n < 2:
            return torch.full_like(blocks[0], torch.nan)
        lengths = blocks.new_tensor(self.lengths).view(-1, *[1] * (blocks.ndim - 1))
        rates = blocks / (lengths * self.dt)
        deviation = rates - rates.mean(0)
        variance = deviation.square().sum(0) / (n - 1)
        together = (deviation[1:] * deviation[:-1]).sum(0) / (n - 1)
        # The mean is taken from the same blocks, which pulls the correlation down by about 1/n. Where nothing varies, 0/0.
        correlation = (together / variance).nan_to_num(0.0) + 1 / n
        correlation = correlation.clamp(0.0, 0.9) if n >= 8 else torch.zeros_like(correlation)
        return (variance / n * (1 + correlation) / (1 - correlation)).sqrt()

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
