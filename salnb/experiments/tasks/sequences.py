"""Tasks with a lag: pulses and symbols that a recurrent network has to remember over many time steps."""

import torch

from ...common.arguments import as_float, check_integers
from .drawing import Batch, Replicas, draw_integers


def lagged_parity(
    n: int, generator: torch.Generator | None = None, *, lag: int = 300, pulses: int = 3, replicas: Replicas = ()
) -> Batch:
    r"""Parity of pulses of ±1, the first at time 0, the last at time ``lag``, the others evenly between.

    Args:
        n: samples per replica. generator: of the pulses. lag: steps between first and last. pulses: how many.
        replicas: leading dimensions; every replica gets data of its own.

    Returns:
        inputs (lag + 1, \*replicas, n, 1), 0 between the pulses, and targets (\*replicas, n), 1 where an odd number of
        pulses is positive.

    Example:
        >>> inputs, targets = lagged_parity(5, lag=10, pulses=2)
        >>> inputs.shape, targets.shape
        (torch.Size([11, 5, 1]), torch.Size([5]))
    """
    check_integers(n=(n, 1), lag=(lag, 1), pulses=(pulses, 2))
    if pulses > lag + 1:
        raise ValueError(f"pulses: got {pulses}, but a lag of {lag} has only {lag + 1} time steps")
    bits = draw_integers((pulses, *replicas, n), 2, generator)
    inputs = torch.zeros((lag + 1, *replicas, n, 1), device=bits.device)
    times = torch.linspace(0, lag, pulses).round().long().to(bits.device)
    inputs[times] = (2.0 * bits - 1.0).unsqueeze(-1)
    return inputs, bits.sum(0) % 2


def lagged_xor(n: int, generator: torch.Generator | None = None, *, lag: int = 300, replicas: Replicas = ()) -> Batch:
    """Exclusive or of a pulse at time 0 and one at time ``lag``: ``lagged_parity`` with two pulses."""
    return lagged_parity(n, generator, lag=lag, pulses=2, replicas=replicas)


def varied_xor(
    n: int, generator: torch.Generator | None = None, *, lag: int = 350, spread: float = 2 / 7, replicas: Replicas = ()
) -> Batch:
    r"""Exclusive or of two pulses of ±1 whose distance varies from sample to sample, so that no clock tells when to answer.

    The last pulse is at time ``lag``, the first at a random time from 0 to ``spread`` times ``lag``: by default 250 to 350 steps
    lie between them.

    Returns:
        inputs (lag + 1, \*replicas, n, 1), 0 but for the two pulses, and targets (\*replicas, n), 1 where they differ.

    Raises:
        ValueError: n or lag below 1, a spread outside [0, 1) or so large that the pulses could meet.

    Example:
        >>> inputs, targets = varied_xor(5, lag=10)
        >>> inputs.shape, (inputs != 0).sum(0).flatten().tolist()
        (torch.Size([11, 5, 1]), [2, 2, 2, 2, 2])
    """
    check_integers(n=(n, 1), lag=(lag, 1))
    share = as_float(spread)
    if not (0 <= share < 1 and round(share * lag) < lag):
        raise ValueError(f"spread: got {spread!r} with a lag of {lag}, expected a share of it from 0 to below 1 that leaves a "
                         "step between the pulses")  # fmt: skip
    bits = draw_integers((2, *replicas, n), 2, generator)
    first = draw_integers((*replicas, n), round(share * lag) + 1, generator).to(bits.device)
    pulses = 2.0 * bits - 1.0
    inputs = torch.zeros((lag + 1, *replicas, n), device=bits.device)
    inputs[lag] = pulses[1]
    inputs.scatter_(0, first.unsqueeze(0), pulses[:1])
    return inputs.unsqueeze(-1), (bits[0] != bits[1]).long()


def temporal_order(
    n: int, generator: torch.Generator | None = None, *, lag: int = 300, distractors: int = 4, replicas: Replicas = ()
) -> Batch:
    r"""The order of two symbols, each A or B, in a sequence of distractors.

    The first symbol is at a random time step in the first tenth of the sequence, the second in the last tenth. Every other
    time step has one of the distractors, which do not change the target.

    Returns:
        inputs (lag + 1, \*replicas, n, 2 + distractors), one-hot, channels A, B and the distractors; targets
        (\*replicas, n) in 0…3 for AA, AB, BA, BB.

    Source: after Hochreiter and Schmidhuber, Neural Computation 9 (1997), task 6a; windows and alphabet are this project's.

    Example:
        >>> inputs, targets = temporal_order(5, lag=40)
        >>> inputs.shape, bool((inputs.sum(-1) == 1).all())
        (torch.Size([41, 5, 6]), True)
    """
    check_integers(n=(n, 1), lag=(lag, 9), distractors=(distractors, 1))
    steps, window = lag + 1, max(1, lag // 10)
    symbols = 2 + draw_integers((steps, *replicas, n), distractors, generator)
    first, second = draw_integers((2, *replicas, n), 2, generator).unbind(0)
    early, late = draw_integers((2, *replicas, n), window, generator).unbind(0)
    symbols.scatter_(0, early.unsqueeze(0), first.unsqueeze(0))
    symbols.scatter_(0, (steps - window + late).unsqueeze(0), second.unsqueeze(0))
    return torch.nn.functional.one_hot(symbols, 2 + distractors).float(), 2 * first + second
