"""Checks of arguments for several rooms. Each check raises a ValueError that names the argument and what was expected."""

import math
from numbers import Integral, Real


def check_sizes(**sizes: int) -> None:
    """Checks that each size is a positive integer; the numbers of inputs and outputs, ``n_in`` and ``n_out``, may be 0."""
    for name, size in sizes.items():
        smallest = 0 if name in ("n_in", "n_out") else 1
        if not isinstance(size, Integral) or isinstance(size, bool) or size < smallest:
            raise ValueError(f"{name}: got {size!r}, expected an integer >= {smallest}")


def as_shape(name: str, sizes: int | tuple[int, ...]) -> tuple[int, ...]:
    """Returns a positive integer, or a tuple of positive integers, as a tuple."""
    if not isinstance(sizes, (Integral, tuple, list)):
        raise ValueError(f"{name}: got {sizes!r}, expected a positive integer or a tuple of them")
    shape = (sizes,) if isinstance(sizes, Integral) else tuple(sizes)
    for size in shape:
        if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{name}: got {sizes!r}, expected a positive integer or a tuple of them")
    return tuple(int(size) for size in shape)


def check_integers(**integers: tuple[int, int]) -> None:
    """Checks that each argument is an integer and at least its least value: ``check_integers(n_steps=(n_steps, 1))``."""
    for name, (value, least) in integers.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name}: got {value!r}, expected an integer >= {least}")


def one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Checks that the value is one of the choices."""
    if value is not None and not isinstance(value, str) or value not in choices:  # an array is compared entry by entry
        raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(choices)}")


def as_float(value: object) -> float:
    """A real number as a float; NaN, which no comparison holds for, in place of anything else or beyond the range of floats.

    Example:
        >>> as_float(3), as_float(10**400), as_float("3"), as_float(True)
        (3.0, nan, nan, nan)
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def shown(value: object) -> str:
    """The value for a message: Python refuses to write out integers of thousands of digits, and nobody reads hundreds of them.

    Example:
        >>> shown(30), shown("30"), shown(10**400)
        ('30', "'30'", 'a number beyond the range of floats')
    """
    if isinstance(value, Real) and not isinstance(value, bool | float) and math.isnan(as_float(value)) and value == value:
        return "a number beyond the range of floats"
    return repr(value)
