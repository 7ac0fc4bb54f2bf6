"""Backpropagation through time: by hand in salnb, by autograd through nn.RNN and TanhRNN, by jax.grad of a scan."""

import numpy as np

from benchmarks import problems

NAMES = {"recurrent.0.weight": "recurrent", "recurrent.0.bias": "bias", "input.weight": "input", "readout.weight": "readout"}


def _loaded(problem, device):
    import torch

    data = {name: torch.from_numpy(array).to(device) for name, array in problems.recurrent_data(problem).items()}
    return torch, data


def _salnb(torch, problem, data):
    from salnb import TanhRNN

    kind = data["inputs"].dtype
    rnn = TanhRNN(problem["n_in"], problem["n"], problem["n_out"], gain=1.0, device=data["inputs"].device, dtype=kind)
    with torch.no_grad():
        for name, short in NAMES.items():
            rnn.get_parameter(name).copy_(data[short])
    return rnn


def by_hand(problem: dict, device: str = "cpu"):
    """``salnb.backprop_through_time``."""
    from salnb import backprop_through_time

    torch, data = _loaded(problem, device)
    rnn = _salnb(torch, problem, data)

    def run(round: int = 0) -> dict:
        for _ in range(problem["repeats"]):
            _, gradients = backprop_through_time(rnn, data["inputs"], data["targets"], torch.nn.functional.mse_loss)
        return {short: gradients[name].cpu().numpy() for name, short in NAMES.items()}

    return run


def _by_autograd(torch, problem, modules, parameters, forward, targets):
    def run(round: int = 0) -> dict:
        for _ in range(problem["repeats"]):
            for module in modules:
                module.zero_grad()
            torch.nn.functional.mse_loss(forward(), targets).backward()
        return {name: parameter.grad.cpu().numpy() for name, parameter in parameters.items()}

    return run


def salnb_autograd(problem: dict, device: str = "cpu"):
    """``TanhRNN`` and autograd."""
    torch, data = _loaded(problem, device)
    rnn = _salnb(torch, problem, data)
    parameters = {short: rnn.get_parameter(name) for name, short in NAMES.items()}
    return _by_autograd(torch, problem, [rnn], parameters, lambda: rnn(data["inputs"])[0], data["targets"])


def torch_rnn(problem: dict, device: str = "cpu"):
    """``nn.RNN``, a linear readout, and autograd."""
    torch, data = _loaded(problem, device)
    kind = dict(device=device, dtype=data["inputs"].dtype)
    rnn, readout = torch.nn.RNN(problem["n_in"], problem["n"], **kind), torch.nn.Linear(problem["n"], problem["n_out"], **kind)
    parameters = {"recurrent": rnn.weight_hh_l0, "bias": rnn.bias_hh_l0, "input": rnn.weight_ih_l0, "readout": readout.weight}
    with torch.no_grad():
        rnn.bias_ih_l0.zero_()
        readout.bias.zero_()
        for name, parameter in parameters.items():
            parameter.copy_(data[name])
    return _by_autograd(torch, problem, [rnn, readout], parameters, lambda: readout(rnn(data["inputs"])[0]), data["targets"])


def jax_grad(problem: dict, device: str = "cpu"):
    """``jax.grad`` of a compiled scan."""
    from benchmarks.contenders.jax_scan import compiled, load

    jax, array = load(problem["dtype"])
    data = {name: array(value) for name, value in problems.recurrent_data(problem).items()}
    given = {name: data[name] for name in NAMES.values()}

    def loss(given, inputs, targets):
        def body(state, drive):
            state = jax.numpy.tanh(drive + state @ given["recurrent"].T)
            return state, state

        drives = inputs @ given["input"].T + given["bias"]
        states = jax.lax.scan(body, jax.numpy.zeros_like(drives[0]), drives)[1]
        return ((states @ given["readout"].T - targets) ** 2).mean()

    program = compiled(jax, jax.grad(loss), given, data["inputs"], data["targets"])

    def run(round: int = 0) -> dict:
        for _ in range(problem["repeats"]):
            gradients = {k: np.asarray(v) for k, v in program(given, data["inputs"], data["targets"]).items()}
        return gradients

    return run
