"""The experiments as runs: their record, what they store, and that an interruption changes nothing."""

import json
import math

import pytest
import torch

from salnb import DeepNet, TanhRNN, gradient_profile
from salnb.experiments import train_deep, train_lag
from salnb.experiments.tasks import lagged_xor, two_moons
from salnb.experiments.tasks.classification import as_classification_task
from tests.problems import seeded
from tests.tolerances import counted, rounding

LAG = dict(lag=6, n_hidden=10, replicas=3, steps=20)
DEEP = dict(depth=4, width=10, replicas=3, steps=20)


def lagged(n, source):
    return lagged_xor(n, source, lag=6)


def same(a, b) -> bool:
    fields = ("accuracy", "held", "stopped", "log_sensitivity", "exponent", "gradient_profile")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in fields) and all(
        torch.equal(a.history[name], b.history[name]) for name in a.history)  # fmt: skip


@pytest.mark.parametrize("sal", [True, False, {"when": "struggling", "passes": 5}, {"when": "throughout", "passes": 0}])
def test_a_run_over_a_lag_records_what_it_promises(sal):
    run = train_lag(**LAG, sal=sal, generator=seeded())
    assert run.accuracy.shape == run.held.shape == run.log_sensitivity.shape == run.exponent.shape == (3,)
    assert run.gradient_profile.shape == (3, 7) and (run.gradient_profile > 0).all()
    assert ((run.accuracy >= 0) & (run.accuracy <= 1)).all() and run.seconds > 0
    assert run.history["accuracy"].shape == run.history["loss"].shape == (len(run.history["step"]), 3)
    assert run.history["exponent"].shape == (len(run.history["looked"]), 3)
    assert (run.held <= run.history["accuracy"][-1]).all()
    assert torch.equal(run.held, run.history["accuracy"][run.history["step"] > 18].amin(0))
    assert json.loads(json.dumps(run.as_json()))["settings"]["lag"] == 6


def test_a_run_over_depth_records_what_it_promises():
    run = train_deep("two_moons", **DEEP, generator=seeded())
    assert run.gradient_profile.shape == (3, 4) and run.accuracy.shape == (3,)
    # SAL did arrive: it ends when 95 % of the neurons are at their target or above. The others count for at most their share, and
    # none is above by more than the last steps of an average over ten passes, 10 · lr, could take it: about 0.04.
    assert 0 < run.passes < 1000 and (run.history["log_sensitivity"][0] > math.log(0.95) / 2 - 0.01).all()
    assert (run.history["log_sensitivity"][0] < 2 * 0.04).all()


def test_same_generator_same_run_other_generator_other_run():
    first, again, other = (train_lag(**LAG, generator=seeded(seed)) for seed in (1, 1, 2))
    assert same(first, again) and not torch.equal(first.gradient_profile, other.gradient_profile)


def test_replicas_have_data_and_weights_of_their_own():
    run = train_deep("two_moons", **DEEP, generator=seeded())
    assert len(set(run.history["loss"][5].tolist())) == 3


@pytest.mark.parametrize("sal", [False, {"passes": 10}, {"passes": 10, "when": "unhealthy", "every": 2}])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("stop", [4, 17, 29])
def test_an_interrupted_run_goes_on_to_the_last_bit(tmp_path, sal, optimizer, stop):
    class Interrupted(Exception):
        pass

    calls = 0

    def fragile(n, source):
        nonlocal calls
        calls += 1
        if calls == stop:
            raise Interrupted
        return lagged_xor(n, source, lag=6)

    settings = dict(LAG, sal=sal, optimizer=optimizer)
    whole = train_lag(**settings, task=lagged, generator=seeded(5))
    fragile.__name__ = "lagged"
    path = tmp_path / "folder" / "run.pt"
    stopped = False
    try:
        train_lag(**settings, task=fragile, generator=seeded(5), path=path, save_every=0.0)
    except Interrupted:
        stopped = True
    assert stopped or (not sal and stop == 29)
    resumed = train_lag(**settings, task=lagged, generator=seeded(5), path=path, save_every=0.0)
    assert same(whole, resumed) and resumed.passes == whole.passes
    assert not list(path.parent.glob("*.tmp"))


def test_early_stopping_keeps_the_weights_of_the_look_that_went_best(tmp_path):
    path, settings = tmp_path / "run.pt", dict(LAG, replicas=4, lr=0.2, sal=False)  # at this rate accuracy goes up and down
    run = train_lag(**settings, generator=seeded(), path=path)
    stored, (_, _, looking) = torch.load(path, weights_only=True), run.settings["seeds"]
    net, problem = TanhRNN(1, 10, 2, gain=0.5, replicas=(4,)), as_classification_task("xor", lag=6)

    def right(weights, draws, seed):
        net.load_state_dict(stored[weights])
        generator, found = seeded(seed), []
        for _ in range(draws):
            inputs, targets = problem.draw(100, generator, 4, fresh=True)
            found.append((net(inputs)[0][-1].argmax(-1) == targets).double().mean(-1))
        return torch.stack(found).mean(0)

    best = run.history["accuracy"].amax(0)
    assert bool((best > run.history["accuracy"][-1]).any()), "otherwise there would be nothing to keep"
    torch.testing.assert_close(right("best_weights", 1, looking), best, rtol=0, atol=1e-6)
    torch.testing.assert_close(right("best_weights", 10, looking ^ 1), run.stopped, rtol=0, atol=1e-6)
    torch.testing.assert_close(right("model", 10, looking ^ 1), run.accuracy, rtol=0, atol=1e-6)


def test_a_finished_run_is_read_not_repeated(tmp_path):
    path = tmp_path / "run.pt"
    first = train_deep("parity", **DEEP, generator=seeded(), path=path)
    again = train_deep("parity", **DEEP, generator=seeded(), path=path)
    assert same(first, again) and again.seconds == pytest.approx(first.seconds)


def test_a_path_with_another_run_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    train_deep("parity", **DEEP, sal=False, generator=seeded(), path=path)
    with pytest.raises(ValueError, match="gain"):
        train_deep("parity", **DEEP, sal=False, gain=0.9, generator=seeded(), path=path)


def test_a_task_of_the_readers_own_with_three_classes():
    def thirds(n, source):
        inputs = torch.rand((n, 2), generator=source)
        return inputs, (3 * inputs[:, 0]).long().clamp(max=2)

    run = train_deep(thirds, depth=3, width=20, replicas=2, steps=150, lr=3e-3, generator=seeded())
    # Guessing the right one of three so often, on 1000 or 256 fresh points, happens to no network that has not learned.
    assert (run.accuracy * 1000 > counted(1 / 3, 1000)[1]).all() and (run.held * 256 > counted(1 / 3, 256)[1]).all()


def test_learning_happens_and_held_tells_it():
    run = train_lag(lag=3, n_hidden=20, replicas=2, steps=300, lr=3e-3, generator=seeded())
    # As above, for one of two.
    assert (run.accuracy * 1000 > counted(0.5, 1000)[1]).all() and (run.held * 100 > counted(0.5, 100)[1]).all()
    # At the start both answers are equally likely; once they are told apart the loss is a fraction of that.
    assert run.history["loss"][-1].max() < math.log(2) / 2 < run.history["loss"][0].min()


def test_digits_are_judged_on_held_out_images():
    run = train_deep("digits", depth=2, width=20, replicas=2, steps=5, sal=False, generator=seeded())
    assert run.accuracy.shape == (2,)


@pytest.mark.parametrize("function, arguments, word", [
    (train_lag, dict(lag=0), "lag"), (train_lag, dict(task="parity"), "task"), (train_deep, dict(task="xor"), "task"),
    (train_deep, dict(task=3), "task"), (train_lag, dict(cell="lstm", sal={"average": "mean"}), "rms"),
    (train_deep, dict(task="parity", architecture="residual", sal={"average": "mean"}), "rms"),
    (train_lag, dict(cell="x"), "cell"), (train_deep, dict(task="parity", depth=0), "depth"),
    (train_deep, dict(task="parity", init="zeros"), "init"), (train_deep, dict(task="parity", optimizer="x"), "optimizer"),
    (train_deep, dict(task="parity", lr=0), "lr"), (train_lag, dict(steps=0), "steps"), (train_lag, dict(replicas=0), "replicas"),
    (train_lag, dict(sal={"x": 1}), "sal"), (train_deep, dict(task=lagged), "task"), (train_lag, dict(task=two_moons), "task"),
    (train_deep, dict(task=lambda n, g: (torch.zeros(n, 2), torch.zeros(n))), "classes"),
    (train_deep, dict(task=lambda n, g: (torch.zeros(n, 2), -torch.ones(n).long())), "classes"),
    (train_lag, dict(clip=0.0), "clip"), (train_lag, dict(bias=-1.0), "bias"), (train_lag, dict(gain=-1.0), "gain"),
])  # fmt: skip
def test_bad_arguments_are_refused_in_words(function, arguments, word):
    with pytest.raises(ValueError, match=word):
        function(**arguments)


def test_the_profile_is_that_of_the_trained_network():
    run = train_deep("two_moons", **DEEP, bias=0.0, generator=seeded(), sal=False)
    # From the first look the weights are known: the profile of the untrained network can be made again.
    weights, _, looking = (torch.Generator().manual_seed(seed) for seed in run.settings["seeds"])
    net = DeepNet(2, 10, 2, 4, gain=1.0, replicas=(3,), generator=weights)
    with torch.no_grad():
        for layer in net.hidden[1:]:
            layer.weight.mul_(0.5)
    inputs, targets = two_moons(3 * 256, looking)
    inputs, targets = inputs.unflatten(0, (3, 256))[:, :8], targets.unflatten(0, (3, 256))[:, :8]
    loss = lambda outputs, wanted: 3 * torch.nn.functional.cross_entropy(outputs.flatten(0, 1), wanted.flatten())  # noqa: E731
    expected = gradient_profile(net, inputs, targets, loss).double()
    digits = rounding(torch.float32, 4 * 10 + 24)  # four layers of ten neurons, then lengths over 24 samples
    torch.testing.assert_close(run.history["gradient_profile"][0], expected, rtol=digits, atol=0)
