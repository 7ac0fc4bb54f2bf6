"""Lyapunov exponents of any step function, by evolving tangents and taking QR decompositions."""

from collections.abc import Callable

import torch
from torch import Tensor

from .progress import progress_bar
from .spectrum import LyapunovSpectrum
from .tangents import automatic_tangent_step, first_frame, orthonormalise

__all__ = ["LyapunovSpectrum", "lyapunov_spectrum"]

N_BLOCKS = 32  # blocks for the standard error: enough for its own spread to be about 13 %
# "auto": QR before the most and the least growing tangent differ by this factor, so that the tail keeps half its digits.
SAFE_SPREAD = {torch.float64: 1e6, torch.float32: 1e2}


def _check(state, n_steps, k, n_warmup, qr_every, inputs, dt) -> None:
    if not isinstance(state, Tensor) or not state.is_floating_point() or state.ndim < 1:
        raise ValueError(f"state: got {state!r}, expected a floating-point tensor (..., N)")
    if not bool(torch.isfinite(state).all()):
        raise ValueError("state: got NaN or infinite entries, expected finite numbers; was the network trained to overflow?")
    for name, value, least in (("n_steps", n_steps, 1), ("n_warmup", n_warmup, 0), ("k", k, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name}: got {value!r}, expected an integer >= {least}")
    if k > state.shape[-1]:
        n = state.shape[-1]
        raise ValueError(f"k: got {k}, but a state of {n} units has only that many exponents; use k <= {n}")
    if qr_every != "auto" and (isinstance(qr_every, bool) or not isinstance(qr_every, int) or qr_every < 1):
        raise ValueError(f"qr_every: got {qr_every!r}, expected an integer >= 1 or 'auto'")
    if inputs is not None and len(inputs) != n_warmup + n_steps:
        raise ValueError(f"inputs: got {len(inputs)} time steps, expected n_warmup + n_steps = {n_warmup + n_steps}")
    if not dt > 0:
        raise ValueError(f"dt: got {dt}, expected a time per step > 0")


@torch.no_grad()
def lyapunov_spectrum(
    step: Callable, state: Tensor, *, n_steps: int, k: int | None = None, n_warmup: int = 0, qr_every: int | str = 1,
    inputs: Tensor | None = None, dt: float = 1.0, jvp: Callable | None = None, history: bool = True,
    generator: torch.Generator | None = None, progress: bool = False,
) -> LyapunovSpectrum:  # fmt: skip
    r"""Lyapunov exponents: the mean log growth rates of small changes along a trajectory.

    .. math:: J_t Q_{t-1} = Q_t R_t, \qquad \lambda_i = \frac{1}{T\,dt} \sum_t \log |(R_t)_{ii}|

    Args:
        step: ``step(x)`` or ``step(x, u)``, x (..., N) -> next x, a map or one step of an ODE integrator; leading
            dimensions are independent systems. ``rnn_step`` makes one from a recurrent module.
        state: (..., N), where to start.
        n_steps: steps to average over. n_warmup: steps before that, which forget the start and align the tangents.
        k: number of leading exponents, default all N.
        qr_every: steps between two QR decompositions, or "auto": as rarely as half the digits of the tail allow.
        inputs: (n_warmup + n_steps, ...), the drive, one entry a step.
        dt: time per step, so that exponents come in nats per unit time.
        jvp: ``jvp(x, tangents[, u]) -> (next x, next tangents)`` with tangents (..., N, k), an analytic tangent step;
            default: ``step.jvp`` if there is one, else forward-mode differentiation of ``step``.
        history: keep the running estimate.
        generator: draws the first tangents; default the identity for a full spectrum, else a fixed random frame.
        progress: show a progress bar.

    Returns:
        ``LyapunovSpectrum`` with exponents (..., k) descending, their standard errors and the running estimate. −∞ where a
        direction dies; NaN where the trajectory leaves the finite numbers.

    Raises:
        ValueError: a state that is not finite, k > N, a step that changes the state's shape, inputs of another length.

    Source: Benettin et al., Meccanica 15 (1980), parts 1 and 2.

    Example:
        >>> spectrum = lyapunov_spectrum(lambda x: x * torch.tensor([2.0, 0.5]), torch.zeros(2), n_steps=10)
        >>> spectrum.exponents
        tensor([ 0.6931, -0.6931], dtype=torch.float64)
    """
    k = state.shape[-1] if k is None and isinstance(state, Tensor) and state.ndim else k
    _check(state, n_steps, k, n_warmup, qr_every, inputs, dt)
    step = getattr(step, "frozen", lambda: step)()
    advance = jvp or getattr(step, "jvp", None) or automatic_tangent_step(step)
    drive = [()] * (n_warmup + n_steps) if inputs is None else [(u,) for u in inputs.unbind(0)]
    tangents = first_frame(state, k, generator)
    n_blocks = min(N_BLOCKS, n_steps)
    ends = {n_warmup + n_steps * (b + 1) // n_blocks for b in range(n_blocks)}
    interval = 1 if qr_every == "auto" else qr_every
    rows, times, block_rows, since = [], [], [state.new_zeros((*state.shape[:-1], k), dtype=torch.float64)], 0
    for i, u in enumerate(progress_bar(drive, enabled=progress, label="Lyapunov exponents")):
        following, tangents = advance(state, tangents, *u)
        if following.shape != state.shape:
            raise ValueError(f"step: got state shape {tuple(following.shape)} back from {tuple(state.shape)}, expected no change")
        state, since, done = following, since + 1, i + 1
        if since < interval and done not in ends and done != n_warmup:
            continue
        tangents, stretch = orthonormalise(tangents)
        if qr_every == "auto" and k > 1:
            spread = float((stretch[..., 0] - stretch[..., -1]).nan_to_num(torch.inf).max()) / since
            safe = torch.tensor(SAFE_SPREAD.get(state.dtype, 1e1)).log().item()
            interval = max(1, min(64, int(safe / max(spread, 1e-9))))
        since = 0
        if done > n_warmup:
            block_rows[-1] = block_rows[-1] + stretch
            if history:
                rows.append(stretch)
                times.append((done - n_warmup) * dt)
            if done in ends and done < n_warmup + n_steps:
                block_rows.append(torch.zeros_like(stretch))
    return _summary(block_rows, rows, times, state, tangents, n_steps, dt)


def _summary(block_rows, rows, times, state, tangents, n_steps, dt) -> LyapunovSpectrum:
    blocks, n_blocks = torch.stack(block_rows), len(block_rows)
    exponents = blocks.sum(0) / (n_steps * dt)
    lengths = [n_steps * (b + 1) // n_blocks - n_steps * b // n_blocks for b in range(n_blocks)]
    rates = blocks / (blocks.new_tensor(lengths).view(-1, *[1] * exponents.ndim) * dt)
    stderr = rates.std(0) / n_blocks**0.5 if n_blocks > 1 else torch.full_like(exponents, torch.nan)
    order = exponents.argsort(-1, descending=True)
    running = None
    if rows:
        running = torch.stack(rows).cumsum(0) / blocks.new_tensor(times).view(-1, *[1] * exponents.ndim)
        running = running.gather(-1, order.expand_as(running))
    return LyapunovSpectrum(exponents.gather(-1, order), stderr.gather(-1, order), running, state, tangents, n_steps, dt)
