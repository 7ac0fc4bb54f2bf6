"""Networks that struggle are drawn anew, and then learn as if an optimizer of their own had begun with them."""

import pytest
import torch

from salnb import TanhRNN
from salnb.experiments import train_lag
from salnb.experiments.training.optimization import learn, make_optimizer
from salnb.experiments.training.restarts import Restarts
from tests.problems import random, seeded


def build(generator):
    return TanhRNN(1, 6, 2, gain=1.0, replicas=(3,), generator=generator, dtype=torch.float64)


def test_a_replica_drawn_anew_learns_as_with_an_optimizer_of_its_own():
    """Against a second model that begins with the fresh weights and its own Adam; the other replicas notice nothing."""
    source = seeded(3)
    model, untouched = build(source), build(seeded(3))
    fresh = build(source)  # what the restart will draw
    source.set_state(seeded(3).get_state())
    build(source)
    draws = [(random(5, 3, 4, 1, seed=i), torch.randint(2, (3, 4), generator=seeded(i))) for i in range(50)]
    optimizers = [make_optimizer("adam", list(net.parameters()), 0.01) for net in (model, untouched, fresh)]
    restarts = Restarts(model, optimizers[0], build, source, 3)
    for step, (inputs, targets) in enumerate(draws, 1):
        old = restarts.before()
        learn(model, optimizers[0], inputs, targets, clip=1.0)
        restarts.after(old, step)
        learn(untouched, optimizers[1], inputs, targets, clip=1.0)
        if step > 20:
            learn(fresh, optimizers[2], inputs, targets, clip=1.0)
        if step == 20:
            restarts.restart(torch.tensor([False, True, False]), step)
    assert restarts.count.tolist() == [0, 1, 0]
    for p, same, anew in zip(model.parameters(), untouched.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(p[[0, 2]], same[[0, 2]])
        torch.testing.assert_close(p[1], anew[1], rtol=0, atol=1e-6)  # Adam's ε beside gradients of 1e-3 and more
        assert not torch.allclose(p[1], same[1], atol=1e-3)


def test_a_run_that_struggles_starts_again_and_resumes_to_the_same_bits(tmp_path, monkeypatch):
    settings = dict(lag=6, n_hidden=8, replicas=4, steps=40, sal=False, gain=0.1, lr=1e-5, restart_every=10)
    whole = train_lag(**settings, generator=seeded(), path=tmp_path / "whole.pt")
    assert whole.history["restarts"].tolist() == [3.0] * 4 and whole.as_json()["restarts"] == [3.0] * 4
    assert whole.settings["restart_every"] == 10
    from salnb.experiments.training import loop

    done = []

    def stopping(*args, **kwargs):
        done.append(1)
        if len(done) == 25:
            raise KeyboardInterrupt
        return learn(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "learn", stopping)
        with pytest.raises(KeyboardInterrupt):
            train_lag(**settings, generator=seeded(), path=tmp_path / "cut.pt", save_every=0.0)
    again = train_lag(**settings, generator=seeded(), path=tmp_path / "cut.pt")
    assert torch.equal(whole.history["loss"], again.history["loss"]) and torch.equal(whole.accuracy, again.accuracy)
    assert torch.equal(whole.history["restarts"], again.history["restarts"])


def test_a_loss_that_is_not_a_number_struggles_too(monkeypatch):
    from salnb.experiments.training import loop

    def broken(*args, **kwargs):
        return learn(*args, **kwargs) * torch.tensor([0.0, torch.nan])  # the other replica seems to be right all the time

    monkeypatch.setattr(loop, "learn", broken)
    run = train_lag(lag=4, n_hidden=4, replicas=2, steps=60, sal=False, restart_every=30, generator=seeded())
    assert run.history["restarts"].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [({}, "restart_every: got 5 with SAL"), ({"sal": False, "optimizer": "sgd"}, "restart_every: got 5 with sgd"),
     ({"sal": False, "restart_every": 0}, "restart_every: got 0, expected an integer >= 1")],
)  # fmt: skip
def test_what_has_no_meaning_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        train_lag(**{"lag": 5, "n_hidden": 4, "steps": 10, "replicas": 2, "restart_every": 5, **settings})
