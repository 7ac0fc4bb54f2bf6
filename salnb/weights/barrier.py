"""The loss on the straight line between two networks: is there a wall between them?"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..common.arguments import check_integers


def check_ends(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> None:
    """Checks that both ends have the same names, shapes and dtypes, and that their whole numbers are the same."""
    for name, end in (("a", a), ("b", b)):
        if not isinstance(end, Mapping):
            raise TypeError(f"{name}: got {type(end).__name__}, expected a dict {{name: tensor}}, such as "
                            "dict(model.named_parameters())")  # fmt: skip
        for key, value in end.items():
            if not isinstance(value, Tensor):
                raise TypeError(f"{name}[{key!r}]: got {type(value).__name__}, expected a tensor")
    if not a:
        raise ValueError("a: got no tensor, expected at least one")
    if a.keys() != b.keys():
        odd = sorted(map(str, a.keys() ^ b.keys()))
        raise ValueError(f"b: the names {', '.join(odd[:5])} are at one end only; expected the same names as a")
    for key, value in a.items():
        other = b[key]
        if value.shape != other.shape or value.dtype != other.dtype or value.device != other.device:
            raise ValueError(f"b[{key!r}]: got {tuple(other.shape)}, {other.dtype} on {other.device}, expected "
                             f"{tuple(value.shape)}, {value.dtype} on {value.device} as a")  # fmt: skip
        if not value.is_floating_point() and not torch.equal(value, other):
            raise ValueError(f"b[{key!r}]: got {value.dtype} that differ from those of a; there is nothing between two whole "
                             "numbers; leave such buffers out")  # fmt: skip


@torch.no_grad()
def loss_barrier(
    loss: Callable[[dict[str, Tensor]], Tensor], a: Mapping[str, Tensor], b: Mapping[str, Tensor], *, steps: int = 11,
    endpoints: bool = True,
) -> Tensor:  # fmt: skip
    r"""Loss barrier: how far the loss on the straight line between two networks rises above the line between their losses.

    .. math:: \max_t \; L(a + t (b - a)) - \big[(1 - t) L(a) + t L(b)\big], \qquad t = 0, \tfrac{1}{n - 1}, \dots, 1

    Args:
        loss: a function of {name: tensor} that returns one number, or one per replica (...,). With BatchNorm it has to compute
            the statistics anew, as those of the ends are not those in between.
        a, b: the two ends, {name: tensor}, with the same names and shapes.
        steps: n, the number of points with both ends, at least 3.
        endpoints: whether the ends count, where the difference is 0, so that the barrier is never negative; without them it can
            be, as in the published code of the source.

    Returns:
        (...,) as the loss. NaN where a loss on the way is NaN, ∞ where one in between is.

    Raises:
        TypeError: no function, no dicts of tensors, a loss that is no number.
        ValueError: names, shapes or dtypes that differ, integers that differ, fewer than 3 steps, a loss
        whose shape changes.

    Source: Frankle et al., ICML 2020; arXiv 2408.11804, equation 6.

    Example:
        >>> wall = lambda p: (1 - p["x"].square()).square().sum()  # two minima, at -1 and 1
        >>> loss_barrier(wall, {"x": torch.tensor([-1.0])}, {"x": torch.tensor([1.0])})
        tensor(1.)
    """
    if not callable(loss):
        raise TypeError(f"loss: got {type(loss).__name__}, expected a function of a dict {{name: tensor}}")
    check_ends(a, b)
    check_integers(steps=(steps, 3))
    if not isinstance(endpoints, bool):
        raise ValueError(f"endpoints: got {endpoints!r}, expected True or False")

    def at(t: float) -> Tensor:
        # The ends are the given numbers themselves, which a + 1 · (b - a) need not be; copies, so that a loss cannot change them.
        point = {key: (b if t == 1 else a)[key].detach().clone() for key in a}
        if 0 < t < 1:
            point = {key: value.lerp(b[key].detach(), t) if value.is_floating_point() else value for key, value in point.items()}
        found = loss(point)
        if isinstance(found, float | int):
            return torch.tensor(float(found))
        if not isinstance(found, Tensor) or found.dtype.is_complex:
            raise TypeError(f"loss: got {type(found).__name__} back, expected one real number, or a tensor of one per replica")
        return found.detach()

    times = [i / (int(steps) - 1) for i in range(int(steps))]
    losses = [at(t) for t in times]
    for t, value in zip(times, losses, strict=True):
        if value.shape != losses[0].shape:
            raise ValueError(f"loss: got shape {tuple(value.shape)} at t = {t:g} after {tuple(losses[0].shape)} at t = 0, "
                             "expected one number, or one per replica, everywhere")  # fmt: skip
    rise = torch.stack([value - ((1 - t) * losses[0] + t * losses[-1]) for t, value in zip(times, losses, strict=True)])
    return rise.amax(0) if endpoints else rise[1:-1].amax(0)
