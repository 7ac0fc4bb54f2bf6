"""Robustness: how much an image must change before the class flips, and how many images stand up to every attack."""

import functools
import inspect
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..common.tensors import check_floats
from .attack_arguments import Logits, attacked, broadcasts, check_epsilon, check_finite, outputs
from .attacks import fgsm, pgd, sign_search

Attack = Callable[[Logits, Tensor, Tensor, float | Tensor], Tensor]
BY_SAMPLE = (fgsm, pgd, sign_search)  # they hold nothing that belongs to a certain sample, such as its direction of noise


def critical_perturbation(logits: Logits, x: Tensor, y: Tensor, attack: Attack, epsilons: Tensor | list[float]) -> Tensor:
    r"""The smallest ε on a grid at which an attack flips the class, for every sample.

    .. math:: \varepsilon^* = \min \{\varepsilon_i : \arg\max z(x'(\varepsilon_i)) \ne y\}

    One pass over the grid, which ends when every class has flipped. ``fgsm``, ``pgd``, ``sign_search`` and a ``partial``
    of them get only the samples that have not flipped yet; any other attack gets all of them at every ε.

    Args:
        logits: callable (..., B, D) -> (..., B, C), in evaluation mode. x: (B, D), shared by the replicas, or (..., B, D).
        y: (B,) or (..., B), class numbers.
        attack: callable (logits, x, y, epsilon) -> x'. Noise should have the same direction at every ε, as that of
            ``gaussian_noise`` has, or the smallest ε is the smallest of many chances.
        epsilons: the grid in ascending order, (G,), or (G, ...) of grids by sample, each row broadcastable to (..., B).

    Returns:
        (..., B), in the dtype of x: ε*, 0 where the class is wrong without an attack, ∞ where none of the grid flips it.

    Raises:
        TypeError, ValueError, RuntimeError: as ``fgsm``; a grid that is empty or not ascending; an attack that returns no images.

    Source: arXiv 2405.00679, whose authors plot ``critical_norm``.

    Example:
        >>> weight = torch.tensor([[2.0, -1.0], [0.0, 0.0]])
        >>> critical_perturbation(lambda x: x @ weight.T, torch.tensor([[1.0, 0.0]]), torch.tensor([0]), fgsm, [0.5, 0.6, 0.7])
        tensor([0.7000])
    """
    return scan(logits, x, y, attack, epsilons)[0]


def critical_norm(logits: Logits, x: Tensor, y: Tensor, attack: Attack, epsilons: Tensor | list[float]) -> Tensor:
    r"""The Euclidean length of the perturbation at the critical ε, for every sample.

    .. math:: \lVert x'(\varepsilon^*) - x \rVert_2

    Args:
        logits, x, y, attack, epsilons: as for ``critical_perturbation``.

    Returns:
        (..., B): the length, 0 where the class is wrong without an attack, ∞ where no ε flips it.

    Raises:
        As ``critical_perturbation``.

    Source: arXiv 2405.00679: the number that its figures call the critical perturbation, so that noise and attacks share an axis.

    Example:
        >>> weight = torch.tensor([[2.0, -1.0], [0.0, 0.0]])
        >>> critical_norm(lambda x: x @ weight.T, torch.tensor([[1.0, 0.0]]), torch.tensor([0]), fgsm, [0.5, 0.6, 0.7])
        tensor([0.9899])
    """
    return scan(logits, x, y, attack, epsilons)[1]


def worst_case(
    logits: Logits, x: Tensor, y: Tensor, attacks: Mapping[str, Attack], epsilon: float | Tensor
) -> dict[str, Tensor]:
    """The accuracy under each attack, and under the best of them for every sample.

    Args:
        logits, x, y: as for ``critical_perturbation``.
        attacks: {name: attack}; the name "worst" is taken.
        epsilon: a number or a tensor that broadcasts to (..., B).

    Returns:
        {name: share of the samples (...,) that are classified right under this attack, "worst": share right under every attack}.

    Raises:
        TypeError, ValueError, RuntimeError: as ``critical_perturbation``; no attacks.

    Source: the worst case over several attacks, as in Carlini et al., arXiv 1902.06705.

    Example:
        >>> x, y, weight = torch.tensor([[1.0, 0.0]]), torch.tensor([0]), torch.tensor([[2.0, -1.0], [0.0, 0.0]])
        >>> worst_case(lambda x: x @ weight.T, x, y, {"none": lambda logits, x, y, epsilon: x, "FGSM": fgsm}, 0.7)
        {'none': tensor(1.), 'FGSM': tensor(0.), 'worst': tensor(0.)}
    """
    if not isinstance(attacks, Mapping):
        raise TypeError(f"attacks: got {type(attacks).__name__}, expected a dictionary {{name: attack}}")
    if not attacks or "worst" in attacks:
        raise ValueError(f"attacks: got the names {list(attacks)}, expected at least one, and none of them 'worst'")
    for name, attack in attacks.items():
        check_attack(attack, f"attacks[{name!r}]")
    given = attacked(logits, x, y, epsilon)
    right, every = {}, torch.ones_like(given.y, dtype=torch.bool)
    for name, attack in attacks.items():
        moved = moved_by(attack, f"attacks[{name!r}]", logits, x, y, epsilon, given.x)
        right[name] = ~wrong(logits, moved, given.y)
        every = every & right[name]
    right["worst"] = every
    return {name: share.to(given.x.dtype).mean(-1) for name, share in right.items()}


def scan(logits: Logits, x: Tensor, y: Tensor, attack: Attack, epsilons: Tensor | list[float]) -> tuple[Tensor, Tensor]:
    """ε* and the length of the perturbation there, both (..., B)."""
    grid = check_grid(epsilons, x)
    check_attack(attack, "attack")
    given = attacked(logits, x, y, grid[0], size="epsilons")
    wide = [sizes.expand(given.y.shape) for sizes in grid]
    steps = grid.tolist() if grid.ndim == 1 else wide
    critical = torch.where(given.clean.wrong, 0.0, given.x.new_full((), math.inf))
    length = critical
    inner = attack
    while isinstance(inner, functools.partial):
        inner = inner.func
    for step, sizes in zip(steps, wide, strict=True):
        active = torch.isinf(critical)
        left = int(active.sum(-1).max())
        if not left:
            break
        if inner in BY_SAMPLE and left < active.shape[-1]:
            # In every replica the active samples come first; some with fewer are filled up with samples that have flipped.
            place = active.logical_not().to(torch.uint8).argsort(dim=-1, stable=True)[..., :left]
            rows = place.unsqueeze(-1).expand(*place.shape, given.x.shape[-1])
            images, labels, sizes = given.x.gather(-2, rows), given.y.gather(-1, place), sizes.gather(-1, place)
            moved = moved_by(attack, "attack", logits, images, labels, sizes, images)
        else:
            place = torch.arange(active.shape[-1], device=active.device).expand(active.shape)
            images, labels = given.x, given.y
            moved = moved_by(attack, "attack", logits, x, y, step, images)
        new = wrong(logits, moved, labels) & active.gather(-1, place)
        far = torch.linalg.vector_norm(moved - images, dim=-1)
        critical = critical.scatter(-1, place, torch.where(new, sizes, critical.gather(-1, place)))
        length = length.scatter(-1, place, torch.where(new, far, length.gather(-1, place)))
    return critical, length


def check_attack(attack: Attack, name: str) -> None:
    """An attack can be called with four arguments in their order. Errors that it raises itself are left as they are."""
    if not callable(attack):
        raise TypeError(f"{name}: got {type(attack).__name__}, expected a callable (logits, x, y, epsilon) -> x'")
    try:
        inspect.signature(attack).bind(*("logits", "x", "y", "epsilon"))
    except (TypeError, ValueError) as error:
        if isinstance(error, ValueError) and not isinstance(attack, functools.partial):  # what is built in may say no signature
            return
        raise TypeError(f"{name}: must be callable as (logits, x, y, epsilon), but: {error}; leave these four open, and set all "
                        "others by name, as in partial(gaussian_noise, direction=…)") from error  # fmt: skip


def moved_by(attack: Attack, name: str, logits: Logits, x: Tensor, y: Tensor, epsilon: float | Tensor, images: Tensor) -> Tensor:
    """What the attack makes of the images (..., B, D), checked, in the shape of all images."""
    moved, wide = attack(logits, x, y, epsilon), tuple(images.shape)
    if not isinstance(moved, Tensor) or moved.dtype != images.dtype or moved.device != images.device:
        came = f"{moved.dtype} on {moved.device}" if isinstance(moved, Tensor) else type(moved).__name__
        raise TypeError(f"{name}: returned {came}, expected a tensor of {images.dtype} on {images.device}, as x is")
    if moved.ndim > len(wide) or moved.ndim < 2 or moved.shape[-2:] != wide[-2:] or not broadcasts(moved.shape, wide):
        raise ValueError(f"{name}: returned the shape {tuple(moved.shape)}, expected that of all images, {wide}")
    check_finite(moved, f"{name}: the images that it returned")
    return moved.detach().expand(wide)


def wrong(logits: Logits, x: Tensor, y: Tensor) -> Tensor:
    """Where the largest of the logits is not that of the label, (..., B)."""
    with torch.no_grad():
        z = outputs(logits, x)
    if z.shape[:-1] != y.shape:
        raise ValueError(f"logits: returned {tuple(z.shape)} for x of shape {tuple(x.shape)}, expected "
                         f"{(*y.shape, z.shape[-1])}; leading dimensions must stay")  # fmt: skip
    check_finite(z, "logits: for the attacked images")
    return z.argmax(-1) != y


def check_grid(epsilons: Tensor | list[float], x: Tensor) -> Tensor:
    """The grid (G,) or (G, ...) in the dtype of the images: finite, at least 0, ascending along its first dimension."""
    check_floats("x", x, "(..., B, D)", dims=2)
    if isinstance(epsilons, list | tuple):
        if not epsilons:
            raise ValueError(f"epsilons: got an empty {type(epsilons).__name__}, which holds no number")
        sizes = [check_epsilon(size, x, f"epsilons: entry {place}") for place, size in enumerate(epsilons)]
        if len({size.shape for size in sizes}) > 1:
            shapes = sorted({tuple(size.shape) for size in sizes})
            raise ValueError(f"epsilons: got entries of the shapes {shapes}, expected one shape of all")
        epsilons = torch.stack(sizes)
    if not isinstance(epsilons, Tensor) or epsilons.ndim == 0:
        kind = "a single number" if isinstance(epsilons, Tensor | float | int) else type(epsilons).__name__
        raise TypeError(f"epsilons: got {kind}, expected a list of numbers or a tensor (G,) in ascending order")
    grid = check_epsilon(epsilons, x, "epsilons")
    if not bool((grid[1:] > grid[:-1]).all()):
        raise ValueError(f"epsilons: got {len(grid)} sizes that do not ascend strictly in {grid.dtype}; sort them, and drop "
                         "those that occur twice")  # fmt: skip
    return grid
