"""The layer: what it computes, its replicas, what it counts, and what it refuses."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch

from salnb.representations.krotov_hopfield import KrotovHopfieldLayer, least_std
from tests.problems import random, seeded
from tests.tolerances import spread, within

DOUBLE = dict(dtype=torch.float64)


def a_layer(device="cpu", **given):
    return KrotovHopfieldLayer(9, 12, **{**dict(replicas=(3,), generator=seeded(1), device=device), **DOUBLE, **given})


def as_loop(layer):
    """A layer for each replica, with its weights."""
    alone = []
    for weight in layer.weight.flatten(0, -3):
        one = a_layer(weight.device, replicas=())
        one.rule = layer.rule
        one.weight.copy_(weight)
        alone.append(one)
    return alone


@pytest.mark.parametrize("p", [2.0, 2.5, 3.0])
def test_a_layer_gives_the_drives(device, p):
    layer = a_layer(device, p=p)
    own, shared = random(3, 6, 9, seed=2, device=device), random(6, 9, seed=3, device=device)
    effective = layer.weight * layer.weight.abs() ** (p - 2)
    torch.testing.assert_close(layer.effective_weight(), effective, **within(effective, 4))
    for x in (own, shared):
        expected = torch.einsum("rud,rbd->rbu", effective, x.expand(3, 6, 9))
        torch.testing.assert_close(layer(x), expected, **within(expected, 12, terms=9))
    assert layer.effective_weight().data_ptr() != layer.weight.data_ptr()


def test_gradients_pass_through_the_images_alone():
    layer, x = a_layer(), random(5, 9, seed=4).requires_grad_()
    layer(x).sum().backward()
    expected = layer.effective_weight().sum((0, 1)).expand(5, 9)
    torch.testing.assert_close(x.grad, expected, **within(expected, 36, terms=36))
    assert not layer.weight.requires_grad and [name for name, _ in layer.named_parameters()] == ["weight"]


def test_the_start():
    layer = KrotovHopfieldLayer(50, 400, std=2.0, replicas=(5,), generator=seeded(2))
    n, weight = layer.weight.numel(), layer.weight.double()
    assert abs(weight.square().mean().item() / 4 - 1) < spread(n) and abs(weight.mean().item()) < 5 * 2 / math.sqrt(n)
    assert torch.equal(layer.weight, KrotovHopfieldLayer(50, 400, std=2.0, replicas=(5,), generator=seeded(2)).weight)


@pytest.mark.parametrize("given", [dict(), dict(rank=1), dict(rank=4, p=2.0), dict(ranking="Q")], ids=str)
@pytest.mark.parametrize("replicas", [(), 3, (2, 3)])
def test_replicas_are_a_loop(device, given, replicas):
    layer = a_layer(device, replicas=replicas, **given)
    alone = as_loop(layer) if layer.replicas else [copy.deepcopy(layer)]
    for t in range(4):
        shape = (*layer.replicas, 20, 9) if t % 2 else (20, 9)  # images of their own, and shared ones
        x = random(*shape, seed=10 + t, device=device)
        layer.step(x, 0.1)
        images = x.flatten(0, -3) if x.ndim > 3 else x if x.ndim == 3 else [x] * len(alone)
        for one, v in zip(alone, images, strict=True):
            one.step(v, 0.1)
    expected = torch.stack([one.weight for one in alone]).view_as(layer.weight)
    torch.testing.assert_close(layer.weight.detach(), expected.detach(), **within(expected, 4 * 40))
    x = random(30, 9, seed=20, device=device)
    for name, arguments in (("norms", ()), ("unconverged", (0.3,)), ("silent", (x,)), ("align_signs", (x,))):
        found, one_by_one = getattr(layer, name)(*arguments), torch.stack([getattr(one, name)(*arguments) for one in alone])
        torch.testing.assert_close(found, one_by_one.view_as(found), rtol=1e-12, atol=1e-12)
        assert found.shape[: len(layer.replicas)] == layer.replicas


def test_batches_of_other_sizes_and_other_dtypes_in_between():
    layer, other = a_layer(), a_layer()
    for size in (20, 5, 20, 1):
        x = random(size, 9, seed=size)
        layer.step(x, 0.1)
        other._space = None  # fresh memory each time
        other.step(x, 0.1)
    assert torch.equal(layer.weight, other.weight)
    layer.float().step(random(5, 9, seed=1).float(), 0.1)
    assert layer.weight.dtype == torch.float32
    layer.weight.data = layer.weight.mT.contiguous().mT  # another order in memory: a copy would learn in its place
    before = layer.weight.clone()
    layer.step(random(5, 9, seed=1).float(), 0.1)
    assert not torch.equal(layer.weight, before)


@pytest.mark.parametrize("p", [2.0, 2.5, 3.0])
def test_norms(p):
    layer = a_layer(p=p)
    expected = torch.stack([torch.linalg.vector_norm(weight, ord=p, dim=-1) for weight in layer.weight])
    torch.testing.assert_close(layer.norms(), expected, **within(expected, 9 + 4 * p))


def test_what_converges_is_measured_by_the_radius():
    layer = a_layer(radius=1.5, std=2.0)
    layer.weight.mul_(1.5 / layer.norms().unsqueeze(-1))
    torch.testing.assert_close(layer.norms(), torch.full((3, 12), 1.5, **DOUBLE), **within(layer.norms(), 20))
    assert torch.equal(layer.unconverged(), torch.zeros(3, **DOUBLE))
    layer.weight[1, :3] *= 1.02
    layer.weight[2, :6] *= 0.98
    assert layer.unconverged().tolist() == [0.0, 0.25, 0.5] and layer.unconverged(0.03).tolist() == [0.0] * 3


def test_silent_units_win_no_image():
    layer = KrotovHopfieldLayer(4, 4, replicas=(2,), generator=seeded(1))
    layer.weight.copy_(torch.eye(4).expand(2, 4, 4))
    layer.weight[1, 0] = torch.tensor([0.0, 2.0, 0.0, 0.0])
    x = torch.eye(4)[[1, 2, 2, 1]]
    assert layer.silent(x).tolist() == [0.5, 0.5]  # units 1 and 2; units 0 and 2, since unit 0 is longer than unit 1
    assert layer.silent(torch.stack((x, torch.eye(4)))).tolist() == [0.5, 0.25]
    layer.weight[1, 0] = torch.tensor([0.0, 2.0, 1.5, 0.0])  # answers both images more than the units made for them
    assert layer.silent(x).tolist() == [0.5, 0.75]
    by_q = KrotovHopfieldLayer(4, 4, replicas=(2,), ranking="Q")  # where length does not count
    by_q.weight.copy_(layer.weight)
    assert by_q.silent(x).tolist() == [0.5, 0.5]


def test_silence_is_counted_over_all_images_of_a_large_set():
    layer = KrotovHopfieldLayer(3, 3)
    layer.weight.copy_(torch.eye(3))
    x = torch.eye(3)[[0] * 9998 + [1, 2]]
    assert layer.silent(x).item() == 0 and layer.silent(x[:-1]).item() == pytest.approx(1 / 3)


def test_align_signs_turns_the_units_whose_mean_drive_is_negative():
    layer, x = a_layer(), random(30, 9, seed=5).abs()
    before = layer.weight.clone()
    mean = layer(x).mean(-2)
    turned = layer.align_signs(x)
    assert torch.equal(turned, mean < 0) and turned.any() and not turned.all()
    assert torch.equal(layer.weight, torch.where(turned.unsqueeze(-1), -before, before))
    assert (layer(x).mean(-2) > 0).all() and not layer.align_signs(x).any()


def test_copies_and_pickles():
    layer, x = a_layer(), random(5, 9, seed=6)
    layer.step(x, 0.1)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other.weight, layer.weight) and other._space is None and other.replicas == layer.replicas
        other.step(x, 0.1)
        assert not torch.equal(other.weight, layer.weight)
    fresh = a_layer(generator=seeded(9))
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh.weight, layer.weight)
    assert "rank=2" in repr(layer) and "replicas=(3,)" in repr(layer)


@pytest.mark.parametrize("given, message", [
    (dict(inputs=0), "inputs: got 0"), (dict(units=0), "units: got 0"), (dict(rank=13), "only 12 units"), (dict(p=1), "p: got 1"),
    (dict(replicas=(0,)), "replicas"), (dict(std=0), "std: got 0"), (dict(std=math.nan), "std: got nan"), (dict(std="1"), "std"),
    (dict(std=0.1), "collapses.*expected at least 0.4"), (dict(radius=5.0), "collapses"),
    (dict(std=10**400), "std: got a number beyond the range of floats"), (dict(p=10**400), "p: got a number beyond"),
    (dict(radius=10**400), "radius: got a number beyond"), (dict(delta=10**5000), "delta: got a number beyond"),
    (dict(p=1100), "p: got 1100, expected.* at most 1000"),
    (dict(p=180.0), "std: got 1, a start whose norms to the power p = 180"),
    (dict(std=1e30, p=150), "std: got 1e.30, a start whose norms.*torch.float32.*wider dtype"),
    (dict(std=1e300), "std: got 1e.300, a"),
    (dict(radius=1e13, std=1e13), "radius: got 1e.13, whose power.*torch.float32"), (dict(delta=1e300), "delta: got 1e.300"),
    (dict(radius=0.03, dtype=torch.float16), "radius: got 0.03.*torch.float16"),
    (dict(dtype=torch.int64), "dtype: got torch.int64"),
    (dict(inputs=10**400), "expected at most 1e.11 weights"), (dict(units=10**20), "expected at most 1e.11 weights"),
])  # fmt: skip
def test_a_layer_that_cannot_learn_is_refused(given, message):
    arguments = {"inputs": 9, "units": 12, **given}
    with pytest.raises(ValueError, match=message):
        KrotovHopfieldLayer(**arguments)


def test_large_powers_learn_where_the_dtype_holds_them():
    layer = a_layer(p=180.0)  # as double: the moment of the start, 2^179 Γ(179.5), is beyond the range of floats, its root is not
    layer.step(random(5, 9, seed=1), 0.1)
    assert torch.isfinite(layer.weight).all() and 0 < least_std(9, 12, 180.0, 1.0) < least_std(9, 12, 6.0, 1.0)


def test_the_least_start():
    # p = 2: E z² = 1 and no power of D; the formula scales with the radius; a unit alone has no competitor.
    assert least_std(64, 200, 2.0, 1.0) == pytest.approx(1.1 / math.sqrt(2 * math.log(200)))
    assert least_std(64, 200, 3.0, 2.0) == pytest.approx(2 * least_std(64, 200, 3.0, 1.0))
    moment = random(200_000, seed=7).pow(4).mean().sqrt().item()  # E z⁴ = 3; its fourth moment is 105
    expected = math.sqrt(1.1 / (moment * 64 ** (1 / 6) * math.sqrt(2 * math.log(200))))
    assert least_std(64, 200, 3.0, 1.0) == pytest.approx(expected, rel=5 * math.sqrt(105 / 9 / 200_000))
    assert KrotovHopfieldLayer(9, 1, std=1e-3, rank=1).weight.shape == (1, 9)
    for inputs in (1, 2, 64, 3072):
        for units in (2, 10, 2000):
            for p in (2.0, 3.0, 6.0):
                assert least_std(inputs, units, p, 1.0) < 1  # the default is never refused


def test_what_is_no_batch_of_images_is_refused():
    layer, good = a_layer(), random(5, 9, seed=8)
    hole, dark = good.clone(), good.clone()
    hole[3, 2], dark[1] = math.nan, 0.0
    wrong = [
        (good.numpy(), TypeError, "numpy.ndarray.*torch.as_tensor"), (good.long(), ValueError, "int64.*float"),
        (good[0], ValueError, r"unsqueeze\(0\)"), (good[:, :8], ValueError, r"\(5, 8\), expected \(B, 9\)"),
        (good[:0], ValueError, "holds no number"), (good.float(), ValueError, "float32, but the layer has torch.float64"),
        (good.expand(2, 5, 9), ValueError, r"leading dimensions \(2,\)"),
        (good.expand(1, 5, 9), ValueError, r"are not the replicas \(3,\)"),
    ]  # fmt: skip
    values = [
        (hole, ValueError, r"NaN or infinite, the first at \(3, 2\)"), (dark, ValueError, r"1 of 5 images.*first at \(1,\)"),
        (good * math.inf, ValueError, "NaN or infinite"),
    ]  # fmt: skip
    before = layer.weight.clone()
    for x, kind, message in wrong + values:
        for call in (lambda x: layer.step(x, 0.1), layer.silent, layer.align_signs):
            with pytest.raises(kind, match=message):
                call(x)
    for x, kind, message in wrong:
        with pytest.raises(kind, match=message):
            layer(x)
    for lr in (-0.1, math.nan, math.inf, "0.1", True, np.array([0.1])):
        with pytest.raises(ValueError, match="lr: got"):
            layer.step(good, lr)
    for tol in (-1, math.nan, None):
        with pytest.raises(ValueError, match="tol: got"):
            layer.unconverged(tol)
    assert torch.equal(layer.weight, before)


def test_very_small_and_very_large_images_are_images():
    # Their squares leave float32's range; they are neither zeros nor infinite.
    layer = KrotovHopfieldLayer(9, 12, generator=seeded(1))
    for size in (1e-30, 1e25):
        layer.step(size * random(5, 9, seed=9, dtype=torch.float32), 0.1)
        assert torch.isfinite(layer.weight).all()


def test_weights_that_are_not_finite_are_neither_converged_nor_used():
    layer, x = a_layer(), random(5, 9, seed=10)
    layer.weight.mul_(1 / layer.norms().unsqueeze(-1))
    layer.weight[1, :3, 0], layer.weight[2, :6] = math.nan, math.inf
    assert layer.unconverged().tolist() == [0.0, 0.25, 0.5]
    for call in (lambda x: layer.step(x, 0.1), layer.silent, layer.align_signs):
        with pytest.raises(RuntimeError, match=r"layer: 57 of 324 weights are NaN or infinite, in torch.float64; .* make a new"):
            call(x)


def test_a_sum_that_overflows_is_no_weight_that_does():
    layer = KrotovHopfieldLayer(9, 12, p=2.0, generator=seeded(1))
    layer.weight.fill_(3e38)
    layer.check_weights()


@pytest.mark.parametrize("size, lr", [(1e38, 0.1), (1.0, 1e38)])
def test_an_update_that_overflows_is_told(size, lr):
    layer = KrotovHopfieldLayer(9, 12, generator=seeded(1))
    x = size * random(5, 9, seed=11, dtype=torch.float32).clamp(-3, 3)
    with pytest.raises(RuntimeError, match=r"weights are NaN or infinite after an update with lr .*torch.float32.*smaller lr"):
        for _ in range(4):  # a rate near the largest number takes the weights out of range in the second
            layer.step(x, lr)


def test_rates_and_tolerances_beyond_the_range_of_the_weights():
    layer, x = KrotovHopfieldLayer(9, 12), random(5, 9, seed=11, dtype=torch.float32)
    for lr in (1e39, 10**400):
        with pytest.raises(ValueError, match="lr: got .*expected a finite number >= 0, of torch.float32"):
            layer.step(x, lr)
    with pytest.raises(ValueError, match="tol: got a number beyond"):
        layer.unconverged(10**400)
    half = KrotovHopfieldLayer(9, 12, radius=50.0, std=50.0).half()  # 50³ is beyond float16
    with pytest.raises(ValueError, match="radius: got 50.*torch.float16"):
        half.step(x.half(), 0.1)


def test_a_layer_steps_inside_and_outside_of_inference_mode():
    layer, other, x = a_layer(), a_layer(), random(5, 9, seed=12)
    with torch.inference_mode():
        layer.step(x, 0.1)
        layer.align_signs(x)
    other.step(x, 0.1)
    other.align_signs(x)
    for one in (layer, other):
        one.step(x, 0.1)
    assert torch.equal(layer.weight, other.weight)
    with torch.inference_mode():
        inner = a_layer()
        inner.step(x, 0.1)
    for call in (lambda x: inner.step(x, 0.1), inner.align_signs):
        with pytest.raises(RuntimeError, match="layer: its weights were made in torch.inference_mode"):
            call(x)
    inner.weight = torch.nn.Parameter(inner.weight.clone(), False)  # the remedy that the message names
    inner.step(x, 0.1)
    inner.align_signs(x)


def test_a_layer_does_not_look_at_the_numbers_it_is_given():
    layer, x = a_layer(), random(5, 9, seed=13)
    x[0], x[1, 2] = 0.0, math.nan
    found = layer(x)
    assert (found[:, 0] == 0).all() and found[:, 1].isnan().all() and found[:, 2:].isfinite().all()
