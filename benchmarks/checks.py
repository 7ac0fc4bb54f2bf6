"""Whether the contenders' answers are right: a fast wrong one gets no number."""

import numpy as np

from benchmarks import problems

TAIL = 1e-9  # nats per step, every exponent of a full spectrum
TARGET = 0.001  # standard error of the maximum exponent


def _from_reference(weight, state, exponents, answer: dict, steps: int) -> float:
    """Largest deviation from plain Householder QR, begun with the same state and the same tangents."""
    wanted = problems.reference_spectrum(weight, state, steps, answer.get("frame"), int(answer.get("shift", 0)))
    return float(np.abs(np.sort(exponents)[::-1] - wanted).max())


def spectrum(answer: dict, problem: dict, first: dict) -> float:
    """Every exponent of one network that was asked for."""
    weight, state = problems.weights(problem), problems.settled(problem)
    return _from_reference(weight, state, answer["exponents"], answer, problem["steps"])


def sweep(answer: dict, problem: dict, first: dict) -> float:
    """k = N: every exponent of every network. k = 1: first tangents differ; ``together`` compares the full-length runs."""
    if problem["k"] < problem["n"]:
        return 0.0 if np.isfinite(answer["exponents"]).all() else np.inf
    weight, state = problems.weights(problem), problems.starts(problem, 0)[0]
    pairs = zip(problems.gains(problem), answer["exponents"], strict=True)
    return max(_from_reference(gain * weight, state, found, answer, problem["steps"]) for gain, found in pairs)


def small_system(answer: dict, problem: dict, first: dict) -> float:
    """Every exponent of every trajectory of a system of two or three numbers, whose fixed frame the answer may name."""
    pairs = zip(problems.points(problem, 0), answer["exponents"], strict=True)
    given = answer.get("frame"), bool(answer.get("shift", False))
    wanted = [(problems.reference_small_system(problem, point, *given), found) for point, found in pairs]
    return max(float(np.abs(np.sort(found)[::-1] - right).max()) for right, found in wanted)


def gradients(answer: dict, problem: dict, first: dict) -> float:
    """All gradients against the first contender's, relative to the largest entry."""
    return max(float(np.abs(answer[name] - wanted).max() / np.abs(wanted).max()) for name, wanted in first.items())


def weights(answer: dict, problem: dict, first: dict) -> float:
    """What has been learned against what the first contender has learned."""
    return gradients(answer, problem, first)


def loss(answer: dict, problem: dict, first: dict) -> float:
    """The same network learns the same."""
    return float(np.abs(answer["loss"] / first["loss"] - 1))


def maximum(answer: dict, problem: dict, first: dict) -> float:
    """First tangents differ, so ``together`` compares the full-length runs."""
    return 0.0 if np.isfinite(answer["means"]).all() else np.inf


# Each check returns by how much an answer is off; this is how much it may be. In the sweep large gains saturate the
# neurons: there 1 - tanh² itself loses digits, everybody's alike.
LIMITS = {spectrum: TAIL, small_system: TAIL, sweep: 1e-7, gradients: 1e-9, weights: 1e-9, loss: 1e-5, maximum: 0.0}
CHECKS = {check.__name__: check for check in LIMITS}


def diffusion(answers: dict[str, list[dict]], steps: int) -> float:
    """T times the variance of a mean over T steps: a constant of the map, which decides every standard error.

    Pooled over the contenders, each around its own mean, so that a wrong one does not widen the others' errors.
    """
    groups = [np.concatenate([answer["means"] for answer in group]) for group in answers.values()]
    squares, freedom = sum(len(group) * group.var() for group in groups), sum(len(group) - 1 for group in groups)
    return float(steps * squares / max(freedom, 1))


def mean_and_error(answers: list[dict], spread: float, steps: int) -> tuple[float, float]:
    """Mean exponent over all rounds and its standard error."""
    means = np.concatenate([answer["means"] for answer in answers])
    return float(means.mean()), (spread / (steps * len(means))) ** 0.5


def off_by(exponents: np.ndarray, wanted: np.ndarray) -> float:
    """Root mean square over the gains of the leading exponent's error."""
    return float(np.sqrt(np.mean((exponents[:, 0] - wanted) ** 2)))
