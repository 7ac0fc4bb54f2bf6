"""chaotax: JAX, automatic tangents. Its spectrum cannot be compiled from outside, so every call compiles its scan anew."""

import numpy as np

from benchmarks import problems
from benchmarks.contenders.jax_scan import compiled, load


def _tanh(jax, weight, gain=1.0):
    return lambda state: jax.numpy.tanh(gain * (weight @ state))


def spectrum(problem: dict, device: str = "cpu"):
    """The full spectrum of one network."""
    jax, array = load()
    import chaotax

    step, state = _tanh(jax, array(problems.weights(problem))), array(problems.settled(problem))
    frame = jax.numpy.eye(problem["n"])
    exponents = chaotax.lyapunov_spectrum(step, rollout_steps=problem["steps"], warmup_steps=0, discard_steps=0)
    return lambda round=0: {"exponents": np.asarray(exponents(state, frame))}


def maximum(problem: dict, device: str = "cpu", dtype: str = "float64"):
    """The leading exponent of many trajectories, mapped over them and compiled."""
    jax, array = load(dtype)
    import chaotax

    step, tangents = _tanh(jax, array(problems.weights(problem))), array(problems.starts(problem, 10**6))
    one = chaotax.lyapunov(step, rollout_steps=problem["steps"], warmup_steps=0, discard_steps=problem["warmup"])
    program = compiled(jax, jax.vmap(one), tangents, tangents)
    return lambda round=0: {"means": np.asarray(program(array(problems.starts(problem, round)), tangents))}


def sweep(problem: dict, device: str = "cpu", dtype: str = "float64"):
    """Many gains at once, mapped over them; k = 1 is compiled once, the spectrum at every call."""
    jax, array = load(dtype)
    import chaotax

    weight, state = array(problems.weights(problem)), array(problems.starts(problem, 0)[0])
    find, k = chaotax.lyapunov if problem["k"] == 1 else chaotax.lyapunov_spectrum, problem["k"]
    frame = jax.numpy.ones_like(state) if k == 1 else jax.numpy.eye(problem["n"], dtype=dtype)[:k]

    def one(gain):
        settings = dict(rollout_steps=problem["steps"], warmup_steps=0, discard_steps=0)
        return find(_tanh(jax, weight, gain), **settings, **({} if k == 1 else {"num_exponents": k}))(state, frame)

    gains = array(problems.gains(problem))
    program = compiled(jax, jax.vmap(one), gains) if k == 1 else jax.vmap(one)
    return lambda round=0: {"exponents": np.asarray(program(gains)).reshape(len(gains), k)}
