"""pynamicalsys: numba, one system at a time; its tangents begin at random and are aligned only while it counts."""

import functools

import numpy as np

from benchmarks import problems


@functools.cache  # numba compiles once per function
def _system(n: int):
    """x' = tanh(g J x) with J and g handed over as its flat vector of parameters."""
    from numba import njit
    from pynamicalsys import DiscreteDynamicalSystem

    @njit
    def mapping(x, given):
        return np.tanh(given[-1] * (given[:-1].reshape(n, n) @ x))

    @njit
    def jacobian(x, given, *_):
        weight, gain = given[:-1].reshape(n, n), given[-1]
        following = np.tanh(gain * (weight @ x))
        return (gain * (1 - following * following)).reshape(-1, 1) * weight

    return DiscreteDynamicalSystem(mapping=mapping, jacobian=jacobian, system_dimension=n, number_of_parameters=n * n + 1)


def _frame(n, k):
    np.random.seed(1312)  # its own
    return np.linalg.qr(np.random.rand(n, k))[0]


def spectrum(problem: dict, device: str = "cpu", method: str = "QR_HH"):
    """The full spectrum of one network."""
    n, steps, state = problem["n"], problem["steps"], problems.settled(problem)
    system, given = _system(n), np.append(problems.weights(problem), 1.0)

    def run(round: int = 0) -> dict:
        exponents = system.lyapunov(state, steps, parameters=given, method=method)
        return {"exponents": np.ravel(exponents), "frame": _frame(n, n), "shift": np.array(1)}

    return run


def maximum(problem: dict, device: str = "cpu"):
    """The leading exponent, one trajectory after the other, what counts after the alignment taken from its history."""
    warmup, total = problem["warmup"], problem["warmup"] + problem["steps"]
    system, given, looks = _system(problem["n"]), np.append(problems.weights(problem), 1.0), [warmup, total]

    def one(state):
        first, last = system.lyapunov(
            state, total, parameters=given, num_exponents=1, method="QR", return_history=True, sample_times=looks
        )
        return (last * total - first * warmup) / problem["steps"]

    return lambda round=0: {"means": np.array([one(state) for state in problems.starts(problem, round)])}


def sweep(problem: dict, device: str = "cpu"):
    """Many gains, one after the other."""
    system, weight, state = _system(problem["n"]), problems.weights(problem), problems.starts(problem, 0)[0]
    k, steps, method = problem["k"], problem["steps"], "QR" if problem["k"] == 1 else "QR_HH"

    def one(gain):
        return np.ravel(system.lyapunov(state, steps, parameters=np.append(weight, gain), num_exponents=k, method=method))

    return lambda round=0: {"exponents": np.array([one(gain) for gain in problems.gains(problem)]),
                            "frame": _frame(problem["n"], k), "shift": np.array(1)}  # fmt: skip
