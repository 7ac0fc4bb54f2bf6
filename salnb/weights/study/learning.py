"""Networks that learn images while their spectra are recorded: with weight decay, with held norms, with permuted labels."""

import torch
from torch import Tensor
from torch.func import functional_call

from ...networks.deep import DeepNet
from ..rank import effective_rank
from ..singular_vectors import singular_vectors
from ..tracker import SpectralTracker
from ..truncation import truncate_svd
from .data import split_of
from .training import MATRICES, MIDDLE, Recipe, accuracies, losses, matrices_of, network, train

EARLY = 20  # the epoch at which it is asked which singular vectors are settled
BULK = slice(100, 110)  # ranks in the middle of the spectrum, beside the ten leading ones
SOME = (0, 1, 2, 5)  # epochs at which the spectra are looked at, then every tenth


def looks(epochs: int) -> list[int]:
    """The epochs at which the spectra are recorded."""
    return sorted({*(e for e in SOME if e <= epochs), *range(10, epochs + 1, 10), epochs})


def norms_of(matrices: dict[str, Tensor]) -> dict[str, Tensor]:
    """Frobenius norm (R,) of each matrix."""
    return {name: torch.linalg.matrix_norm(value) for name, value in matrices.items()}


class HeldNorms:
    """Brings each matrix back to a given norm after every step: to the last of a course, or along it.

    Args:
        net: the networks. epochs: (E,), the times of the course. norms: for each matrix (E, R). along: whether the norm follows
            the course, with straight lines between its times; else it is the last one from the first step on.
    """

    def __init__(self, net: DeepNet, epochs: list[int], norms: dict[str, list[list[float]]], along: bool) -> None:
        self.parameters = {name: parameter for name, parameter in net.named_parameters() if name in MATRICES}
        self.epochs, self.along = epochs, along
        self.norms = {name: torch.tensor(course) for name, course in norms.items()}

    def wanted(self, name: str, epoch: float) -> Tensor:
        course = self.norms[name]
        if not self.along:
            return course[-1]
        after = next((i for i, time in enumerate(self.epochs) if time >= epoch), len(self.epochs) - 1)
        before = max(after - 1, 0)
        width = self.epochs[after] - self.epochs[before]
        share = (epoch - self.epochs[before]) / width if width else 0.0
        return course[before] + share * (course[after] - course[before])

    def __call__(self, epoch: float) -> None:
        for name, parameter in self.parameters.items():
            factor = self.wanted(name, epoch) / torch.linalg.matrix_norm(parameter)
            parameter.mul_(factor[:, None, None])


def with_half(net: DeepNet, keep: str) -> dict[str, Tensor]:
    """The parameters with only the top or the bottom half of each matrix's directions; the readout stays whole."""
    parameters = {name: value.detach() for name, value in net.named_parameters()}
    return parameters | {name: truncate_svd(parameters[name], keep=keep) for name in MATRICES[:-1]}


def settled(early: Tensor, late: Tensor) -> dict[str, list[float]]:
    """Singular-vector agreement (R,) of an early with the last matrix, of the ten leading ranks and of ten in the bulk."""
    (left, _, right), (last_left, _, last_right) = singular_vectors(early), singular_vectors(late)
    products = ((left * last_left).sum(-2) * (right * last_right).sum(-2)).abs()
    return {"top": products[:, :10].mean(-1).tolist(), "bulk": products[:, BULK].mean(-1).tolist()}


def learn(
    data: str, seeds: tuple[int, int], *, width: int = 256, scale: float = 1.0, permuted: bool = False, replicas: int = 8,
    norms: dict | None = None, along: bool = False, movie: bool = False, **recipe: float,
) -> dict:  # fmt: skip
    """Trains R networks and returns the course of their spectra and what was measured at the end, in lists over R.

    Args:
        data: name of the set. seeds: of data and order, and of weights. width: H. scale: of the start, in units of PyTorch's.
        permuted: labels that say nothing. norms: of ``learn``'s result for other networks, {"epochs", name: (E, R)}, to be
            held; and whether ``along`` their course or at their last value. movie: keep all singular values of the first network.
        recipe: see ``Recipe``.
    """
    settings = Recipe(**recipe)
    draws, weights = (torch.Generator().manual_seed(seed) for seed in seeds)
    split = split_of(data, replicas, draws, permuted=permuted)
    net = network(split.fit.inputs.shape[-1], width, replicas, weights, scale)
    tracker, start, early, course = SpectralTracker(net, MATRICES), matrices_of(net), {}, {name: [] for name in MATRICES}
    hold = None if norms is None else HeldNorms(net, norms["epochs"], {name: norms[name] for name in MATRICES}, along)
    if hold is not None:
        with torch.no_grad():
            hold(0.0)

    def look(epoch: int) -> None:
        if epoch in looks(settings.epochs):
            tracker.record(epoch)
            for name, norm in norms_of(matrices_of(net)).items():
                course[name].append(norm.tolist())
        if epoch == EARLY:
            early.update(matrices_of(net))

    look(0)
    train(net, split.fit, settings, draws, after_step=hold, after_epoch=look)
    end = matrices_of(net)
    with torch.no_grad():
        loss = losses(net, split.fit)
    halves = {keep: accuracies(lambda x: functional_call(net, with_half(net, keep), (x,)), split.test).tolist()  # noqa: B023
              for keep in ("top", "bottom")}  # fmt: skip
    found = {
        "epochs": tracker.steps, "norms": course,
        "rank": {name: tracker.effective_rank(name).tolist() for name in MATRICES},
        "alignment": {f"{a} -> {b}": tracker.alignment(a, b)[-1].tolist() for a, b in tracker.pairs},
        "rank of the change": {name: effective_rank(end[name] - start[name]).tolist() for name in MATRICES},
        "accuracy": accuracies(net, split.test).tolist(), "fitted": accuracies(net, split.fit).tolist(), "loss": loss.tolist(),
        "top half": halves["top"], "bottom half": halves["bottom"],
    }  # fmt: skip
    if early and width > BULK.stop:
        found["settled"] = {name: settled(early[name], end[name]) for name in MIDDLE}
    if movie:
        found["singular values"] = {name: tracker.singular_values(name)[:, 0].tolist() for name in MATRICES}
    return found
