"""lyapynov: numpy, one system at a time, with the whole Jacobian formed at every step."""

import numpy as np

from benchmarks import problems


def _system(weight, state, gain=1.0):
    import lyapynov

    def jacobian(x, t):
        return (gain * (1 - np.tanh(gain * (weight @ x)) ** 2))[:, None] * weight

    return lyapynov.DiscreteDS(state, 0, lambda x, t: np.tanh(gain * (weight @ x)), jacobian)


def spectrum(problem: dict, device: str = "cpu"):
    """The full spectrum of one network."""
    import lyapynov

    weight, state = problems.weights(problem), problems.settled(problem)
    return lambda round=0: {"exponents": lyapynov.LCE(_system(weight, state), problem["n"], 0, problem["steps"], False)}


def maximum(problem: dict, device: str = "cpu"):
    """The leading exponent, one trajectory after the other; tangents align only while it counts, so their start is subtracted."""
    import lyapynov

    weight, warmup, steps = problems.weights(problem), problem["warmup"], problem["steps"]

    def one(state):
        history = lyapynov.mLCE(_system(weight, state), 0, warmup + steps, True)[1]
        return (history[-1] * (warmup + steps) - (history[warmup - 1] * warmup if warmup else 0)) / steps

    return lambda round=0: {"means": np.array([one(state) for state in problems.starts(problem, round)])}


def sweep(problem: dict, device: str = "cpu"):
    """Many gains, one after the other."""
    import lyapynov

    weight, state, steps, k = problems.weights(problem), problems.starts(problem, 0)[0], problem["steps"], problem["k"]

    def one(gain):
        system = _system(weight, state, gain)
        return [lyapynov.mLCE(system, 0, steps, False)] if k == 1 else lyapynov.LCE(system, k, 0, steps, False)

    return lambda round=0: {"exponents": np.array([one(gain) for gain in problems.gains(problem)])}
