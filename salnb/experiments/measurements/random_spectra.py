"""Lyapunov spectra of random networks: their shape at several sizes, their dimension and entropy rate at several gains."""

import time

import torch
from torch import Tensor

from ...lyapunov.exponents import lyapunov_spectrum
from ...networks.recurrent import TanhRNN
from ...networks.steps import rnn_step

# First: all exponents of networks of several sizes, at one gain. Second: the leading half of the exponents at several gains.
SHAPES = [dict(n=n, gain=2.0, replicas=replicas, n_steps=n_steps, n_warmup=300, k=n, seed=500 + n)
          for n, replicas, n_steps in ((100, 16, 1000), (200, 8, 1000), (400, 4, 600), (800, 3, 400))]  # fmt: skip


GAINS = (1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)
ALONG_GAIN = [dict(n=n, gain=gain, replicas=replicas, n_steps=600, n_warmup=400, k=n // 2, seed=10_000 + n + i)
              for n, replicas in ((100, 10), (200, 10)) for i, gain in enumerate(GAINS)]  # fmt: skip


SPECTRA = {f"all of {run['n']}": run for run in SHAPES} | {f"{run['n']} at {run['gain']:g}": run for run in ALONG_GAIN}


def log_volume(rnn: TanhRNN, state: Tensor, *, n_steps: int, n_warmup: int = 0) -> Tensor:
    r"""Mean log volume change (R,) per step of flat networks without input. It equals the sum of all exponents.

    .. math:: \ln|\det J| = \ln|\det W| + \sum_i \ln(1 - h_i^2)

    Example:
        >>> rnn = TanhRNN(0, 3, 0, gain=0.5, replicas=(2,), dtype=torch.float64)
        >>> state = torch.rand(2, 3, dtype=torch.float64)
        >>> spectrum = lyapunov_spectrum(rnn_step(rnn), state, n_steps=5)
        >>> bool(torch.allclose(spectrum.sum(), log_volume(rnn, state, n_steps=5)))
        True
    """
    step, total = rnn_step(rnn).frozen(), 0.0
    with torch.no_grad():
        for t in range(n_warmup + n_steps):
            state = step(state)
            if t >= n_warmup:
                total = total + torch.log1p(-state.square()).sum(-1)
    return torch.linalg.slogdet(rnn.recurrent[0].weight.detach()).logabsdet + total / n_steps


def random_spectrum(*, n: int, gain: float, replicas: int, n_steps: int, n_warmup: int, k: int, seed: int) -> dict:
    """Exponents of random tanh networks of N neurons without input, in double precision.

    Args:
        n: N. gain: g, weights are Gaussian with variance g²/N. replicas: R, networks drawn independently.
        n_steps, n_warmup, k: as for ``lyapunov_spectrum``. seed: of weights and first states.

    Returns:
        Plain numbers: ``exponents`` (k,), their means over the networks, and ``error``, the standard errors; for each network
        ``dimension`` (Kaplan–Yorke), ``entropy`` rate in nats per step, ``largest`` exponent and its own ``stderr``; with
        k = N also ``sum_error``, the largest distance of a sum of exponents from the mean log volume change; ``seconds``
        and the ``settings``.

    Raises:
        ValueError: as ``lyapunov_spectrum``; a k too small for the dimension.

    Example:
        >>> found = random_spectrum(n=20, gain=2.0, replicas=3, n_steps=50, n_warmup=20, k=20, seed=0)
        >>> len(found["exponents"]), len(found["entropy"]), found["sum_error"] < 1e-6
        (20, 3, True)
    """
    settings = dict(locals())
    began, generator = time.perf_counter(), torch.Generator().manual_seed(seed)
    rnn = TanhRNN(0, n, 0, gain=gain, replicas=(replicas,), generator=generator, dtype=torch.float64)
    state = torch.randn(replicas, n, generator=generator, dtype=torch.float64)
    spectrum = lyapunov_spectrum(rnn_step(rnn), state, n_steps=n_steps, n_warmup=n_warmup, k=k, qr_every="auto", history=False)
    mean, error = spectrum.mean()
    rounded = lambda values, digits=5: [round(v, digits) for v in values.tolist()]  # noqa: E731
    found = dict(
        exponents=rounded(mean), error=rounded(error), dimension=rounded(spectrum.kaplan_yorke_dimension(), 3),
        entropy=rounded(spectrum.entropy_rate()), largest=rounded(spectrum.exponents[:, 0]),
        stderr=rounded(spectrum.stderr[:, 0]),
    )  # fmt: skip
    if k == n:
        off = spectrum.sum() - log_volume(rnn, state, n_steps=n_steps, n_warmup=n_warmup)
        found["sum_error"] = float(f"{off.abs().max():.1g}")
    return {**found, "seconds": round(time.perf_counter() - began, 1), "settings": settings}
