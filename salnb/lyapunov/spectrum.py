"""A Lyapunov spectrum and what follows from it: sums, entropy rate, dimension, local exponents, errors over replicas."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .accumulation import Growth

SHOWN = 4  # exponents that are printed one by one


@dataclass(frozen=True, repr=False)
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
        growth: the log growth that the rest was computed from, in the order of ``tangents``.
    """

    exponents: Tensor
    stderr: Tensor
    history: Tensor | None
    state: Tensor
    tangents: Tensor
    n_steps: int
    dt: float
    growth: Growth | None = None

    @property
    def alignment(self) -> Tensor:
        r"""How far the tangents had aligned when the average began (..., k), in nats, from the measured gaps.

        .. math:: a_i = T_w\,\min(\lambda_{i-1} - \lambda_i,\; \lambda_i - \lambda_{i+1})

        with T_w the duration of the warm-up. A direction is off by a factor of about e^(-a_i); each exponent that is not yet
        aligned may be off by one to three nats divided by the duration T of the run, while the sum of all stays right. NaN where
        a neighboring exponent was not measured, which is so for the last of k < N. Equal exponents never align and need not.

        Example:
            >>> from salnb import lyapunov_spectrum
            >>> halve = lambda x: x * torch.tensor([2.0, 0.5], dtype=x.dtype)
            >>> start = torch.zeros(2, dtype=torch.float64)
            >>> lyapunov_spectrum(halve, start, n_steps=10).alignment
            tensor([0., 0.], dtype=torch.float64)
            >>> lyapunov_spectrum(halve, start, n_steps=10, n_warmup=5).alignment
            tensor([6.9315, 6.9315], dtype=torch.float64)
        """
        n = self.tangents.shape[-2]
        if self.growth is None:
            return torch.full_like(self.exponents, torch.nan)
        return self.growth.alignment(n)

    def __repr__(self) -> str:
        k, n, systems = self.exponents.shape[-1], self.tangents.shape[-2], self.exponents[..., 0].numel()
        of = f" of each of {systems} systems (means shown)" if systems > 1 else ""
        warmup = self.growth.n_warmup if self.growth else 0
        values, errors = (v.reshape(-1, k).mean(0).tolist() for v in (self.exponents, self.stderr))
        shown = [f"{v:+.4f} ± {e:.4f}" for v, e in zip(values[:SHOWN], errors[:SHOWN], strict=True)]
        more = f", … {values[-1]:+.4f} ± {errors[-1]:.4f}" if k > SHOWN else ""
        head = f"LyapunovSpectrum: {k} of {n} exponents{of}, {self.n_steps} steps after a warm-up of {warmup}, dt = {self.dt:g}"
        return f"{head}\n  exponents  {', '.join(shown)}{more}\n  alignment  {self._alignment_in_words(warmup)}"

    def _alignment_in_words(self, warmup: int) -> str:
        if self.tangents.shape[-2] == 1:
            return "one direction: nothing to align"
        if not warmup:
            time = self.n_steps * self.dt
            return ("none (n_warmup=0): each exponent depends on the first frame, by one to three nats / T, "
                    f"up to {3 / time:.2g}; give n_warmup, or use finite_time_exponents")  # fmt: skip
        nats = self.alignment.reshape(-1, self.exponents.shape[-1]).amin(0).tolist()
        known = [f"{value:.3g}" for value in nats[:SHOWN] if value == value]
        if not known:
            return "not known: the exponent after the last one was not measured; a larger k tells"
        more = ", …" if len(nats) > SHOWN else ""
        return f"{', '.join(known)}{more} nats in the warm-up (the more, the less the first frame matters)"

    @classmethod
    def of(cls, growth: Growth, state: Tensor, tangents: Tensor) -> "LyapunovSpectrum":
        """The spectrum of a run, from its accumulated log growth; exponents are sorted."""
        exponents, stderr, running = growth.rates(), growth.stderr(), growth.running()
        order = growth.order()
        running = None if running is None else running.gather(-1, order.expand_as(running))
        ranked = exponents.gather(-1, order), stderr.gather(-1, order), running
        return cls(*ranked, state, tangents, growth.n_steps, growth.dt, growth)

    def mean(self, dim: int | tuple[int, ...] | None = None) -> tuple[Tensor, Tensor]:
        """Mean exponents over replicas, and the standard error from the scatter between them.

        Args:
            dim: replica dimensions, counted as in ``exponents`` (..., k); default all leading ones.

        Returns:
            mean and standard error, both without those dimensions. Many short runs of one system from many starts are as
            good as one long one, if each has a warm-up; the scatter between them is then the honest error.

        Raises:
            ValueError: a single replica has no scatter.

        Example:
            >>> from salnb import lyapunov_spectrum
            >>> starts = torch.rand(200, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            >>> mean, error = lyapunov_spectrum(lambda x: 4 * x * (1 - x), starts, n_steps=100, n_warmup=20).mean()
            >>> bool(abs(mean - torch.tensor(2).log()) < 4 * error < 0.02)
            True
        """
        lead = self.exponents.ndim - 1
        given = tuple(range(lead)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
        dims = tuple(d % (lead + 1) for d in given)
        count = 1
        for d in dims:
            count *= self.exponents.shape[d]
        if count < 2 or lead in dims:
            raise ValueError(f"dim: got {dim} for exponents {tuple(self.exponents.shape)}, expected replica dimensions with at "
                             "least 2 systems in all; for a single run use .exponents and .stderr")  # fmt: skip
        return self.exponents.mean(dims), self.exponents.std(dims) / count**0.5

    def local(self) -> Tensor:
        """Local exponents (number of QR steps, ..., k): growth rates between two QR steps, in nats per unit time.

        Raises:
            ValueError: the run kept no history.
        """
        if self.growth is None or not self.growth.rows:
            raise ValueError("history: this run kept none; call lyapunov_spectrum with history=True for local exponents")
        order = self.growth.order()
        local = self.growth.local()
        return local.gather(-1, order.expand_as(local))

    def log_sensitivity(self) -> Tensor:
        r"""Log-sensitivity of every layer over the steps of this run (L, ...), in nats: 0.5 log E[s²] over steps and neurons.

        Raises:
            ValueError: the run did not measure it.
        """
        if self.growth is None or self.growth.squares is None:
            raise ValueError("sensitivity: this run did not measure it; call lyapunov_spectrum with sensitivity=True")
        return 0.5 * (self.growth.squares / self.growth.seen).log()

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
