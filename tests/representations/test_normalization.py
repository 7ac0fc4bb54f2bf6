"""Rows of Lp norm 1 against the definition; rows without a direction are refused."""

import math

import numpy
import pytest
import torch

from salnb.representations.normalization import lp_normalize
from tests.problems import random
from tests.tolerances import close


@pytest.mark.parametrize("p", [1, 2, 3.0, 4.5, math.inf])
def test_each_row_has_norm_1_and_its_direction(p, device):
    x = random(3, 5, 7, device=device)
    found = lp_normalize(x, p)
    norm = x.abs().amax(-1, keepdim=True) if p == math.inf else (x.abs() ** p).sum(-1, keepdim=True) ** (1 / p)
    torch.testing.assert_close(found, x / norm, **close(torch.float64, 7 + 4 * 4))  # a sum of 7 powers, a root, three divisions
    assert found.dtype == x.dtype and found.device == x.device


def test_the_norm_is_the_third_unless_given():
    x = random(4, 6)
    assert torch.equal(lp_normalize(x), lp_normalize(x, 3.0))
    torch.testing.assert_close((lp_normalize(x).abs() ** 3).sum(-1), torch.ones(4).double(), **close(torch.float64, 30))


def test_rows_are_independent_of_each_other_and_of_their_size(device):
    x = random(2, 4, 6, device=device)
    loop = torch.stack([torch.stack([lp_normalize(row) for row in replica]) for replica in x])
    torch.testing.assert_close(lp_normalize(x), loop, **close(torch.float64, 20))
    assert torch.equal(lp_normalize(8 * x), lp_normalize(x))  # a factor of 8 rounds nothing


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_sizes_whose_cube_leaves_float32(size):
    x = random(4, 6).float()
    torch.testing.assert_close(lp_normalize(size * x), lp_normalize(x), **close(torch.float32, 20))


def test_half_precision_keeps_its_dtype():
    found = lp_normalize(100 * torch.rand(3, 50).half())
    assert found.dtype == torch.float16
    torch.testing.assert_close((found.double() ** 3).sum(-1), torch.ones(3).double(), rtol=0, atol=3 * 8 * 2**-11)


def test_a_long_row_in_half_precision():
    found = lp_normalize(torch.full((2, 70_000), 6e4).half(), 1)  # the sum is beyond float16, its inverse is not
    torch.testing.assert_close(found.double(), torch.full((2, 70_000), 1 / 70_000).double(), rtol=0, atol=2**-24)


def test_the_gradient_is_that_of_the_formula():
    x = random(3, 5).requires_grad_()
    assert torch.autograd.gradcheck(lp_normalize, x)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: lp_normalize(torch.tensor([[1.0, 2.0], [0.0, 0.0]])), ValueError, r"x: got 1 of 2 rows of zeros .*row \(1,\)"),
        (lambda: lp_normalize(torch.zeros(3)), ValueError, "x: got 1 of 1 rows of zeros"),
        (lambda: lp_normalize(torch.full((2, 3), 1e-42)), ValueError, "x: got 2 of 2 rows of zeros.*below 1.2e-38"),
        (lambda: lp_normalize(torch.tensor([[1.0, torch.nan]])), ValueError, r"x: got 1 of 2 numbers that are NaN.*\(0, 1\)"),
        (lambda: lp_normalize(torch.tensor([[1.0, torch.inf]])), ValueError, "x: got 1 of 2 numbers that are NaN"),
        (lambda: lp_normalize(torch.ones(2, 3, dtype=torch.uint8)), ValueError, r"x: got dtype torch.uint8.*\.float\(\)"),
        (lambda: lp_normalize(torch.ones(2, 0)), ValueError, r"x: got shape \(2, 0\)"),
        (lambda: lp_normalize(torch.tensor(1.0)), ValueError, r"x: got shape \(\), expected \(\.\.\., D\)"),
        (lambda: lp_normalize(numpy.ones((2, 3))), TypeError, "x: got numpy.ndarray.*as_tensor"),
        (lambda: lp_normalize(torch.ones(2, 3), 0.5), ValueError, "p: got 0.5, expected a number >= 1"),
        (lambda: lp_normalize(torch.ones(2, 3), math.nan), ValueError, "p: got nan"),
        (lambda: lp_normalize(torch.ones(2, 3), True), ValueError, "p: got True"),
        (lambda: lp_normalize(torch.ones(2, 3), "3"), ValueError, "p: got '3'"),
        (lambda: lp_normalize(torch.ones(2, 3), 10**400), ValueError, "p: got a number beyond the range of floats, expected"),
    ],
)
def test_bad_input_is_refused_in_words(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
