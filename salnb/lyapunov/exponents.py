"""Lyapunov exponents of any step function, by evolving tangents and taking QR decompositions."""

import warnings
from collections.abc import Callable
from numbers import Integral

import torch
from torch import Tensor

from ..common.arguments import check_integers
from ..common.denormals import flushed_denormals
from ..common.progress import progress_bar
from .accumulation import Growth
from .benettin import LONGEST, SEGMENT, Evolution
from .spectrum import LyapunovSpectrum
from .tangents import first_frame, tangent_step_of

N_BLOCKS = 32  # blocks for the standard error: enough for its own spread to be about 13 %
METHODS = ("auto", "householder", "cholesky", "elimination")


def as_drive(inputs, state) -> Tensor | None:
    """The drive as one tensor, one entry a step: from a tensor, a NumPy array, or a list of tensors or arrays of one shape.

    Raises:
        TypeError: a PackedSequence. ValueError: what makes no tensor.
    """
    if inputs is None or isinstance(inputs, Tensor):
        return inputs
    if isinstance(inputs, torch.nn.utils.rnn.PackedSequence):
        raise TypeError("inputs: got a PackedSequence, whose sequences end at different steps, expected a tensor (n_steps, ...); "
                        "unpack it with pad_packed_sequence and run sequences of one length together")  # fmt: skip
    device = state.device if isinstance(state, Tensor) else None
    try:
        if isinstance(inputs, (list, tuple)):
            return torch.stack([torch.as_tensor(u, device=device) for u in inputs])
        return torch.as_tensor(inputs, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = type(inputs).__name__
        raise ValueError(f"inputs: got {kind}, expected a tensor, an array or a list of one shape, one entry a step") from error


def check_run(state, n_steps, k, n_warmup, qr_every, inputs, dt, method) -> None:
    if not isinstance(state, Tensor) or not state.is_floating_point() or state.ndim < 1:
        raise ValueError(f"state: got {state!r}, expected a floating-point tensor (..., N)")
    if state.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"state: got dtype {state.dtype}, whose digits are too few for tangents, expected torch.float32 or "
                         "torch.float64; convert state and step with .float()")  # fmt: skip
    if not bool(torch.isfinite(state).all()):
        raise ValueError("state: got NaN or infinite entries, expected finite numbers; was the network trained to overflow?")
    check_integers(n_steps=(n_steps, 1), n_warmup=(n_warmup, 0), k=(k, 1))
    if k > state.shape[-1]:
        n = state.shape[-1]
        raise ValueError(f"k: got {k}, but a state of {n} units has only that many exponents; use k <= {n}")
    if qr_every != "auto" and (isinstance(qr_every, bool) or not isinstance(qr_every, Integral) or qr_every < 1):
        raise ValueError(f"qr_every: got {qr_every!r}, expected an integer >= 1 or 'auto'")
    if inputs is not None and len(inputs) != n_warmup + n_steps:
        raise ValueError(f"inputs: got {len(inputs)} time steps, expected n_warmup + n_steps = {n_warmup + n_steps}")
    if not dt > 0:
        raise ValueError(f"dt: got {dt}, expected a time per step > 0")
    if method not in METHODS:
        raise ValueError(f"method: got {method!r}, expected one of {', '.join(METHODS)}")


def warn_of_noise(noise: Tensor, dtype: torch.dtype, stacklevel: int) -> None:
    most, k = int(noise.sum(-1).max()), noise.shape[-1]
    warnings.warn(
        f"step: {most} of {k} directions shrink in one step by more than the digits of {dtype} hold, so their exponents are NaN "
        "in place of rounding noise; use a step of shorter time, or float64",
        RuntimeWarning,
        stacklevel=stacklevel,
    )


def same_shape(state: Tensor, following: Tensor) -> None:
    if following.shape != state.shape:
        raise ValueError(f"step: got state shape {tuple(following.shape)} back from {tuple(state.shape)}, expected no change")


def _run(evolution: Evolution, drive: list[tuple], begin: int, ends: list[int]) -> list[tuple[Tensor, list[int]]]:
    """The log growth, settled, in each of the blocks up to these ends, and how many steps each row of it spans."""
    rows, spans = evolution.run(drive[begin : ends[-1]], [end - begin for end in ends])
    rows, found, row = evolution.settle(rows), [], 0
    for end in ends:
        start = row
        while begin < end:
            begin, row = begin + spans[row], row + 1
        found.append((rows[start:row], spans[start:row]))
    return found


@torch.no_grad()
def lyapunov_spectrum(
    step: Callable, state: Tensor, *, n_steps: int, k: int | None = None, n_warmup: int = 0, qr_every: int | str = 1,
    inputs: Tensor | None = None, dt: float = 1.0, jvp: Callable | str | None = None, history: bool = True,
    generator: torch.Generator | None = None, progress: bool = False, method: str = "auto",
    resume: LyapunovSpectrum | None = None, sensitivity: bool = False,
) -> LyapunovSpectrum:  # fmt: skip
    r"""Lyapunov exponents: the mean log growth rates of small changes along a trajectory.

    .. math:: J_t Q_{t-1} = Q_t R_t, \qquad \lambda_i = \frac{1}{T\,dt} \sum_t \log |(R_t)_{ii}|

    Args:
        step: ``step(x)`` or ``step(x, u)``, x (..., N) -> next x, a map or one step of an ODE integrator; leading
            dimensions are independent systems. ``rnn_step`` makes one from a recurrent module. It may work in place, on a
            copy, and draw noise from PyTorch's own generator: the state and all tangents see one draw, each step another.
        state: (..., N), where to start.
        n_steps: steps to average over. n_warmup: steps before that, which forget the start and align the tangents. Without them
            the exponents depend on the first frame, by one to three nats over the run; see ``LyapunovSpectrum.alignment``. The
            growth over a short stretch, whatever the frame, is ``finite_time_exponents``.
        k: number of leading exponents, default all N.
        qr_every: steps between two QR decompositions, or "auto": as rarely as the digits of the smallest exponent allow;
            where they turn out not to have been enough, the stretch is done again, more closely. Of 390 tanh networks of 64
            to 256 neurons at g = 1.5 and 2 all came to 1e-9 nats a step of a QR at every step; at larger g, where the slopes
            lose digits, as near as two roundings of such a QR come to each other.
        inputs: (n_warmup + n_steps, ...), the drive, one entry a step; a tensor, an array or a list.
        dt: time per step, so that exponents come in nats per unit time.
        jvp: ``jvp(x, tangents[, u]) -> (next x, next tangents)`` with tangents (..., N, k), an analytic tangent step;
            default: ``step.jvp`` if there is one, else forward-mode differentiation of ``step``, which one finite difference
            at the start checks; "finite-difference": central differences of h = eps^(1/3) times the state's largest entry, for
            a step that PyTorch does not see through. Each tangent is then right to about eps^(2/3), 4e-11 in float64 and 2e-5
            in float32, where the state's entries are of one size and the step has no kinks or jumps; it costs 1 + 2 k calls.
        history: keep the running estimate. Without it, "auto" may use a cheaper method.
        generator: draws the first tangents; default the identity for a full spectrum, else a fixed random frame.
        progress: show a progress bar.
        method: how growth is taken out of the tangents: "householder" QR; "cholesky" QR, much faster on a GPU;
            "elimination", LU steps in between and a QR at the ends, same result; "auto": elimination for frames of
            many columns (k² > 8 N) if no history is kept, else Householder.
        resume: a spectrum to go on from: its state and tangents, and its steps count as well.
        sensitivity: also measure the log-sensitivity of every layer over the very same steps, where ``step`` knows it
            (``step.mean_square_sensitivity``: steps of ``TanhRNN``, ``nn.RNN`` and an ``nn.Sequential`` by ``rnn_step``).

    Returns:
        ``LyapunovSpectrum`` with exponents (..., k) descending, their standard errors and the running estimate. −∞ where a
        direction dies; NaN where the trajectory leaves the finite numbers, and, with a warning, where a direction shrinks in
        one step by more than the digits hold. The trajectory is the same for every k and method.

    Raises:
        ValueError: a state that is not finite, k > N, a step that changes the state's shape or dtype, inputs of another length;
            a step whose derivative by PyTorch is not its own, or that gives two answers for one state.

    Source: Benettin et al., Meccanica 15 (1980), parts 1 and 2; elimination in place of QR is this library's own choice.

    Example:
        >>> spectrum = lyapunov_spectrum(lambda x: x * torch.tensor([2.0, 0.5]), torch.zeros(2), n_steps=10)
        >>> spectrum.exponents
        tensor([ 0.6931, -0.6931], dtype=torch.float64)
    """
    inputs = as_drive(inputs, state)
    if resume is not None:
        state, k = resume.state, resume.exponents.shape[-1]
    k = state.shape[-1] if k is None and isinstance(state, Tensor) and state.ndim else k
    check_run(state, n_steps, k, n_warmup, qr_every, inputs, dt, method)
    n_steps, n_warmup, k = int(n_steps), int(n_warmup), int(k)
    qr_every = qr_every if qr_every == "auto" else int(qr_every)
    step = getattr(step, "frozen", lambda: step)()
    if method == "auto":
        # Elimination saves two thirds of the arithmetic of N k², but makes a table of N² for the exchanges of rows.
        method = "elimination" if k * k > 8 * state.shape[-1] and not history else "householder"
    observe = getattr(step, "mean_square_sensitivity", None) if sensitivity else None
    if sensitivity and observe is None:
        raise ValueError(
            "sensitivity: this step has no `mean_square_sensitivity`; that of a gated cell is not defined; give a step of your "
            "own the attribute, a function of the same arguments -> (L, ...)"
        )
    frame = first_frame(state, k, generator) if resume is None else resume.tangents
    drive = [()] * (n_warmup + n_steps) if inputs is None else [(u,) for u in inputs.unbind(0)]
    advance = tangent_step_of(step, jvp, state, frame, drive)
    many = getattr(step, "jvp_many", None) if k == 1 and jvp is observe is inputs is None else None
    evolution = Evolution(advance, state, frame, method, None if qr_every == "auto" else qr_every, same_shape, observe, many,
                          probe=hasattr(advance, "differentiates"))  # fmt: skip
    n_blocks = min(N_BLOCKS, n_steps)
    ends = [n_warmup + n_steps * b // n_blocks for b in range(n_blocks + 1)]
    # A single tangent has nothing to settle at the end of a block, so that several are run between two looks.
    together = max(1, SEGMENT * n_blocks // n_steps) if k == 1 else 1
    groups = [ends[b : b + together + 1] for b in range(0, n_blocks, together)]
    growth = Growth.empty(dt, n_warmup) if resume is None else resume.growth
    with flushed_denormals():
        if n_warmup:
            _run(evolution, drive, 0, [n_warmup])
            evolution.observed, evolution.longest = 0.0, LONGEST  # what a warm-up met need not come back
        for begin, *stops in progress_bar(groups, enabled=progress, label="Lyapunov exponents"):
            for rows, spans in _run(evolution, drive, begin, stops):
                growth = growth.extended(rows, spans, history)
    if sensitivity:
        growth = growth.observing(evolution.observed, n_steps)
    # A network's own tangents that depend on each other have lost a rank; those of a function that nobody knows may be alive.
    noise = evolution.noise() | (evolution.doubted() if callable(jvp) else False)
    if bool(noise.any()):
        growth = growth.without(noise)
        warn_of_noise(noise, state.dtype, stacklevel=4)
    return LyapunovSpectrum.of(growth, evolution.state, evolution.orthonormal_frame())
