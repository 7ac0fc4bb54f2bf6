"""Training of a Krotov–Hopfield layer: images in random order, a learning rate that falls to 0, and a history."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ..common.arguments import as_float, check_integers, shown
from ..common.denormals import flushed_denormals
from ..common.progress import progress_bar
from .krotov_hopfield import KrotovHopfieldLayer, check_values

MOST_UPDATES = 10**9
RECORDS = 20  # rows of the history, at most
SHORT = 0.9  # in units of R: converged units are not shorter, and from such a start the first winner wins for ever


def train_krotov_hopfield(
    layer: KrotovHopfieldLayer, x: Tensor, *, updates: int, lr: float, batch: int, progress: bool = False,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    r"""Trains a Krotov–Hopfield layer in place, with a learning rate that falls linearly to 0.

    .. math:: W \leftarrow W + \eta_t \frac{\Delta W}{\max |\Delta W|}, \qquad
        \eta_t = \text{lr} \left(1 - \frac{t}{\text{updates}}\right)

    Every replica takes the images in an order of its own, and each image once before any comes a second time (what is left
    over of an order, less than a batch, is left out). On the digits this leaves 2 % of the units silent, independent draws 3 %.

    Two recipes, measured with 200 units and the defaults of the layer, as shares of units unconverged and silent on the training
    images. Digits minus the mean of the training images, then ``lp_normalize``: lr 0.04, batch 100, 8,000 updates leave 2 % and
    2 % (128 layers; at most 7 % in one). 20,000 patches of ``natural_patches``, which takes from each its own means, then
    ``lp_normalize``: lr 0.1, batch 256, 2,500 updates leave 0 % and 0 %, and 2 % silent on 20,000 patches of the other stripes
    (6 layers; with lr 0.2, 30 % and 30 %). Images that keep a large common part have no such recipe yet: patches minus the mean
    of the training patches, lr 0.04, 8,000 updates, leave 85 % and 4 %; raw digits, std 2 and signs aligned, 8 % and 8 %.

    Args:
        layer: any ``KrotovHopfieldLayer``; it may have been trained before.
        x: (N, D), shared by the replicas, or (..., N, D). Images are usually divided by their own Lp norm (``lp_normalize``).
        updates: number of updates. lr: > 0, by how much the entry that changes most changes in the first one.
        batch: number of images in an update, at most N.
        progress: show a progress bar. generator: draws the orders, on its device.

    Returns:
        history, with a row for each of at most 20 equal parts of the training: "updates" (K,) done; "unconverged" (K, ...) share
        of the units with ``|‖W‖_p / R − 1| > 0.01`` then; "silent" (K, ...) share of the units that won no image in this part.
        Look at both: a collapsed layer has a small share of unconverged units.

    Raises:
        ValueError: a number out of range, a batch larger than N; x as in ``KrotovHopfieldLayer``; a start so short that it
            collapses.
        TypeError: no layer, no tensor, no generator, progress neither True nor False.
        RuntimeError: weights that are NaN or infinite, at the start or at a row of the history.

    Source: arXiv 2405.00679 and its code (the rule's fast form, the schedule).

    Example:
        >>> layer = KrotovHopfieldLayer(64, 20, replicas=(3,), generator=torch.Generator().manual_seed(0))
        >>> history = train_krotov_hopfield(layer, torch.rand(100, 64), updates=40, lr=0.04, batch=10)
        >>> history["silent"].shape
        torch.Size([20, 3])
    """
    _check(layer, x, updates, lr, batch, progress, generator)
    lr = float(lr)
    weight, replicas = layer.weight, math.prod(layer.replicas)
    own = x.detach().flatten(0, -2)  # the images of all replicas in one row
    count, each = x.shape[-2], x.ndim > 2
    orders = _orders(count, batch, replicas, generator, x.device)
    first = torch.arange(replicas, device=x.device).unsqueeze(-1) * (count if each else 0)
    images = x.new_empty(replicas * batch, x.shape[-1])
    given = images.view(*layer.replicas, batch, x.shape[-1])
    wins = weight.new_zeros(weight.shape[:-1]).flatten()
    ends = {updates * part // RECORDS for part in range(1, RECORDS + 1)} - {0}
    rows: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad(), flushed_denormals():
        for done in progress_bar(range(updates), enabled=progress, label="Krotov–Hopfield", total=updates):
            torch.index_select(own, 0, (next(orders) + first).flatten(), out=images)
            winners = layer.update_(given, lr * (1 - done / updates))
            wins.index_fill_(0, winners, 1.0)
            if done + 1 in ends:
                layer.check_weights(f"after {done + 1} of {updates} updates with lr {lr:g}")
                rows.append((layer.unconverged(), (wins == 0).view(weight.shape[:-1]).to(weight.dtype).mean(-1)))
                wins.zero_()
    unconverged, silent = (torch.stack(values) for values in zip(*rows, strict=True))
    return {"updates": torch.tensor(sorted(ends), device=x.device), "unconverged": unconverged, "silent": silent}


def _orders(
    count: int, batch: int, replicas: int, generator: torch.Generator | None, device: torch.device
) -> Iterator[Tensor]:
    """Without end, the numbers (R, batch) of the next images of each replica: one random order of all after the other."""
    source = generator.device if generator is not None else device
    while True:
        order = torch.rand(replicas, count, generator=generator, device=source).argsort(-1).to(device)
        yield from (order[:, start : start + batch] for start in range(0, count - batch + 1, batch))


def _check(
    layer: KrotovHopfieldLayer, x: Tensor, updates: int, lr: float, batch: int, progress: bool,
    generator: torch.Generator | None,
) -> None:  # fmt: skip
    """Checks all arguments; this waits for the layer's device."""
    if not isinstance(layer, KrotovHopfieldLayer):
        raise TypeError(f"layer: got {type(layer).__name__}, expected a KrotovHopfieldLayer")
    layer.check_images(x)
    check_values(x)
    check_integers(updates=(updates, 1), batch=(batch, 1))
    if updates > MOST_UPDATES:
        raise ValueError(f"updates: got {shown(updates)}, expected at most {MOST_UPDATES:.0e}")
    if batch > x.shape[-2]:
        raise ValueError(f"batch: got {shown(batch)}, but x has only {x.shape[-2]} images; expected at most as many")
    if not 0 < as_float(lr) <= torch.finfo(layer.weight.dtype).max:
        raise ValueError(f"lr: got {shown(lr)}, expected a finite number > 0, of {layer.weight.dtype} as the weights")
    if not isinstance(progress, bool):
        raise TypeError(f"progress: got {progress!r}, expected True or False")
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(f"generator: got {type(generator).__name__}, expected a torch.Generator or None")
    layer.check_weights(writing=True)
    norms, radius = layer.norms(), layer.rule.radius
    if norms.shape[-1] > 1 and not bool((norms.median(-1).values >= SHORT * radius).all()):
        raise ValueError(
            f"layer: half of the units or more are shorter than {SHORT:g} times the radius {radius:g}, a start from which "
            "learning collapses, because the first unit to reach this norm wins all images; expected weights as the layer draws "
            "them, or weights of at least this Lp norm"
        )
