"""A truncated matrix is the nearest of its rank, and both halves together are the whole."""

import pytest
import torch

from salnb.weights import truncate_svd
from tests.problems import random
from tests.tolerances import close

F64 = torch.float64


@pytest.mark.parametrize(("shape", "fraction", "k"), [((6, 9), 0.5, 3), ((9, 5), 0.5, 3), ((7, 7), 0.3, 2), ((4, 4), 0.01, 1)])
def test_no_matrix_of_its_rank_is_nearer(shape, fraction, k, device):
    """Eckart and Young: what is missing is the rest of the spectrum, in both norms; the bottom one lacks the first values."""
    weight = random(3, *shape)
    values = torch.linalg.svdvals(weight)
    top, bottom = (truncate_svd(weight.to(device), fraction=fraction, keep=keep).cpu() for keep in ("top", "bottom"))
    assert (torch.linalg.matrix_rank(top) == k).all() and (torch.linalg.matrix_rank(bottom) == k).all()
    torch.testing.assert_close((weight - top).square().sum((-2, -1)), values[:, k:].square().sum(-1), **close(F64, 200, 10.0))
    torch.testing.assert_close(torch.linalg.matrix_norm(weight - top, 2), values[:, k], **close(F64, 200, 10.0))
    torch.testing.assert_close((weight - bottom).square().sum((-2, -1)), values[:, :-k].square().sum(-1), **close(F64, 200, 10.0))


def test_the_two_halves_are_the_whole():
    weight = random(2, 6, 8)
    torch.testing.assert_close(truncate_svd(weight) + truncate_svd(weight, keep="bottom"), weight, **close(F64, 100))
    torch.testing.assert_close(truncate_svd(weight, fraction=1), weight, **close(F64, 100))
    assert truncate_svd(weight.half()).dtype == torch.float16


@pytest.mark.parametrize(
    ("given", "words"),
    [({"fraction": 0}, r"fraction: got 0, expected a share .* in \(0, 1\]"), ({"fraction": 1.5}, "fraction: got 1.5"),
     ({"fraction": float("nan")}, "fraction: got nan"), ({"fraction": "half"}, "fraction: got 'half'"),
     ({"keep": "middle"}, "keep: got 'middle', expected one of top, bottom"),
     ({"weight": torch.tensor([[torch.inf]])}, "weight: got 1 of 1 numbers that are NaN or infinite"),
     ({"weight": torch.ones(3)}, "weight: got shape")],
)  # fmt: skip
def test_bad_input_is_an_error_in_words(given, words):
    with pytest.raises(ValueError, match=words):
        truncate_svd(**{"weight": torch.eye(3), **given})
