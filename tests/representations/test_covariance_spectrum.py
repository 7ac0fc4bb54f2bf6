"""Spectra against an exact sample of a given covariance, numpy, a loop over replicas, and batch by batch against at once."""

import sys

import numpy
import pytest
import torch

from salnb.representations.covariance_spectrum import StreamingCovariance, covariance_spectrum, participation_ratio
from tests.problems import random, seeded
from tests.tolerances import close, rounding


def exact_sample(eigenvalues: torch.Tensor, n: int, seed: int = 0, device="cpu"):
    """n samples (n, H) whose covariance has exactly these eigenvalues, along random directions, about a mean that is not 0."""
    units = len(eigenvalues)
    columns = torch.cat([torch.ones(n, 1).double(), random(n, units, seed=seed)], 1)
    basis = torch.linalg.qr(columns).Q[:, 1:]  # orthonormal, and orthogonal to the constant
    turn = torch.linalg.qr(random(units, units, seed=seed + 1)).Q
    return (basis * ((n - 1) * eigenvalues).sqrt() @ turn.mT + random(units, seed=seed + 2)).to(device)


def whole(h: torch.Tensor) -> torch.Tensor:
    """By numpy, from the covariance matrix."""
    return torch.from_numpy(numpy.linalg.eigvalsh(numpy.cov(h.double().cpu().numpy(), rowvar=False))[::-1].copy())


# The largest eigenvalue is a sum over samples and units; both ways round the matrix at its size.
def tolerance(h: torch.Tensor) -> dict[str, float]:
    scale = h.double().square().sum().item() / h.shape[-2]
    return {"rtol": 0.0, "atol": rounding(torch.float64, h.shape[-2] + h.shape[-1], scale)}


@pytest.mark.parametrize("n", [40, 500])
def test_the_covariance_of_an_exact_sample(n, device):
    eigenvalues = torch.arange(1, 31).double() ** -6.0  # to 1e-9 of the first
    found = covariance_spectrum(exact_sample(eigenvalues, n, device=device))
    # Singular values are known to eps of the largest, and the mean of a few units, so that λ is known to that times 2 √(λ λ_1).
    error = rounding(torch.float64, n) * 2 * eigenvalues.sqrt() * 3
    assert found.dtype == torch.float64 and found.device == device
    assert bool(((found.cpu() - eigenvalues).abs() < error).all())


def test_small_eigenvalues_keep_their_digits():
    eigenvalues = 10.0 ** -torch.arange(0, 22, dtype=torch.float64)
    columns = torch.linalg.qr(torch.cat([torch.ones(64, 1).double(), random(64, 22)], 1)).Q[:, 1:]
    found = covariance_spectrum(columns * (63 * eigenvalues).sqrt())
    torch.testing.assert_close(found, eigenvalues, rtol=rounding(torch.float64, 64, 1e11) * 2, atol=0.0)
    streamed = StreamingCovariance().update(columns * (63 * eigenvalues).sqrt()).spectrum()
    torch.testing.assert_close(streamed, eigenvalues, rtol=0.0, atol=rounding(torch.float64, 64))


@pytest.mark.parametrize(("n", "units"), [(200, 7), (5, 5), (4, 9), (2, 3), (3, 1)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_against_numpy(n, units, dtype, device):
    h = (random(n, units) + 3).to(dtype)
    found = covariance_spectrum(h.to(device)).cpu()
    expected = whole(h) if units > 1 else h.double().var(0)
    torch.testing.assert_close(found, expected, **tolerance(h))
    assert bool((found[min(n - 1, units) :] == 0).all()) and bool((found[: min(n - 1, units)] > 0).all())
    assert bool((found[1:] <= found[:-1]).all())


def test_n_samples_have_rank_n_minus_1_exactly():
    h = random(6, 20)
    for mean in (0.0, 1.0):  # without a mean, nothing else tells rounding from variance
        shifted = h - h.mean(0) + mean
        for found in (covariance_spectrum(shifted), covariance_spectrum(shifted.split(2))):
            assert bool((found[:5] > 0.1).all()) and not found[5:].any()


@pytest.mark.parametrize("lead", [(3,), (2, 3)])
def test_replicas_are_a_loop(lead, device):
    h = random(*lead, 20, 6, device=device)
    loop = torch.stack([covariance_spectrum(one) for one in h.flatten(0, -3)]).unflatten(0, lead)
    torch.testing.assert_close(covariance_spectrum(h), loop, **close(torch.float64, 26, 3))
    stream = StreamingCovariance()
    for batch in h.split(7, dim=-2):
        stream.update(batch)
    torch.testing.assert_close(stream.spectrum(), loop, **close(torch.float64, 26, 3))
    ratios = torch.stack([participation_ratio(one) for one in loop])
    torch.testing.assert_close(participation_ratio(loop), ratios, **close(torch.float64, 9))


def test_order_of_samples_and_units_rotations_and_shifts_change_nothing():
    h = random(50, 8) * torch.arange(1, 9)
    expected = covariance_spectrum(h)
    samples, units = torch.randperm(50, generator=seeded(1)), torch.randperm(8, generator=seeded(2))
    turn = torch.linalg.qr(random(8, 8, seed=3)).Q
    for same in (h[samples], h[:, units], -h, h @ turn, h + 5 * random(8, seed=4)):
        torch.testing.assert_close(covariance_spectrum(same), expected, **tolerance(h))
    torch.testing.assert_close(covariance_spectrum(4 * h), 16 * expected, rtol=0, atol=0)


@pytest.mark.parametrize("batches", [(50,), (1,) * 50, (1, 49), (49, 1), (7, 13, 30), (2, 2, 46)])
def test_batch_by_batch_is_at_once(batches, device):
    h = (random(50, 6) + 10).to(device)
    parts = h.split(list(batches))
    stream = StreamingCovariance()
    for part in parts:
        stream.update(part)
    assert stream.count == 50
    bound = rounding(torch.float64, 56, h.square().sum().item() / 50)
    torch.testing.assert_close(stream.mean, h.mean(0), rtol=0, atol=rounding(torch.float64, 50, 14))
    torch.testing.assert_close(stream.covariance(), torch.cov(h.mT), rtol=0, atol=bound)
    for found in (stream.spectrum(), covariance_spectrum(list(parts)), covariance_spectrum(part for part in parts)):
        torch.testing.assert_close(found, covariance_spectrum(h), rtol=0, atol=bound)


def test_two_streams_join_and_the_other_stays():
    h = random(30, 4)
    one, other = StreamingCovariance().update(h[:11]), StreamingCovariance().update(h[11:])
    before = other.covariance()
    joined = StreamingCovariance().merge(StreamingCovariance()).merge(one).merge(other).merge(StreamingCovariance())
    torch.testing.assert_close(joined.covariance(), torch.cov(h.mT), **close(torch.float64, 34, 4))
    assert repr(joined) == "StreamingCovariance: 30 samples of 4 units, replicas (), on cpu" and "0 samples" in repr(type(one)())
    assert joined.count == 30 and one.count == 11 and torch.equal(other.covariance(), before)
    assert torch.equal(one.covariance(), StreamingCovariance().update(h[:11]).covariance())


def test_a_mean_much_larger_than_the_scatter_costs_no_digits():
    h = torch.randint(0, 4, (400, 3), generator=seeded()).double()  # whole numbers, to which 2^30 can be added exactly
    far = h + 2.0**30
    expected = covariance_spectrum(h)
    torch.testing.assert_close(covariance_spectrum(far), expected, **close(torch.float64, 403, 10))
    # Here the mean of what came before is rounded at its own size, and each batch adds that error times the scatter.
    streamed = covariance_spectrum(far.split(10))
    torch.testing.assert_close(streamed, expected, rtol=0, atol=rounding(torch.float64, 40, 2.0**30))


def test_more_numbers_than_are_held_at_once_go_through_a_stream(monkeypatch):
    h = random(2, 60, 5)
    expected = covariance_spectrum(h)
    room = sys.modules[StreamingCovariance.__module__]  # the room's face has the function under the file's name
    monkeypatch.setattr(room, "AT_ONCE", 70)
    torch.testing.assert_close(covariance_spectrum(h), expected, **close(torch.float64, 65, 5))
    (gradient,) = torch.autograd.grad(covariance_spectrum(h.requires_grad_()).sum(), h)
    assert bool(gradient.any())  # asked for a gradient, it does not drop it


def test_the_gradient_is_that_of_the_formula():
    h = random(9, 4).requires_grad_()
    assert torch.autograd.gradcheck(covariance_spectrum, h)
    assert torch.autograd.gradcheck(lambda h: participation_ratio(covariance_spectrum(h)), h)
    # The sum of all eigenvalues is the total variance, for fewer samples than units as well.
    wide = random(4, 7).requires_grad_()
    (gradient,) = torch.autograd.grad(covariance_spectrum(wide).sum(), wide)
    torch.testing.assert_close(gradient, 2 * (wide - wide.mean(0)).detach() / 3, **close(torch.float64, 30, 3))


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3e5])
def test_what_never_varies_has_no_variance(value):
    h = torch.full((37, 5), value, dtype=torch.float64)
    assert not covariance_spectrum(h).any() and not covariance_spectrum(h.split(5)).any()
    h[:, 2] += random(37)
    for spectrum in (covariance_spectrum(h), covariance_spectrum(h.split(5))):
        assert bool(spectrum[0] > 0) and not spectrum[1:].any()
        assert participation_ratio(spectrum) == 1


@pytest.mark.parametrize("k", [1, 3, 8])
def test_participation_ratio_counts_equal_eigenvalues(k):
    eigenvalues = torch.zeros(2, 8)
    eigenvalues[:, 8 - k :] = torch.tensor([[1e-30], [1e30]])
    torch.testing.assert_close(participation_ratio(eigenvalues), torch.full((2,), float(k)).double(), **close(torch.float64, 20))
    shuffled = eigenvalues[:, torch.randperm(8, generator=seeded())]
    torch.testing.assert_close(participation_ratio(shuffled), participation_ratio(eigenvalues), **close(torch.float64, 20))


def test_participation_ratio_is_its_formula():
    eigenvalues = random(3, 6).abs()
    expected = eigenvalues.sum(-1) ** 2 / (eigenvalues**2).sum(-1)
    torch.testing.assert_close(participation_ratio(eigenvalues), expected, **close(torch.float64, 30))


H = torch.ones(4, 3)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: covariance_spectrum(H[:1]), ValueError, r"h: got 1 sample, expected N >= 2"),
        (lambda: covariance_spectrum(H[0]), ValueError, r"h: got shape \(3,\), expected \(\.\.\., N, H\)"),
        (lambda: covariance_spectrum(H.long()), ValueError, r"h: got dtype torch.int64.*\.float\(\)"),
        (lambda: covariance_spectrum(H[:0]), ValueError, r"h: got shape \(0, 3\)"),
        (lambda: covariance_spectrum(H / 0), ValueError, r"h: got 12 of 12 numbers that are NaN or infinite"),
        (lambda: covariance_spectrum(1e200 * random(4, 3)), ValueError, "h: got numbers whose squares leave the range"),
        (lambda: covariance_spectrum([1e200 * random(4, 3)]), ValueError, "h: got numbers whose squares leave the range"),
        (lambda: covariance_spectrum(1e308 * H.double() * 1.7), ValueError, "h: got numbers whose squares leave the range"),
        (lambda: covariance_spectrum(H.numpy()), TypeError, "h: got numpy.ndarray.*as_tensor"),
        (lambda: covariance_spectrum("h"), TypeError, "h: got str"),
        (lambda: covariance_spectrum({"h": H}), TypeError, "h: got dict"),
        (lambda: covariance_spectrum(3.0), TypeError, "h: got float"),
        (lambda: covariance_spectrum([[1.0, 2.0], [3.0, 4.0]]), TypeError, "h: got list"),
        (lambda: covariance_spectrum([(H, 3)]), TypeError, r"h: got a batch that is a tuple.*\(x for x, \*_ in h"),
        (lambda: covariance_spectrum([H.numpy()]), TypeError, "h: got numpy.ndarray"),
        (lambda: covariance_spectrum([]), ValueError, "h: got an iterable without a batch"),
        (lambda: covariance_spectrum([H[:1]]), ValueError, "h: got 1 sample"),
        (lambda: covariance_spectrum([H, H[:, :2]]), ValueError, r"h: got 2 units, replicas \(\).*expected 3 units"),
        (lambda: covariance_spectrum([H, H.expand(2, 4, 3)]), ValueError, r"h: got 3 units, replicas \(2,\)"),
        (lambda: StreamingCovariance().spectrum(), ValueError, "h: got no sample, expected N >= 2"),
        (lambda: StreamingCovariance().update(H[0]), ValueError, r"h: got shape \(3,\)"),
        (lambda: StreamingCovariance().merge(H), TypeError, "other: got Tensor, expected a StreamingCovariance"),
        (lambda: participation_ratio(torch.zeros(3)), ValueError, "eigenvalues: got only zeros"),
        (lambda: participation_ratio(torch.tensor([1.0, -0.1])), ValueError, "eigenvalues: got -0.1, expected eigenvalues of a"),
        (lambda: participation_ratio(torch.ones(3).int()), ValueError, "eigenvalues: got dtype torch.int32"),
        (lambda: participation_ratio(torch.tensor([1.0, torch.nan])), ValueError, "eigenvalues: got 1 of 2 numbers"),
        (lambda: participation_ratio([1.0, 2.0]), TypeError, "eigenvalues: got list"),
    ],
)
def test_bad_input_is_refused_in_words(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_a_refused_batch_leaves_the_stream_as_it_was():
    stream = StreamingCovariance().update(random(5, 3))
    before = stream.covariance().clone()
    for bad in (random(5, 2), H / 0, 1e200 * random(4, 3)):
        with pytest.raises(ValueError):
            stream.update(bad)
    assert stream.count == 5 and torch.equal(stream.covariance(), before)
