"""What every attack on a classifier is given, checked once: images, labels, sizes, a box, and logits that can be attacked.

Images and labels may be shared by the replicas of a network, and sizes may differ by sample. Here all of them get the leading
dimensions of the logits, so that an attack is written as if there were one network.
"""

import dis
import functools
import inspect
import math
import numbers
import types
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..common.tensors import check_floats

Logits = Callable[[Tensor], Tensor]
Box = tuple[float, float] | None


class Standing(NamedTuple):
    """How far an attack has come, per sample (..., B): is the class wrong, and the loss, log Σ_{j≠y} exp z_j − z_y."""

    wrong: Tensor
    loss: Tensor

    def beats(self, other: "Standing") -> Tensor:
        """Where this is the better attack: a wrong class before a right one, then the higher loss."""
        return (self.wrong & ~other.wrong) | ((self.wrong == other.wrong) & (self.loss > other.loss))

    def where(self, condition: Tensor, other: "Standing") -> "Standing":
        """This one where the condition holds, elsewhere the other."""
        return Standing(torch.where(condition, self.wrong, other.wrong), torch.where(condition, self.loss, other.loss))


class Attacked(NamedTuple):
    """The arguments of an attack with all leading dimensions: x (..., B, D), y (..., B), epsilon (..., B, 1)."""

    logits: Logits
    x: Tensor
    y: Tensor
    epsilon: Tensor
    lower: Tensor  # (..., B, D): the ball and the box together
    upper: Tensor
    box: tuple[float, float]
    clean: Standing  # of x itself
    own: Tensor  # (..., B, C): True at the label

    def within(self, point: Tensor) -> Tensor:
        """The nearest point of the ball |x' − x| ≤ ε and of the box."""
        return torch.minimum(torch.maximum(point, self.lower), self.upper)

    def standing(self, point: Tensor) -> Standing:
        """How a point stands, without a gradient."""
        with torch.no_grad():
            return standing(outputs(self.logits, point, self.own.shape), self.y, self.own)

    def gradient(self, point: Tensor) -> tuple[Tensor, Standing]:
        """The gradient of the loss by the point (..., B, D), each sample's own, and how the point stands."""
        with torch.inference_mode(False), torch.enable_grad():
            leaf = point.detach().clone().requires_grad_()
            z = outputs(self.logits, leaf, self.own.shape)
            if not z.requires_grad:
                raise RuntimeError(
                    "logits: no gradient leads from what they return to x; take detach(), no_grad() or inference_mode() out of "
                    "them, let them compute from their argument, or use sign_search, which needs no gradient"
                )
            found = standing(z, self.y, self.own)
            try:
                (gradient,) = torch.autograd.grad(found.loss.sum(), leaf, allow_unused=True)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise RuntimeError(
                    "logits: their gradient by x cannot be taken; where they change a tensor in place (+=, relu_, out=), let "
                    "them make a new one, where they keep one of an earlier call, compute it anew, or use sign_search, "
                    f"which needs no gradient; PyTorch says: {error}"
                ) from error
        if gradient is None:
            raise RuntimeError("logits: what they return does not depend on x; let them compute from their argument")
        sound = torch.isfinite(gradient).all(-1)  # the sign of NaN is 0: it would pass for a coordinate without a gradient
        return gradient, Standing(found.wrong, found.loss.detach().masked_fill(~sound, math.nan))


def standing(z: Tensor, y: Tensor, own: Tensor) -> Standing:
    """Of logits (..., B, C). The loss is log(exp(cross entropy) − 1): it rises with it, and does not flatten where that is 0."""
    loss = z.masked_fill(own, -math.inf).logsumexp(-1) - z.gather(-1, y.unsqueeze(-1)).squeeze(-1)
    return Standing(z.argmax(-1) != y, loss)


def attacked(
    logits: Logits, x: Tensor, y: Tensor, epsilon: float | Tensor, clamp: Box = None, *, size: str = "epsilon"
) -> Attacked:
    """The arguments of an attack, checked and with all leading dimensions; calls the logits once. ``size``: epsilon by name."""
    refuse_training(logits)
    check_floats("x", x, "(..., B, D)", dims=2)
    check_labels(x, y)
    sizes, (low, high) = check_epsilon(epsilon, x, size), check_box(clamp, x)
    with torch.inference_mode(False), torch.no_grad():
        x, y, sizes = x.detach().clone(), y.detach().long().clone(), sizes.clone()
        z = outputs(logits, x)
        classes = z.shape[-1]
        if bool(((y < 0) | (y >= classes)).any()):
            raise ValueError(f"y: got labels from {int(y.min())} to {int(y.max())}, expected 0 to {classes - 1}, as logits has "
                             f"{classes} classes")  # fmt: skip
        lead = common_shape(x, y, sizes, z, size)
        x, y, z, sizes = x.expand(*lead, -1), y.expand(lead), z.expand(*lead, -1), sizes.expand(lead).unsqueeze(-1)
        check_finite(z, "logits: for x as it is")
        own = torch.arange(classes, device=x.device) == y.unsqueeze(-1)
        lower, upper = (x - sizes).clamp(min=low), (x + sizes).clamp(max=high)
        return Attacked(logits, x, y, sizes, lower, upper, (low, high), standing(z, y, own), own)


def attacked_within(logits: Logits, x: Tensor, y: Tensor, epsilon: float | Tensor, clamp: Box = None) -> Attacked:
    """As ``attacked``, for an attack that may go to every end of the ball: they must be numbers of the dtype of the images."""
    given = attacked(logits, x, y, epsilon, clamp)
    check_reach(torch.isfinite(given.lower) & torch.isfinite(given.upper), given, "x ± epsilon")
    return given


def check_reach(sound: Tensor, given: Attacked, what: str) -> None:
    """Refuses an epsilon that leads beyond the largest number of the dtype of the images, where (..., B, D) is not sound."""
    bad = int((~sound).sum())
    if bad:
        raise ValueError(
            f"epsilon: got up to {float(given.epsilon.max()):.6g}, and {what} lies beyond the largest number of {given.x.dtype}, "
            f"{torch.finfo(given.x.dtype).max:.6g}, at {bad} of {sound.numel()} numbers; take a smaller epsilon or a wider dtype"
        )


def common_shape(x: Tensor, y: Tensor, sizes: Tensor, z: Tensor, size: str) -> tuple[int, ...]:
    """(..., B): the leading dimensions of all four together. Labels bring none of their own: one-hot rows would pass for them."""
    shape = tuple(z.shape[:-1])
    for name, given in (("x", x.shape[:-1]), (size, sizes.shape), ("y", y.shape)):
        fits = given[-1:] in ((), (1,), x.shape[-2:-1])
        before = shape
        try:
            shape = tuple(torch.broadcast_shapes(shape, given)) if fits else None
        except RuntimeError:
            shape = None
        if name == "y" and (shape is None or math.prod(shape) > math.prod(before)):
            raise ValueError(f"y: got shape {tuple(given)}, expected (B,) = {before[-1:]} or leading dimensions that x, logits "
                             f"or {size} have too, (..., B) = {before}; give one-hot labels as y.argmax(-1), and expand x for "
                             "several labels of one image")  # fmt: skip
        if shape is None:
            hint = "; one number per replica is a tensor (..., 1)" if name == size else ""
            raise ValueError(f"{name}: got leading dimensions {tuple(given)}, expected some that broadcast with those of logits, "
                             f"(..., B) = {tuple(z.shape[:-1])}{hint}")  # fmt: skip
    return shape


def outputs(logits: Logits, x: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
    """What the logits return, after a check of kind and shape. They get a copy: a first layer may work in place."""
    came = f"for x of shape {tuple(x.shape)}"
    try:
        z = logits(x.clone())
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, IndexError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"logits: failed {came}, {x.dtype} on {x.device}, with: {error}; expected a callable of one argument, "
                   "(..., B, D) -> (..., B, C), that takes these images, also with leading dimensions; set further arguments "
                   "with functools.partial") from error  # fmt: skip
    if not isinstance(z, Tensor):
        raise TypeError(f"logits: returned {type(z).__name__} {came}, expected a tensor (..., B, C)")
    check_dense("logits: their result", z)
    if not z.is_floating_point():
        raise TypeError(f"logits: returned {z.dtype} {came}, expected floating-point numbers, one per class")
    if z.device != x.device:
        raise ValueError(f"logits: returned a tensor on {z.device} for x on {x.device}; move one of them")
    if z.ndim < 2 or z.shape[-2] != x.shape[-2] or z.shape[-1] < 2:
        raise ValueError(f"logits: returned {tuple(z.shape)} {came}, expected (..., B, C) with B = {x.shape[-2]} and two classes "
                         "or more")  # fmt: skip
    if shape is not None and z.shape != shape:
        raise ValueError(f"logits: returned {tuple(z.shape)} {came}, expected {tuple(shape)}; leading dimensions must stay")
    return z


def broadcasts(given: tuple[int, ...], wide: tuple[int, ...]) -> bool:
    """Whether a tensor of this shape can be expanded to the wide one.

    >>> broadcasts((3,), (2, 3)), broadcasts((1, 2, 3), (2, 3)), broadcasts((2, 1), (2, 3)), broadcasts((2,), (2, 3))
    (True, False, True, False)
    """
    return len(given) <= len(wide) and all(size in (1, wide[-i]) for i, size in enumerate(reversed(given), 1))


def check_finite(values: Tensor, name: str) -> None:
    """Raises a ValueError that begins with this name if a value is NaN or infinite."""
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise ValueError(f"{name}: {bad} of {values.numel()} numbers are NaN or infinite, expected finite ones; look for an "
                         "overflow (a high power in float32) or weights that diverged")  # fmt: skip


def check_labels(x: Tensor, y: Tensor) -> None:
    """Labels: an integer tensor (B,) or (..., B) on the device of the images."""
    if not isinstance(y, Tensor):
        raise TypeError(f"y: got {type(y).__name__}, expected a tensor (B,) or (..., B) of class numbers")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise TypeError(f"y: got dtype {y.dtype}, expected integers, the numbers of the classes; convert with .long()")
    check_dense("y", y)
    if y.ndim < 1 or y.shape[-1] != x.shape[-2]:
        raise ValueError(f"y: got shape {tuple(y.shape)}, expected (B,) or (..., B) with B = {x.shape[-2]}, a class per image")
    if y.device != x.device:
        raise ValueError(f"y: on {y.device}, but x is on {x.device}; move one of them")


def check_dense(name: str, value: Tensor) -> None:
    """Refuses a sparse tensor."""
    if value.layout != torch.strided:
        raise ValueError(f"{name}: got layout {value.layout}, expected a dense tensor; convert with .to_dense()")


def check_epsilon(epsilon: float | Tensor, x: Tensor, name: str = "epsilon") -> Tensor:
    """Sizes of perturbations in the dtype of the images: a number or a tensor, not empty, finite and at least 0."""
    if isinstance(epsilon, Tensor):
        if epsilon.dtype == torch.bool or epsilon.is_complex():
            raise TypeError(f"{name}: got dtype {epsilon.dtype}, expected real numbers")
        check_dense(name, epsilon)
        if epsilon.ndim and epsilon.device != x.device:
            raise ValueError(f"{name}: on {epsilon.device}, but x is on {x.device}; move one of them")
    elif not isinstance(epsilon, numbers.Real) or isinstance(epsilon, bool):
        raise TypeError(f"{name}: got {type(epsilon).__name__}, expected a number or a tensor that broadcasts to (..., B)")
    else:
        epsilon = as_float(epsilon)
    sizes = torch.as_tensor(epsilon, dtype=x.dtype, device=x.device).detach()
    if sizes.numel() == 0:
        raise ValueError(f"{name}: got a tensor of shape {tuple(sizes.shape)}, which holds no number")
    if not bool((torch.isfinite(sizes) & (sizes >= 0)).all()):
        raise ValueError(f"{name}: got {float(sizes.min())} to {float(sizes.max())}, expected finite numbers, 0 or more")
    return sizes


def as_float(number: numbers.Real) -> float:
    """The number as a float; one beyond all floats is infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def check_box(clamp: Box, x: Tensor) -> tuple[float, float]:
    """The box (low, high) of the images; None has no sides. The images must lie in it: no small step leads back into it."""
    if clamp is None:
        return -math.inf, math.inf
    pair = isinstance(clamp, tuple | list) and len(clamp) == 2
    if not pair or not all(isinstance(side, numbers.Real) and not isinstance(side, bool) for side in clamp):
        raise TypeError(f"clamp: got {clamp!r}, expected None or two numbers (low, high)")
    low, high = (float(torch.tensor(as_float(side), dtype=x.dtype)) for side in clamp)
    if not low < high:
        raise ValueError(f"clamp: got {clamp!r}, expected (low, high) with low < high")
    least, most = float(x.min()), float(x.max())
    if least < low or most > high:
        raise ValueError(f"x: lies between {least:.6g} and {most:.6g}, outside clamp={clamp!r}; clamp them or widen the box")
    return low, high


def refuse_training(logits: Logits) -> None:
    """Refuses logits that are or visibly hold a module in training mode, and what cannot be called."""
    if not callable(logits):
        raise TypeError(f"logits: got {type(logits).__name__}, expected a callable (..., B, D) -> (..., B, C)")
    for module in held_modules(logits):
        part = next((name or "the module itself" for name, part in module.named_modules() if part.training), None)
        if part is not None:
            raise RuntimeError(
                f"logits: {type(module).__name__} is in training mode ({part}); call .eval() on it before an attack. In training "
                "mode dropout draws anew at every step, and batch normalization mixes the samples and learns from the attack"
            )


def held_modules(value: object) -> list[nn.Module]:
    """The modules that a callable is, owns a method of, or names: in closure, globals, defaults, a partial, an object or a list.

    >>> net = nn.Linear(2, 3)
    >>> [held_modules(logits) == [net] for logits in (net, net.forward, lambda x: net(x), functools.partial(torch.add, net))]
    [True, True, True, True]
    """
    found, seen, layer = [], set(), [value]
    for _ in range(5):  # a network of an object in a list in the closure of a function in a partial is five deep
        fresh = {id(one): one for one in layer if id(one) not in seen}
        seen |= fresh.keys()
        found += [one for one in fresh.values() if isinstance(one, nn.Module)]
        layer = [part for one in fresh.values() if not isinstance(one, nn.Module) for part in held_by(one)]
    return found


def held_by(value: object) -> list:
    """What a partial, a method, a function, a list, a dictionary or any other object holds; of a class the modules alone."""
    if value is None or isinstance(value, Tensor | str | bytes | numbers.Number | types.ModuleType):
        return []
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if inspect.ismethod(value):
        owner = value.__self__
        return [value.__func__, *([owner] if isinstance(owner, nn.Module) else held_by(owner))]
    if inspect.isfunction(value):
        if (value.__module__ or "").partition(".")[0] == "torch":  # a function made by exec may have no module
            return []
        named = {step.argval for code in codes(value.__code__) for step in dis.get_instructions(code)
                 if step.opname == "LOAD_GLOBAL"}  # fmt: skip
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell != types.CellType()]  # but for empty cells
        defaults = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        return [value.__globals__.get(name) for name in named] + cells + defaults
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, type):
        return [part for part in vars(value).values() if isinstance(part, nn.Module)]
    return attributes(value)


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code of a function and that of all functions made inside it."""
    yield code
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from codes(part)


def attributes(value: object) -> list:
    """What an object holds: its attributes, its slots, modules of its class, and the function that a call of it runs."""
    own, parts = getattr(value, "__dict__", None), []
    if isinstance(own, dict):
        parts += own.values()
    for kind in type(value).__mro__[:-1]:
        for name, part in vars(kind).items():
            if isinstance(part, nn.Module) or (name == "__call__" and inspect.isfunction(part)):
                parts.append(part)
            elif isinstance(part, types.MemberDescriptorType):  # a slot, which may be empty
                try:
                    parts.append(part.__get__(value))
                except AttributeError:
                    continue
    return parts
