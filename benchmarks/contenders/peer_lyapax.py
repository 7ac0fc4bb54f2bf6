"""lyapax: JAX, automatic tangents, and a sweep over parameters of its own; compiled from outside."""

import numpy as np

from benchmarks import problems
from benchmarks.contenders.jax_scan import compiled, load


def _frame(jax, n, k, dtype):
    """The tangents it begins with: seed 0, its default."""
    return np.linalg.qr(np.asarray(jax.random.normal(jax.random.PRNGKey(0), (n, k), dtype=dtype)))[0]


def spectrum(problem: dict, device: str = "cpu", every: int = 1):
    """The full spectrum of one network."""
    jax, array = load()
    import lyapax

    weight, state = array(problems.weights(problem)), array(problems.settled(problem))

    def exponents(state):
        step = lambda x: jax.numpy.tanh(weight @ x)  # noqa: E731
        return lyapax.lyapunov_spectrum(step, state, 1.0, problem["steps"], renorm_every=every).exponents

    program, frame = compiled(jax, exponents, state), _frame(jax, problem["n"], problem["n"], "float64")
    return lambda round=0: {"exponents": np.asarray(program(state)), "frame": frame}


def maximum(problem: dict, device: str = "cpu", dtype: str = "float64"):
    """The leading exponent of many trajectories at once: its sweep, over nothing but the initial states."""
    jax, array = load(dtype)
    from lyapax.sweep import sweep_lyapunov_spectrum

    weight, states = array(problems.weights(problem)), array(problems.starts(problem, 0))

    def means(states):
        return sweep_lyapunov_spectrum(
            lambda x, _: jax.numpy.tanh(weight @ x), states[0], {"index": jax.numpy.arange(len(states))}, 1.0, problem["steps"],
            k=1, t_transient=float(problem["warmup"]), state0_batch=states,
        ).exponents[:, 0]  # fmt: skip

    program = compiled(jax, means, states)
    return lambda round=0: {"means": np.asarray(program(array(problems.starts(problem, round))))}


def sweep(problem: dict, device: str = "cpu", dtype: str = "float64"):
    """Many gains at once, by its own sweep."""
    jax, array = load(dtype)
    from lyapax.sweep import sweep_lyapunov_spectrum

    weight, gains = array(problems.weights(problem)), array(problems.gains(problem))
    state = array(problems.starts(problem, 0)[0])

    def spectra(gains):
        step = lambda x, given: jax.numpy.tanh(given["gain"] * (weight @ x))  # noqa: E731
        return sweep_lyapunov_spectrum(step, state, {"gain": gains}, 1.0, problem["steps"], k=problem["k"]).exponents

    program, frame = compiled(jax, spectra, gains), _frame(jax, problem["n"], problem["k"], dtype)
    return lambda round=0: {"exponents": np.asarray(program(gains)), "frame": frame}
