"""Ranks of matrices whose singular values are known, against the formula, the quarter-circle law and finite differences."""

import math

import pytest
import torch
from scipy import integrate

from salnb.weights import effective_rank, matricize, stable_rank
from tests.problems import random
from tests.tolerances import SIGMAS, close, rounding

F64 = torch.float64


def rotation(n: int, *lead: int, seed: int = 0) -> torch.Tensor:
    return torch.linalg.qr(random(*lead, n, n, seed=seed))[0]


def with_spectrum(values: torch.Tensor, m: int, n: int, seed: int = 1) -> torch.Tensor:
    """Matrices (..., m, n) with these singular values (..., R), R = min(m, n)."""
    lead, size = values.shape[:-1], values.shape[-1]
    left, right = rotation(m, *lead, seed=seed)[..., :size], rotation(n, *lead, seed=seed + 1)[..., :size]
    return (left * values.unsqueeze(-2)) @ right.mT


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (1, 5), (3, 1)])
def test_both_ranks_are_those_of_the_singular_values(shape, device):
    values = random(7, min(shape)).abs().sort(-1, descending=True).values + 0.1
    weight = with_spectrum(values, *shape).to(device)
    p = values / values.sum(-1, keepdim=True)
    directions = (-(p * p.log()).sum(-1)).exp()
    tolerance = rounding(F64, 2 * max(shape) ** 2, float(values.max() / values.min()))
    torch.testing.assert_close(effective_rank(weight, normalized=False).cpu(), directions, rtol=tolerance, atol=0)
    torch.testing.assert_close(effective_rank(weight).cpu(), directions / min(shape), rtol=tolerance, atol=0)
    expected = values.square().sum(-1) / values[:, 0] ** 2
    torch.testing.assert_close(stable_rank(weight).cpu(), expected, rtol=tolerance, atol=0)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_k_equal_singular_values_are_rank_k(k):
    values = torch.cat([torch.full((k,), 2.0, dtype=F64), torch.zeros(5 - k, dtype=F64)])
    weight = with_spectrum(values, 8, 5)
    # a singular value of rounding size eps adds -eps ln eps to the entropy
    tolerance = rounding(F64, 64) * -math.log(torch.finfo(F64).eps)
    assert effective_rank(weight) == pytest.approx(k / 5, rel=tolerance)
    assert effective_rank(weight, normalized=False) == pytest.approx(k, rel=tolerance)
    assert stable_rank(weight) == pytest.approx(k, rel=tolerance)


def test_neither_scale_nor_rotation_changes_a_rank():
    weight = random(3, 7, 5)
    turned = rotation(7, seed=3) @ weight @ rotation(5, seed=4)
    for rank in (effective_rank, stable_rank):
        expected = rank(weight)
        torch.testing.assert_close(rank(turned), expected, **close(F64, 300))
        for scale in (1e-200, 1e-30, -3.0, 1e200):
            torch.testing.assert_close(rank(scale * weight), expected, **close(F64, 300))
        single = weight.float()  # where the sum of the squares would be 0 or infinite
        for scale in (1e-30, 3e38 / float(single.abs().max())):  # the largest singular value is no number of this type
            torch.testing.assert_close(rank(scale * single), rank(single), **close(torch.float32, 300))


def test_independent_numbers_have_the_rank_of_the_quarter_circle_law():
    """The law holds for N → ∞; what is missing goes like 1/N, so that two sizes together give the limit up to 1/N²."""
    density = lambda s: math.sqrt(4 - s * s) / math.pi  # noqa: E731
    mean = integrate.quad(lambda s: s * density(s), 0, 2)[0]
    mean_log = integrate.quad(lambda s: s * math.log(s) * density(s), 0, 2)[0]
    limit = math.exp(math.log(mean) - mean_log / mean)
    assert limit == pytest.approx(0.805, abs=5e-4)  # as the shared facts say
    small, large = (effective_rank(random(40, n, n, seed=n)) for n in (64, 128))
    found, error = 2 * large.mean() - small.mean(), math.hypot(2 * large.std().item(), small.std().item()) / math.sqrt(40)
    assert abs(found - limit) < SIGMAS * error + 1 / 64**2
    assert small.mean() < large.mean() < limit


def test_the_gradient_is_that_of_finite_differences():
    weight = random(2, 5, 4).requires_grad_()
    for rank in (effective_rank, stable_rank):
        assert torch.autograd.gradcheck(rank, (weight,))


def test_nothing_has_rank_0_and_half_precision_is_computed_in_single():
    zeros = torch.zeros(2, 3, 4)
    zeros[1] = torch.eye(3, 4)
    assert effective_rank(zeros).tolist() == pytest.approx([0.0, 1.0])
    assert stable_rank(zeros).tolist() == pytest.approx([0.0, 3.0])
    half = random(4, 4).bfloat16()
    assert effective_rank(half).dtype == torch.float32 and effective_rank(half) == effective_rank(half.float())


def test_the_matrix_of_a_convolution_has_a_row_for_each_output():
    """Against the convolutions themselves: applied to one patch, the matrix gives what the layer gives."""
    conv, patch = torch.nn.Conv2d(3, 5, (2, 4), bias=False, dtype=F64), random(1, 3, 2, 4)
    torch.testing.assert_close(matricize(conv.weight) @ patch.flatten(), conv(patch).flatten(), **close(F64, 24))
    transposed = torch.nn.ConvTranspose1d(3, 5, 2, bias=False, dtype=F64)
    column = random(1, 3, 1)  # one place in gives a kernel of places out
    blocks = matricize(transposed.weight, transposed=True).view(5, 3, 2)
    found = torch.einsum("oik,i->ok", blocks, column.flatten())
    torch.testing.assert_close(found, transposed(column)[0], **close(F64, 6))
    linear = random(4, 6)
    assert torch.equal(matricize(linear), linear) and torch.equal(matricize(linear, transposed=True), linear.T)


@pytest.mark.parametrize("function", [effective_rank, stable_rank, matricize])
def test_what_is_no_matrix_is_refused_in_words(function):
    with pytest.raises(TypeError, match="weight: got list, expected a tensor"):
        function([[1.0]])
    for bad, words in ((torch.ones(3), "with at least 2 dimensions"), (torch.ones(2, 2).long(), "floating-point"),
                       (torch.ones(0, 3), "which holds no number")):  # fmt: skip
        with pytest.raises(ValueError, match=f"weight: got .*{words}"):
            function(bad)


def test_words_for_other_arguments():
    for rank in (effective_rank, stable_rank):
        with pytest.raises(ValueError, match="weight: got 1 of 4 numbers that are NaN or infinite"):
            rank(torch.tensor([[1.0, torch.nan], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="normalized: got 'yes', expected True or False"):
        effective_rank(torch.eye(2), normalized="yes")
    with pytest.raises(TypeError, match="transposed: got 1, expected True or False"):
        matricize(torch.eye(2), transposed=1)
