"""Networks side by side learn as one alone does by torch.optim, and what is put on them after each step holds."""

import pytest
import torch
from torch import nn

from salnb.weights import effective_rank, truncate_svd
from salnb.weights.study.branches import perturbed
from salnb.weights.study.data import Samples
from salnb.weights.study.learning import HeldNorms, learn, looks, with_half
from salnb.weights.study.lottery import mask_and_train, masks_of
from salnb.weights.study.modular_addition import AdditionNet, grok
from salnb.weights.study.plan import jobs, run_one, seeds_of, settings_of
from salnb.weights.study.training import (
    GAIN,
    MATRICES,
    Recipe,
    accuracies,
    batches,
    losses,
    matrices_of,
    network,
    train,
)
from tests.problems import random, seeded
from tests.tolerances import close, spread


def samples(replicas: int = 3, n: int = 40) -> Samples:
    return Samples(random(replicas, n, 6).float(), torch.randint(10, (replicas, n), generator=seeded(1)))


def test_each_network_learns_as_if_alone_with_torch():
    data, recipe = samples(), Recipe(lr=0.1, decay=0.01, batch=8, epochs=2)
    net = network(6, 12, 3, seeded())
    start = {name: value.detach().clone() for name, value in net.state_dict().items()}
    train(net, data, recipe, seeded(5))
    r, order = 1, seeded(5)
    layers = [nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 10)]
    alone = nn.Sequential(*layers)
    names = ("hidden.0", "hidden.1", "hidden.2", "readout")
    with torch.no_grad():
        for name, layer in zip(names, alone[::2], strict=True):
            layer.weight.copy_(start[f"{name}.weight"][r])
            layer.bias.copy_(start[f"{name}.bias"][r])
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(2):
        for batch in batches(data, 8, order):
            optimizer.zero_grad()
            nn.functional.cross_entropy(alone(batch.inputs[r]), batch.labels[r]).backward()
            optimizer.step()
    for name, layer in zip(names, alone[::2], strict=True):
        torch.testing.assert_close(net.state_dict()[f"{name}.weight"][r], layer.weight.detach(), **close(torch.float32, 2000))
    torch.testing.assert_close(losses(net, data)[r], nn.functional.cross_entropy(alone(data.inputs[r]), data.labels[r]),
                               **close(torch.float32, 2000))  # fmt: skip
    right = (alone(data.inputs[r]).argmax(-1) == data.labels[r]).float().mean()
    assert accuracies(net, data)[r] == right


def test_an_epoch_reads_each_sample_at_most_once():
    data = Samples(torch.arange(3 * 10).view(3, 10, 1), torch.arange(30).view(3, 10))
    read = [batch.labels for batch in batches(data, 4, seeded())]
    assert len(read) == 2 and all(part.shape == (3, 4) for part in read)
    for r in range(3):
        seen = torch.cat([part[r] for part in read]).tolist()
        assert len(set(seen)) == 8 and all(10 * r <= label < 10 * r + 10 for label in seen)


def test_the_start_is_as_long_as_that_of_pytorch():
    net = network(400, 300, 4, seeded())
    ours = net.hidden[1].weight.detach().square().mean()
    assert abs(float(ours) * 300 / GAIN**2 - 1) < spread(4 * 300 * 300)
    theirs = nn.Linear(400, 300).weight.detach().square().mean()  # uniform within ±1/√400, whose variance is 1/1200
    assert abs(float(theirs) * 400 / GAIN**2 - 1) < spread(400 * 300, kurtosis=1.8)


@pytest.mark.parametrize("along", [False, True])
def test_held_norms_are_held(along):
    net, data = network(6, 12, 2, seeded()), samples(2)
    course = {name: [[1.0, 2.0], [3.0, 5.0], [2.0, 2.5]] for name in MATRICES}
    hold = HeldNorms(net, [0, 1, 3], course, along)
    seen = {}

    def after(epoch: float) -> None:
        hold(epoch)
        seen[epoch] = torch.linalg.matrix_norm(net.hidden[1].weight.detach())

    train(net, data, Recipe(epochs=3, batch=10), seeded(2), after_step=after)
    expected = {0.5: (2.0, 3.5), 1.0: (3.0, 5.0), 2.0: (2.5, 3.75), 3.0: (2.0, 2.5)}
    for epoch, norms in expected.items():
        wanted = torch.tensor(norms if along else (2.0, 2.5))
        torch.testing.assert_close(seen[epoch], wanted, **close(torch.float32, 200))


def test_halves_leave_the_readout_and_the_biases():
    net = network(6, 12, 2, seeded())
    for keep in ("top", "bottom"):
        found = with_half(net, keep)
        assert torch.equal(found["readout.weight"], net.readout.weight) and set(found) == {n for n, _ in net.named_parameters()}
        assert torch.equal(found["hidden.1.weight"], truncate_svd(net.hidden[1].weight.detach(), keep=keep))


def test_masks_hold_while_it_learns_and_are_of_three_kinds():
    net, data = network(6, 12, 2, seeded()), samples(2)
    weights = {name: value for name, value in matrices_of(net).items() if name != "readout.weight"}
    masks = masks_of(weights, 0.25, seeded())
    total = sum(value[0].numel() for value in weights.values())
    count = lambda kind, r: sum(int(mask[r].sum()) for mask in masks[kind].values())  # noqa: E731
    assert all(count("largest", r) == count("random", r) == round(0.25 * total) < count("equal energy", r) for r in range(2))
    mask_and_train(net, masks["random"], data, Recipe(epochs=3, batch=10), seeded(), 1)
    for name, mask in masks["random"].items():
        value = dict(net.named_parameters())[name]
        assert (value[~mask] == 0).all() and (value[mask] != 0).all()


def test_a_push_has_its_size_and_keeps_the_norm():
    net = network(6, 40, 2, seeded())
    state = {name: value.detach() for name, value in net.state_dict().items()}
    moved = perturbed(state, 0.5, seeded(2))
    for name in MATRICES[:-1]:
        norm, new = (torch.linalg.matrix_norm(s[name]) for s in (state, moved))
        torch.testing.assert_close(norm, new, **close(torch.float32, 200))
        cosine = (state[name] * moved[name]).sum((-2, -1)) / norm**2  # 1/√(1 + 0.25), as a random push is nearly at right angles
        assert (cosine - 1 / 1.25**0.5).abs().max() < 5 * 0.5 / (40 * 6) ** 0.5
    assert torch.equal(moved["readout.weight"], state["readout.weight"])


def test_the_addition_network_reads_the_sum_of_two_embeddings():
    net = AdditionNet(7, 2, seeded(), embedding=5, width=6)
    pairs = torch.randint(7, (2, 4, 2), generator=seeded(1))
    for r in range(2):
        e = net.embedding[r]
        expected = torch.relu((e[pairs[r, :, 0]] + e[pairs[r, :, 1]]) @ net.hidden[r].T) @ net.readout[r].T
        torch.testing.assert_close(net(pairs)[r], expected, **close(torch.float32, 50, 5.0))


def test_grokking_is_recorded_from_the_start():
    found = grok((1, 2), share=0.5, steps=40, lr=0.01, decay=0.0, p=7, replicas=2)
    assert found["steps"] == [0, 20, 40] and all(len(found[key]) == 3 for key in ("fitted", "tested", "rank", "norm"))
    start = AdditionNet(7, 2, torch.Generator().manual_seed(2))
    torch.testing.assert_close(torch.tensor(found["rank"][0]), effective_rank(start.hidden.detach()))
    assert found["fitted"][-1][0] > found["fitted"][0][0]


def test_a_small_run_of_the_plan_has_what_the_verdicts_read():
    base = learn("digits", (1, 2), width=112, epochs=21, replicas=2, batch=400, movie=True)
    assert base["epochs"] == looks(21) == [0, 1, 2, 5, 10, 20, 21]
    assert all(len(base["rank"][name]) == 7 for name in MATRICES) and base["settled"].keys() == set(MATRICES[1:3])
    assert len(base["singular values"]["hidden.1.weight"][0]) == 112
    held = learn("digits", (1, 2), width=112, epochs=2, replicas=2, batch=400, norms={"epochs": base["epochs"], **base["norms"]})
    assert held["norms"]["hidden.1.weight"][-1] == pytest.approx(base["norms"]["hidden.1.weight"][-1], rel=1e-4)


def test_the_plan_names_each_run_once_and_pairs_those_of_a_data_set():
    planned = jobs()
    names = [job[0] for job in planned]
    assert len(names) == len(set(names)) == 24
    for job in planned:
        settings = settings_of(job)
        assert settings["seeds"] == seeds_of(settings["data"]) and settings.get("norms") in (None, *names)
    assert len({tuple(seeds_of(data)) for data in ("digits", "mnist1d", "addition")}) == 3
    job = next(job for job in planned if job[0] == "digits, branches")
    small = {"splits": (0, 1), "perturbed_at": 1, "sizes": (0.5,), "epochs": 2, "width": 12, "batch": 200}
    found = run_one((job[0], job[1], {**job[2], **small}), {}, replicas=2)
    assert list(found["pairs"]) == ["split at 0", "split at 1", "moved by 0.5"] and found["seconds"] >= 0
    for pair in found["pairs"].values():
        assert all(len(values) == 2 for values in pair.values()) and all(0 <= a <= 1 for a in pair["agreement"])
