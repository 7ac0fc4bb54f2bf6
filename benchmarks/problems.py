"""The systems that every contender is given, as numpy arrays, and the answers computed plainly."""

import numpy as np

DT = 0.01  # of a step of the Lorenz flow


def weights(problem: dict) -> np.ndarray:
    """J (N, N), drawn from N(0, gain² / N); with "gains" in the problem the gains stay outside, J has gain 1.

    With a share of "connections" the others are 0, and those that are there larger, so that the gain means the same.
    """
    rng, n, share = np.random.default_rng(problem["seed"]), problem["n"], problem.get("connections", 1.0)
    weight = rng.standard_normal((n, n)) * problem.get("gain", 1.0) / np.sqrt(n * share)
    return weight if share == 1.0 else np.where(rng.random((n, n)) < share, weight, 0.0)


def gains(problem: dict) -> np.ndarray:
    """The gains of a sweep, through the edge of chaos."""
    return np.linspace(0.5, 3.0, problem["gains"])


def starts(problem: dict, round: int) -> np.ndarray:
    """Random initial states (trajectories, N) of one round: every round has trajectories of its own."""
    rng = np.random.default_rng([problem["seed"], 1, round])
    return rng.standard_normal((problem.get("trajectories", 1), problem["n"]))


def settled(problem: dict, steps: int = 300) -> np.ndarray:
    """A state (N,) on the attractor."""
    weight, state = weights(problem), starts({**problem, "trajectories": 1}, 0)[0]
    for _ in range(steps):
        state = np.tanh(weight @ state)
    return state


def reference_spectrum(weight, state, steps: int, frame=None, shift: int = 0) -> np.ndarray:
    """Exponents (k,) of x' = tanh(W x) by the book: one Householder QR each step, in float64, sorted."""
    frame, total = np.eye(len(state)) if frame is None else frame, 0.0
    for _ in range(shift):
        state = np.tanh(weight @ state)
    for _ in range(steps):
        state = np.tanh(weight @ state)
        frame, triangle = np.linalg.qr((1 - state * state)[:, None] * (weight @ frame))
        total = total + np.log(np.abs(np.diag(triangle)))
    return np.sort(total / steps)[::-1]


def time_per_step(problem: dict) -> float:
    """A step of the Lorenz flow takes DT, one of the Hénon map 1."""
    return DT if problem["system"] == "lorenz" else 1.0


def points(problem: dict, round: int) -> np.ndarray:
    """Where the trajectories (trajectories, N) of one round start: on the attractor, or where it draws everything to itself."""
    rng, flow = np.random.default_rng([problem["seed"], 1, round]), problem["system"] == "lorenz"
    drawn = rng.random((problem["trajectories"], 3 if flow else 2))
    return drawn + [0.5, 0.5, 20.0] if flow else 0.2 * drawn


def with_tangents(problem: dict, state: np.ndarray, tangents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One step of a state (N,) and its tangents (N, k), by the system's equations and those of its small changes."""
    if problem["system"] == "henon":
        x, y = state
        return np.array([1 - 1.4 * x * x + y, 0.3 * x]), np.array([[-2.8 * x, 1.0], [0.3, 0.0]]) @ tangents

    def slope(both):
        x, y, z = both[:, 0]
        moved = np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])
        return np.column_stack([moved, np.array([[-10.0, 10.0, 0.0], [28 - z, -1.0, -x], [y, x, -8 / 3]]) @ both[:, 1:]])

    both = np.column_stack([state, tangents])
    a = slope(both)
    b = slope(both + DT / 2 * a)
    c = slope(both + DT / 2 * b)
    both = both + DT / 6 * (a + 2 * b + 2 * c + slope(both + DT * c))
    return both[:, 0], both[:, 1:]


def reference_small_system(problem: dict, state: np.ndarray, frame=None, shift: bool = False) -> np.ndarray:
    """All exponents (N,) of one trajectory by the book, per unit time, sorted; ``shift`` begins one step later."""
    frame, total = np.eye(len(state)) if frame is None else frame, 0.0
    state = with_tangents(problem, state, frame)[0] if shift else state
    for _ in range(problem["steps"]):
        state, moved = with_tangents(problem, state, frame)
        frame, triangle = np.linalg.qr(moved)
        total = total + np.log(np.abs(np.diag(triangle)))
    return np.sort(total / (problem["steps"] * time_per_step(problem)))[::-1]


def recurrent_data(problem: dict) -> dict[str, np.ndarray]:
    """Weights, inputs (T, B, n_in) and targets (T, B, n_out) of a recurrent network that is to learn."""
    rng, n, t, batch = np.random.default_rng(problem["seed"]), problem["n"], problem["steps"], problem["batch"]
    n_in, n_out = problem["n_in"], problem["n_out"]
    data = {
        "recurrent": rng.standard_normal((n, n)) / np.sqrt(n),
        "input": rng.standard_normal((n, n_in)) / np.sqrt(n_in),
        "bias": 0.1 * rng.standard_normal(n),
        "readout": rng.standard_normal((n_out, n)) / np.sqrt(n),
        "inputs": rng.standard_normal((t, batch, n_in)),
        "targets": rng.standard_normal((t, batch, n_out)),
    }
    return {name: array.astype(problem["dtype"]) for name, array in data.items()}


def competing_units(problem: dict) -> tuple[np.ndarray, np.ndarray]:
    """Start weights (R, units, D) of Krotov–Hopfield layers and batches (repeats, R, B, D) of images of L3 norm 1."""
    rng = np.random.default_rng(problem["seed"])
    replicas, inputs = problem["replicas"], problem["inputs"]
    weight = rng.standard_normal((replicas, problem["units"], inputs))
    batches = rng.standard_normal((problem["repeats"], replicas, problem["batch"], inputs))
    batches /= (np.abs(batches) ** 3).sum(-1, keepdims=True) ** (1 / 3)
    return weight.astype(problem["dtype"]), batches.astype(problem["dtype"])
