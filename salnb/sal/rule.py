"""The rule of SAL: the running average of a neuron's sensitivity, and how strongly it moves the neuron towards the target."""

import math
from numbers import Real

from torch import Tensor

RULES, AVERAGES = ("one_sided", "proportional"), ("mean", "rms")


def check_settings(lr: float, target: float, decay: float, rule: str, average: str) -> None:
    """Every setting of SAL is in its range; of another type than numbers or words it is a TypeError."""
    for name, value in (("lr", lr), ("target", target), ("decay", decay)):
        number = isinstance(value, Tensor) and value.numel() == 1 or isinstance(value, Real) and not isinstance(value, bool)
        if not number:
            raise TypeError(f"{name}: got {value!r}, expected a number")
    for name, value in (("rule", rule), ("average", average)):
        if not isinstance(value, str):
            raise TypeError(f"{name}: got {value!r}, expected a word")
    for name, value, fits, wanted in (
        ("lr", lr, 0 <= lr < math.inf, "a rate >= 0"),
        ("target", target, 0 < target < math.inf, "a sensitivity > 0 (1 keeps signals at their size)"),
        ("decay", decay, 0 <= decay < 1, "a number in [0, 1); 0 means no memory of earlier passes"),
        ("rule", rule, rule in RULES, f"one of {', '.join(RULES)}"),
        ("average", average, average in AVERAGES, f"one of {', '.join(AVERAGES)}"),
    ):
        if not fits:
            raise ValueError(f"{name}: got {value!r}, expected {wanted}")


def next_average(old: Tensor | None, observed: Tensor, squares: Tensor, decay: Tensor, average: str) -> Tensor:
    """The running average s̄ after one more pass; it starts at its first observation."""
    if average == "mean":
        return observed if old is None else decay * old + (1 - decay) * observed
    return (squares if old is None else decay * old.square() + (1 - decay) * squares).sqrt()


def pull(average: Tensor, target: Tensor, rule: str) -> Tensor:
    """How far each neuron is moved along the gradient of its sensitivity, in units of the rate.

    "one_sided": 1 below the target, 0 above. "proportional": the distance to the target, with its sign.
    """
    return (average < target).to(average.dtype) if rule == "one_sided" else target - average
