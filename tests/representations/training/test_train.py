"""Training of replicas against a plain loop over them, written with torch.nn.functional, and what samples may be used for."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from salnb.representations.hidden_net import HiddenNet
from salnb.representations.penalties import jacobian_penalty, sensitivity_penalty, spectral_penalty, weight_penalty
from salnb.representations.training import train as module
from salnb.representations.training import train_hidden
from salnb.representations.training.train import accuracy, clip_by_replica_, cross_entropy
from tests.problems import random, seeded
from tests.tolerances import rounding, within

DOUBLE = dict(dtype=torch.float64)
SMALL = dict(units=7, batch=10, epochs=3, classes=3, lr=1e-2)


def samples(*lead, n=20, seed=1, device="cpu", dtype=torch.float64):
    """Three classes, each around a center of its own."""
    y = torch.randint(3, (*lead, n), generator=seeded(seed)).to(device)
    y[..., :3] = torch.arange(3)
    centers = 2 * random(3, 5, seed=50, device=device)
    return (centers[y] + random(*lead, n, 5, seed=seed, device=device)).to(dtype), y


def same(found, expected, scale=1.0):
    for one, two in zip(found.parameters(), expected.parameters(), strict=True):
        # Adam divides gradients by their size: an error of rounding grows with the digits that a small gradient has lost.
        torch.testing.assert_close(one, two, **within(two, 1e4, scale + two.detach().abs().max().item()))


PENALTIES = {
    "backprop": (lambda net, x: 0.0, {}),
    "decay": (lambda net, x: 0.02 * weight_penalty(net), dict(strength=0.02)),
    "jacobian": (lambda net, x: 0.02 * jacobian_penalty(net, x), dict(strength=0.02)),
    "sensitivity": (lambda net, x: 0.2 * sensitivity_penalty(net, x, target=0.3), dict(strength=0.2, target=0.3)),
    "spectral": (lambda net, x: 0.1 * spectral_penalty(net.pre(x), alpha=2.0, first=1, last=4),
                 dict(strength=0.1, alpha=2.0, first=1, last=4)),
}  # fmt: skip


@pytest.mark.parametrize("model", PENALTIES)
def test_replicas_are_a_loop(model, monkeypatch):
    (x, y), (penalty, settings) = samples(3), PENALTIES[model]
    orders = [torch.rand(3, 20, generator=seeded(70 + epoch)).argsort(-1) for epoch in range(3)]
    start = HiddenNet(5, 7, 3, replicas=(3,), activation="tanh", generator=seeded(2), **DOUBLE)
    twins = [HiddenNet(5, 7, 3, activation="tanh", **DOUBLE) for _ in range(3)]
    for r, twin in enumerate(twins):
        twin.load_state_dict({name: value[r] for name, value in start.state_dict().items()})
    monkeypatch.setattr(module, "first_net", lambda *_: start)
    left = iter(orders)
    monkeypatch.setattr(module, "shuffled", lambda *_: next(left))
    net, history = train_hidden(x, y, model=model, activation="tanh", **{**SMALL, **settings})
    for r, twin in enumerate(twins):
        optimizer, losses = torch.optim.Adam(twin.parameters(), lr=1e-2), []
        for epoch, order in enumerate(orders):
            for step, rows in enumerate(order[r].split(10)):
                optimizer.param_groups[0]["lr"] = 1e-2 * (1 - (epoch + step / 2) / 3)
                loss = F.cross_entropy(twin(x[r, rows]), y[r, rows])
                optimizer.zero_grad()
                (loss + penalty(twin, x[r, rows])).backward()
                optimizer.step()
                losses.append(loss.item())
        alone = HiddenNet(5, 7, 3, activation="tanh", **DOUBLE)
        alone.load_state_dict({name: value[r] for name, value in net.state_dict().items()})
        same(alone, twin)
        expected = torch.tensor(losses, **DOUBLE).view(3, 2).mean(1)
        torch.testing.assert_close(history["loss"][:, r], expected, **within(expected, 1e4))
    assert history["loss"].shape == history["penalty"].shape == (3, 3)
    assert bool(history["penalty"].any()) == (model != "backprop")


@pytest.mark.parametrize("model", ["random", "exemplars", "krotov_hopfield"])
def test_frozen_weights_stay_and_the_readout_learns(model):
    x, y = samples(3)
    given = dict(hidden_weight=random(3, 7, 5, seed=8)) if model == "krotov_hopfield" else dict(units=7)
    settings = {**{k: v for k, v in SMALL.items() if k != "units"}, **given, "power": 2.0, "model": model}
    net, history = train_hidden(x, y, generator=seeded(3), **settings)
    again, _ = train_hidden(x, y, generator=seeded(3), **{**settings, "epochs": 1})
    assert torch.equal(net.hidden_weight, again.hidden_weight) and not net.hidden_weight.requires_grad
    assert not torch.equal(net.readout_weight, again.readout_weight)
    if model == "krotov_hopfield":
        assert torch.equal(net.hidden_weight, given["hidden_weight"])
    if model == "exemplars":
        roots = net.hidden_weight.sign() * net.hidden_weight.abs().sqrt()  # of p = 3 the effective weight is w |w|
        nearest = torch.cdist(roots, x).amin(-1)
        assert nearest.max() < rounding(torch.float64, 50, 10)


def test_a_frozen_layer_is_computed_once_and_gives_the_same_readout(monkeypatch):
    x, y = samples(2)
    monkeypatch.setattr(module, "FROZEN", ())  # computed again for every batch
    slow, _ = train_hidden(x, y, model="random", generator=seeded(3), **SMALL)
    monkeypatch.undo()
    fast, _ = train_hidden(x, y, model="random", generator=seeded(3), **SMALL)
    same(fast, slow)


def test_components_are_all_that_the_network_reads():
    x, y = samples(2, n=30)
    net, history = train_hidden(x, y, model="components", components=2, select=(x, y), judge=(x, y), generator=seeded(3), **SMALL)
    for r in range(2):
        _, _, rows = torch.linalg.svd(x[r] - x[r].mean(0), full_matrices=False)
        outside = net.hidden_weight[r] @ rows[2:].mT
        assert outside.abs().max() < rounding(torch.float64, 1000, float(net.hidden_weight.detach().abs().max()))
    torch.testing.assert_close(history["select"][-1], history["judge"])
    assert net.hidden_weight.shape == (2, 7, 5) and net.hidden_weight.requires_grad


def test_samples_to_select_and_to_judge_do_not_train():
    x, y = samples(2)
    plain, _ = train_hidden(x, y, generator=seeded(3), **SMALL)
    select, judge = samples(2, n=9, seed=5), samples(n=8, seed=6)
    seen, history = train_hidden(x, y, select=select, judge=judge, looks=2, generator=seeded(3), **SMALL)
    for one, two in zip(plain.parameters(), seen.parameters(), strict=True):
        assert torch.equal(one, two)
    assert history["looked"].tolist() == [2, 3] and history["select"].shape == (2, 2) and history["judge"].shape == (2,)
    for name, (inputs, labels), found in (("select", select, history["select"][-1]), ("judge", judge, history["judge"])):
        expected = [(seen(inputs)[r].argmax(-1) == labels.expand(2, -1)[r]).double().mean() for r in range(2)]
        assert found.tolist() == torch.stack(expected).tolist(), name


def test_samples_to_judge_are_read_after_the_last_step(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "accuracy", lambda net, x, y: calls.append(x.shape[-2]) or accuracy(net, x, y))
    x, y = samples(2)
    train_hidden(x, y, select=samples(n=9, seed=5), judge=samples(n=8, seed=6), looks=3, generator=seeded(3), **SMALL)
    assert calls == [9, 9, 9, 8]


def test_each_replica_may_have_a_strength_of_its_own():
    x, y = samples(3)
    strengths = torch.tensor([0.0, 0.01, 1.0], **DOUBLE)
    net, history = train_hidden(x, y, model="decay", strength=strengths, generator=seeded(3), **SMALL)
    for r, strength in enumerate(strengths.tolist()):
        other, _ = train_hidden(x, y, model="decay", strength=strength, generator=seeded(3), **SMALL)
        torch.testing.assert_close(net.hidden_weight[r], other.hidden_weight[r], **within(other.hidden_weight, 1e4))
    assert history["penalty"][:, 0].max() == 0 and (history["penalty"][:, 2] > history["penalty"][:, 1]).all()
    long, _ = train_hidden(x, y, model="decay", strength=strengths, generator=seeded(3), **{**SMALL, "epochs": 60})
    size = weight_penalty(long).detach()
    assert size[2] < size[:2].min()


def test_shared_samples_and_any_replicas():
    x, y = samples()
    for replicas in (None, 2, (2, 3)):
        lead = () if replicas is None else (replicas,) if isinstance(replicas, int) else replicas
        net, history = train_hidden(x, y, select=(x, y), judge=(x, y), replicas=replicas, generator=seeded(3), looks=1, **SMALL)
        assert net.replicas == lead and history["judge"].shape == lead and history["loss"].shape == (3, *lead)
        assert history["select"].shape == (1, *lead)
    own, _ = train_hidden(x.expand(2, 20, 5), y.expand(2, 20), generator=seeded(3), **SMALL)
    shared, _ = train_hidden(x, y, replicas=2, generator=seeded(3), **SMALL)
    same(own, shared)
    assert not torch.equal(own.hidden_weight[0], own.hidden_weight[1])


def test_only_the_generator_decides(device):
    x, y = samples(2, device=device)
    before = x.clone()
    state = torch.get_rng_state()
    for model in ("backprop", "jacobian_published", "random", "exemplars"):
        one, two, other = (train_hidden(x, y, model=model, generator=seeded(s), **SMALL)[0] for s in (3, 3, 4))
        assert torch.equal(one.readout_weight, two.readout_weight) and not torch.equal(one.readout_weight, other.readout_weight)
        assert one.hidden_weight.device == x.device and one.hidden_weight.dtype == x.dtype and not one.training
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(x, before)


def test_it_learns_without_gradients_around_it():
    x, y = samples()
    with torch.no_grad():
        net, history = train_hidden(x, y, generator=seeded(3), **{**SMALL, "epochs": 30})
    assert history["loss"][-1] < history["loss"][0]


def test_the_loss_is_that_of_each_replica():
    logits, labels = random(2, 3, 6, 4), torch.randint(4, (2, 3, 6), generator=seeded(1))
    for r in range(2):
        for s in range(3):
            expected = F.cross_entropy(logits[r, s], labels[r, s])
            torch.testing.assert_close(cross_entropy(logits, labels)[r, s], expected, **within(expected, 10))
    assert cross_entropy(logits[0, 0], labels[0, 0]).shape == ()


def test_gradients_are_cut_by_replica():
    parameters = [torch.nn.Parameter(random(3, *shape)) for shape in ((4, 2), (5,))]
    for p, scale in zip(parameters, (1.0, 2.0), strict=True):
        p.grad = scale * random(*p.shape, seed=4) * torch.tensor([1e-3, 1.0, 1e3], **DOUBLE).view(-1, *[1] * (p.ndim - 1))
    before = torch.cat([p.grad.flatten(1) for p in parameters], 1)
    clip_by_replica_(parameters, 0.5, 1)
    after = torch.cat([p.grad.flatten(1) for p in parameters], 1)
    assert torch.equal(after[0], before[0])
    torch.testing.assert_close(after[1:].norm(dim=1), torch.full((2,), 0.5, **DOUBLE))
    torch.testing.assert_close(after / after.norm(dim=1, keepdim=True), before / before.norm(dim=1, keepdim=True))
    x, y = samples(2)
    plain, cut = (train_hidden(x, y, generator=seeded(3), **SMALL, **given)[0] for given in ({}, dict(clip=1e9)))
    same(cut, plain)


def test_what_is_not_finite_is_an_error(monkeypatch):
    x, y = samples(2)
    second = torch.tensor([1.0, torch.nan], **DOUBLE)
    monkeypatch.setattr(module, "cross_entropy", lambda logits, labels: second * cross_entropy(logits, labels))
    with pytest.raises(RuntimeError, match=r"lr: after epoch 1 the loss is not finite in the replicas \[1\]"):
        train_hidden(x, y, generator=seeded(3), **SMALL)
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="lr: after epoch"):
        train_hidden(x.float(), y, generator=seeded(3), **{**SMALL, "lr": 1e38})


X, Y = samples(2)


@pytest.mark.parametrize("given, error, words", [
    (dict(x=X[0, 0]), ValueError, r"x: got shape \(5,\)"),
    (dict(x=X.long()), ValueError, "x: got dtype torch.int64"),
    (dict(x=X.numpy()), TypeError, "x: got numpy.ndarray"),
    (dict(x=X * torch.nan), ValueError, "x: got 200 of 200 numbers that are NaN"),
    (dict(y=Y.double()), ValueError, "y: got dtype torch.float64, expected integer labels"),
    (dict(y=Y.bool()), ValueError, "y: got dtype torch.bool"),
    (dict(y=Y.tolist()), TypeError, "y: got list"),
    (dict(y=Y[:, :5]), ValueError, r"y: got shape \(2, 5\) for x of shape \(2, 20, 5\)"),
    (dict(y=Y - 1), ValueError, "y: got labels from -1 to 1"),
    (dict(y=Y.to("meta")), ValueError, "y: got device meta"),
    (dict(classes=2), ValueError, "y: got labels from 0 to 2, expected 0 to 2 - 1"),
    (dict(classes=1), ValueError, "classes: got 1"),
    (dict(replicas=3), ValueError, r"replicas: got \(3,\), but x has the leading dimensions \(2,\)"),
    (dict(batch=21), ValueError, "batch: got 21 for 20 samples"),
    (dict(looks=0), ValueError, "looks: got 0"),
    (dict(select=X), TypeError, "select: got Tensor, expected a pair"),
    (dict(judge=(X[..., :4], Y)), ValueError, r"judge\[0\]: got width 4"),
    (dict(select=(X.float(), Y)), ValueError, r"select\[0\]: got width 5, torch.float32"),
    (dict(judge=(X, Y + 1)), ValueError, r"judge\[1\]: got labels from 1 to 3"),
    (dict(select=(X.expand(3, 2, 20, 5), Y)), ValueError, r"select\[1\]: got shape"),
    (dict(model="kh"), ValueError, "model: got 'kh', expected one of backprop, decay"),
    (dict(model=3), TypeError, "model: got int"),
    (dict(strength=0.1), ValueError, "strength: got 0.1, but this model has no penalty"),
    (dict(model="decay", strength=-0.1), ValueError, "strength: got -0.1"),
    (dict(model="decay", strength=torch.ones(3)), ValueError, r"strength: got shape \(3,\)"),
    (dict(hidden_weight=random(7, 5)), ValueError, "hidden_weight: with hidden='learned', hidden weights are not read"),
    (dict(model="spectral"), ValueError, "last: got rank 30, but 10 samples of 7 units"),
    (dict(model="components", components=6), ValueError, "components: got 6 for inputs of 5 numbers"),
    (dict(model="exemplars", units=21), ValueError, "units: got 21 exemplars of 20 samples"),
])  # fmt: skip
def test_arguments_that_do_not_fit(given, error, words):
    with pytest.raises(error, match=words):
        train_hidden(**{"x": X, "y": Y, "generator": seeded(3), **SMALL, **given})


@pytest.mark.parametrize("weight, error, words", [
    (None, ValueError, "hidden_weight: with hidden='given', hidden weights are needed"),
    (random(7, 4), ValueError, r"hidden_weight: got shape \(7, 4\)"),
    (random(3, 7, 5), ValueError, r"with the replicas \(2,\) or none"),
    (random(7, 5).float(), ValueError, "hidden_weight: got shape .* torch.float32"),
    (7, TypeError, "hidden_weight: got int"),
])  # fmt: skip
def test_given_weights_that_do_not_fit(weight, error, words):
    with pytest.raises(error, match=words):
        train_hidden(X, Y, model="krotov_hopfield", hidden_weight=weight, batch=10, epochs=1)


def test_accuracy_refuses_labels_that_do_not_belong_to_the_samples():
    net, x = HiddenNet(4, 6, 3, replicas=(2,)), torch.rand(5, 4)
    for y, error, message in (
        (torch.zeros(5, 1, dtype=torch.int64), ValueError, r"y: got shape \(5, 1\), expected \(5,\) or \(2, 5\)"),
        (torch.zeros(1, dtype=torch.int64), ValueError, r"y: got shape \(1,\)"),
        (torch.zeros(5), TypeError, "y: got torch.float32, expected a tensor of integer labels"),
        (numpy_labels(), TypeError, "y: got ndarray"),
    ):
        with pytest.raises(error, match=message):
            accuracy(net, x, y)
    with pytest.raises(ValueError, match="x: got 20 of 20 numbers that are NaN"):
        accuracy(net, x * float("nan"), torch.zeros(5, dtype=torch.int64))
    assert accuracy(net, x, torch.zeros(5, dtype=torch.int64)).shape == (2,)


def numpy_labels():
    return torch.zeros(5, dtype=torch.int64).numpy()


def test_training_in_inference_mode_and_a_strength_in_letters_get_words():
    x, y = torch.eye(4).repeat(5, 1), torch.arange(4).repeat(5)
    with torch.inference_mode(), pytest.raises(RuntimeError, match="train_hidden: called inside torch.inference_mode"):
        train_hidden(x, y, units=5, batch=5, epochs=1)
    with pytest.raises(TypeError, match="strength: got str, expected a number"):
        train_hidden(x, y, model="decay", strength="1", units=5, batch=5, epochs=1)
