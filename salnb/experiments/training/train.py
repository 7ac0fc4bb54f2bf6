"""The training experiments of the book: deep networks, and recurrent networks on tasks with a lag."""

from collections.abc import Mapping
from pathlib import Path

import torch

from ...common.arguments import check_sizes
from ..tasks.classification import Task, as_classification_task
from .baselines import check_names, deep_net, recurrent_net
from .recipe import DEEP, DEEP_RATES, DEEP_ROWS, LAG, LAG_RATES, LAG_ROWS, as_policy, rate
from .record import TrainingRun, run_problem
from .rescaling import rescale_rows_


def train_deep(
    task: Task, *, depth: int = 300, width: int = 64, gain: float = 0.5, bias: float = 0.5, init: str = "gaussian",
    architecture: str = "plain", sal: bool | Mapping[str, object] = True, optimizer: str = "adam", lr: float | None = None,
    clip: float = 1.0, batch: int = 32, replicas: int = 16, steps: int = 600, generator: torch.Generator | None = None,
    device=None, progress: bool = False, path: str | Path | None = None, save_every: float = 60.0,
) -> TrainingRun:  # fmt: skip
    r"""Trains deep tanh networks, by default with SAL, and measures the trained networks.

    Args:
        task: "parity", "two_moons", "disc_and_ring", "digits", or a callable ``(n, generator) -> (inputs, targets)`` with
            inputs (n, n_in) and classes 0, 1, ... as targets (n,).
        depth, width: hidden layers and neurons in each. gain: expected length of the weight vectors of layers 2 ... depth at the
            start; the first layer and the readout always start with 1, so that only the depth is varied.
        bias: standard deviation of the first layer's biases at the start. Without any a tanh network is an odd function, which
            cannot tell a disc from the ring around it; the other biases start at 0.
        init: "gaussian", "orthogonal" or "xavier" (uniform). architecture: "plain", "layer_norm" or "residual".
        sal: True (the recipe), False, or a mapping of settings that differ from the recipe, see ``salnb.experiments.Policy``.
        optimizer: "adam" or "sgd" (momentum 0.9). lr: its rate, by default the recipe's; constant over the first half of
            ``steps``, then falling to 0. clip: longest gradient of a replica. batch: samples per step and replica.
        replicas: R. generator: of weights and data, which are then the same on every device. device: where to compute.
        path: file to store the run in while it goes, every ``save_every`` seconds; an interrupted run continues from there.

    Returns:
        ``TrainingRun``.

    Raises:
        ValueError: an argument out of range, a task of another form, a ``path`` that holds another run.

    Source: Shibata et al., Neural Networks 143 (2021) report a trained 300-layer network; the recipe is this project's.

    Example:
        >>> run = train_deep("parity", depth=5, width=16, replicas=2, steps=4, sal={"passes": 3})
        >>> run.accuracy.shape, run.gradient_profile.shape
        (torch.Size([2]), torch.Size([2, 5]))
    """
    problem = as_classification_task(task)
    check_sizes(depth=depth, width=width, replicas=replicas, steps=steps, batch=batch)
    recipe = DEEP if check_names(sal, architecture=architecture) else DEEP_ROWS

    def build(weights: torch.Generator):
        return deep_net(problem.n_in, width, problem.n_out, depth, gain=gain, bias=bias, init=init, architecture=architecture,
                        replicas=replicas, generator=weights, device=device)  # fmt: skip

    named = dict(depth=depth, width=width, gain=gain, bias=bias, init=init, architecture=architecture)
    return run_problem(
        problem, build, named, policy=as_policy(sal, recipe), optimizer=optimizer, lr=rate(lr, optimizer, DEEP_RATES), clip=clip,
        batch=batch, replicas=replicas, steps=steps, n_test=256, generator=generator, device=device, progress=progress, path=path,
        save_every=save_every)  # fmt: skip


def train_lag(
    *, lag: int = 300, n_hidden: int = 64, task: Task = "xor", gain: float = 0.5, bias: float = 0.0, init: str = "gaussian",
    cell: str = "tanh", rescale: bool = False, sal: bool | Mapping[str, object] = True, optimizer: str = "adam",
    lr: float | None = None, clip: float = 1.0, batch: int = 16, replicas: int = 16, steps: int = 3000,
    generator: torch.Generator | None = None, device=None, progress: bool = False, path: str | Path | None = None,
    save_every: float = 60.0, restart_every: int | None = None,
) -> TrainingRun:  # fmt: skip
    r"""Trains recurrent networks on a task with a lag, by default with SAL, and measures the trained networks.

    Args:
        lag: time steps between the first input and the last. n_hidden: N. task: "xor", "varied_xor", "lagged_parity",
            "temporal_order", or a callable ``(n, generator) -> (inputs (T, n, n_in), targets (n,))``; the answer is read at
            the last time step.
        gain: expected length of the recurrent weight vectors at the start, about the spectral radius; input weights and readout
            start with 1. init: "gaussian" or "orthogonal". bias: standard deviation of the biases at the start.
        cell: "tanh"; or "relu" (starts as an identity), "gru", "lstm" (biases spread over the lag), "plain_gru" (biases 0).
            There, as with the other architectures of ``train_deep``, SAL goes by rows of the Jacobian, see ``salnb.sal.RowSAL``.
        rescale: divide each tanh neuron's recurrent weights by its mean sensitivity on one batch, once, before all else; see
            ``salnb.experiments.training.rescale_rows_``.
        restart_every: without SAL and by Adam: after so many steps, and again after as many, networks whose running loss is above
            half the loss of guessing are drawn anew. They learn on within the same ``steps``, with an optimizer of their own.
        others: as in ``train_deep``.

    Returns:
        ``TrainingRun``.

    Raises:
        ValueError: as in ``train_deep``; also SAL by the mean where only the RMS is measured, ``rescale`` for another cell
            or neither True nor False, and ``restart_every`` with SAL or SGD.

    Source: Shibata et al., Neural Networks 143 (2021) report a lag of 300 steps; task and recipe are this project's.

    Example:
        >>> run = train_lag(lag=8, n_hidden=16, replicas=2, steps=4, sal={"passes": 3})
        >>> run.held.shape, run.gradient_profile.shape
        (torch.Size([2]), torch.Size([2, 9]))
    """
    check_sizes(lag=lag, n_hidden=n_hidden, replicas=replicas, steps=steps, batch=batch)
    problem = as_classification_task(task, lag=lag)
    recipe = LAG if check_names(sal, cell=cell) else LAG_ROWS

    if not isinstance(rescale, bool):
        raise ValueError(f"rescale: got {rescale!r}, expected True or False")
    if rescale and cell != "tanh":
        raise ValueError(f"rescale: got True with {cell}, expected a network of tanh neurons")

    def build(weights: torch.Generator):
        net = recurrent_net(cell, problem.n_in, n_hidden, problem.n_out, gain=gain, bias=bias, init=init, lag=lag,
                            replicas=replicas, generator=weights, device=device)  # fmt: skip
        if rescale:
            rescale_rows_(net, problem.draw(batch, weights, replicas, device=device)[0])
        return net

    named = dict(lag=lag, n_hidden=n_hidden, gain=gain, bias=bias, init=init, cell=cell, **({"rescale": True} if rescale else {}))
    return run_problem(
        problem, build, named, policy=as_policy(sal, recipe), optimizer=optimizer, lr=rate(lr, optimizer, LAG_RATES), clip=clip,
        batch=batch, replicas=replicas, steps=steps, n_test=100, generator=generator, device=device, progress=progress, path=path,
        save_every=save_every, restart_every=restart_every)  # fmt: skip
