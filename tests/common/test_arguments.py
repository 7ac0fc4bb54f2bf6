"""Checks of arguments: integers of NumPy are integers, booleans and fractions are not."""

import numpy as np
import pytest

from salnb.common.arguments import as_shape, check_integers, check_sizes


@pytest.mark.parametrize("number", [3, np.int64(3), np.uint8(3)])
def test_integers_of_numpy_are_integers(number) -> None:
    check_sizes(width=number)
    check_integers(n_steps=(number, 1))
    assert as_shape("n_hidden", number) == (3,)
    assert all(type(size) is int for size in as_shape("n_hidden", (number, 4)))


@pytest.mark.parametrize("number", [True, np.bool_(True), 3.0, np.float64(3), "3", None, 0, np.int64(-1)])
def test_what_is_no_positive_integer_is_refused_by_name(number) -> None:
    with pytest.raises(ValueError, match="^width: got .*, expected an integer >= 1"):
        check_sizes(width=number)
    with pytest.raises(ValueError, match="^n_steps: got .*, expected an integer >= 1"):
        check_integers(n_steps=(number, 1))
    for sizes in (number, (4, number)):
        with pytest.raises(ValueError, match="^n_hidden: got .*, expected a positive integer or a tuple of them"):
            as_shape("n_hidden", sizes)
