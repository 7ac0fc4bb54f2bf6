"""SAL before learning."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from salnb import SAL, DeepNet, sal_pretrain
from tests.problems import random, seeded, sequential

X = random(6, 3).float()


def build():
    model = sequential(3, 6, 6, 2)
    return model, SAL(model, lr=0.05, decay=0.5)


def by_hand(batches) -> list[torch.Tensor]:
    model, sal = build()
    for x in batches:
        model(x)
        sal.step()
    return [p.detach() for p in model.parameters()]


def counter():
    i = iter(range(100))
    return lambda: X + next(i)


A, B = X, X + 1
SUPPLIES = {
    "one tensor for all passes": (lambda: X, [X] * 5),
    "a function that returns the next one": (counter, [X + i for i in range(5)]),
    "a list, begun again when it ends": (lambda: [A, B], [A, B, A, B, A]),
    "pairs of inputs and labels": (lambda: [(A, 0), [B, 1]], [A, B, A, B, A]),
    "a DataLoader": (lambda: DataLoader(TensorDataset(X, X), batch_size=3), [X[:3], X[3:], X[:3], X[3:], X[:3]]),
    "a generator that lasts long enough": (lambda: (X + i for i in range(9)), [X + i for i in range(5)]),
}


@pytest.mark.parametrize("name", SUPPLIES)
def test_batches_may_be(name):
    make, expected = SUPPLIES[name]
    model, sal = build()
    history = sal_pretrain(model, make(), sal, steps=5)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), by_hand(expected), strict=True))
    assert history["log_sensitivity"].shape == history["below_target"].shape == (5, 1)


def test_history_is_each_passs_log_sensitivity_and_the_share_still_below_target():
    net = DeepNet(3, 6, 1, 3, gain=0.7, replicas=(4,), generator=seeded())
    twin = DeepNet(3, 6, 1, 3, gain=0.7, replicas=(4,), generator=seeded())
    history = sal_pretrain(net, X, SAL(net, lr=0.1, decay=0.2), steps=6)
    sal, logs, shares = SAL(twin, lr=0.1, decay=0.2), [], []
    for _ in range(6):
        twin(X)
        logs.append(sal.log_sensitivity())
        sal.step()
        shares.append(torch.stack([(s < 1).float().mean(-1) for s in sal.sensitivity.values()]))
    torch.testing.assert_close(history["log_sensitivity"], torch.stack(logs))
    torch.testing.assert_close(history["below_target"], torch.stack(shares))
    assert history["log_sensitivity"].shape == (6, 2, 4)


def test_there_are_no_gradients():
    model, sal = build()
    history = sal_pretrain(model, X, sal, steps=2)
    assert all(p.grad is None for p in model.parameters()) and not history["log_sensitivity"].requires_grad


def test_training_mode_for_the_passes_and_back_afterwards_part_by_part():
    model = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 1))
    sal = SAL(model)
    model.train()
    model[1].eval()  # a frozen part
    sal_pretrain(model, X, sal, steps=1)
    assert [m.training for m in model] == [True, False, True, True, True] and model.training
    model.eval()
    sal_pretrain(model, X, sal, steps=1)
    assert not any(m.training for m in model.modules())
    with pytest.raises(RuntimeError):
        sal_pretrain(model, torch.ones(2, 99), sal, steps=1)
    assert not any(m.training for m in model.modules())


def test_no_steps_is_an_empty_history():
    model, sal = build()
    assert all(len(row) == 0 for row in sal_pretrain(model, X, sal, steps=0).values())


def test_a_progress_bar_changes_nothing(capsys):
    model, sal = build()
    sal_pretrain(model, X, sal, steps=3, progress=True)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), by_hand([X] * 3), strict=True))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("batches", "steps", "message"),
    [
        (X, -1, "steps: got -1, expected an integer >= 0"),
        (X, 2.0, "steps: got 2.0, expected an integer"),
        ((X for _ in range(2)), 5, "batches: ended after 2 of 5 passes"),
        ([], 1, "batches: ended after 0 of 1 passes; pass a function or a re-iterable collection"),
    ],
)
def test_bad_input_is_a_value_error_in_words(batches, steps, message):
    model, sal = build()
    with pytest.raises(ValueError, match=message):
        sal_pretrain(model, batches, sal, steps=steps)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = sequential(3, 6, 6, 2)

    def forward(self, left, right, scale=1.0):
        return self.net(scale * (left + right))


BATCHES = {
    "a tuple of inputs": ((A, B), None),
    "a tuple of inputs and a label": ((A, B, 3), None),
    "a dictionary with labels": ({"left": A, "right": B, "labels": 3}, None),
    "forward of a batch": ([A, B], lambda batch: None),
    "forward of model and batch": ({"pair": (A, B)}, lambda model, batch: model(*batch["pair"])),
}


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_may_be(name):
    batch, forward = BATCHES[name]
    model = TwoInputs()
    sal = SAL(model, lr=0.05, decay=0.5)
    if name == "forward of a batch":
        forward = lambda batch: model(batch[0], right=batch[1])  # noqa: E731
    sal_pretrain(model, lambda: batch, sal, steps=5, forward=forward)
    expected = by_hand([A + B] * 5)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), expected, strict=True))


def test_a_batch_that_does_not_fit_is_refused_in_words():
    model = TwoInputs()
    sal = SAL(model)
    for batch, kind, words in (
        (lambda: (A,), ValueError, "got 1 tensors in a batch, but TwoInputs.forward needs 2"),
        (lambda: {"left": A}, ValueError, "a dictionary with left.*forward="),
        (lambda: "text", TypeError, "type str.*forward="),
        (lambda: A.numpy(), TypeError, "type ndarray"),
    ):
        with pytest.raises(kind, match=words):
            sal_pretrain(model, batch, sal, steps=1)


class Rests(nn.Module):
    """One of the layers runs in every second pass only."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.first, self.a, self.b, self.last = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.runs = first

    def forward(self, x):
        h = torch.tanh(self.a(torch.tanh(self.first(x))))
        runs, self.runs = self.runs, not self.runs
        return self.last(torch.tanh(self.b(h)) if runs else h)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("layers", [None, ["a", "b"], ["b", "a"]])
def test_a_layer_that_does_not_run_in_every_pass_has_nan_where_it_did_not(layers, first):
    model = Rests(first)
    history = sal_pretrain(model, X, SAL(model, layers=layers), steps=4)
    at = 0 if layers == ["b", "a"] else 1
    ran = torch.tensor([first, not first] * 2)
    assert history["log_sensitivity"].shape == history["below_target"].shape == (4, 2)
    assert torch.equal(history["log_sensitivity"][:, at].isfinite(), ran)
    assert bool(history["log_sensitivity"][:, 1 - at].isfinite().all())
    # The average stays where a layer rests; before its first pass there is none.
    assert torch.equal(history["below_target"][:, at].isfinite(), ran.cummax(0).values)


def test_a_sal_of_another_model_is_refused_in_words():
    model, (_, sal) = sequential(3, 6, 6, 2), build()
    with pytest.raises(ValueError, match="sal: is attached to another model than the Sequential given here; give its own"):
        sal_pretrain(model, X, sal, steps=1)
