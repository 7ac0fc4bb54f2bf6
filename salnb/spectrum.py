"""A Lyapunov spectrum and what is read off it."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LyapunovSpectrum:
    """Exponents of one or many systems, in nats per unit time, largest first.

    Attributes:
        exponents: (..., k), descending.
        stderr: (..., k), standard error of each from the scatter of block averages over the run; NaN if there are
            fewer than two blocks or the exponent is −∞.
        history: (number of QR steps, ..., k), the running estimate, in the order of ``exponents``; None if not asked for.
        state: (..., N), where the trajectory ended.
        tangents: (..., N, k), the orthonormal frame at the end.
        n_steps: number of steps averaged over; dt: time per step.
    """

    exponents: Tensor
    stderr: Tensor
    history: Tensor | None
    state: Tensor
    tangents: Tensor
    n_steps: int
    dt: float

    def sum(self) -> Tensor:
        """Sum of the exponents (...): for a full spectrum the mean log-volume change per unit time."""
        return self.exponents.sum(-1)

    def entropy_rate(self) -> Tensor:
        """Sum of the positive exponents (...): by Pesin's formula the Kolmogorov–Sinai entropy rate, in nats per unit time."""
        return self.exponents.clamp_min(0).sum(-1)

    def kaplan_yorke_dimension(self) -> Tensor:
        r"""Kaplan–Yorke dimension of the attractor (...).

        .. math:: D = j + \frac{\lambda_1 + \dots + \lambda_j}{|\lambda_{j+1}|}

        with j the largest number of leading exponents whose sum is not negative; 0 if the first is negative, N if the
        sum of all N is not.

        Raises:
            ValueError: the sum of the k < N computed exponents is not negative, so more of them are needed.

        Source: Kaplan and Yorke 1979.
        """
        sums = self.exponents.cumsum(-1)
        n, k = self.tangents.shape[-2:]
        if k < n and bool((sums[..., -1] >= 0).any()):
            raise ValueError(
                f"k: the first {k} of {n} exponents still sum to {sums[..., -1].max():.3g} >= 0, so the dimension is not "
                "determined; compute more of them with a larger k"
            )
        # Once the sum is negative it stays so, because the exponents descend: counting is finding j.
        count = (sums >= 0).sum(-1)
        below = self.exponents.gather(-1, count.clamp_max(k - 1).unsqueeze(-1)).squeeze(-1)
        padded = torch.cat([torch.zeros_like(sums[..., :1]), sums], -1)
        partial = padded.gather(-1, count.unsqueeze(-1)).squeeze(-1)
        return count + torch.where(count < k, partial / below.abs(), 0.0)
