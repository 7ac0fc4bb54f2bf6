"""Gradient flossing against the singular values of the product, and SAL before learning against that of the training loop."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from salnb import TanhRNN
from salnb.experiments.tasks.classification import as_classification_task
from salnb.experiments.training.flossing import floss, leading_exponents, learned, sal_before, treated
from salnb.experiments.training.loop import QUIET, Run
from salnb.experiments.training.recipe import LAG

N, R = 5, 3
PROBLEM = as_classification_task("temporal_order", lag=9)
QUICK = replace(LAG, when="before", lr=0.05)


def networks(n_in=0, gain=0.7, n=N, replicas=R, seed=0, **more):
    return TanhRNN(n_in, n, 4, gain=gain, replicas=(replicas,), generator=torch.Generator().manual_seed(seed), **more)


def silence(steps, replicas=R):
    """No inputs: a network without biases stays at 0, where its Jacobian is its weight matrix."""
    return torch.zeros(steps, replicas, 1, 0, dtype=torch.float64)


def test_the_exponents_are_those_of_the_product_of_jacobians():
    net = networks(n_in=6, dtype=torch.float64)
    inputs = PROBLEM.draw(2, torch.Generator().manual_seed(1), R)[0].double()
    found = leading_exponents(net, inputs, 3)
    states, product = net(inputs)[1], torch.eye(N, dtype=torch.float64)
    for state in states.detach().unbind(0):
        product = (1 - state.square()).unsqueeze(-1) * net.recurrent[0].weight.detach().unsqueeze(1) @ product
    wanted = torch.linalg.svdvals(product)
    # of the third singular value the product, formed as one matrix, keeps what the first has left of the digits
    room = 100 * torch.finfo(torch.float64).eps * float((wanted[..., 0] / wanted[..., 2]).max())
    torch.testing.assert_close(found, wanted[..., :3].log() / len(inputs), rtol=room, atol=room)


@pytest.mark.parametrize("k", [2, N])
def test_a_step_is_adam_down_the_mean_square_of_the_logarithms_of_singular_values(k):
    net = networks(dtype=torch.float64)
    weight = net.recurrent[0].weight.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([weight], lr=0.01)
    losses = floss(net, lambda: silence(1), k=k, steps=2, lr=0.01)
    for loss in losses:
        wanted = torch.linalg.svdvals(weight)[..., :k].log().square().mean(-1)
        torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=1e-12)
        weight.grad = torch.autograd.grad(wanted.sum(), weight)[0]
        optimizer.step()
    torch.testing.assert_close(net.recurrent[0].weight.detach(), weight.detach(), rtol=1e-9, atol=1e-9)
    assert net.recurrent[0].weight.grad is None


def test_replicas_do_not_see_each_other():
    together = networks(n_in=6, replicas=2, dtype=torch.float64)
    inputs = PROBLEM.draw(1, torch.Generator().manual_seed(1), 2)[0].double()
    apart = [networks(n_in=6, replicas=1, dtype=torch.float64) for _ in range(2)]
    for i, net in enumerate(apart):
        net.load_state_dict({name: value[i : i + 1] for name, value in together.state_dict().items()})
        floss(net, lambda i=i: inputs[:, i : i + 1], k=3, steps=3, lr=0.01)
    floss(together, lambda: inputs, k=3, steps=3, lr=0.01)
    alone = torch.cat([net.recurrent[0].weight for net in apart])
    torch.testing.assert_close(together.recurrent[0].weight, alone, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (dict(k=N + 1), f"k: got {N + 1}, expected a number of exponents from 1 to the {N} units"),
        (dict(k=0), "k"),
        (dict(lr=0.0), "lr: got 0.0, expected a rate > 0"),
        (dict(steps=0), "steps"),
    ],
)
def test_refused_in_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        floss(networks(), lambda: silence(1), **{**dict(k=2, steps=1, lr=0.01), **wrong})


def test_sal_before_is_that_of_the_training_loop():
    run = Run(PROBLEM, lambda g: networks(n_in=6), policy=QUICK, optimizer="adam", lr=1e-3, clip=1.0, batch=4, steps=1,
              replicas=R, n_test=4, seeds=(1, 2, 3), settings={})  # fmt: skip
    run.model.train()
    while not run._sal_pass():
        pass
    net, generator = networks(n_in=6), torch.Generator().manual_seed(2)
    passes = sal_before(net, lambda: PROBLEM.draw(QUICK.batch, generator, R)[0], QUICK)
    assert passes == run.at.passes > QUIET
    for name, value in net.state_dict().items():
        assert torch.equal(value, run.model.state_dict()[name]), name


def test_sal_comes_first_then_flossing_and_the_cost_of_each_is_counted():
    def after(sal, flossing):
        net = networks(n_in=6)
        return net, treated(net, PROBLEM, sal=sal, flossing=flossing, generator=torch.Generator().manual_seed(2))

    how = dict(k=2, steps=2, lr=0.01, batch=1)
    net, none = after(None, None)
    assert all(torch.equal(value, networks(n_in=6).state_dict()[name]) for name, value in net.state_dict().items())
    assert (none["passes"], none["floss_steps"], none["floss_loss"]) == (0, 0, [])
    raised, done = after(QUICK, None)
    both, counted = after(QUICK, how)
    assert done["passes"] == counted["passes"] > 0 and counted["floss_steps"] == 2 and len(counted["floss_loss"]) == 2
    assert done["seconds_sal"] > 0 == done["seconds_floss"] and counted["seconds_floss"] > 0
    changed = {name for name, value in both.state_dict().items() if not torch.equal(value, raised.state_dict()[name])}
    assert changed == {"recurrent.0.weight"}


def test_learning_starts_from_these_networks_and_leaves_them_alone(tmp_path):
    net = networks(n_in=6)
    before = deepcopy(net.state_dict())
    chosen = dict(settings={"arm": "SAL"}, lr=1e-3, steps=2, batch=4, seed=7, path=tmp_path / "a.pt")
    trained, run = learned(net, PROBLEM, **chosen)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    # two steps of Adam move no weight by more than about two rates
    for name, value in trained.state_dict().items():
        assert 0 < (value - before[name]).abs().max() <= 2.1e-3 or name == "recurrent.0.bias"
    assert run.settings["arm"] == "SAL" and run.accuracy.shape == (R,)
    again, same = learned(net, PROBLEM, **{**chosen, "path": tmp_path / "b.pt"})
    assert torch.equal(same.accuracy, run.accuracy)
    with pytest.raises(ValueError, match="holds a run with other arm"):
        learned(net, PROBLEM, **{**chosen, "settings": {"arm": "flossing"}})
