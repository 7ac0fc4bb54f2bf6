"""The layers of a DeepNet lie side by side in memory: SAL moves them where they are, and nobody else notices."""

import copy
import io
import pickle

import pytest
import torch

from salnb import SAL, DeepNet
from salnb.sal import update
from tests.problems import random, seeded


def test_a_network_whose_layers_lie_apart_in_memory_moves_by_the_same_bits():
    gathered = DeepNet(3, 8, 2, 7, gain=0.8, generator=seeded())
    apart = copy.deepcopy(gathered)
    hidden = [[layer.weight for layer in net.hidden[1:]] for net in (gathered, apart)]
    assert update.joined(hidden[0]).data_ptr() == hidden[0][0].data_ptr()  # no copy
    assert update.joined(hidden[1]).data_ptr() != hidden[1][0].data_ptr()
    for net in (gathered, apart):
        sal = SAL(net, lr=0.1, target=0.9)
        for seed in range(5):
            net(random(5, 3, seed=seed).float())
            sal.step()
    assert not torch.equal(gathered.hidden[3].weight, DeepNet(3, 8, 2, 7, gain=0.8, generator=seeded()).hidden[3].weight)
    for name, parameter in gathered.named_parameters():
        assert torch.equal(parameter, apart.get_parameter(name)), name


def test_a_step_between_forward_and_backward_is_noticed_by_autograd():
    net = DeepNet(3, 8, 2, 4, gain=0.8, generator=seeded())
    sal, loss = SAL(net), net(random(5, 3).float()).sum()
    moved = [parameter for layer in net.hidden[1:] for parameter in (layer.weight, layer.bias)]
    versions = [parameter._version for parameter in moved]
    sal.step()
    assert all(parameter._version > version for parameter, version in zip(moved, versions, strict=True))  # each, not the first
    with pytest.raises(RuntimeError, match=r"changed the weights after this forward pass .* order is: forward, backward"):
        loss.backward()


def test_tensors_are_joined_without_a_copy_only_where_one_memory_holds_them_in_order():
    numbers = torch.arange(24.0)
    first, second, third = numbers[:12].view(3, 2, 2).unbind(0)
    assert update.joined([first, second, third]).data_ptr() == numbers.data_ptr()
    for tensors in ([first, third], [second, first], [first.T, second.T], [first.T, second], [first, second.clone()]):
        found = update.joined(tensors)
        assert torch.equal(found, torch.stack(tensors))
        found.zero_()
    assert torch.equal(numbers, torch.arange(24.0))


def test_a_gathered_network_is_pickled_at_its_own_size_and_stays_one_with_its_optimizer():
    net = DeepNet(2, 16, 1, 20, gain=1.0, generator=seeded())
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    alone = len(pickle.dumps(copy.deepcopy(net)))
    assert len(pickle.dumps(net)) < 1.1 * alone
    other, its_optimizer = pickle.loads(pickle.dumps((net, optimizer)))
    other(random(5, 2).float()).sum().backward()
    before = other.hidden[7].weight.clone()
    its_optimizer.step()
    assert not torch.equal(other.hidden[7].weight, before)
    assert torch.equal(net.hidden[7].weight, before)
    saved = io.BytesIO()
    torch.save(net.hidden[3], saved)
    assert saved.tell() < 19 * 16 * 16 * 4  # less than the memory that all nineteen share
    saved.seek(0)
    assert torch.equal(torch.load(saved, weights_only=False).weight, net.hidden[3].weight)
    shared = copy.copy(net)
    assert shared.hidden[3].weight is net.hidden[3].weight
