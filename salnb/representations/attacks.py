r"""Attacks: small changes of an image, at most ε in every coordinate, that are to make a classifier wrong.

All climb the same loss, log Σ_{j≠y} exp z_j − z_y of the logits z. The cross entropy is log(1 + exp loss): both rise together, so
the sign of their gradients is the same. But in floating-point numbers the cross entropy of a confident network is flat, and an
attack that follows its gradient finds a network robust that is not.

An attack is a function ``(logits, x, y, epsilon) -> x'``; ``functools.partial`` sets the rest. Images of replicas are attacked
together, each replica's with its own network. A module in training mode is refused where it can be seen: alone, as the owner of a
method, in a closure, a partial or an object. A network that draws in evaluation mode is attacked as it is, one draw at a time.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from ..common.arguments import check_integers
from ..common.tensors import check_floats
from .attack_arguments import Attacked, Box, Logits, Standing, attacked, attacked_within, broadcasts, check_finite, check_reach


def fgsm(logits: Logits, x: Tensor, y: Tensor, epsilon: float | Tensor, *, clamp: Box = None) -> Tensor:
    r"""The fast gradient sign method: one step of ε in every coordinate, up the gradient of the loss.

    .. math:: x' = x + \varepsilon \operatorname{sign} \nabla_x \mathrm{CE}(z(x), y)

    Coordinates without a gradient stay where they are. For two classes and a linear network nothing stronger exists.

    Args:
        logits: callable (..., B, D) -> (..., B, C); each row by itself. Its parameters get no ``.grad``.
        x: (B, D), shared by the replicas, or (..., B, D). y: (B,) or (..., B), class numbers.
        epsilon: a number or a tensor that broadcasts to (..., B), in units of x.
        clamp: (low, high): the box that images lie in and stay in.

    Returns:
        (..., B, D), detached; no number differs from x by more than ε, up to the rounding of x + ε.

    Raises:
        TypeError, ValueError: arguments of a wrong kind, shape or size, NaN or infinite numbers anywhere, x ± ε beyond the dtype.
        RuntimeError: a module in training mode; logits through which no gradient comes.

    Source: Goodfellow, Shlens and Szegedy, arXiv 1412.6572, section 4.

    Example:
        >>> x, weight = torch.zeros(1, 2), torch.tensor([[2.0, -1.0], [0.0, 0.0]])
        >>> fgsm(lambda x: x @ weight.T, x, torch.tensor([0]), 0.25)
        tensor([[-0.2500,  0.2500]])
    """
    given = attacked_within(logits, x, y, epsilon, clamp)
    gradient = given.gradient(given.x)[0]
    check_finite(gradient, "logits: their gradient by x")
    return given.within(given.x + given.epsilon * gradient.sign())


def pgd(
    logits: Logits, x: Tensor, y: Tensor, epsilon: float | Tensor, *, steps: int = 20, restarts: int = 1, clamp: Box = None,
    generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    r"""Projected gradient descent: many small steps up the sign of the gradient, each brought back into the ball and the box.

    .. math:: x_{t+1} = \Pi\big(x_t + \tfrac{2.5\,\varepsilon}{T} \operatorname{sign} \nabla_x \mathrm{CE}(z(x_t), y)\big)

    The first start is x; further ones are uniform in the ball. Of every point on the way, of x and of the FGSM point the best is
    returned, per sample: a wrong class before a right one, then the highest loss. So it is never weaker than FGSM.

    Args:
        logits, x, y, epsilon, clamp: as for ``fgsm``.
        steps: T. restarts: number of starts. A call costs about restarts · steps gradients.
        generator: of the random starts, drawn on its device for all replicas in one tensor per start.

    Returns:
        (..., B, D), detached; no number differs from x by more than ε, up to the rounding of x + ε.

    Raises:
        As ``fgsm``; ValueError: steps or restarts below 1.

    Source: Madry et al., arXiv 1706.06083, section 2.1. With steps of 2.5 ε / T a point can cross the ball from side to side.

    Example:
        >>> net = lambda x: torch.stack([x[..., 0] ** 2 - x[..., 1], torch.zeros_like(x[..., 0])], -1)
        >>> pgd(net, torch.tensor([[1.0, 0.0]]), torch.tensor([0]), 0.5)
        tensor([[0.5000, 0.5000]])
    """
    check_integers(steps=(steps, 1), restarts=(restarts, 1))
    given = attacked_within(logits, x, y, epsilon, clamp)
    best = Best(given)
    for restart in range(restarts):
        point = given.x if restart == 0 else given.within(given.x + given.epsilon * uniform(given.x, generator))
        for step in range(steps):
            gradient, reached = given.gradient(point)
            best.offer(point, reached)
            if restart == step == 0:
                fast = given.within(given.x + given.epsilon * gradient.sign())
                best.offer(fast, given.standing(fast))
            point = given.within(point + 2.5 / steps * given.epsilon * gradient.sign())
        best.offer(point, given.standing(point))
    return best.found()


def sign_search(
    logits: Logits, x: Tensor, y: Tensor, epsilon: float | Tensor, *, queries: int = 300, clamp: Box = None,
    generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    r"""A search without gradients: flips the sign of ε over blocks of coordinates, and keeps what raises the loss.

    .. math:: x' = x + \varepsilon s, \qquad s \in \{-1, 1\}^D

    The blocks are all coordinates, the two halves, the four quarters, ..., each coordinate alone; then each alone again and
    again, in random order. It finds what a gradient that is zero hides. For two classes and a linear network the first
    round, about 2 D queries, finds the best point.

    Args:
        logits, x, y, epsilon, clamp: as for ``fgsm``; no gradient is taken.
        queries: how often the logits are called at most.
        generator: of the random orders, drawn on its device.

    Returns:
        (..., B, D), detached: the best point seen, x included, in the order of ``pgd``.

    Raises:
        As ``fgsm``, but for gradients; ValueError: queries below 1.

    Source: our own, in the manner of Al-Dujaili and O'Reilly, ICLR 2020 (SignHunter).

    Example:
        >>> x, weight = torch.zeros(1, 2), torch.tensor([[2.0, -1.0], [0.0, 0.0]])
        >>> sign_search(lambda x: x @ weight.T, x, torch.tensor([0]), 0.25, queries=8)
        tensor([[-0.2500,  0.2500]])
    """
    check_integers(queries=(queries, 1))
    given = attacked_within(logits, x, y, epsilon, clamp)  # the first query
    best, low, high = Best(given), given.within(given.x - given.epsilon), given.within(given.x + given.epsilon)
    if queries > 1:
        up, reached = torch.ones_like(given.x, dtype=torch.bool), given.standing(high)
        best.watch(reached)
        for block in blocks(given.x, queries - 2, generator):
            flipped = up ^ block
            found = given.standing(torch.where(flipped, high, low))
            better = found.beats(reached)
            up, reached = torch.where(better.unsqueeze(-1), flipped, up), found.where(better, reached)
            best.watch(found)
        best.offer(torch.where(up, high, low), reached)
    return best.found()


def gaussian_noise(
    logits: Logits, x: Tensor, y: Tensor, epsilon: float | Tensor, *, direction: Tensor, clamp: Box = None
) -> Tensor:
    r"""Noise of a fixed direction: x + ε d.

    .. math:: x' = x + \varepsilon\, d, \qquad d \sim \mathcal N(0, 1) \text{ drawn once per sample}

    With a new draw for every ε the smallest ε that flips the class would be the smallest of many chances, and too small. ε is the
    standard deviation here, not a bound. An attack: ``partial(gaussian_noise, direction=torch.randn(x.shape, generator=g))``.

    Args:
        logits, x, y, epsilon: as for ``fgsm``; the logits say the shape alone.
        direction: (..., B, D), or what broadcasts to it.
        clamp: (low, high) cuts the noisy image to the box.

    Returns:
        (..., B, D), detached.

    Raises:
        As ``fgsm``, but for gradients; the direction's shape, kind and device are checked as those of x.

    Source: arXiv 2405.00679, where each ε has a new draw.

    Example:
        >>> x, y = torch.zeros(1, 2), torch.tensor([0])
        >>> gaussian_noise(lambda x: x, x, y, 0.5, direction=torch.tensor([[1.0, -2.0]]))
        tensor([[ 0.5000, -1.0000]])
    """
    given = attacked(logits, x, y, epsilon, clamp)
    check_floats("direction", direction, "(..., B, D)")
    wide = tuple(given.x.shape)
    if not broadcasts(direction.shape, wide) or direction.device != x.device:
        raise ValueError(f"direction: got shape {tuple(direction.shape)} on {direction.device}, expected one that broadcasts to "
                         f"{wide}, the shape of all images, on {x.device}")  # fmt: skip
    noisy = (given.x + given.epsilon * direction.detach().to(given.x)).clamp(*given.box)
    check_reach(torch.isfinite(noisy), given, "x + epsilon · direction")
    return noisy


def masked_gradients(logits: Logits, x: Tensor, y: Tensor) -> Tensor:
    """Which samples have no gradient at all: attacks that follow it do not move, and find robust what may not be.

    Args:
        logits, x, y: as for ``fgsm``.

    Returns:
        (..., B), True where the gradient of the loss by x is 0 in every coordinate. Compare ``pgd`` with ``sign_search`` there.

    Raises:
        As ``fgsm``.

    Source: Athalye, Carlini and Wagner, arXiv 1802.00420.

    Example:
        >>> x, weight = torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0], [-1.0]])
        >>> masked_gradients(lambda x: torch.relu(x) @ weight.T, x, torch.tensor([0, 1]))
        tensor([False,  True])
    """
    given = attacked(logits, x, y, 0.0)
    gradient = given.gradient(given.x)[0]
    check_finite(gradient, "logits: their gradient by x")
    return (gradient == 0).all(-1)


class Best:
    """The best point of every sample so far, from x on. Whether all numbers were finite is looked at once, at the end."""

    def __init__(self, given: Attacked) -> None:
        self.point, self.standing, self.sound = given.x, given.clean, torch.isfinite(given.clean.loss)

    def offer(self, point: Tensor, reached: Standing) -> None:
        """Takes the point where it is better."""
        better = reached.beats(self.standing)
        self.point = torch.where(better.unsqueeze(-1), point, self.point)
        self.standing = reached.where(better, self.standing)
        self.watch(reached)

    def watch(self, reached: Standing) -> None:
        """Remembers whether the numbers were finite."""
        self.sound = self.sound & torch.isfinite(reached.loss)

    def found(self) -> Tensor:
        """The points, as a tensor of their own."""
        bad = int((~self.sound).sum())
        if bad:
            raise ValueError(f"logits: they or their gradient became NaN or infinite on the way at {bad} of {self.sound.numel()} "
                             "samples, expected finite numbers; use a smaller epsilon or float64")  # fmt: skip
        return self.point.clone()


def uniform(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Numbers from −1 to 1 in the shape of x, drawn on the generator's device and then moved."""
    if not isinstance(generator, torch.Generator | None):
        raise TypeError(f"generator: got {type(generator).__name__}, expected a torch.Generator or None")
    source = generator.device if generator is not None else x.device
    return (2 * torch.rand(x.shape, generator=generator, device=source, dtype=x.dtype) - 1).to(x.device)


def blocks(x: Tensor, count: int, generator: torch.Generator | None) -> Iterator[Tensor]:
    """So many blocks of coordinates, True inside, broadcastable to x: in order from all to each alone, then each alone at random.

    >>> [block.int().tolist() for block in blocks(torch.zeros(1, 3), 6, None)]
    [[1, 1, 1], [1, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    size = length = x.shape[-1]
    place = torch.arange(size, device=x.device)
    while count > 0:
        for start in range(0, size, length)[:count]:
            yield (place >= start) & (place < start + length)
        count -= -(-size // length)
        if length == 1 and count > 0:
            place = uniform(x, generator).argsort(-1)
        length = -(-length // 2)
