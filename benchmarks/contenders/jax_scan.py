"""A compiled JAX scan, as someone who knows JAX would write it for this map: analytic Jacobian, one program, no history."""

import numpy as np

from benchmarks import problems


def load(dtype: str = "float64"):
    """JAX with float64 allowed, and a function that brings an array to it."""
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax, lambda array: jax.numpy.asarray(array, dtype=dtype)


def compiled(jax, function, *examples):
    """Compiled ahead of time for arguments like these, so that no round pays for it."""
    return jax.jit(function).lower(*examples).compile()


def spectrum(problem: dict, device: str = "cpu", every: int = 1):
    """The full spectrum of one network."""
    jax, array = load()
    jnp, steps = jax.numpy, problem["steps"]

    def exponents(weight, state, frame):
        def advance(state, frame):
            state = jnp.tanh(weight @ state)
            return state, (1 - state * state)[:, None] * (weight @ frame)

        def body(carry, _):
            for _ in range(every):
                carry = advance(*carry)
            frame, triangle = jnp.linalg.qr(carry[1])
            return (carry[0], frame), jnp.log(jnp.abs(jnp.diag(triangle)))

        return jax.lax.scan(body, (state, frame), None, length=steps // every)[1].sum(0) / steps

    given = (array(problems.weights(problem)), array(problems.settled(problem)), jnp.eye(problem["n"]))
    program = compiled(jax, exponents, *given)
    return lambda round=0: {"exponents": np.asarray(program(*given))}


def _leading(jax, weight, gain, steps, warmup):
    """Mean log growth (R,) of one tangent for each of R trajectories, all in one product per step."""
    jnp = jax.numpy

    def body(carry, _):
        states, tangents = carry
        states, tangents = jnp.split(jnp.concatenate([states, tangents]) @ weight.T, 2)
        states = jnp.tanh(gain * states)
        tangents = gain * (1 - states * states) * tangents
        lengths = jnp.sqrt((tangents * tangents).sum(-1, keepdims=True))
        return (states, tangents / lengths), jnp.log(lengths[:, 0])

    def run(states, tangents):
        carry = (states, tangents)
        if warmup:
            carry, _ = jax.lax.scan(body, carry, None, length=warmup)
        return jax.lax.scan(body, carry, None, length=steps)[1]

    return run


def maximum(problem: dict, device: str = "cpu", dtype: str = "float64", single: bool = False):
    """The leading exponent, from many trajectories at once or from a single one of the same total length."""
    jax, array = load(dtype)
    steps, count = problem["steps"], problem["trajectories"]
    shape = {**problem, "trajectories": 1} if single else problem
    run_all = _leading(jax, array(problems.weights(problem)), 1.0, steps * count if single else steps, problem["warmup"])
    tangents = array(problems.starts(shape, 10**6))

    def means(states, tangents):
        logs = run_all(states, tangents)
        return logs.reshape(count, steps).mean(1) if single else logs.mean(0)

    program = compiled(jax, means, tangents, tangents)
    return lambda round=0: {"means": np.asarray(program(array(problems.starts(shape, round)), tangents))}


def sweep(problem: dict, device: str = "cpu", dtype: str = "float64"):
    """Many gains at once: one product for the leading exponent, a batched QR each step for more."""
    jax, array = load(dtype)
    jnp, steps, k, n = jax.numpy, problem["steps"], problem["k"], problem["n"]
    weight, gain = array(problems.weights(problem)), array(problems.gains(problem))[:, None]
    states = jnp.broadcast_to(array(problems.starts(problem, 0)), (problem["gains"], n))

    def leading(states, tangents):
        return _leading(jax, weight, gain, steps, 0)(states, tangents).mean(0)[:, None]

    def spectra(states, frames):
        def body(carry, _):
            states, frames = carry
            states = jnp.tanh(gain * (states @ weight.T))
            frames, triangles = jnp.linalg.qr((gain * (1 - states * states))[..., None] * (weight @ frames))
            return (states, frames), jnp.log(jnp.abs(jnp.diagonal(triangles, axis1=-2, axis2=-1)))

        return jax.lax.scan(body, (states, frames), None, length=steps)[1].mean(0)

    frames = jnp.broadcast_to(jnp.eye(n, k, dtype=dtype), (len(gain), n, k))
    tangents = jnp.ones((len(gain), n), dtype) if k == 1 else frames
    program = compiled(jax, leading if k == 1 else spectra, states, tangents)
    return lambda round=0: {"exponents": np.asarray(program(states, tangents))}
