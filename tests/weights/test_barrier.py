"""Barriers on losses whose value on the line between two points is known."""

import pytest
import torch
from torch.func import functional_call

from salnb.weights import loss_barrier
from tests.problems import random
from tests.tolerances import close, rounding

F64 = torch.float64


def wall(p):  # two minima, at -1 and 1, for each replica
    return (1 - p["x"].square()).square().sum(-1)


@pytest.mark.parametrize(("steps", "t"), [(11, 0.5), (3, 0.5), (4, 1 / 3), (2 * 11 - 1, 0.5)])
def test_a_double_well_has_the_height_that_its_formula_says(steps, t):
    ends = torch.tensor([[-1.0], [0.5]], dtype=F64), torch.tensor([[1.0], [0.5]], dtype=F64)
    found = loss_barrier(wall, {"x": ends[0]}, {"x": ends[1]}, steps=steps)
    torch.testing.assert_close(found, torch.tensor([(1 - (2 * t - 1) ** 2) ** 2, 0.0], dtype=F64), **close(F64, 20))


def test_a_bowl_has_no_barrier_and_inner_points_lie_below():
    """L = |θ|² on a line: L(t) − line = −t (1 − t) |b − a|², at most at the points next to the ends."""
    a, b = {"u": random(3, 2), "v": random(4, seed=1)}, {"u": random(3, 2, seed=2), "v": random(4, seed=3)}
    bowl = lambda p: sum(value.square().sum() for value in p.values())  # noqa: E731
    distance = sum((b[key] - a[key]).square().sum() for key in a)
    assert loss_barrier(bowl, a, b) == 0
    inner = loss_barrier(bowl, a, b, endpoints=False, steps=6)
    torch.testing.assert_close(inner, -0.2 * 0.8 * distance, rtol=0, atol=rounding(F64, 50, float(distance)))
    assert loss_barrier(lambda p: -bowl(p), a, b, steps=6) == pytest.approx(float(0.4 * 0.6 * distance))


def test_networks_by_functional_call_and_a_loss_that_spoils_what_it_gets():
    def make(seed: int) -> torch.nn.Module:
        net = torch.nn.Linear(3, 2).double()
        with torch.no_grad():
            for i, p in enumerate(net.parameters()):
                p.copy_(random(*p.shape, seed=seed + i))
        return net

    (net, other), x, y = (make(1), make(5)), random(20, 3), random(20, 2, seed=9)

    def loss(parameters):
        value = (functional_call(net, parameters, (x,)) - y).square().mean()
        for parameter in parameters.values():
            parameter.zero_()
        return value

    a, b = dict(net.named_parameters()), dict(other.named_parameters())
    before = [p.detach().clone() for p in (*net.parameters(), *other.parameters())]
    change = functional_call(net, {key: b[key] - a[key] for key in a}, (x,)).detach()
    expected = -0.1 * 0.9 * change.square().mean()  # quadratic in the parameters
    found = loss_barrier(loss, a, b, endpoints=False)
    torch.testing.assert_close(found, expected, rtol=0, atol=rounding(F64, 200, float(loss(dict(make(1).state_dict())))))
    assert all(torch.equal(p, kept) for p, kept in zip((*net.parameters(), *other.parameters()), before, strict=True))
    assert not found.requires_grad


def test_what_is_not_finite_is_seen():
    a, b = {"x": torch.tensor([-1.0])}, {"x": torch.tensor([1.0])}
    assert loss_barrier(lambda p: 1 / p["x"].abs().sum(), a, b) == torch.inf
    for ends in ((a, b), (b, a)):  # a loss that is no number at one end, or infinite there
        assert loss_barrier(lambda p: (p["x"] - 0.1).sqrt().sum(), *ends).isnan()
        assert loss_barrier(lambda p: 1 / (p["x"] + 1).abs().sum(), *ends).isnan()


def test_equal_integers_and_plain_numbers_pass():
    counts = {"n": torch.tensor(3)}
    assert loss_barrier(wall, {"x": torch.tensor([-1.0]), **counts}, {"x": torch.tensor([1.0]), **counts}) == 1
    assert loss_barrier(lambda p: 2.0, counts, counts) == 0.0


X = {"x": torch.ones(2)}


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: loss_barrier(None, X, X), TypeError, "loss: got NoneType, expected a function"),
        (lambda: loss_barrier(wall, [torch.ones(2)], X), TypeError, "a: got list, expected a dict {name: tensor}"),
        (lambda: loss_barrier(wall, X, {"x": 1.0}), TypeError, r"b\['x'\]: got float, expected a tensor"),
        (lambda: loss_barrier(wall, {}, {}), ValueError, "a: got no tensor"),
        (lambda: loss_barrier(wall, X, {"y": torch.ones(2)}), ValueError, "b: the names x, y are at one end only"),
        (lambda: loss_barrier(wall, X, {"x": torch.ones(3)}), ValueError, r"b\['x'\]: got \(3,\), .* expected \(2,\)"),
        (lambda: loss_barrier(wall, {"x": torch.tensor(1)}, {"x": torch.tensor(2)}), ValueError, "between two whole numbers"),
        (lambda: loss_barrier(wall, X, X, steps=2), ValueError, "steps: got 2, expected an integer >= 3"),
        (lambda: loss_barrier(wall, X, X, endpoints=None), ValueError, "endpoints: got None, expected True or False"),
        (lambda: loss_barrier(lambda p: "high", X, X), TypeError, "loss: got str back, expected one real number"),
    ],
)
def test_bad_input_is_an_error_in_words(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_loss_that_changes_its_shape_is_refused():
    shapes = iter(range(1, 20))
    with pytest.raises(ValueError, match=r"loss: got shape \(2,\) at t = 0.1 after \(1,\) at t = 0"):
        loss_barrier(lambda p: torch.ones(next(shapes)), X, X)
