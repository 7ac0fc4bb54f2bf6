"""Checks of a tensor that a function is given: their errors name the argument, what came, what was expected and the remedy."""

import torch
from torch import Tensor


def check_floats(name: str, value: object, shape: str, *, dims: int = 1, finite: bool = True) -> None:
    """Checks that an argument is a dense floating-point tensor with at least ``dims`` dimensions, none of them empty, and finite.

    Args:
        name: of the argument. value: what came. shape: what is expected, in words for the message, for instance "(..., N, H)".
        dims: the least number of dimensions. finite: whether NaN and ∞ are refused; this waits once for the tensor's device.

    Raises:
        TypeError: no tensor. ValueError: another dtype, layout or shape, an empty tensor, numbers that are not finite.

    Example:
        >>> check_floats("h", torch.ones(3), "(..., N, H)", dims=2)
        Traceback (most recent call last):
            ...
        ValueError: h: got shape (3,), expected (..., N, H), with at least 2 dimensions
    """
    check_tensor(name, value, shape)
    if not value.is_floating_point():
        raise ValueError(f"{name}: got dtype {value.dtype}, expected a floating-point tensor {shape}; convert with .float()")
    if value.layout != torch.strided:
        raise ValueError(f"{name}: got layout {value.layout}, expected a dense tensor {shape}; convert with .to_dense()")
    if value.ndim < dims:
        least = f", with at least {dims} dimensions" if dims > 1 else ", not a single number"
        raise ValueError(f"{name}: got shape {tuple(value.shape)}, expected {shape}{least}")
    if value.numel() == 0:
        raise ValueError(f"{name}: got shape {tuple(value.shape)}, which holds no number; expected {shape}, none of size 0")
    if finite and not bool(torch.isfinite(value).all()):
        wrong = ~torch.isfinite(value)
        place = tuple(wrong.nonzero()[0].tolist())
        raise ValueError(
            f"{name}: got {int(wrong.sum())} of {value.numel()} numbers that are NaN or infinite, the first at {place}; expected "
            "finite numbers; look for an overflow or a division by 0 in what made them"
        )


def check_tensor(name: str, value: object, shape: str) -> None:
    """Checks that an argument is a tensor at all; ``shape`` says in words which one is expected."""
    if not isinstance(value, Tensor):
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        raise TypeError(f"{name}: got {kind}, expected a tensor {shape}; convert with torch.as_tensor({name})")


def check_of_dtype(name: str, value: object, weight: Tensor, shape: str) -> None:
    """Checks that what a network is given is a tensor of the dtype of its weights; under autocast PyTorch converts by itself.

    Raises:
        TypeError: no tensor. ValueError: another dtype.

    Example:
        >>> check_of_dtype("inputs", torch.ones(2, 3).double(), torch.ones(4, 3), "(B, 3)")
        Traceback (most recent call last):
            ...
        ValueError: inputs: got dtype torch.float64, expected torch.float32 (B, 3) as the weights; convert with .to(torch.float32)
    """
    check_tensor(name, value, shape)
    # A tensor without numbers, as the input of a network without inputs, has nothing to convert.
    if value.dtype != weight.dtype and value.numel() and not torch.is_autocast_enabled(weight.device.type):
        raise ValueError(f"{name}: got dtype {value.dtype}, expected {weight.dtype} {shape} as the weights; "
                         f"convert with .to({weight.dtype})")  # fmt: skip
