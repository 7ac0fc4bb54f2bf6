"""A recurrent network under SAL: its log-sensitivity and its largest Lyapunov exponent, measured side by side."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ...common.progress import progress_bar
from ...lyapunov.exponents import lyapunov_spectrum
from ...networks.recurrent import TanhRNN
from ...networks.steps import rnn_step
from ...sal.optimizer import SAL


@dataclass(frozen=True)
class FollowedExponent:
    """C measurements of R independent recurrent networks under SAL. All logs are in nats per time step.

    Attributes:
        passes: (C,), number of SAL passes before each measurement.
        log_sensitivity: (C, R), over the time steps of the measurement, summed over the layers of a ring.
        exponent: (C, R), the maximum Lyapunov exponent over the same time steps. stderr: (C, R), its standard error.
        log_radius: (C, R), log of the spectral radius of the weight matrix, in a ring of the product of all matrices.
        log_row_norm: (C, R), log of the RMS row norm of the weights, summed over the layers.
        activity: (C, R), root mean square of the states.
        seconds: running time. device: the device of the run. settings: the arguments.
    """

    passes: list[int]
    log_sensitivity: Tensor
    exponent: Tensor
    stderr: Tensor
    log_radius: Tensor
    log_row_norm: Tensor
    activity: Tensor
    seconds: float
    device: str
    settings: dict

    def as_json(self) -> dict:
        """All attributes as numbers and lists, tensors rounded to five decimals, for ``book/results``."""
        rounded = lambda t: [[round(v, 5) for v in row] for row in t.tolist()]  # noqa: E731
        return {name: rounded(v) if isinstance(v, Tensor) else v for name, v in asdict(self).items()}


def log_spectral_radius(weights: Sequence[Tensor]) -> Tensor:
    """Log spectral radius (...) of the product of a ring's weight matrices, in the order in which they act."""
    product = weights[0]
    for weight in weights[1:]:
        product = weight @ product
    return torch.linalg.eigvals(product).abs().amax(-1).log()


def log_rms_row_norm(weights: Sequence[Tensor]) -> Tensor:
    """Log RMS row norm (...), summed over the layers: the log-sensitivity of a network whose neurons are not saturated."""
    return sum(0.5 * weight.square().sum(-1).mean(-1).log() for weight in weights)


def follow_exponent(
    *, n_hidden: int | tuple[int, ...] = 100, gain: float = 0.1, connectivity: float = 1.0, replicas: int = 10,
    lr: float = 2e-3, decay: float = 0.9, rule: str = "one_sided", target: float = 1.0, average: str = "mean",
    n_passes: int = 600, pass_steps: int = 5, n_looks: int = 13, look_steps: int = 500, warmup: int = 200,
    noise: float = 0.01, seed: int = 0, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32,
    progress: bool = False,
) -> FollowedExponent:  # fmt: skip
    """Lets SAL raise the sensitivity of random RNNs, and measures log-sensitivity and exponent several times on the way.

    Args:
        n_hidden: N, or sizes of a ring of layers. gain: expected row norm at the start.
        connectivity: share of the connections that exist.
        replicas: R, independent networks, each with its own weights, first state and noise.
        lr, decay, rule, target, average: SAL's settings.
        n_passes: SAL steps in all, each after ``pass_steps`` time steps.
        n_looks: number of measurements, spread evenly over the run. Each takes ``look_steps`` time steps with fixed weights,
            after ``warmup`` time steps that align the tangent.
        noise: all neurons get the same white noise as input; this is the standard deviation of what it adds to a
            pre-activation. Without noise the state of a network below the edge of chaos would become exactly 0.
        seed: of weights, first states and noise. device, dtype: as in torch. progress: show a progress bar.

    Returns:
        ``FollowedExponent``.

    Example:
        >>> run = follow_exponent(n_hidden=20, replicas=2, n_passes=4, n_looks=2, look_steps=50, warmup=20)
        >>> run.exponent.shape
        torch.Size([2, 2])
    """
    settings = {k: v for k, v in locals().items() if k not in ("device", "dtype", "progress")}
    began, generator = time.perf_counter(), torch.Generator().manual_seed(seed)
    rnn = TanhRNN(1, n_hidden, 0, gain=gain, replicas=(replicas,), connectivity=connectivity,
                  generator=generator, device=device, dtype=dtype)  # fmt: skip
    sal = SAL(rnn, lr=lr, decay=decay, rule=rule, target=target, average=average)
    step, n_state = rnn_step(rnn), rnn.n_hidden[-1]

    def draw(*shape: int, scale: float = 1.0) -> Tensor:
        return (scale * torch.randn(shape, generator=generator, dtype=dtype)).to(device)

    state = draw(replicas, 1, n_state, scale=0.5)
    looks = sorted({round(i * n_passes / max(n_looks - 1, 1)) for i in range(n_looks)})
    rows = []

    def look(state: Tensor) -> Tensor:
        drive = draw(warmup + look_steps, replicas, 1, 1, scale=noise / gain)
        spectrum = lyapunov_spectrum(step, state[:, 0], n_steps=look_steps, n_warmup=warmup, k=1, history=False,
                                     inputs=drive[:, :, 0])  # fmt: skip
        warm = rnn(drive[:warmup], state)[1][-1] if warmup else state
        sal.discard()
        states = rnn(drive[warmup:], warm)[1]  # SAL observes the steps of the exponent, too
        weights = [layer.weight.detach() for layer in rnn.recurrent]
        rows.append((sal.log_sensitivity().sum(0), spectrum.exponents[:, 0], spectrum.stderr[:, 0], log_spectral_radius(weights),
                     log_rms_row_norm(weights), states.square().mean((0, 2, 3)).sqrt()))  # fmt: skip
        return states[-1]

    with torch.no_grad():
        for done in progress_bar(range(n_passes + 1), enabled=progress, label="SAL", total=n_passes + 1):
            if done in looks:
                state = look(state)
                sal.discard()
            if done < n_passes:
                state = rnn(draw(pass_steps, replicas, 1, 1, scale=noise / gain), state)[1][-1]
                sal.step()
    sal.detach()
    measured = [torch.stack([torch.as_tensor(v).double().cpu() for v in column]) for column in zip(*rows, strict=True)]
    seconds = round(time.perf_counter() - began, 2)
    return FollowedExponent(looks, *measured, seconds=seconds, device=str(device), settings=settings)


def predicted_offset(n: int | tuple[int, ...], *, connectivity: float = 1.0, samples: int = 200, seed: int = 1) -> Tensor:
    """Log spectral radius minus log RMS row norm of random networks (samples,): the finite-size offset of the exponent.

    The networks are drawn anew. With a trained network they share only the size and the connectivity.
    """
    sizes, generator = (n,) if isinstance(n, int) else n, torch.Generator().manual_seed(seed)
    rnn = TanhRNN(0, sizes, 0, gain=1.0, replicas=(samples,), connectivity=connectivity, generator=generator, dtype=torch.float64)
    rows = [layer.weight.detach() for layer in rnn.recurrent]
    rows = [w / torch.linalg.vector_norm(w, dim=-1, keepdim=True) for w in rows]
    return log_spectral_radius(rows) - log_rms_row_norm(rows)
