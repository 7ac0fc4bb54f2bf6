"""Alignment, agreement and overlap of matrices that are built from known singular vectors."""

import math
import warnings

import pytest
import torch
from scipy import special

from salnb.weights import layer_alignment, singular_vector_agreement, subspace_overlap, truncate_svd
from tests.problems import random
from tests.tolerances import SIGMAS, rounding

F64 = torch.float64
EXACT = dict(rtol=0, atol=rounding(F64, 1000))  # sums of up to 12 products and a decomposition whose gaps are about 0.1
FALLING = torch.linspace(2.0, 0.5, 8, dtype=F64)


def basis(n: int, seed: int, *lead: int) -> torch.Tensor:
    return torch.linalg.qr(random(*lead, n, n, seed=seed))[0]


def composed(left: torch.Tensor, right: torch.Tensor, values: torch.Tensor = FALLING) -> torch.Tensor:
    size = values.shape[-1]
    return (left[..., :size] * values) @ right[..., :size].mT


def turned(vectors: torch.Tensor, angle: float, i: int, j: int) -> torch.Tensor:
    """The vectors with the i-th and the j-th turned in their plane."""
    found = vectors.clone()
    found[..., i] = math.cos(angle) * vectors[..., i] + math.sin(angle) * vectors[..., j]
    found[..., j] = math.cos(angle) * vectors[..., j] - math.sin(angle) * vectors[..., i]
    return found


def test_neighbours_that_share_a_basis_are_aligned(device):
    shared, first, second = basis(10, 1, 3), basis(12, 2, 3), basis(9, 3, 3)
    below, above = composed(shared, first).to(device), composed(second, shared).to(device)
    torch.testing.assert_close(layer_alignment(below, above, k=8).cpu(), torch.ones(3, dtype=F64), **EXACT)
    tilted = composed(second, turned(turned(shared, 0.3, 0, 1), 1.1, 2, 9)).to(device)
    expected = (2 * math.cos(0.3) + math.cos(1.1) + 1) / 4
    torch.testing.assert_close(layer_alignment(below, tilted, k=4).cpu(), torch.full((3,), expected, dtype=F64), **EXACT)
    # shared by the replicas, and in another order: the strongest outputs meet the weakest inputs
    one = composed(second[0], shared[0].flip(-1)).to(device)
    assert layer_alignment(below, one, k=2)[0] < EXACT["atol"]


def test_two_matrices_agree_as_far_as_both_their_vectors_do():
    left, right = basis(10, 1), basis(9, 2)
    a = composed(left, right)
    torch.testing.assert_close(singular_vector_agreement(a, -3 * a, k=8), torch.tensor(1.0, dtype=F64), **EXACT)
    b = composed(turned(left, 0.4, 0, 1), turned(right, 0.7, 1, 2))
    expected = (math.cos(0.4) + math.cos(0.4) * math.cos(0.7) + math.cos(0.7) + 1) / 4
    torch.testing.assert_close(singular_vector_agreement(a, b, k=4), torch.tensor(expected, dtype=F64), **EXACT)
    torch.testing.assert_close(singular_vector_agreement(b, a, k=4), torch.tensor(expected, dtype=F64), **EXACT)
    assert singular_vector_agreement(a, composed(left, right.flip(-1)), k=3) < EXACT["atol"]  # one side alone is not enough


def test_an_overlap_is_the_mean_squared_cosine_of_the_principal_angles():
    left = basis(10, 1)
    a = composed(left, basis(9, 2))
    b = composed(turned(turned(turned(left, 0.9, 0, 1), 0.4, 1, 8), 1.2, 2, 9), basis(12, 3))  # the turn inside does not count
    expected = (1 + math.cos(0.4) ** 2 + math.cos(1.2) ** 2) / 3
    torch.testing.assert_close(subspace_overlap(a, b, k=3), torch.tensor(expected, dtype=F64), **EXACT)
    assert subspace_overlap(a, composed(left.flip(-1), basis(9, 2)), k=2) < EXACT["atol"]
    square = random(6, 6)
    torch.testing.assert_close(subspace_overlap(square, random(6, 6, seed=1), k=6), torch.tensor(1.0, dtype=F64), **EXACT)


def test_independent_matrices_have_the_values_of_random_vectors():
    """The mean of |<u, v>| over the unit sphere of h dimensions is Γ(h/2) / (√π Γ((h + 1)/2)), about √(2 / (π h))."""
    mean = lambda h: math.exp(special.gammaln(h / 2) - special.gammaln((h + 1) / 2)) / math.sqrt(math.pi)  # noqa: E731
    assert mean(256) == pytest.approx(0.05, abs=2e-4) and mean(256) == pytest.approx(math.sqrt(2 / (math.pi * 256)), rel=2e-3)
    a, b = random(60, 40, 30), random(60, 50, 40, seed=1)
    for found, expected in (
        (layer_alignment(a, b), mean(40)),
        (singular_vector_agreement(a, random(60, 40, 30, seed=2)), mean(40) * mean(30)),
        (subspace_overlap(a, random(60, 40, 70, seed=3)), 10 / 40),
    ):
        assert abs(found.mean() - expected) < SIGMAS * found.std() / math.sqrt(60)


def test_more_vectors_than_there_are_means_all_of_them():
    a, b = random(4, 6), random(5, 4, seed=1)
    assert layer_alignment(a, b) == layer_alignment(a, b, k=4)
    assert singular_vector_agreement(a, random(4, 6, seed=2)) == singular_vector_agreement(a, random(4, 6, seed=2), k=4)


def test_vectors_that_the_matrix_does_not_determine_are_nan_with_a_warning():
    good = random(5, 5)
    mixed = torch.stack([good, torch.eye(5, dtype=F64)])
    for call in (lambda: layer_alignment(mixed, good, k=3), lambda: layer_alignment(good, mixed, k=3),
                 lambda: singular_vector_agreement(mixed, good, k=3), lambda: singular_vector_agreement(good, mixed, k=3),
                 lambda: subspace_overlap(mixed, good, k=3), lambda: subspace_overlap(good, mixed, k=3)):  # fmt: skip
        with pytest.warns(RuntimeWarning, match="in 1 of 2 replicas, so that they are not determined.*NaN; use a smaller k"):
            found = call()
        assert found.isnan().tolist() == [False, True]
    low = composed(basis(6, 1), basis(7, 2), torch.tensor([3.0, 2.0, 1.0], dtype=F64))  # of rank 3
    with pytest.warns(RuntimeWarning, match="equal or 0 up to rounding"):
        assert singular_vector_agreement(low, low, k=4).isnan()
    tall = composed(basis(4, 1), basis(3, 2), torch.tensor([2.0, 1.0, 0.0], dtype=F64))  # 2 directions are left for one vector
    with pytest.warns(RuntimeWarning, match="equal or 0 up to rounding"):
        assert singular_vector_agreement(tall, tall, k=3).isnan()
    with pytest.warns(RuntimeWarning, match="the space of the first k vectors could be another"):
        assert subspace_overlap(tall, tall, k=3).isnan()
    wide = composed(basis(2, 1), basis(3, 2), torch.tensor([1.0, 0.0], dtype=F64))
    with pytest.warns(RuntimeWarning, match="equal or 0 up to rounding"):
        assert layer_alignment(good[:3, :3], wide, k=2).isnan()  # of 3 inputs 2 are left for its second vector
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        square = composed(basis(3, 1), basis(3, 2), torch.tensor([2.0, 1.0, 0.0], dtype=F64))  # where only one direction is left
        assert singular_vector_agreement(square, square, k=3) == pytest.approx(1)
        assert layer_alignment(tall.T.contiguous(), square, k=3) >= 0  # 3 outputs, of which the last has one direction left
        assert singular_vector_agreement(low, low, k=3) == pytest.approx(1)
        assert subspace_overlap(low, low, k=3) == pytest.approx(1)
        # equal values inside the space do not matter, and the whole space needs no gap after it
        pair = composed(basis(6, 1), basis(7, 2), torch.tensor([2.0, 2.0, 1.0], dtype=F64))
        assert subspace_overlap(pair, low, k=2) == pytest.approx(1)
        half = truncate_svd(good)  # what is cut leaves zeros behind
        assert singular_vector_agreement(good, half, k=2) == pytest.approx(1)


def test_half_precision_and_two_dtypes():
    a = random(6, 5)
    assert singular_vector_agreement(a, a.bfloat16(), k=1) > 0.99 and layer_alignment(a.float(), a.T.contiguous()) > 0.99


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: layer_alignment([1.0], torch.eye(2)), TypeError, "first: got list, expected a tensor"),
        (lambda: layer_alignment(torch.ones(3, 4), torch.ones(2, 4)), ValueError, "second: got shape .*h = 3, .* exchanged?"),
        (lambda: layer_alignment(torch.ones(2, 3, 4), torch.ones(5, 2, 3)), ValueError, r"second: got replicas \(5,\), expected"),
        (lambda: singular_vector_agreement(torch.ones(3, 4), torch.ones(4, 3)), ValueError, r"b: got shape \(4, 3\), expected"),
        (lambda: subspace_overlap(torch.ones(3, 4), torch.ones(4, 4)), ValueError, "b: got shape .*expected 3 rows as a"),
        (lambda: subspace_overlap(torch.ones(3, 4), torch.ones(3, 4), k=0), ValueError, "k: got 0, expected an integer >= 1"),
        (lambda: subspace_overlap(torch.ones(3, 4), torch.ones(3, 4), k=2.0), ValueError, "k: got 2.0, expected an integer"),
        (lambda: singular_vector_agreement(torch.ones(3), torch.ones(3)), ValueError, "a: got shape .*at least 2 dimensions"),
        (lambda: subspace_overlap(torch.ones(2, 2), torch.full((2, 2), torch.inf)), ValueError, "b: got 4 of 4 numbers"),
    ],
)
def test_bad_input_is_an_error_in_words(call, error, words):
    with pytest.raises(error, match=words):
        call()
