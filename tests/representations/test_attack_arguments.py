"""What cannot be attacked is named: bad images, labels, sizes and boxes, networks in training, logits that are none."""

import functools
import math
import types

import numpy
import pytest
import torch
from torch import nn

from salnb.representations.attack_arguments import held_modules
from salnb.representations.attacks import fgsm, gaussian_noise, masked_gradients, pgd, sign_search
from salnb.representations.robustness import critical_perturbation, worst_case
from tests.problems import random, sequential
from tests.representations.test_attacks import curved

FUNCTIONS = {
    "fgsm": fgsm,
    "pgd": pgd,
    "sign_search": sign_search,
    "gaussian_noise": lambda *given, **more: gaussian_noise(*given, direction=torch.ones(8), **more),
    "critical_perturbation": lambda f, x, y, epsilon: critical_perturbation(f, x, y, fgsm, [0.05, 0.1]),
    "worst_case": lambda f, x, y, epsilon: worst_case(f, x, y, {"fgsm": fgsm}, epsilon),
    "masked_gradients": lambda f, x, y, epsilon: masked_gradients(f, x, y),
}
LOGITS, X, Y = curved((), dtype=torch.float32)
NAN = torch.where(torch.arange(8) == 3, torch.nan, X)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("x, kind, words", [
    (X.numpy(), TypeError, "x: got numpy.ndarray, expected a tensor"),
    (X.long(), ValueError, "x: got dtype torch.int64, expected a floating-point tensor"),
    (X[0], ValueError, r"x: got shape \(8,\), expected \(..., B, D\)"),
    (X[:0], ValueError, r"x: got shape \(0, 8\), which holds no number"),
    (NAN, ValueError, "x: got 12 of 96 numbers that are NaN"),
    (X[:, :7], ValueError, r"logits: failed for x of shape \(12, 7\)"),
    (X.double(), ValueError, r"logits: failed for x of shape \(12, 8\), torch.float64"),
    (X[:11], ValueError, r"y: got shape \(12,\), expected \(B,\) or \(..., B\) with B = 11"),
], ids=range(8))  # fmt: skip
def test_images(name, x, kind, words):
    with pytest.raises(kind, match=words):
        FUNCTIONS[name](LOGITS, x, Y, 0.1)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("y, kind, words", [
    (Y.tolist(), TypeError, "y: got list, expected a tensor"),
    (Y.float(), TypeError, "y: got dtype torch.float32, expected integers"),
    (Y > 1, TypeError, "y: got dtype torch.bool, expected integers"),
    (1 + torch.arange(12) % 4, ValueError, "y: got labels from 1 to 4, expected 0 to 3"),
    (torch.arange(12) % 4 - 1, ValueError, "y: got labels from -1 to 2, expected 0 to 3"),
    (nn.functional.one_hot(Y, 4), ValueError, r"y: got shape \(12, 4\), expected \(B,\)"),
    (Y.to_sparse(), ValueError, r"y: got layout torch.sparse_coo, expected a dense tensor; .*to_dense"),
    (Y[0], ValueError, r"y: got shape \(\), expected \(B,\)"),
    (Y[:1], ValueError, r"y: got shape \(1,\), expected \(B,\) or"),
], ids=range(9))  # fmt: skip
def test_labels(name, y, kind, words):
    with pytest.raises(kind, match=words):
        FUNCTIONS[name](LOGITS, X, y, 0.1)


ONE_HOT = r"y: got shape \({}\), expected \(B,\) = .* give one-hot labels as y.argmax"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_hot_labels_are_no_replicas(name):
    """Also where there are as many images as classes."""
    logits, x, _ = curved((), dtype=torch.float32, batch=4)
    one_hot = torch.eye(4).long()
    with pytest.raises(ValueError, match=ONE_HOT.format("4, 4")):
        FUNCTIONS[name](logits, x, one_hot, 0.1)
    with pytest.raises(ValueError, match=ONE_HOT.format("3, 4, 4")):
        FUNCTIONS[name](curved(dtype=torch.float32, batch=4)[0], x, one_hot.expand(3, 4, 4), 0.1)
    with pytest.raises(ValueError, match=ONE_HOT.format("4, 4, 4")):
        FUNCTIONS[name](curved((4,), dtype=torch.float32, batch=4)[0], x.expand(4, 4, 8), one_hot.expand(4, 4, 4), 0.1)


def test_labels_may_differ_by_replica():
    """Replicas of the logits, of the images, or of the sizes; a dimension of size 1 says nothing."""
    logits, x, y = curved(dtype=torch.float32)
    one, labels = curved((), dtype=torch.float32)[0], y.expand(3, 12)
    assert fgsm(logits, x, labels, 0.1).shape == (3, 12, 8)
    assert torch.equal(fgsm(one, x.expand(3, 12, 8), labels, 0.1)[2], fgsm(one, x, y[2], 0.1))
    assert torch.equal(fgsm(one, x, labels, torch.full((3, 1), 0.1))[1], fgsm(one, x, y[1], 0.1))
    assert torch.equal(fgsm(one, x, labels[:1], 0.1), fgsm(one, x, labels[0], 0.1).unsqueeze(0))


SIZES = [
    (-0.1, ValueError, "got -0.1.* expected finite numbers, 0 or more"),
    (math.nan, ValueError, "expected finite numbers"),
    (math.inf, ValueError, "expected finite numbers"),
    (10**400, ValueError, "got inf to inf, expected finite numbers"),
    (1e40, ValueError, "got inf to inf, expected finite numbers"),
    ("0.1", TypeError, "got str, expected a number"),
    (None, TypeError, "got NoneType"),
    (True, TypeError, "got bool"),
    (numpy.full(12, 0.1), TypeError, "got ndarray"),
    (torch.full((12,), -1), ValueError, "got -1.0 to -1.0"),
    (torch.zeros(0), ValueError, "holds no number"),
    (torch.full((12,), 0.1).to_sparse(), ValueError, "got layout torch.sparse_coo, expected a dense tensor; .*to_dense"),
    (torch.ones(12, dtype=torch.bool), TypeError, "got dtype torch.bool"),
    (torch.ones(5), ValueError, r"got leading dimensions \(5,\), expected some that broadcast .* \(12,\)"),
]


@pytest.mark.parametrize("name", ["fgsm", "pgd", "sign_search", "gaussian_noise", "worst_case"])
@pytest.mark.parametrize("epsilon, kind, words", SIZES, ids=[words for *_, words in SIZES])
def test_sizes(name, epsilon, kind, words):
    with pytest.raises(kind, match=f"epsilon: .*{words}"):
        FUNCTIONS[name](LOGITS, X, Y, epsilon)


@pytest.mark.parametrize("epsilon", [1, 0, numpy.float32(0.5), torch.tensor(1), torch.tensor([[0.5]], dtype=torch.float64)])
def test_sizes_of_every_kind_of_number(epsilon):
    assert fgsm(LOGITS, X, Y, epsilon).dtype == torch.float32


def test_a_number_is_taken_in_the_dtype_of_the_images():
    logits, x, y = curved(())
    moved = (fgsm(logits, torch.zeros_like(x) + 1e-9 * x, y, 0.1) - 1e-9 * x).abs()
    assert ((moved - 0.1).abs() < 1e-15).all()


@pytest.mark.parametrize("clamp, kind, words", [
    ((1.0, 0.0), ValueError, "clamp: got .* low < high"),
    ((0.0, 0.0), ValueError, "clamp: got .* low < high"),
    ((0.0, math.nan), ValueError, "clamp: got .* low < high"),
    ((0.0, None), TypeError, "clamp: got .* two numbers"),
    (1.0, TypeError, "clamp: got 1.0"),
    ((0, 1, 2), TypeError, "clamp: got"),
    ((0.0, 1.0), ValueError, r"x: lies between -.*, outside clamp=\(0.0, 1.0\)"),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("name", ["fgsm", "pgd", "sign_search", "gaussian_noise"])
def test_boxes(name, clamp, kind, words):
    with pytest.raises(kind, match=words):
        FUNCTIONS[name](LOGITS, X, Y, 0.1, clamp=clamp)


def test_a_generator_is_one():
    for attack in (functools.partial(pgd, restarts=2), sign_search):
        with pytest.raises(TypeError, match="generator: got int, expected a torch.Generator"):
            attack(LOGITS, X, Y, 0.1, generator=3)


def test_a_box_may_be_open():
    assert torch.equal(fgsm(LOGITS, X, Y, 0.5, clamp=(-(10**400), 10**400)), fgsm(LOGITS, X, Y, 0.5))
    assert torch.equal(fgsm(LOGITS, X.abs(), Y, 0.5, clamp=(0, math.inf)), fgsm(LOGITS, X.abs(), Y, 0.5).clamp(min=0))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("logits, kind, words", [
    (X, TypeError, "logits: got Tensor, expected a callable"),
    (lambda x: x.numpy(), TypeError, "logits: returned ndarray"),
    (lambda x: x.argmax(-1, keepdim=True), TypeError, "logits: returned torch.int64"),
    (lambda x: LOGITS(x).to_sparse(), ValueError, "logits: their result: got layout torch.sparse_coo"),
    (lambda x: x[:, 0], ValueError, r"logits: returned \(12,\)"),
    (lambda x: x[:, :1], ValueError, r"logits: returned \(12, 1\) .* two classes or more"),
    (lambda x: x[1:], ValueError, r"logits: returned \(11, 8\)"),
    (lambda x: x / 0, ValueError, "logits: for x as it is: 96 of 96 numbers are NaN or infinite"),
], ids=range(8))  # fmt: skip
def test_logits(name, logits, kind, words):
    with pytest.raises(kind, match=words):
        FUNCTIONS[name](logits, X, Y, 0.1)


@pytest.mark.parametrize("attack", [fgsm, pgd, lambda f, x, y, epsilon: masked_gradients(f, x, y)])
def test_logits_through_which_no_gradient_comes(attack):
    with pytest.raises(RuntimeError, match="logits: no gradient leads .* sign_search"):
        attack(lambda x: LOGITS(x.detach()), X, Y, 0.1)
    with pytest.raises(RuntimeError, match="logits: no gradient leads"):
        attack(torch.no_grad()(LOGITS), X, Y, 0.1)
    constant = torch.ones(12, 4, requires_grad=True)
    with pytest.raises(RuntimeError, match="logits: what they return does not depend on x"):
        attack(lambda x: 2 * constant, X, Y, 0.1)
    assert sign_search(lambda x: LOGITS(x.detach()), X, Y, 0.1).shape == X.shape


@pytest.mark.parametrize("name", FUNCTIONS)
def test_logits_of_another_number_of_arguments(name):
    module = nn.Linear(8, 4).eval()
    module.forward = lambda x, z: x
    for logits in (lambda x, z: x, lambda: X, module, lambda x: torch.relu(x, 1, 2)):
        with pytest.raises(TypeError, match=r"logits: failed for x of shape \(12, 8\).* callable of one argument.*partial"):
            FUNCTIONS[name](logits, X, Y, 0.1)


def test_logits_that_work_in_place():
    first = lambda x: LOGITS(x.mul_(2))  # noqa: E731
    assert torch.equal(fgsm(first, X, Y, 0.1), fgsm(lambda x: LOGITS(2 * x), X, Y, 0.1))

    def late(x):
        hidden = x.exp()
        z = hidden * hidden
        hidden.add_(1)
        return z

    for logits in (late, lambda x: LOGITS(x).sigmoid().add_(1)):
        for attack in (fgsm, pgd, lambda f, x, y, epsilon: masked_gradients(f, x, y)):
            with pytest.raises(RuntimeError, match="logits: their gradient by x cannot be taken; .* in place .* sign_search"):
                attack(logits, X, Y, 0.1)
        assert sign_search(logits, X, Y, 0.1).shape == X.shape


def test_numbers_that_overflow_on_the_way():
    steep = lambda x: LOGITS(x) * torch.where(x.abs().amax(-1, keepdim=True) > 10, torch.inf, 1.0)  # noqa: E731
    for attack in (pgd, sign_search):
        with pytest.raises(ValueError, match="logits: they or their gradient became NaN or infinite .* at 12 of 12 samples"):
            attack(steep, X, Y, 20.0)
    with pytest.raises(ValueError, match="logits: for the attacked images"):
        critical_perturbation(steep, X, Y, fgsm, [20.0])
    rooted = lambda x: LOGITS(x) + (x - x).abs().sqrt().sum(-1, keepdim=True)  # noqa: E731
    with pytest.raises(ValueError, match="gradient by x: 96 of 96 numbers are NaN"):
        fgsm(rooted, X, Y, 0.1)
    with pytest.raises(ValueError, match="gradient became NaN"):
        pgd(rooted, X, Y, 0.1)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "sign_search", "gaussian_noise", "worst_case", "critical_perturbation"])
@pytest.mark.parametrize("dtype, start, epsilon", [(torch.float32, 2e38, 3e38), (torch.float16, 4e4, 6e4),
                                                   (torch.float64, 1e308, 1e308)])  # fmt: skip
def test_an_image_stays_in_the_numbers_of_its_dtype(name, dtype, start, epsilon):
    logits = lambda x: torch.stack([x[..., 0], -x[..., 0]], -1) / start  # noqa: E731
    x, y = torch.full((2, 8), start, dtype=dtype), torch.tensor([0, 1])
    attack = FUNCTIONS[name]
    if name == "critical_perturbation":
        attack = lambda f, x, y, epsilon: critical_perturbation(f, x, y, pgd, [epsilon])  # noqa: E731
    with pytest.raises(ValueError, match=f"epsilon: got up to .* beyond the largest number of {dtype}, .* a smaller epsilon"):
        attack(logits, x, y, epsilon)
    if name[0] != "w" and name[0] != "c":
        assert attack(logits, x, y, epsilon, clamp=(0, start)).max() == start  # the box keeps it, where it is closed
        with pytest.raises(ValueError, match="epsilon: got up to"):
            attack(logits, -x if name != "gaussian_noise" else x, y, epsilon, clamp=(-math.inf, math.inf))


def test_noise_along_a_long_direction_stays_in_the_numbers_too():
    logits = lambda x: torch.stack([x[..., 0], -x[..., 0]], -1).sign()  # noqa: E731
    x, y = torch.zeros(2, 8), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="epsilon: got up to 3e.38, and x . epsilon · direction .* torch.float32"):
        gaussian_noise(logits, x, y, 3e38, direction=torch.full((8,), 10.0))
    assert torch.equal(gaussian_noise(logits, x, y, 3e38, direction=torch.full((8,), 0.0)), x)
    assert gaussian_noise(logits, x + 2e38, y, 3e38, direction=torch.full((8,), 1e-9)).isfinite().all()


def test_logits_that_take_no_leading_dimensions():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(8, 4)).eval()
    with pytest.raises(ValueError, match=r"logits: failed for x of shape \(2, 12, 8\)"):
        fgsm(flat, X, Y, torch.ones(2, 1))
    mixed = lambda x: LOGITS(x) if x.ndim == 2 else LOGITS(x)[0]  # noqa: E731
    with pytest.raises(ValueError, match=r"logits: returned \(12, 4\) .* expected \(2, 12, 4\)"):
        fgsm(mixed, X, Y, torch.ones(2, 1))


@pytest.mark.parametrize("attack, count", [(pgd, {"steps": 0}), (pgd, {"steps": 2.5}), (pgd, {"restarts": 0}),
                                           (sign_search, {"queries": 0}), (sign_search, {"queries": True})])  # fmt: skip
def test_counts(attack, count):
    with pytest.raises(ValueError, match=f"{next(iter(count))}: got"):
        attack(LOGITS, X, Y, 0.1, **count)


def test_directions():
    for direction, kind, words in (
        (None, TypeError, "direction: got NoneType"), (torch.ones(8).long(), ValueError, "direction: got dtype"),
        (torch.ones(11, 8), ValueError, r"direction: got shape \(11, 8\) .* \(12, 8\)"),
        (NAN, ValueError, "direction: got 12 of 96"), (torch.ones(3, 12, 8), ValueError, r"direction: got shape \(3, 12, 8\)"),
    ):  # fmt: skip
        with pytest.raises(kind, match=words):
            gaussian_noise(LOGITS, X, Y, 0.1, direction=direction)


class Slotted:
    __slots__ = ("empty", "net")

    def __init__(self, net):
        self.net = net

    def __call__(self, x):
        return self.net(x)


class Named:
    """Holds no network, but its call names one."""

    def __call__(self, x):
        return NET(x)


class Wrapped:
    def __init__(self, net):
        self.net = net

    def __call__(self, x):
        return self.net(x)

    def logits(self, x):
        return self.net(x)


NET = nn.Sequential(sequential(8, 16, 4), nn.Dropout())


def by_its_global_name(x):
    return NET(x)


def ways(net):
    nets = [net]
    yield from (net, net.forward, lambda x: net(x), lambda x: nets[0](x), functools.partial(lambda f, x: f(x), net))
    yield from (Wrapped(net), Wrapped(net).logits, functools.partial(net), lambda x: by_its_global_name(x))
    yield from (lambda x, net=net: net(x), lambda x, *, net=net: net(x), lambda x: (lambda z: NET(z))(x))
    plain, slotted = types.SimpleNamespace(net=net), Slotted(net)
    held, several = {"a": plain}, [plain]
    outer = types.SimpleNamespace(inner=plain)
    plain.itself = outer
    yield from (lambda x: plain.net(x), lambda x: held["a"].net(x), lambda x: outer.inner.net(x), lambda x: [plain][0].net(x))
    yield from (slotted, slotted.__call__, lambda x: slotted.net(x), Named(), Named().__call__)
    kind = type("Kind", (), {"net": net})
    yield from (lambda x: kind.net(x), lambda x: kind().net(x), functools.partial(lambda x: several[0].net(x)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_network_in_training_mode_is_refused_where_it_can_be_seen(name):
    NET.train()
    for logits in ways(NET):
        with pytest.raises(RuntimeError, match=r"logits: Sequential is in training mode .*call .eval\(\)"):
            FUNCTIONS[name](logits, X, Y, 0.1)
    NET.eval()
    for logits in ways(NET):
        FUNCTIONS[name](logits, X, Y, 0.1)
    NET[1].train()
    with pytest.raises(RuntimeError, match=r"in training mode \(1\)"):
        FUNCTIONS[name](NET, X, Y, 0.1)


def test_a_batch_norm_keeps_its_statistics():
    net = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 4))
    before = net[0].running_mean.clone()
    with pytest.raises(RuntimeError, match="training mode"):
        pgd(lambda x: net(x), X, Y, 0.1)
    assert torch.equal(net[0].running_mean, before)
    pgd(net.eval(), X, Y, 0.1)
    assert torch.equal(net[0].running_mean, before)


def test_modules_are_found_once_and_what_is_none_is_passed_over():
    net = nn.Linear(8, 4)
    twice = lambda x: net(x) + functools.partial(net)(x)  # noqa: E731
    assert held_modules(twice) == [net]
    assert held_modules(torch.relu) == held_modules(nn.Linear) == held_modules(nn.functional.softmax) == held_modules(3) == []
    with pytest.raises(NameError):
        fgsm(lambda x: later(x), X, Y, 0.1)
    if random(1).sum() < -100:
        later = net


def test_a_network_that_is_not_named_is_not_looked_for():
    """A library is no holder of networks, and a search ends where objects hold each other."""
    library = types.ModuleType("library")
    library.net = nn.Linear(8, 4)
    first, second = types.SimpleNamespace(), types.SimpleNamespace()
    first.other, second.other = second, first
    assert held_modules(lambda x: library.relu(first, x)) == []
    assert held_modules(Slotted.__new__(Slotted)) == []  # empty slots


def test_sizes_of_replicas_are_hinted_at():
    logits, x, y = curved(dtype=torch.float32)
    with pytest.raises(ValueError, match=r"epsilon: .* \(3,\).* one number per replica is a tensor \(..., 1\)"):
        fgsm(logits, x, y, torch.tensor([0.1, 0.2, 0.3]))
    assert fgsm(logits, x, y, torch.tensor([[0.1], [0.2], [0.3]])).shape == (3, 12, 8)


def test_a_function_without_a_module_is_attacked_as_any_other():
    """What ``exec`` makes in a namespace without a name has ``__module__`` None."""
    space = {"torch": torch}
    exec("def logits(x):\n    return torch.stack([x.sum(-1), -x.sum(-1)], -1)", space)
    space["logits"].__module__ = None
    moved = fgsm(space["logits"], torch.ones(2, 3), torch.tensor([0, 0]), 0.5)
    assert torch.equal(moved, torch.full((2, 3), 0.5))
