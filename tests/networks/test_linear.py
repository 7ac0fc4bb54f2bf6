"""How weights are drawn, and the affine map of many networks at once."""

import pytest
import torch

from salnb.networks.linear import ReplicaLinear
from tests.problems import random, seeded
from tests.tolerances import counted, rounding, sampling, spread


def make(n_in=200, n_out=100, **given) -> ReplicaLinear:
    return ReplicaLinear(n_in, n_out, **{"gain": 1.0, "generator": seeded(), **given})


def test_weights_have_variance_gain_squared_over_fan_in_and_biases_start_at_0():
    layer = make(gain=1.7, replicas=(3,), dtype=torch.float64)
    draws = layer.weight.numel()
    assert layer.weight.var().item() == pytest.approx(1.7**2 / 200, rel=spread(draws))
    assert abs(layer.weight.mean().item()) < sampling(1.7 / 200**0.5, draws)
    assert layer.bias.shape == (3, 100) and layer.bias.abs().max() == 0


@pytest.mark.parametrize("connectivity", [0.1, 0.5])
def test_fan_in_counts_the_connections_that_exist(connectivity):
    layer = make(gain=1.3, connectivity=connectivity, dtype=torch.float64)
    exists = layer.weight != 0
    assert torch.equal(exists, layer.mask)
    fewest, most = counted(connectivity, exists.numel())
    assert fewest <= exists.sum() <= most
    # Each row's weights times the root of *its own* number of connections have standard deviation g.
    scaled = layer.weight * exists.sum(-1, keepdim=True).double().sqrt()
    assert scaled[exists].std().item() == pytest.approx(1.3, rel=spread(int(exists.sum())) / 2)
    # A mean over rows, in which rows with few connections scatter most: no more than if all had as few.
    shortest = int(exists.sum(-1).min()) * len(exists)
    assert layer.weight.square().sum(-1).mean().item() == pytest.approx(1.3**2, rel=spread(shortest))


def test_every_row_keeps_at_least_one_connection():
    layer = make(8, 500, connectivity=1e-3, replicas=(2,))
    assert layer.mask.sum(-1).min() == 1
    assert layer.mask.sum() <= layer.mask.shape[:-1].numel() + counted(1e-3, layer.mask.numel())[1]


def test_connections_are_drawn_for_every_replica_on_its_own():
    layer = make(30, 30, connectivity=0.5, replicas=(2,))
    assert not torch.equal(layer.mask[0], layer.mask[1])


@pytest.mark.parametrize(("n_in", "n_out"), [(6, 6), (9, 5), (5, 9)])
def test_orthogonal_rows_or_columns(n_in, n_out):
    weight = make(n_in, n_out, init="orthogonal", gain=1.5, replicas=(4,), dtype=torch.float64).weight
    product = weight @ weight.mT if n_out <= n_in else weight.mT @ weight
    torch.testing.assert_close(product, 2.25 * torch.eye(min(n_in, n_out)).double().expand_as(product))


def test_orthogonal_draw_has_no_preferred_sign():
    """Without the sign correction of the QR the diagonal of Householder's Q is negative far too often."""
    weight = make(2, 2, init="orthogonal", replicas=(2000,), dtype=torch.float64).weight
    for entry in (weight[:, 0, 0], weight[:, 1, 1], torch.linalg.det(weight)):
        fewest, most = counted(0.5, 2000)
        assert fewest <= (entry > 0).sum() <= most


@pytest.mark.parametrize("drive", [False, True])
@pytest.mark.parametrize("replicas", [(), (3,), (2, 3)])
def test_forward_is_wx_plus_bias_plus_drive(replicas, drive, device):
    layer = make(4, 5, replicas=replicas, connectivity=0.6, dtype=torch.float64).to(device)
    layer.bias.data.copy_(random(*replicas, 5, seed=1))
    x, extra = random(*replicas, 7, 4, seed=2, device=device), random(*replicas, 7, 5, seed=3, device=device)
    expected = torch.einsum("...nm,...bm->...bn", layer.weight * layer.mask, x) + layer.bias.unsqueeze(-2)
    torch.testing.assert_close(layer(x, extra if drive else None), expected + (extra if drive else 0))


def test_a_missing_connection_carries_nothing_whatever_number_stands_there(device):
    layer = make(6, 6, connectivity=0.4, dtype=torch.float64).to(device)
    x, before = random(3, 6, device=device), None
    for filler in (0.0, 7.0):
        layer.weight.data.masked_fill_(~layer.mask, filler)
        output = layer(x)
        assert before is None or torch.equal(before, output)
        before = output
    gradient = torch.autograd.grad(output.square().sum(), layer.weight)[0]
    assert gradient[~layer.mask].abs().max() == 0 and gradient[layer.mask].abs().min() > 0


@pytest.mark.parametrize("connectivity", [1.0, 0.5])
def test_networks_can_be_stacked_with_vmap_and_functional_call(connectivity, device):
    layer, x = make(4, 4, connectivity=connectivity).to(device), random(3, 4, device=device).float()
    stacks = {name: torch.stack([value, 2 * value + 1]) for name, value in layer.named_parameters()}
    with torch.no_grad():
        found = torch.func.vmap(lambda p: torch.func.functional_call(layer, p, (x,)))(stacks)
        for i, output in enumerate(found):
            weight = stacks["weight"][i] if layer.mask is None else stacks["weight"][i] * layer.mask
            torch.testing.assert_close(output, x @ weight.mT + stacks["bias"][i])


CHANGES = {
    "in place": lambda layer: layer.weight.mul_(2),
    "by load_state_dict": lambda layer: layer.load_state_dict({"weight": 2 * layer.weight}, strict=False),
    "of .data": lambda layer: setattr(layer.weight, "data", 2 * layer.weight.data),
    "in place through .data": lambda layer: layer.weight.data.mul_(2),
}
@pytest.mark.parametrize(
    "change", CHANGES
)
def test_a_change_of_the_weights_is_seen_by_the_next_call(change):
    layer, x = make(4, 4, connectivity=0.5), random(3, 4).float()
    with torch.no_grad():
        before = layer(x)
        CHANGES[change](layer)
        torch.testing.assert_close(layer(x), 2 * before)


def test_randomness_comes_from_the_generator_alone():
    state = torch.get_rng_state()
    first, again, other = (make(generator=seeded(s), connectivity=0.5) for s in (1, 1, 2))
    assert torch.equal(first.weight, again.weight) and torch.equal(first.mask, again.mask)
    assert not torch.equal(first.weight, other.weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_one_seed_gives_the_same_network_on_every_device(device):
    for given in ({"connectivity": 0.5}, {"init": "orthogonal"}):
        given = {"dtype": torch.float64, **given}
        here, there = make(20, 20, **given), make(20, 20, device=device, **given)
        assert there.weight.device.type == device.type
        # The numbers drawn are the same; QR loses their condition number, which exceeds 20 x in a share of 2 / x of all draws.
        torch.testing.assert_close(there.weight.cpu(), here.weight, rtol=0, atol=rounding(torch.float64, 20, 1e6))


def test_mask_travels_with_the_state_dict():
    one, other = make(8, 8, connectivity=0.3), make(8, 8, connectivity=0.3, generator=seeded(5))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.mask, other.mask) and torch.equal(one.weight, other.weight)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"init": "uniform"}, "init: got 'uniform', expected one of gaussian, orthogonal"),
        ({"connectivity": 0.0}, r"connectivity: got 0.0, expected a share in \(0, 1\]"),
        ({"connectivity": 1.5}, "connectivity: got 1.5"),
        ({"gain": -1.0}, "gain: got -1.0, expected a number >= 0"),
        ({"gain": float("nan")}, "gain: got nan"),
        ({"init": "orthogonal", "connectivity": 0.5}, "init: an orthogonal matrix has no missing connections"),
    ],
)
def test_bad_input_is_a_value_error_in_words(given, message):
    with pytest.raises(ValueError, match=message):
        make(4, 4, **given)
