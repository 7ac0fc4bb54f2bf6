"""The tracker sees what the functions see, of any model, leaves the training as it was, and goes on after an interruption."""

import io
import math

import pytest
import torch
from torch import nn

from salnb import DeepNet, TanhRNN
from salnb.weights import SpectralTracker, effective_rank, layer_alignment, matricize, stable_rank
from tests.problems import random, seeded
from tests.tolerances import close

F32 = close(torch.float32, 500)


class Mixed(nn.Module):
    """A convolution, a transposed one, a grouped one, normalizations, an embedding, attention, a cell, a bilinear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.norm = nn.LayerNorm((6, 4))
        self.conv2 = nn.Conv2d(6, 8, (2, 3))
        self.up = nn.ConvTranspose2d(8, 5, 2)
        self.grouped = nn.Conv1d(6, 6, 3, groups=3)
        self.words = nn.Embedding(20, 6)
        self.reads = nn.Linear(6, 7)
        self.attention = nn.MultiheadAttention(6, 2)
        self.cell = nn.GRU(6, 4)
        self.both = nn.Bilinear(2, 3, 4)
        self.scale = nn.Parameter(torch.ones(3))


def mlp(*, seed: int = 0, sizes: tuple[int, ...] = (8, 16, 12, 4)) -> nn.Sequential:
    layers = []
    for n_in, n_out in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(random(*p.shape, seed=seed + i).float() / math.sqrt(p.shape[-1]))
    return net


def test_it_records_what_the_functions_say(device):
    net = mlp().to(device)
    tracker, weights = SpectralTracker(net), []
    for step in (0, 10, 30):
        tracker.record(step)
        weights.append([net[i].weight.detach().clone() for i in (0, 2, 4)])
        with torch.no_grad():
            for p in net.parameters():
                p.add_(0.3 * random(*p.shape, seed=step).to(p))
    assert tracker.steps == [0, 10, 30] and tracker.names == ["0.weight", "2.weight", "4.weight"]
    assert tracker.pairs == [("0.weight", "2.weight"), ("2.weight", "4.weight")]
    for i, name in enumerate(tracker.names):
        then = torch.stack([w[i] for w in weights]).cpu()
        torch.testing.assert_close(tracker.singular_values(name), torch.linalg.svdvals(then), **F32)
        torch.testing.assert_close(tracker.effective_rank(name), effective_rank(then), **F32)
        torch.testing.assert_close(tracker.stable_rank(name), stable_rank(then), **F32)
    first, second = (torch.stack([w[i] for w in weights]).cpu() for i in (0, 1))
    torch.testing.assert_close(tracker.alignment("0.weight", "2.weight"), layer_alignment(first, second), **F32)
    table = tracker.table()
    assert len(table) == 9 and [row["next"] for row in table[:3]] == ["2.weight", "4.weight", ""]
    assert table[4]["step"] == 10 and table[4]["matrix"] == "2.weight" and table[4]["shape"] == (12, 16)
    assert table[4]["effective_rank"] == tracker.effective_rank("2.weight")[1] and math.isnan(table[2]["alignment"])
    assert "effective_rank" in repr(table) and "registered next" in repr(table) and "<table>" in table._repr_html_()


@pytest.mark.parametrize("make", [
    lambda lead, g: DeepNet(5, 6, 3, 4, gain=1.0, replicas=lead, generator=g),
    lambda lead, g: TanhRNN(5, 6, 3, gain=1.0, replicas=lead, connectivity=0.5, generator=g),
])  # fmt: skip
def test_replicas_are_each_as_if_alone(make):
    together = make((3, 2), seeded())
    tracker = SpectralTracker(together)
    tracker.record(0)
    alone = make((), seeded(1))
    for index in ((0, 0), (2, 1)):
        alone.load_state_dict({key: value[index] for key, value in together.state_dict().items()})
        one = SpectralTracker(alone)
        one.record(0)
        assert one.names == tracker.names and one.pairs == tracker.pairs and not any("bias" in name for name in one.names)
        for name in one.names:
            torch.testing.assert_close(tracker.singular_values(name)[0][index], one.singular_values(name)[0], **F32)
            torch.testing.assert_close(tracker.effective_rank(name)[0][index], one.effective_rank(name)[0], **F32)
        for pair in one.pairs:
            torch.testing.assert_close(tracker.alignment(*pair)[0][index], one.alignment(*pair)[0], **F32)
    assert tracker.table()[0]["effective_rank"].shape == (3, 2)


def test_kinds_of_layers():
    net = Mixed()
    tracker = SpectralTracker(net)
    tracker.record(0)
    expected = {
        "conv.weight": matricize(net.conv.weight), "conv2.weight": matricize(net.conv2.weight),
        "up.weight": matricize(net.up.weight, transposed=True), "grouped.weight": net.grouped.weight.flatten(1),
        "words.weight": net.words.weight.T, "reads.weight": net.reads.weight,
        "attention.in_proj_weight": net.attention.in_proj_weight,
        "attention.out_proj.weight": net.attention.out_proj.weight, "cell.weight_ih_l0": net.cell.weight_ih_l0,
        "cell.weight_hh_l0": net.cell.weight_hh_l0, "both.weight": net.both.weight.flatten(1),
    }  # fmt: skip
    assert set(tracker.names) == set(expected)
    for name, matrix in expected.items():
        torch.testing.assert_close(tracker.singular_values(name)[0], torch.linalg.svdvals(matrix.detach()), **F32)
    assert tracker.pairs == [("conv.weight", "conv2.weight"), ("conv2.weight", "up.weight"), ("words.weight", "reads.weight")]
    left = torch.linalg.svd(matricize(net.conv.weight.detach()))[0]
    right = torch.linalg.svd(matricize(net.conv2.weight.detach()), full_matrices=False)[2].view(8, 6, 2, 3)[:, :, 1, 1].T
    products = (left[:, :6] * right[:, :6]).sum(0).abs()
    torch.testing.assert_close(tracker.alignment("conv.weight", "conv2.weight")[0], products.mean(), **F32)
    torch.testing.assert_close(tracker.alignment("words.weight", "reads.weight")[0],
                               layer_alignment(net.words.weight.detach().T, net.reads.weight.detach()), **F32)  # fmt: skip


def test_missing_connections_count_as_zero():
    net = TanhRNN(3, 8, 2, gain=1.0, connectivity=0.4, generator=seeded())
    with torch.no_grad():
        net.recurrent[0].weight.add_(1.0)  # which an optimizer with weight decay or a mistake could do to them
    tracker = SpectralTracker(net)
    tracker.record(0)
    connected = net.recurrent[0].connected_weight().detach()
    torch.testing.assert_close(tracker.singular_values("recurrent.0.weight")[0], torch.linalg.svdvals(connected), **F32)


def test_a_shared_weight_counts_once_and_replicas_meet_no_single_layer():
    tied = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    tied[1].weight = tied[0].weight
    assert SpectralTracker(tied).names == ["0.weight"]
    mixed = nn.Sequential(DeepNet(5, 6, 3, 2, gain=1.0, replicas=2), nn.Linear(3, 4))
    assert ("0.readout.weight", "1.weight") not in SpectralTracker(mixed).pairs


def test_a_parametrized_weight_is_what_the_layer_uses_and_looking_does_not_train_it():
    net = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(6, 5)), nn.Tanh(),
                        nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)))  # fmt: skip
    before = {key: value.clone() for key, value in net.state_dict().items()}
    tracker = SpectralTracker(net)
    tracker.record(0)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert tracker.names == ["0.weight", "2.weight"]
    torch.testing.assert_close(tracker.singular_values("2.weight")[0], torch.linalg.svdvals(net[2].weight.detach()), **F32)
    values = torch.linalg.svdvals(before["0.parametrizations.weight.original"])
    found = tracker.singular_values("0.weight")[0]
    torch.testing.assert_close(found / found[0], values / values[0], **F32)


def test_training_is_the_same_with_and_without_it():
    def train(watched: bool) -> list[torch.Tensor]:
        torch.manual_seed(3)
        net = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.Dropout(0.3), nn.Linear(9, 2))
        tracker = SpectralTracker(net) if watched else None
        optimizer = torch.optim.Adam(net.parameters())
        for step in range(4):
            optimizer.zero_grad()
            net(torch.randn(20, 6)).square().mean().backward()
            if tracker is not None:
                tracker.record(step)
            optimizer.step()
        return [p.detach() for p in net.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(train(True), train(False), strict=True))


def test_an_interrupted_record_goes_on():
    net = mlp()
    whole, cut = SpectralTracker(net, k=2), SpectralTracker(net, k=2)
    fresh = SpectralTracker(net, k=2)
    fresh.load_state_dict(cut.state_dict())  # of nothing
    for tracker in (whole, cut, fresh):
        tracker.record(0)
    file = io.BytesIO()
    torch.save(cut.state_dict(), file)
    file.seek(0)
    resumed = SpectralTracker(net, k=2)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        net[0].weight.mul_(2)
    for tracker in (whole, resumed):
        tracker.record(1.5)
    assert resumed.steps == whole.steps == [0, 1.5]
    for name in whole.names:
        assert torch.equal(whole.singular_values(name), resumed.singular_values(name))
    for pair in whole.pairs:
        assert torch.equal(whole.alignment(*pair), resumed.alignment(*pair))
    for late in (1, 1.5):
        with pytest.raises(ValueError, match=f"step: got {late} after 1.5, expected a finite number, larger"):
            resumed.record(late)
    for other, words in ((SpectralTracker(mlp(sizes=(8, 16, 13, 4)), k=2), "of other shapes, .*: 2.weight, 4.weight"),
                         (SpectralTracker(net), "k = 2"), (SpectralTracker(net, k=2, pairs=[]), "the pairs")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            other.load_state_dict(whole.state_dict())
    with pytest.raises(ValueError, match="state: has no 'steps'"):
        resumed.load_state_dict({})


def test_a_run_that_diverged_can_be_looked_at():
    net = DeepNet(5, 6, 3, 2, gain=1.0, replicas=2, generator=seeded())
    tracker = SpectralTracker(net)
    tracker.record(0)
    with torch.no_grad():
        net.hidden[0].weight[1, 0, 0] = torch.inf
    with pytest.warns(RuntimeWarning, match="hidden.0.weight: the weights are not finite in 1 of 2 replicas; recorded as NaN"):
        tracker.record(1)
    name = "hidden.0.weight"
    assert tracker.singular_values(name).isnan().any(-1).tolist() == [[False, False], [False, True]]
    assert tracker.effective_rank(name).isnan().tolist() == [[False, False], [False, True]]
    assert tracker.alignment(name, "hidden.1.weight").isnan().tolist() == [[False, False], [False, True]]


def test_an_orthogonal_start_has_no_alignment():
    net = mlp(sizes=(6, 6, 6))
    for layer in (net[0], net[2]):
        nn.init.orthogonal_(layer.weight)
    tracker = SpectralTracker(net)
    tracker.record(0)
    assert tracker.alignment("0.weight", "2.weight").isnan().all()
    assert tracker.effective_rank("0.weight") == pytest.approx(1.0)


def test_names_and_pairs_of_ones_own():
    net = mlp(sizes=(6, 6, 6, 6))
    tracker = SpectralTracker(net, ["0.weight", "4.weight"], pairs=[("4.weight", "0.weight")])
    tracker.record(0)
    assert tracker.names == ["0.weight", "4.weight"] and "registered" not in repr(tracker.table())
    expected = layer_alignment(net[4].weight.detach(), net[0].weight.detach())
    torch.testing.assert_close(tracker.alignment("4.weight", "0.weight")[0], expected, **F32)
    two = SpectralTracker(net, pairs=[("0.weight", "2.weight"), ("0.weight", "4.weight")])
    two.record(0)
    assert [row["next"] for row in two.table()] == ["2.weight", "", ""]  # the first that was given


NET = mlp()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: SpectralTracker("net"), TypeError, "model: got str, expected a torch.nn.Module"),
        (lambda: SpectralTracker(nn.ReLU()), ValueError, "model: has no weight with two dimensions"),
        (lambda: SpectralTracker(nn.LazyLinear(3)), ValueError, "weight: this lazy layer has no weight yet; call the model once"),
        (lambda: SpectralTracker(NET, ["1.weight"]), ValueError, "got '1.weight', .* it has 0.weight, 2.weight, 4.weight"),
        (lambda: SpectralTracker(NET, "0.weight"), TypeError, r"parameters: got the word '0.weight', .* \['0.weight'\]"),
        (lambda: SpectralTracker(NET, k=0), ValueError, "k: got 0, expected an integer >= 1"),
        (lambda: SpectralTracker(NET, pairs=[("0.weight", "9")]), ValueError, "pairs: got .*, expected two of the watched names"),
        (lambda: SpectralTracker(NET, pairs=[("0.weight", "4.weight")]), ValueError, "cannot read the outputs of 0.weight"),
        (lambda: SpectralTracker(NET).record("first"), ValueError, "step: got 'first', expected a finite number"),
        (lambda: SpectralTracker(NET).record(math.nan), ValueError, "step: got nan"),
        (lambda: SpectralTracker(NET).singular_values("5.weight"), ValueError, "name: got '5.weight', which is not watched"),
        (lambda: SpectralTracker(NET).effective_rank("5.weight"), ValueError, "name: got '5.weight'"),
        (lambda: SpectralTracker(NET).alignment("0.weight", "4.weight"), ValueError, "recorded: 0.weight -> 2.weight, 2.weight"),
    ],
)
def test_bad_input_is_an_error_in_words(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_weight_of_another_shape_is_refused():
    net = mlp()
    tracker = SpectralTracker(net)
    assert repr(tracker.table()) == "(nothing recorded yet)"
    net[2] = nn.Linear(16, 13)
    tracker = SpectralTracker(net)
    net[2].weight = nn.Parameter(torch.ones(12, 16))
    with pytest.raises(ValueError, match=r"2.weight: got shape \(12, 16\) at step 0, expected \(13, 16\)"):
        tracker.record(0)
