"""What is kept of many passes: everything, or a random part in which every sample counts alike."""

import copy
import math

import pytest
import torch
from torch import nn

from salnb import SAL
from salnb.sal.rows import keeping
from salnb.sal.rows.keeping import Kept, limited
from tests.problems import random
from tests.sal.rows.row_oracle import rounding_of
from tests.tolerances import SIGMAS


def model_with_norm():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 7), nn.LayerNorm(7), nn.Tanh(), nn.Linear(7, 2)).double()


def test_passes_since_the_last_step_count_sample_by_sample():
    parts, found = [random(5, 4), random(11, 4, seed=1), random(2, 4, seed=2)], []
    for batches in parts, [torch.cat(parts)]:
        net = model_with_norm()
        sal = SAL(net, lr=0.1, rule="proportional")
        for batch in batches:
            net(batch)
        sal.step()
        found.append((sal.sensitivity["2"], net[2].weight.detach()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, **rounding_of(other))


def test_sequences_of_other_lengths_count_together():
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
    net = nn.Sequential(nn.Linear(3, 4), block, nn.Linear(4, 2)).double()
    sal, both = SAL(net, lr=0.0, layers={"1": "rows"}), []
    for length in 3, 5:
        x = random(4, length, 3)
        net(x)
        alone = SAL(copy.deepcopy(net), lr=0.0, layers={"1": "rows"})
        alone._model(x)
        alone.step()
        both.append((length, alone.sensitivity["1"]))
    sal.step()
    wanted = sum(length * s for length, s in both) / sum(length for length, _ in both)
    torch.testing.assert_close(sal.sensitivity["1"], wanted, **rounding_of(wanted))


def test_the_user_may_change_the_inputs_after_the_pass():
    net, x = model_with_norm(), random(9, 4)
    sal = SAL(net, lr=0.0)
    net(x)
    net(x)
    sal.step()
    wanted = sal.sensitivity["2"]
    sal.detach()
    again = SAL(net, lr=0.0)
    h = x.clone()
    net(h)
    net(h)
    h.zero_()
    again.step()
    assert torch.equal(again.sensitivity["2"], wanted)


def test_a_mask_counts_samples():
    net, x = model_with_norm(), random(12, 4)
    mask = torch.arange(12) < 7
    x[~mask] = torch.nan
    sal, alone = SAL(net, lr=0.0, layers=["2"], example=random(3, 4)), SAL(copy.deepcopy(net), lr=0.0)
    with sal.counting(mask):
        net(x)
    sal.step()
    alone._model(x[mask])
    alone.step()
    torch.testing.assert_close(sal.sensitivity["2"], alone.sensitivity["2"], **rounding_of(alone.sensitivity["2"]))


def test_a_pass_with_nan_is_left_out():
    net, x = model_with_norm(), random(12, 4)
    sal = SAL(net, lr=0.1)
    net(x)
    sal.step()
    before = copy.deepcopy(net.state_dict())
    with pytest.warns(UserWarning, match="NaN"):
        net(x * torch.nan)
        sal.step()
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items()) and sal.skipped_passes == 1


def test_of_very_many_samples_a_random_part_is_kept(monkeypatch):
    """Memory is bounded, every sample has the same chance, whenever it came, and the number of passes does not matter."""
    monkeypatch.setattr(keeping, "AT_MOST", 1000)
    kept = None
    for number in range(200):
        one = limited(Kept(((torch.full((50, 1), float(number)), None),), 50))
        kept = one if kept is None else kept + one
        assert sum(len(x) for x, _ in kept.portions) <= 1000
    numbers = torch.cat([x for x, _ in kept.portions]).flatten()
    assert kept.seen == 10_000 and len(numbers) >= 300
    # Uniform on 0 … 199: mean 99.5, standard deviation 57.7.
    assert abs(numbers.mean() - 99.5) < SIGMAS * 57.7 / math.sqrt(len(numbers))
    assert numbers.std() > 50


def test_one_sample_is_kept_however_large(monkeypatch):
    monkeypatch.setattr(keeping, "AT_MOST", 10)
    kept = limited(Kept(((torch.ones(3, 100), None),), 3))
    assert sum(len(x) for x, _ in kept.portions) == 1


def test_a_loop_that_never_steps_does_not_grow(monkeypatch):
    monkeypatch.setattr(keeping, "AT_MOST", 400)
    net = model_with_norm()
    sal = SAL(net, lr=0.0)
    for seed in range(50):
        net(random(20, 4, seed=seed))
    (index,) = [i for i, layer in enumerate(sal._layers) if layer.row_map is not None]
    assert sum(x.numel() for x, _ in sal._recorder.sums[index].portions) <= 400
    sal.step()
