"""All exponents of the Lorenz flow and the Hénon map, where there is hardly any arithmetic: salnb, a JAX scan, pynamicalsys."""

import numpy as np

from benchmarks import problems
from benchmarks.contenders.jax_scan import compiled, load
from benchmarks.problems import DT


def _steps(library):
    """Both systems, as anybody would write them with ``library``'s stack; x (..., N)."""

    def lorenz(s):
        x, y, z = s[..., 0], s[..., 1], s[..., 2]
        return library.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)

    def flow(s):
        a = lorenz(s)
        b = lorenz(s + DT / 2 * a)
        c = lorenz(s + DT / 2 * b)
        d = lorenz(s + DT * c)
        return s + DT / 6 * (a + 2 * b + 2 * c + d)

    def henon(s):
        x, y = s[..., 0], s[..., 1]
        return library.stack([1 - 1.4 * x * x + y, 0.3 * x], -1)

    return {"lorenz": flow, "henon": henon}


def ours(problem: dict, device: str = "cpu", every: int | str = "auto"):
    """salnb and a plain step, which it differentiates by itself; all trajectories at once."""
    import torch

    from salnb import lyapunov_spectrum

    step, time = _steps(torch)[problem["system"]], problems.time_per_step(problem)

    def run(round: int = 0) -> dict:
        states = torch.as_tensor(problems.points(problem, round), device=device)
        found = lyapunov_spectrum(step, states, n_steps=problem["steps"], dt=time, qr_every=every, history=False)
        return {"exponents": found.exponents.cpu().numpy()}

    return run


def jax_scan(problem: dict, device: str = "cpu", every: int = 1):
    """A compiled JAX scan over forward-mode tangents, all trajectories at once."""
    jax, array = load()
    jnp, steps = jax.numpy, problem["steps"]
    step, time = _steps(jnp)[problem["system"]], problems.time_per_step(problem)

    def one(state):
        def advance(state, frame):
            return jax.vmap(lambda v: jax.jvp(step, (state,), (v,)), in_axes=1, out_axes=(None, 1))(frame)

        def body(carry, _):
            for _ in range(every):
                carry = advance(*carry)
            frame, triangle = jnp.linalg.qr(carry[1])
            return (carry[0], frame), jnp.log(jnp.abs(jnp.diag(triangle)))

        logs = jax.lax.scan(body, (state, jnp.eye(state.shape[-1])), None, length=steps // every)[1]
        return logs.sum(0) / (steps * time)

    program = compiled(jax, jax.vmap(one), array(problems.points(problem, 0)))
    return lambda round=0: {"exponents": np.asarray(program(array(problems.points(problem, round))))}


def pynamicalsys(problem: dict, device: str = "cpu"):
    """numba, one trajectory after the other; its tangents begin at random."""
    from pynamicalsys import ContinuousDynamicalSystem, DiscreteDynamicalSystem

    n, steps = problems.points(problem, 0).shape[-1], problem["steps"]
    if problem["system"] == "lorenz":
        system = ContinuousDynamicalSystem(model="lorenz system")
        system.integrator("rk4", time_step=DT)
        np.random.seed(13)  # its own
        frame, given, total, others = -1 + 2 * np.random.rand(n, n), [10.0, 28.0, 8 / 3], steps * DT, {"endpoint": False}
    else:
        system = DiscreteDynamicalSystem(model="henon map")
        np.random.seed(1312)
        frame, given, total, others = np.random.rand(n, n), [1.4, 0.3], steps, {}

    def run(round: int = 0) -> dict:
        points = problems.points(problem, round)
        found = [np.ravel(system.lyapunov(point, total, parameters=given, **others)) for point in points]
        return {"exponents": np.array(found), "frame": np.linalg.qr(frame)[0], "shift": problem["system"] == "henon"}

    return run
