r"""Gradient flossing: the recurrent weights are moved until the leading finite-time exponents are near 0.

.. math:: \text{loss} = \frac1k \sum_{i=1}^{k} \lambda_i(T)^2, \qquad \lambda_i(T) = \frac1T \log\sigma_i(J_T \cdots J_1)

Like SAL before learning it needs inputs and no labels. Unlike SAL it is not local: the gradient goes back through all steps of
the product. Here is also what the comparison of the two needs: networks that start alike, the one or the other or both applied to
them, and learning from there.

Source of the idea: R. Engelken, *Gradient flossing: improving gradient descent through dynamic control of Jacobians*, NeurIPS
2023, arXiv 2312.17306. Which exponents, over how many steps, and at what rate is this project's.
"""

import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor

from ...common.arguments import check_sizes
from ...common.denormals import flushed_denormals
from ...lyapunov.finite_time import finite_time_exponents
from ...networks.recurrent import TanhRNN
from ...networks.steps import rnn_step
from ...sal.optimizer import SAL
from ..tasks.classification import ClassificationTask
from .loop import QUIET
from .recipe import Policy
from .record import TrainingRun, run_problem


def leading_exponents(net: TanhRNN, inputs: Tensor, k: int, *, create_graph: bool = False) -> Tensor:
    """The k largest finite-time exponents over whole sequences, from the state 0.

    Args:
        net: R networks. inputs: (T, R, B, n_in), sequences of each network. k: how many exponents, at most the number of units.
        create_graph: the result can be differentiated by the weights.

    Returns:
        (R, B, k), descending, in nats per step.
    """
    step, state = rnn_step(net), inputs.new_zeros((*inputs.shape[1:-1], net.n_hidden[-1]))
    return finite_time_exponents(step, state, n_steps=len(inputs), k=k, inputs=inputs, jvp=step.jvp, create_graph=create_graph)


def floss(net: TanhRNN, draw: Callable[[], Tensor], *, k: int, steps: int, lr: float) -> Tensor:
    """Adam on the recurrent weights, down the mean square of the k leading exponents; ``net`` is changed in place.

    The losses of the replicas are added up, and Adam works on each weight by itself, so they do not see each other.

    Args:
        net: a flat network, R replicas. draw: gives the next sequences (T, R, B, n_in); no labels.
        k: how many exponents. steps: of Adam. lr: its rate.

    Returns:
        The losses (steps, R) before each step, in squared nats per squared time step.

    Raises:
        ValueError: k, steps or lr out of range.

    Example:
        >>> net = TanhRNN(1, 4, 1, gain=0.5, replicas=(2,), generator=torch.Generator().manual_seed(0))
        >>> loss = floss(net, lambda: torch.zeros(3, 2, 1, 1), k=4, steps=30, lr=0.02)
        >>> bool((loss[-1] < 0.2 * loss[0]).all())
        True
    """
    check_sizes(steps=steps, k=k)
    if k > net.n_hidden[-1]:
        raise ValueError(f"k: got {k}, expected a number of exponents from 1 to the {net.n_hidden[-1]} units")
    if not lr > 0:
        raise ValueError(f"lr: got {lr!r}, expected a rate > 0")
    weight, losses = net.recurrent[0].weight, []
    optimizer = torch.optim.Adam([weight], lr=lr)
    for _ in range(steps):
        loss = leading_exponents(net, draw(), k, create_graph=True).square().mean((-2, -1))
        weight.grad = torch.autograd.grad(loss.sum(), weight)[0]
        optimizer.step()
        losses.append(loss.detach())
    weight.grad = None
    return torch.stack(losses)


def sal_before(net: TanhRNN, draw: Callable[[], Tensor], policy: Policy) -> int:
    """SAL as before learning in ``train_lag``, until almost no neuron is below target; returns how many passes it took."""
    sal, quiet = SAL(net, lr=policy.lr, target=policy.target, decay=policy.decay, rule=policy.rule, average=policy.average), 0
    net.train()
    done = 0
    while done < policy.passes and quiet < QUIET:
        with torch.no_grad(), flushed_denormals():
            net(draw())
            sal.step()
        done += 1
        quiet = quiet + 1 if float(sal.share_below_target().mean()) < policy.rest else 0
    sal.detach()
    return done


def treated(
    net: TanhRNN, problem: ClassificationTask, *, sal: Policy | None, flossing: dict | None, generator: torch.Generator
) -> dict:
    """Applies SAL, then flossing, each if asked for; ``net`` is changed in place.

    Args:
        net: R networks. problem: draws the sequences. sal: how SAL acts. flossing: ``k``, ``steps``, ``lr`` and ``batch``, the
            sequences of each network in a step. generator: of the sequences.

    Returns:
        "passes" of SAL and "floss_steps", "seconds_sal" and "seconds_floss", "floss_loss": the mean over the networks at the
        first and the last step.
    """
    (replicas,), done = net.replicas, {"passes": 0, "floss_steps": 0, "seconds_sal": 0.0, "seconds_floss": 0.0, "floss_loss": []}
    began = time.perf_counter()
    if sal is not None:
        done["passes"] = sal_before(net, lambda: problem.draw(sal.batch, generator, replicas)[0], sal)
        done["seconds_sal"] = time.perf_counter() - began
    began = time.perf_counter()
    if flossing is not None:
        how = {name: flossing[name] for name in ("k", "steps", "lr")}
        loss = floss(net, lambda: problem.draw(flossing["batch"], generator, replicas)[0], **how).mean(1)
        done |= {"floss_steps": how["steps"], "floss_loss": [float(loss[0]), float(loss[-1])]}
        done["seconds_floss"] = time.perf_counter() - began
    return done


def learned(
    net: TanhRNN, problem: ClassificationTask, *, settings: dict, lr: float, steps: int, batch: int, seed: int, path: Path
) -> tuple[TanhRNN, TrainingRun]:
    """Trains a copy of these networks as ``train_lag`` does, without SAL; ``path`` holds the state of the run meanwhile.

    ``settings``: what else identifies the run, so that a file of another one is refused.
    """
    run = run_problem(
        problem, lambda generator: deepcopy(net), {"gain": 1.0, "bias": 0.0, **settings}, policy=None, optimizer="adam", lr=lr,
        clip=1.0, batch=batch, replicas=net.replicas[0], steps=steps, n_test=100,
        generator=torch.Generator().manual_seed(seed), device=None, progress=False, path=path, save_every=60.0)  # fmt: skip
    trained = deepcopy(net)
    trained.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["model"])
    return trained, run
