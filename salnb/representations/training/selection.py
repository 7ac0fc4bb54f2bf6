"""The choice of a penalty's strength, by samples that do not judge it."""

from typing import NamedTuple

from torch import Tensor

from ...common.tensors import check_floats
from .samples import Samples, check_pair, replicas_of
from .train import train_hidden


class ChosenStrength(NamedTuple):
    r"""The strength that was chosen, and the accuracies (S, \*replicas) of all S strengths on the samples to select on."""

    strength: float
    accuracy: Tensor


def choose_strength(
    x: Tensor, y: Tensor, strengths: Tensor, *, select: Samples, margin: float = 0.0,
    replicas: int | tuple[int, ...] | None = None, **settings,
) -> ChosenStrength:  # fmt: skip
    r"""The largest of these strengths of a penalty that costs at most ``margin`` of the best accuracy.

    .. math:: \kappa = \max \{\kappa_i : \bar a_i \ge \max_j \bar a_j - \text{margin}\}

    with the accuracy ā_i on the samples to select on, averaged over the replicas. All strengths are trained side by side. The
    samples to judge by have no place here: ``judge`` is refused.

    Args:
        x, y, select, replicas, settings: as for ``train_hidden``, the model among the settings.
        strengths: (S,), each at least 0. margin: a share of the samples, at least 0.

    Returns:
        a ``ChosenStrength``.

    Raises:
        ValueError: ``judge`` among the settings, strengths that are no (S,), a negative margin; as ``train_hidden``.

    Source: this book.

    Example:
        >>> import torch
        >>> x, y = torch.eye(4).repeat(5, 1), torch.arange(4).repeat(5)
        >>> generator = torch.Generator().manual_seed(0)
        >>> chosen = choose_strength(x, y, torch.tensor([1e-4, 1e-3, 10.0]), select=(x, y), model="decay", units=20, batch=20,
        ...                          replicas=2, generator=generator)
        >>> f"{chosen.strength:.0e}"
        '1e-03'
    """
    if "judge" in settings or "strength" in settings:
        name = "judge" if "judge" in settings else "strength"
        raise ValueError(f"{name}: has no part in the choice of a strength; give strengths= and select= alone")
    check_floats("strengths", strengths, "(S,)")
    if strengths.ndim != 1:
        raise ValueError(f"strengths: got shape {tuple(strengths.shape)}, expected (S,)")
    if isinstance(margin, bool) or not isinstance(margin, (int, float)) or not margin >= 0:
        raise ValueError(f"margin: got {margin!r}, expected a share >= 0")
    check_pair("select", select)
    lead = replicas_of(x, replicas)
    many = len(strengths)
    if isinstance(settings.get("hidden_weight"), Tensor):
        settings["hidden_weight"] = _stacked(settings["hidden_weight"], many, 2)
    trained = train_hidden(
        _stacked(x, many, 2), _stacked(y, many, 1), select=(_stacked(select[0], many, 2), _stacked(select[1], many, 1)),
        strength=strengths.view(many, *[1] * len(lead)), replicas=(many, *lead), **settings,
    )  # fmt: skip
    accuracy = trained.history["select"][-1]
    means = accuracy.flatten(1).mean(-1) if lead else accuracy
    enough = means >= means.max() - margin
    return ChosenStrength(float(strengths[enough.to(strengths.device)].max()), accuracy)


def _stacked(value: Tensor, many: int, shared: int) -> Tensor:
    """What belongs to replicas, once for each strength; what is shared has so many dimensions, and stays as it is."""
    return value if not isinstance(value, Tensor) or value.ndim <= shared else value.expand(many, *value.shape)
