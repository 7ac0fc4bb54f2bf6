"""A pass with NaN or infinite numbers is left out and counted, is said once, and moves nothing."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from salnb import SAL, DeepNet, TanhRNN
from tests.problems import HandLoop, random, seeded, sequential
from tests.tolerances import close

MESSAGE = "the pass that just ended has NaN or infinite numbers in the layer"
# The same passes, summed in another order: two steps of up to seven products of 8 + 3 terms, and sums over 2 · 7 · 5 samples.
EXACT = close(torch.float32, 2 * (7 * (8 + 3) + 2 * 7 * 5), 4)
BUILD = {
    "tanh": (lambda: sequential(3, 8, 8, 8, 2), (5, 3)),
    "relu": (lambda: sequential(3, 8, 8, 8, 2, activation=nn.ReLU), (5, 3)),
    "gelu": (lambda: sequential(3, 8, 8, 8, 2, activation=nn.GELU), (5, 3)),
    "hand loop": (lambda: HandLoop(8), (5, 8)),
    "deep": (lambda: DeepNet(3, 8, 2, 5, gain=0.8, generator=seeded()), (5, 3)),
    "deep relu": (lambda: DeepNet(3, 8, 2, 5, gain=0.8, activation="relu", generator=seeded()), (5, 3)),
    "deep replicas": (lambda: DeepNet(3, 8, 2, 4, gain=0.8, replicas=(2, 3), generator=seeded()), (2, 3, 5, 3)),
    "flat": (lambda: TanhRNN(3, 8, 2, gain=0.8, generator=seeded()), (7, 5, 3)),
    "flat replicas": (lambda: TanhRNN(3, 8, 2, gain=0.8, replicas=(2,), generator=seeded()), (7, 2, 5, 3)),
    "ring": (lambda: TanhRNN(3, (8, 6), 2, gain=0.8, replicas=(2,), connectivity=0.5, generator=seeded()), (7, 2, 5, 3)),
    "nn.RNN": (lambda: nn.RNN(3, 8, 3), (7, 5, 3)),
    "nn.RNN relu": (lambda: nn.RNN(3, 8, 2, nonlinearity="relu"), (7, 5, 3)),
    "nn.RNN batch first": (lambda: nn.RNN(3, 8, 2, batch_first=True), (5, 7, 3)),
    "nn.RNN unbatched": (lambda: nn.RNN(3, 8, 2), (7, 3)),
}
RECURRENT = ("flat", "flat replicas", "ring", "nn.RNN", "nn.RNN relu", "nn.RNN batch first", "nn.RNN unbatched")


def contents(model: nn.Module, sal: SAL) -> list[torch.Tensor]:
    return [*(parameter.detach().clone() for parameter in model.parameters()), *(s.clone() for s in sal.sensitivity.values())]


def spoiled(x: torch.Tensor, value: float, where: int) -> torch.Tensor:
    """One sample of one time step has this value in all its inputs."""
    x = x.clone()
    x.view(-1, x.shape[-1])[where] = value
    return x


@pytest.mark.parametrize("rule", ["one_sided", "proportional"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", [0, 3, -1])  # of a recurrent network: the first time step, and the last one
@pytest.mark.parametrize("kind", BUILD)
def test_a_pass_that_is_not_finite_is_as_if_it_had_not_been(kind, where, value, rule, device):
    make, shape = BUILD[kind]
    model = make().to(device)
    twin = copy.deepcopy(model)
    sal, other = (SAL(net, lr=0.1, decay=0.5, rule=rule, target=50.0 if rule == "one_sided" else 0.7) for net in (model, twin))
    good = [random(*shape, seed=i, device=device).float() for i in range(4)]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for step, xs in enumerate([good[:2], good[2:]]):
            # First in the first pass, then between two good ones, last, and several in one step.
            model(spoiled(xs[0], value, where)), model(xs[0]), model(spoiled(xs[1], value, where)), model(xs[1])
            if step:
                model(spoiled(xs[1], value, where))
            twin(xs[0]), twin(xs[1])
            sal.step(), other.step()
            torch.testing.assert_close(contents(model, sal), contents(twin, other), **EXACT)
            torch.testing.assert_close(sal.log_sensitivity(), other.log_sensitivity(), **EXACT)
    assert [str(warning.message).count(MESSAGE) for warning in said] == [1]
    assert sal.skipped_passes == 5 and other.skipped_passes == 0


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", BUILD)
def test_a_step_with_bad_passes_alone_moves_nothing_and_is_no_error(kind, first, device):
    """The loop is in order, and there is nothing to learn from."""
    make, shape = BUILD[kind]
    model = make().to(device)
    sal, x = SAL(model, lr=0.1, target=50.0), random(*shape, device=device).float()
    if not first:
        model(x)
        sal.step()
    before = contents(model, sal)
    with pytest.warns(UserWarning, match=MESSAGE):
        model(spoiled(x, float("nan"), 0))
        sal.step()
    torch.testing.assert_close(contents(model, sal), before, rtol=0, atol=0)
    assert bool(sal.log_sensitivity().isnan().all())
    if not first:
        assert bool((sal.share_below_target() == 1).all())
    model(spoiled(x, float("nan"), 0))
    sal.gate_gradients_()
    sal.step()
    torch.testing.assert_close(contents(model, sal), before, rtol=0, atol=0)
    model(x)
    sal.step()
    assert all(bool(tensor.isfinite().all()) for tensor in contents(model, sal)) and sal.skipped_passes == 2


class Twice(nn.Module):
    """A network that is called twice in one pass, as a discriminator for what is real and what is not."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x, y):
        outputs = [self.net(x), self.net(y)]
        return sum((output[0] if isinstance(output, tuple) else output).sum() for output in outputs)


@pytest.mark.parametrize("bad", [0, 1])
@pytest.mark.parametrize("kind", BUILD)
def test_of_two_calls_in_one_pass_either_may_be_the_bad_one(kind, bad, device):
    make, shape = BUILD[kind]
    model = Twice(make()).to(device)
    names = {"net.hidden": "tanh"} if kind == "hand loop" else None
    sal, xs = SAL(model, lr=0.1, target=50.0, layers=names), [random(*shape, seed=i, device=device).float() for i in range(2)]
    for passes in range(2):  # in the second one hooks of single layers may be gone
        model(*xs)
        sal.step()
        before = contents(model, sal)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model(*(spoiled(x, float("nan"), 0) if i == bad else x for i, x in enumerate(xs)))
            sal.step()
        torch.testing.assert_close(contents(model, sal), before, rtol=0, atol=0)
        assert sal.skipped_passes == passes + 1 and len(said) == (passes == 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", ["flat", "flat replicas", "ring", "nn.RNN", "nn.RNN relu"])
def test_an_initial_state_that_is_not_finite(kind, value, device):
    """One infinite number in the state: tanh makes it ±1, but the weights' gradient is 0 · infinity."""
    make, shape = BUILD[kind]
    model = make().to(device)
    sal, x = SAL(model, lr=0.1, target=50.0), random(*shape, device=device).float()
    model(x)
    sal.step()
    before = contents(model, sal)
    layers, width = 3 if kind == "nn.RNN" else 2, 6 if kind == "ring" else 8
    state = torch.zeros((layers, 5, 8) if kind.startswith("nn") else (*shape[1:-1], width))
    state[..., 2, 1] = value
    with pytest.warns(UserWarning, match=MESSAGE):
        model(x, state.to(device))
        sal.step()
    torch.testing.assert_close(contents(model, sal), before, rtol=0, atol=0)
    with warnings.catch_warnings():  # and between good passes
        warnings.simplefilter("ignore")
        model(x), model(x, state.to(device)), model(x)
        sal.step()
    assert all(bool(tensor.isfinite().all()) for tensor in contents(model, sal))


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("where", [0, 1, 2])  # of three sequences of different lengths: never in the last row of the data
def test_packed_sequences(nonlinearity, where, device):
    rnn = nn.RNN(3, 8, 2, nonlinearity=nonlinearity).to(device)
    sal, sequences = SAL(rnn, lr=0.1, target=50.0), [random(n, 3, seed=n, device=device).float() for n in (3, 7, 5)]
    rnn(pack_sequence(sequences, enforce_sorted=False))
    sal.step()
    before = contents(rnn, sal)
    sequences[where][1] = float("nan")
    with pytest.warns(UserWarning, match=MESSAGE):
        rnn(pack_sequence(sequences, enforce_sorted=False))
        sal.step()
    torch.testing.assert_close(contents(rnn, sal), before, rtol=0, atol=0)


@pytest.mark.parametrize("kind", BUILD)
def test_samples_that_count_under_a_mask(kind, device):
    make, shape = BUILD[kind]
    if kind in ("ring", "flat replicas", "deep replicas"):
        shape = (*shape[:-2], 1, shape[-1])
    model = make().to(device)
    sal, x = SAL(model, lr=0.1, target=50.0), random(*shape, device=device).float()
    mask = torch.ones(shape[:-1], dtype=torch.bool, device=device)
    with sal.counting(mask):
        model(x)
    sal.step()
    before = contents(model, sal)
    with pytest.warns(UserWarning, match=MESSAGE), sal.counting(mask):
        model(spoiled(x, float("nan"), 0))
    sal.step()
    torch.testing.assert_close(contents(model, sal), before, rtol=0, atol=0)


def test_a_layer_that_the_nan_did_not_reach_is_left_alone_too(device):
    """A pass counts as a whole or not at all."""
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = sequential(3, 6, 6, 2), sequential(3, 6, 6, 2)

        def forward(self, x, y):
            return self.a(x) + self.b(y)

    model = Two().to(device)
    sal, x = SAL(model, lr=0.1, target=50.0), random(5, 3, device=device).float()
    model(x, x)
    sal.step()
    before = contents(model, sal)
    with pytest.warns(UserWarning, match=MESSAGE + " 'b.2'"):
        model(x, spoiled(x, float("nan"), 0))
        sal.step()
    torch.testing.assert_close(contents(model, sal), before, rtol=0, atol=0)


@pytest.mark.parametrize("rule", ["one_sided", "proportional"])
def test_training_that_met_one_bad_batch_ends_where_it_should(rule, device):
    model = sequential(8, 16, 16, 2, device=device)
    sal, optimizer = SAL(model, lr=1e-2, rule=rule), torch.optim.SGD(model.parameters(), 0.01)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for k in range(300):
            x = random(32, 8, seed=k, device=device).float()
            if k == 5:
                x[3, 2] = float("nan")
            loss = model(x).square().mean()
            if loss.isfinite():
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            sal.step()
    assert len(said) == 1 and sal.skipped_passes == 1
    assert bool(model[2].weight.isfinite().all()) and bool(((sal.sensitivity["2"] - 1).abs() < 0.5).all())
