"""Attacks beside those of the Adversarial Robustness Toolbox, a library for nothing else: the same steps, none weaker."""

import importlib

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from salnb.representations.attacks import fgsm, pgd, sign_search
from salnb.representations.robustness import worst_case
from tests.problems import seeded, sequential
from tests.tolerances import rounding, sampling


@pytest.fixture(scope="module")
def art(tmp_path_factory):
    """The toolbox; it writes a file of settings into the home folder when it is first imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        return importlib.import_module("art.attacks.evasion"), importlib.import_module("art.estimators.classification")


@pytest.fixture(scope="module")
def trained():
    """A small ReLU network, trained for some seconds on the digits, with 400 other digits and their labels."""
    pixels, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=seeded(11))
    x, y = torch.tensor(pixels, dtype=torch.float32)[order] / 16, torch.tensor(labels)[order]
    net = sequential(64, 60, 10, activation=nn.ReLU, seed=12)
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[:1300]), y[:1300]).backward()
        optimizer.step()
    return net.eval(), x[1300:1700], y[1300:1700]


@pytest.fixture
def classifier(art, trained):
    net = trained[0]
    return art[1].PyTorchClassifier(net, nn.CrossEntropyLoss(), (64,), 10, device_type="cpu")


def test_fgsm_takes_the_same_step(art, classifier, trained):
    net, x, y = trained
    for epsilon in (0.02, 0.1):
        theirs = torch.from_numpy(art[0].FastGradientMethod(classifier, eps=epsilon).generate(x.numpy(), y.numpy()))
        ours = fgsm(net, x, y, epsilon)
        # In float32 the sign of a gradient near 0 is open. How near: two products, by 60 and 10 weights, of an error p − 1 at the
        # label, which is known to one eps and no better however small it is.
        double = nn.Sequential(*(nn.Linear(a, b) if a else nn.ReLU() for a, b in ((64, 60), (0, 0), (60, 10)))).double()
        double.load_state_dict({name: value.double() for name, value in net.state_dict().items()})
        leaf = x.double().requires_grad_()
        loss = nn.functional.cross_entropy(double(leaf), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
        sums = net[2].weight.abs().amax(0).double() @ net[0].weight.abs().double()  # of absolute values, for an error of 1
        known = gradient.abs() > rounding(torch.float32, 70 + 10, 1.0) * sums
        assert known.double().mean() > 0.5
        torch.testing.assert_close(ours[known], theirs[known], rtol=0, atol=rounding(torch.float32, 2))


@pytest.mark.parametrize("clamp", [None, (0.0, 1.0)])
def test_none_is_weaker_than_theirs(art, trained, clamp):
    net, x, y = trained
    classifier = art[1].PyTorchClassifier(net, nn.CrossEntropyLoss(), (64,), 10, clip_values=clamp, device_type="cpu")
    right = lambda moved: (net(moved).argmax(-1) == y).double()  # noqa: E731
    for epsilon in (0.05, 0.1, 0.15):
        steps = {"eps": epsilon, "eps_step": 2.5 * epsilon / 20, "max_iter": 20, "verbose": False}
        theirs = torch.from_numpy(art[0].ProjectedGradientDescent(classifier, **steps).generate(x.numpy(), y.numpy()))
        assert ((theirs - x).abs() <= epsilon + rounding(torch.float32, 1)).all()
        mine = {
            "pgd": pgd(net, x, y, epsilon, clamp=clamp),
            "restarted": pgd(net, x, y, epsilon, clamp=clamp, restarts=3, generator=seeded(1)),
            "sign search": sign_search(net, x, y, epsilon, clamp=clamp, generator=seeded(2)),
        }
        for name, ours in mine.items():
            difference = right(ours) - right(theirs)
            assert difference.mean() <= sampling(difference.std().item(), len(y)), name
        assert right(theirs).mean() < right(x).mean()


def test_the_worst_case_takes_their_attacks(art, classifier, trained):
    net, x, y = trained

    def theirs(logits, x, y, epsilon):
        return torch.from_numpy(art[0].FastGradientMethod(classifier, eps=epsilon).generate(x.numpy(), y.numpy()))

    found = worst_case(net, x, y, {"FGSM": fgsm, "theirs": theirs}, 0.1)
    assert (found["FGSM"] - found["theirs"]).abs() <= 2 / 400 and found["worst"] <= found["FGSM"]
