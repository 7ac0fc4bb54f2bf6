"""The leading exponents of a reservoir of which few connections exist: salnb, SciPy and JAX, each in its own sparse form."""

import numpy as np

from benchmarks import problems
from benchmarks.contenders.jax_scan import compiled, load


def _frame(problem: dict) -> np.ndarray:
    """The tangents (N, k) that all begin with, so that their answers are to be the same."""
    rng = np.random.default_rng([problem["seed"], 2])
    return np.linalg.qr(rng.standard_normal((problem["n"], problem["k"])))[0]


def ours(problem: dict, device: str = "cpu", form: str = "sparse"):
    """salnb by its public names: ``tanh_map`` of a sparse or a dense W, or a step that nobody has differentiated by hand."""
    import torch

    from salnb import lyapunov_spectrum, tanh_map
    from salnb.lyapunov.tangents import first_frame  # the check wants to know where the run began

    weight, state = (torch.as_tensor(make(problem), device=device) for make in (problems.weights, problems.settled))
    step, jvp = tanh_map(weight if form == "dense" else weight.to_sparse()), None
    if form == "differences":
        rows = weight.to_sparse_csr()
        step, jvp = lambda x: torch.tanh(rows @ x), "finite-difference"
    frame = first_frame(state, problem["k"], None).cpu().numpy()

    def run(round: int = 0) -> dict:
        found = lyapunov_spectrum(step, state, n_steps=problem["steps"], k=problem["k"], qr_every="auto", jvp=jvp, history=False)
        return {"exponents": found.exponents.cpu().numpy(), "frame": frame}

    return run


def scipy_loop(problem: dict, device: str = "cpu"):
    """A loop in numpy with SciPy's sparse product: what one writes in twenty minutes."""
    from scipy import sparse

    weight, first, start = sparse.csr_array(problems.weights(problem)), _frame(problem), problems.settled(problem)

    def run(round: int = 0) -> dict:
        state, frame, total = start, first, 0.0
        for _ in range(problem["steps"]):
            state = np.tanh(weight @ state)
            frame, triangle = np.linalg.qr((1 - state * state)[:, None] * (weight @ frame))
            total = total + np.log(np.abs(np.diag(triangle)))
        return {"exponents": total / problem["steps"], "frame": first}

    return run


def jax_scan(problem: dict, device: str = "cpu", layout: str = "BCSR"):
    """A compiled JAX scan with a matrix of jax.experimental.sparse."""
    jax, array = load()
    from jax.experimental import sparse

    jnp, first, steps = jax.numpy, _frame(problem), problem["steps"]

    def exponents(weight, state, frame):
        def body(carry, _):
            state, frame = carry
            state = jnp.tanh(weight @ state)
            frame, triangle = jnp.linalg.qr((1 - state * state)[:, None] * (weight @ frame))
            return (state, frame), jnp.log(jnp.abs(jnp.diag(triangle)))

        return jax.lax.scan(body, (state, frame), None, length=steps)[1].sum(0) / steps

    weight = getattr(sparse, layout).fromdense(array(problems.weights(problem)))
    given = (weight, array(problems.settled(problem)), array(first))
    program = compiled(jax, exponents, *given)
    return lambda round=0: {"exponents": np.asarray(program(*given)), "frame": first}
