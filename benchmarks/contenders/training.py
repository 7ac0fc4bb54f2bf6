"""A training step with and without SAL: forward, backward, optimizer.step(), and sal.step() after it."""

import numpy as np

from benchmarks import problems


def _deep(torch, problem, device):
    """A 300-layer net, its inputs and targets."""
    from salnb import DeepNet

    rng = torch.Generator().manual_seed(problem["seed"])
    net = DeepNet(2, problem["n"], 1, problem["depth"], gain=problem["gain"], generator=rng)
    return net.to(device), torch.randn(problem["batch"], 2, generator=rng).to(device), None


def _recurrent(torch, problem, device):
    """A recurrent network over T steps."""
    from salnb import TanhRNN

    data = problems.recurrent_data(problem)
    rnn = TanhRNN(problem["n_in"], problem["n"], problem["n_out"], gain=problem["gain"],
                  generator=torch.Generator().manual_seed(problem["seed"]))  # fmt: skip
    return rnn.to(device), torch.from_numpy(data["inputs"]).to(device), torch.from_numpy(data["targets"]).to(device)


def step(problem: dict, device: str = "cpu", sal: str = ""):
    """One training step, ``problem["repeats"]`` times; ``sal``: "" without, "all" every neuron off target, "rest" none."""
    import torch

    from salnb import SAL

    model, inputs, targets = (_deep if "depth" in problem else _recurrent)(torch, problem, device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)  # so small that every round does the same work
    rule = SAL(model, lr=1e-9, target=100.0 if sal == "all" else 1e-6) if sal else None

    def run(round: int = 0) -> dict:
        for _ in range(problem["repeats"]):
            outputs = model(inputs)
            outputs = outputs[0] if isinstance(outputs, tuple) else outputs
            loss = torch.nn.functional.mse_loss(outputs, torch.zeros_like(outputs) if targets is None else targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if rule is not None:
                rule.step()
        return {"loss": np.array(float(loss.detach()))}

    return run
