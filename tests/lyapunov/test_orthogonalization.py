"""Every way of taking the growth out writes the tangents as frame times upper triangle."""

import pytest
import torch

from salnb.lyapunov.orthogonalization import TOLERANCE, Elimination, cholesky, householder, length, lost, reduction, stretch
from tests.problems import random
from tests.tolerances import rounding

WAYS = {"householder": householder, "cholesky": cholesky, "elimination": lambda tangents: Elimination()(tangents)}
DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (3, 7, 5), (2, 3, 5, 2)])
@pytest.mark.parametrize("way", WAYS)
def test_tangents_are_frame_times_upper_triangle(way, shape, dtype, device):
    # Of a condition that every draw keeps: what a frame is off by grows with it, for Cholesky's with its square.
    *lead, n, k = shape
    upper = torch.eye(k).double() + 0.2 * torch.triu(random(*lead, k, k, seed=1), 1)
    tangents = (torch.linalg.qr(random(*lead, n, k))[0] @ upper).to(device, dtype)
    kept = tangents.clone()
    frame, diagonal = WAYS[way](tangents)
    triangle = torch.linalg.lstsq(frame.double().cpu(), kept.double().cpu()).solution
    condition = float(torch.linalg.cond(kept.double().cpu()).max())
    tolerance = {"rtol": 0, "atol": rounding(dtype, n, condition**2)}
    assert tolerance["atol"] < 1e5 * torch.finfo(dtype).eps
    torch.testing.assert_close(triangle, triangle.triu(), **tolerance)
    torch.testing.assert_close(diagonal.double().cpu(), triangle.diagonal(dim1=-2, dim2=-1).abs(), **tolerance)
    torch.testing.assert_close(frame.double().cpu() @ triangle, kept.double().cpu(), **tolerance)
    if way == "elimination":
        assert float(frame.abs().max()) == 1.0
    else:
        eye = torch.eye(k, dtype=dtype, device=device).expand(*lead, -1, -1)
        torch.testing.assert_close(frame.mT @ frame, eye, **tolerance)
    assert torch.equal(tangents, kept)


def test_elimination_works_again_in_the_same_memory_and_anew_for_another_shape(device):
    ways = Elimination()
    first, _ = ways(random(2, 5, 3, device=device))
    again, diagonal = ways(random(2, 5, 3, seed=1, device=device))
    fresh = Elimination()(random(2, 5, 3, seed=1, device=device))
    assert first.data_ptr() == again.data_ptr() and torch.equal(again, fresh[0]) and torch.equal(diagonal, fresh[1])
    for shape in ((5, 3), (2, 5, 4), (3, 5, 3)):
        frame, diagonal = ways(random(*shape, device=device))
        fresh = Elimination()(random(*shape, device=device))
        assert torch.equal(frame, fresh[0]) and torch.equal(diagonal, fresh[1])


@pytest.mark.parametrize("way", WAYS)
def test_a_pivot_of_zero_moves_rows(way):
    tangents = torch.tensor([[0.0, 2.0], [3.0, 1.0], [0.0, 0.0]]).double()
    frame, diagonal = WAYS[way](tangents)
    assert diagonal.tolist() == pytest.approx([3.0, 2.0])
    assert frame.abs().tolist() == [pytest.approx([0.0, 1.0]), pytest.approx([1.0, 0.0]), pytest.approx([0.0, 0.0])]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("n", "rank"), [(8, 3), (40, 12), (120, 100)])
def test_dependent_directions_are_lost_and_no_others(way, n, rank, dtype):
    """Orthonormal columns first: how much rounding leaves of the others grows with how nearly dependent those are."""
    first = torch.linalg.qr(random(4, n, rank))[0]
    tangents = torch.cat([first, first @ random(4, rank, n - rank, seed=1)], -1).to(dtype)
    frame, diagonal = WAYS[way](tangents)
    gone = lost(tangents, diagonal) | (diagonal == 0)
    assert gone.sum(-1).tolist() == [n - rank] * 4 and torch.isfinite(frame).all()
    whole = random(4, n, n).to(dtype)
    assert not lost(whole, WAYS[way](whole)[1]).any()


@pytest.mark.parametrize("way", WAYS)
def test_a_direction_of_another_size_is_not_lost(way):
    tangents = random(6, 4) * torch.tensor([1.0, 1e-30, 1e30, 1e-60], dtype=torch.float64)
    assert not lost(tangents, WAYS[way](tangents)[1]).any()


def test_householder_takes_neurons_of_slope_0_for_what_they_are():
    tangents = random(2, 6, 6)
    tangents[0, [1, 4]] = 0.0
    diagonal = householder(tangents)[1]
    assert (diagonal == 0).sum(-1).tolist() == [2, 0]


def test_cholesky_falls_back_where_the_product_is_not_positive():
    tangents = torch.stack([random(5, 3), torch.ones(5, 3).double()])
    frame, diagonal = cholesky(tangents)
    expected = householder(tangents)
    torch.testing.assert_close(frame, expected[0])
    torch.testing.assert_close(diagonal, expected[1])


def graded(draw: int, dtype: torch.dtype) -> torch.Tensor:
    """Columns that nearly depend on those before them, by up to eight decades, in half of the draws of very different lengths."""
    n, k, decades = 3 + draw % 23, 2 + draw % 7, 8 * (draw % 10) / 10
    n = max(n, k)
    triangle = torch.triu(random(k, k, seed=draw))
    triangle.diagonal().copy_(10 ** (-decades * torch.rand(k, generator=torch.Generator().manual_seed(draw)).double()))
    scales = 10 ** (3 * random(k, seed=draw + 1)) if draw % 2 else torch.ones(k).double()
    return (torch.linalg.qr(random(n, k, seed=draw + 2))[0] @ (triangle * scales)).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cholesky_has_every_pivot_to_its_tolerance_or_leaves_it_to_householder(dtype):
    """A pivot of noise may come out positive, and a small one spoils those after it: both happen here without the fallback."""
    own, noise = 0, 0
    for draw in range(600):
        tangents = graded(draw, dtype)
        # A product is off by about √n roundings of all signs, and 16 signs tell the mean of squares to a factor of four.
        bound = 4 * len(tangents) ** 0.5 * TOLERANCE["cholesky"][dtype]
        frame, diagonal = cholesky(tangents)
        exact = householder(tangents)
        if torch.equal(diagonal, exact[1]):
            continue
        own += 1
        exact = householder(tangents.double())[1].log()
        assert float((diagonal.double().log() - exact).abs().max()) < bound, draw
        assert float((frame.mT @ frame - torch.eye(frame.shape[-1], dtype=dtype)).abs().max()) < 2 * bound
    for draw in range(600):
        factor, failed = torch.linalg.cholesky_ex(graded(draw, dtype).mT @ graded(draw, dtype))
        exact = householder(graded(draw, dtype).double())[1].log()
        off = float((factor.diagonal().double().log() - exact).abs().max())
        noise += not failed and off > 0.5
    assert own > 60 and noise > 5, "the draws must hold both"


@pytest.mark.parametrize("dtype", DTYPES)
def test_cholesky_leaves_squares_outside_the_range_of_numbers_to_householder(dtype):
    edge = {torch.float32: 1e25, torch.float64: 1e200}[dtype]
    tangents = torch.diag(torch.tensor([edge, 1 / edge], dtype=dtype))
    tangents[0, 1] = 1 / edge
    assert cholesky(tangents)[1].log().tolist() == pytest.approx(householder(tangents)[1].log().tolist(), rel=1e-6)


def test_one_tangent_is_divided_by_its_length_and_zero_stays_zero():
    frame, size = length(torch.tensor([[[3.0], [4.0]], [[0.0], [0.0]]]))
    assert frame.squeeze(-1).tolist() == [pytest.approx([0.6, 0.8]), [0.0, 0.0]] and size.squeeze(-1).tolist() == [5.0, 0.0]
    for method in WAYS:
        assert reduction(method, 1) is length
    assert reduction("householder", 2) is householder and reduction("cholesky", 2) is cholesky
    assert isinstance(reduction("elimination", 2), Elimination)


@pytest.mark.parametrize("k", [1, 3])
def test_stretch_ends_what_elimination_began(k):
    tangents = random(7, 7)[:, :k]
    frame, diagonal = reduction("elimination", k)(tangents)
    torch.testing.assert_close(diagonal.log() + stretch(frame), torch.linalg.qr(tangents)[1].diagonal().abs().log())
    assert stretch(torch.ones(4, 2).double())[1] < -30, "a dependent column must not fail"
