"""Exponents by salnb, through its public names, as a user would."""

import numpy as np

from benchmarks import problems


def _tensors(problem: dict, device: str, dtype: str):
    import torch

    kind = getattr(torch, dtype)
    return torch, lambda array: torch.as_tensor(np.asarray(array), dtype=kind, device=device)


def _user_step(torch, weight, gain=1.0):
    """The map as a plain function with its tangent step; ``gain`` broadcasts over the leading dimensions.

    The tangents are multiplied as rows: one product with W for all of them, however many leading dimensions there are.
    """

    def step(x):
        return torch.tanh(gain * (x @ weight.mT))

    def jvp(x, tangents):
        following, rows = step(x), tangents.mT
        moved = (rows.flatten(0, -2) @ weight.mT).view(rows.shape).mT
        return following, (gain - gain * following.square()).unsqueeze(-1) * moved

    return step, jvp


def _network(torch, problem, weight, device, dtype):
    """The same map as salnb's own network; several replicas where the weights have a leading dimension."""
    from salnb import TanhRNN, rnn_step

    rnn = TanhRNN(0, problem["n"], 1, gain=1.0, replicas=tuple(weight.shape[:-2]), device=device, dtype=getattr(torch, dtype))
    with torch.no_grad():
        rnn.recurrent[0].weight.copy_(weight)
    return rnn_step(rnn)


def _form(form, torch, problem, weight, device, dtype, gain=1.0):
    """The step in one of its three forms, and its tangent step if it comes apart."""
    if form == "map":
        from salnb import tanh_map

        return tanh_map(weight, gain if isinstance(gain, float) else gain.squeeze(-1)), None
    if form == "network":
        return _network(torch, problem, weight if isinstance(gain, float) else gain.unsqueeze(-1) * weight, device, dtype), None
    return _user_step(torch, weight, gain)


def spectrum(problem: dict, device: str = "cpu", form: str = "function", every: int | str = "auto"):
    """The full spectrum of one network."""
    from salnb import lyapunov_spectrum

    torch, tensor = _tensors(problem, device, "float64")
    step, jvp = _form(form, torch, problem, tensor(problems.weights(problem)), device, "float64")
    state = tensor(problems.settled(problem))
    if form == "network":
        state = state.unsqueeze(0)  # a batch of one

    def run(round: int = 0) -> dict:
        result = lyapunov_spectrum(step, state, n_steps=problem["steps"], qr_every=every, jvp=jvp, history=False)
        return {"exponents": result.exponents.cpu().numpy().reshape(-1)}

    return run


def maximum(problem: dict, device: str = "cpu", form: str = "function", dtype: str = "float64"):
    """The leading exponent from many short trajectories at once."""
    from salnb import lyapunov_spectrum

    torch, tensor = _tensors(problem, device, dtype)
    step, jvp = _form(form, torch, problem, tensor(problems.weights(problem)), device, dtype)

    def run(round: int = 0) -> dict:
        state = tensor(problems.starts(problem, round))
        result = lyapunov_spectrum(
            step, state, n_steps=problem["steps"], n_warmup=problem["warmup"], k=1, qr_every="auto", jvp=jvp, history=False
        )
        return {"means": result.exponents[:, 0].cpu().numpy()}

    return run


def sweep(problem: dict, device: str = "cpu", form: str = "function", dtype: str = "float64"):
    """Many gains at once, as replicas: the leading exponent, or with k = N the whole spectrum."""
    from salnb import lyapunov_spectrum

    torch, tensor = _tensors(problem, device, dtype)
    gain = tensor(problems.gains(problem)).unsqueeze(-1)
    step, jvp = _form(form, torch, problem, tensor(problems.weights(problem)), device, dtype, gain)
    state = tensor(problems.starts(problem, 0)).expand(problem["gains"], -1)
    if form == "network":
        state = state.unsqueeze(-2)

    def run(round: int = 0) -> dict:
        result = lyapunov_spectrum(step, state, n_steps=problem["steps"], k=problem["k"], qr_every="auto", jvp=jvp, history=False)
        return {"exponents": result.exponents.cpu().numpy().reshape(problem["gains"], -1)}

    return run


def replicas(problem: dict, device: str = "cpu"):
    """k exponents of several trajectories of one network: what the growth of cost is measured on."""
    from salnb import lyapunov_spectrum

    torch, tensor = _tensors(problem, device, "float64")
    step, jvp = _user_step(torch, tensor(problems.weights(problem)))
    state = tensor(problems.starts({**problem, "trajectories": problem["replicas"]}, 0))

    def run(round: int = 0) -> dict:
        result = lyapunov_spectrum(step, state, n_steps=problem["steps"], k=problem["k"], qr_every="auto", jvp=jvp, history=False)
        return {"exponents": result.exponents.cpu().numpy()}

    return run
