"""Training of many independent networks of one hidden layer side by side: every replica has its own data, order and start."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...common.arguments import check_integers
from ...common.denormals import flushed_denormals
from ...common.progress import progress_bar
from ...common.tensors import check_floats
from ..hidden_net import HiddenNet
from .recipe import FROZEN, Recipe, as_recipe
from .samples import Samples, check_pair, check_samples, replicas_of, strengths_of
from .start import activities, first_net, principal_components, shuffled, with_front


class TrainedHidden(NamedTuple):
    r"""A trained network and how it came about.

    Attributes:
        net: the ``HiddenNet``, in evaluation mode, which reads the images as they were given.
        history: "loss" (epochs, \*replicas), mean cross-entropy of each epoch in nats; "penalty" (epochs, \*replicas), its
            strength included; where samples to select on were given, "looked" (K,) epochs and "select" (K, \*replicas), the
            accuracies on them; where samples to judge by were given, "judge" (\*replicas), the accuracy after the last step.
    """

    net: HiddenNet
    history: dict[str, Tensor]


def train_hidden(
    x: Tensor, y: Tensor, *, model: str | Recipe = "backprop", select: Samples | None = None, judge: Samples | None = None,
    classes: int | None = None, hidden_weight: Tensor | None = None, strength: float | Tensor | None = None,
    replicas: int | tuple[int, ...] | None = None, looks: int = 10, generator: torch.Generator | None = None,
    progress: bool = False, **changes,
) -> TrainedHidden:  # fmt: skip
    r"""Trains one of the compared models on these samples, all replicas in one batched product.

    .. math:: \text{loss} = \sum_r \Big( \overline{-\log p_r(y \mid x)} + \kappa\,\text{penalty}_r \Big)

    Args:
        x, y: samples to fit, (..., n, D) and labels (..., n), 0 … classes − 1; the leading dimensions are replicas with data of
            their own. Or (n, D) and (n,), shared by ``replicas``.
        model: the name of a model ("backprop", "decay", "jacobian", "jacobian_published", "spectral", "sensitivity", "early",
            "components", "random", "exemplars", "krotov_hopfield") or a ``Recipe``.
        select: samples (x, y) on which settings may be chosen; their accuracy is looked at ``looks`` times during training.
        judge: samples (x, y) for the verdict alone. They are used once, after the last step. Choose no setting by them.
        classes: default, the largest label of y plus 1.
        hidden_weight: (..., units, D), the hidden weights of the model "krotov_hopfield" (``layer.effective_weight()``) and of
            all recipes with ``hidden="given"``.
        strength: κ, in place of the recipe's; a tensor that broadcasts to the replicas gives each one its own.
        replicas: numbers of networks, if x and y are shared; default, the leading dimensions of x.
        generator: for start, order and probes.
        changes: other settings of the ``Recipe``, for instance epochs=50, power=4.5, target=0.25.

    Returns:
        a ``TrainedHidden``: the net and its history.

    Raises:
        ValueError: samples, labels or weights that do not fit, settings that the model does not read. TypeError: no tensors.
        RuntimeError: a replica's loss or weights are no longer finite.

    Losses are summed over replicas, so that each learns as if it were alone.

    Source: arXiv 2405.00679 for the models; early stopping, exemplars, random features, components and the sensitivity penalty
    are this book's controls. Adam: Kingma and Ba 2015.

    Example:
        >>> x, y = torch.eye(4).repeat(2, 5, 1), torch.arange(4).repeat(2, 5)
        >>> net, history = train_hidden(x, y, judge=(x, y), units=20, batch=20, generator=torch.Generator().manual_seed(0))
        >>> history["judge"]
        tensor([1., 1.])
    """
    if torch.is_inference_mode_enabled():
        raise RuntimeError("train_hidden: called inside torch.inference_mode(), where nothing can learn; call it outside")
    recipe = as_recipe(model, changes)
    lead = replicas_of(x, replicas)
    classes = check_samples("x", "y", x, y, lead, classes)
    for name, samples in (("select", select), ("judge", judge)):
        if samples is not None:
            check_pair(name, samples)
            check_samples(f"{name}[0]", f"{name}[1]", *samples, lead, classes, like=x)
    check_integers(looks=(looks, 1))
    n = x.shape[-2]
    if recipe.batch > n:
        raise ValueError(f"batch: got {recipe.batch} for {n} samples per replica, expected at most {n}")
    factor = strengths_of(recipe, strength, lead, x)
    x, y = x.detach().expand(*lead, *x.shape[-2:]), y.long().expand(*lead, n)
    with flushed_denormals():
        front = principal_components(x, recipe.components) if recipe.hidden == "components" else None
        net = first_net(recipe, x if front is None else x @ front.mT, classes, hidden_weight, lead, generator)
        history = _learn(net, recipe, factor, x, y, front, select, looks, generator, progress)
        if front is not None:
            net = with_front(net, front)
        if judge is not None:
            history["judge"] = accuracy(net, *judge)
    return TrainedHidden(net.eval(), history)


@torch.enable_grad()
def _learn(
    net: HiddenNet, recipe: Recipe, factor: Tensor, x: Tensor, y: Tensor, front: Tensor | None, select: Samples | None,
    looks: int, generator: torch.Generator | None, progress: bool,
) -> dict[str, Tensor]:  # fmt: skip
    """All epochs; the history."""
    frozen = recipe.hidden in FROZEN
    inputs = activities(net, x) if frozen else x if front is None else x @ front.mT
    steps = x.shape[-2] // recipe.batch
    parameters = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=recipe.lr, fused=True)
    when = {round(recipe.epochs * (i + 1) / looks) for i in range(looks)} - {0}
    seen: dict[str, list] = {"loss": [], "penalty": [], "looked": [], "select": []}
    for epoch in progress_bar(range(recipe.epochs), enabled=progress, label="epochs"):
        order = shuffled(y.shape, generator, y.device)[..., : steps * recipe.batch]
        batches = zip(
            torch.take_along_dim(inputs, order.unsqueeze(-1), -2).split(recipe.batch, -2),
            y.gather(-1, order).split(recipe.batch, -1), strict=True,
        )  # fmt: skip
        losses, costs = torch.zeros_like(factor), torch.zeros_like(factor)
        for step, (batch, labels) in enumerate(batches):
            optimizer.param_groups[0]["lr"] = recipe.rate((epoch + step / steps) / recipe.epochs)
            loss = cross_entropy(net.readout(batch) if frozen else net(batch), labels)
            cost = recipe.cost(net, batch, generator)
            cost = torch.zeros_like(loss) if cost is None else factor * cost
            optimizer.zero_grad()
            (loss + cost).sum().backward()
            if recipe.clip is not None:
                clip_by_replica_(parameters, recipe.clip, y.ndim - 1)
            optimizer.step()
            losses += loss.detach() / steps
            costs += cost.detach() / steps
        _check_sound(losses + costs, "loss", epoch)
        seen["loss"].append(losses)
        seen["penalty"].append(costs)
        if select is not None and epoch + 1 in when:
            seen["looked"].append(epoch + 1)
            seen["select"].append(accuracy(net, select[0] if front is None else select[0] @ front.mT, select[1]))
    _check_sound(sum(p.detach().flatten(y.ndim - 1).sum(-1) for p in parameters), "sum of the weights", epoch)
    history = {name: torch.stack(values) for name, values in seen.items() if name != "looked" and values}
    return {**history, "looked": torch.tensor(seen["looked"], device=x.device)} if select is not None else history


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the batch, (...,), in nats; logits (..., B, C), labels (..., B)."""
    each = nn.functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none")
    return each.view(labels.shape).mean(-1)


@torch.no_grad()
def accuracy(net: HiddenNet, x: Tensor, y: Tensor) -> Tensor:
    """Share of right answers, (...,), of each replica; x (B, D) or (..., B, D), y (B,) or (..., B).

    Raises:
        ValueError, TypeError: samples or labels that do not fit the network or each other.
    """
    check_floats("x", x, "(B, D) or (..., B, D)", dims=2)
    answers = net(x).argmax(-1)
    if not isinstance(y, Tensor) or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        came = y.dtype if isinstance(y, Tensor) else type(y).__name__
        raise TypeError(f"y: got {came}, expected a tensor of integer labels (B,) or (..., B)")
    if tuple(y.shape) not in ((answers.shape[-1],), tuple(answers.shape)):
        each = f"({answers.shape[-1]},) or {tuple(answers.shape)}"
        raise ValueError(f"y: got shape {tuple(y.shape)}, expected {each}: one label per sample")
    return (answers == y).to(x.dtype).mean(-1)


def clip_by_replica_(parameters: list[nn.Parameter], limit: float, dims: int) -> None:
    """Cuts each replica's whole gradient to this length; the first ``dims`` dimensions are replicas."""
    squares = sum(p.grad.square().flatten(dims).sum(-1) for p in parameters)
    share = limit / squares.sqrt().clamp_min(limit)
    for p in parameters:
        p.grad.mul_(share.view(*share.shape, *[1] * (p.ndim - dims)))


def _check_sound(value: Tensor, name: str, epoch: int) -> None:
    """Checks that a number of each replica is finite."""
    wrong = ~torch.isfinite(value)
    if bool(wrong.any()):
        places = wrong.nonzero().squeeze(-1).tolist() if value.ndim else "all"
        raise RuntimeError(
            f"lr: after epoch {epoch + 1} the {name} is not finite in the replicas {places}; use a smaller lr or strength, or "
            "clip="
        )
