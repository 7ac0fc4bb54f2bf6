"""The networks that people bring: every layer has its row, every number is autograd's."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from salnb import SAL, SensitivityMonitor
from tests.problems import random

from . import networks
from .row_lengths import assert_seen, by_monitor, by_sal, rounding_of, row_lengths


def leaky(u):
    return F.leaky_relu(u, 0.2)


def mlp(*last):
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 2), *last)


def encoder_layer(**settings):
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **settings)


IMAGE, TOKENS = random(4, 3, 6, 6), random(4, 5, 12)
CASES = {
    "ConvNeXt": (networks.ConvNeXtBlock, {"pwconv1": F.gelu}, (IMAGE,), {
        "stem": "reads the input", "dwconv": "LayerNorm", "pwconv2": "product", "head": "readout"}),
    "ViT": (networks.ViTBlock, {"mlp.0": F.gelu}, (TOKENS,), {
        "patch": "reads the input", "attn.out_proj": "MultiheadAttention", "mlp.3": "Dropout", "head": "readout"}),
    "Mixer": (networks.MixerBlock, {"token.0": F.gelu, "channel.0": F.gelu}, (random(4, 6, 12),), {
        "embed": "reads the input", "token.2": "sum", "channel.2": "sum", "head": "readout"}),
    "post norm": (lambda: nn.Sequential(nn.Linear(12, 8), encoder_layer(), nn.Linear(8, 2)), {"1.linear1": torch.relu},
                  (TOKENS,), {
        "0": "reads the input", "1.self_attn.out_proj": "MultiheadAttention", "1.linear2": "Dropout", "2": "readout"}),
    "pre norm": (lambda: nn.Sequential(nn.Linear(12, 8), encoder_layer(norm_first=True, activation=F.gelu), nn.Linear(8, 2)),
                 {"1.linear1": F.gelu}, (TOKENS,), {"1.linear2": "Dropout"}),
    "encoder": (lambda: nn.TransformerEncoder(encoder_layer(), 2),
                {"layers.0.linear1": torch.relu, "layers.1.linear1": torch.relu},
                (random(4, 5, 8),), {"layers.0.linear2": "Dropout", "layers.1.linear2": "readout"}),
    "encoder, pre norm": (lambda: nn.TransformerEncoder(encoder_layer(norm_first=True), 2, enable_nested_tensor=False),
                          {"layers.0.linear1": torch.relu, "layers.1.linear1": torch.relu}, (random(4, 5, 8),), {}),
    "GPT": (lambda: networks.GPTBlock(False), {"c_fc": F.gelu}, (torch.arange(24).view(4, 6) % 11,), {
        "c_attn": "split", "c_proj": "Dropout", "mlp_proj": "Dropout", "lm_head": "readout"}),
    "GPT, flash": (lambda: networks.GPTBlock(True), {"c_fc": F.gelu}, (torch.arange(24).view(4, 6) % 11,),
                   {"lm_head": "readout"}),
    "MNIST": (networks.MNISTNet, {"conv2": torch.relu, "fc1": torch.relu}, (random(4, 1, 10, 10),), {
        "conv1": "reads the input", "fc2": "readout"}),
    "LSTM": (lambda: networks.Recurrent(nn.LSTM), {"fc1": torch.tanh}, (random(6, 5, 4),), {"rnn": "LSTM", "fc2": "readout"}),
    "GRU": (lambda: networks.Recurrent(nn.GRU), {"fc1": torch.tanh}, (random(6, 5, 4),), {"rnn": "GRU", "fc2": "readout"}),
    "actor-critic": (networks.ActorCritic, {"actor.2": torch.tanh, "critic.2": torch.relu}, (random(30, 4),), {
        "actor.0": "reads the input", "critic.0": "reads the input", "actor.4": "readout", "critic.4": "readout"}),
    "DQN": (networks.DQN, {"layer2": torch.relu}, (random(30, 4),), {"layer1": "reads the input", "layer3": "readout"}),
    "VAE": (networks.VAE, {"fc3": torch.relu}, (random(30, 20),), {
        "fc1": "reads the input", "fc21": "it goes to a sum$", "fc22": "product .* stands between it and exp", "fc4": "readout"}),
    "masked autoencoder": (networks.MaskedAutoencoder, {"middle": torch.relu}, (random(30, 12),), {
        "encoder": "reads the input", "decoder": "readout"}),
    "GAN": (networks.Generator, {"model.5": leaky}, (30,), {
        "model.0": "reads the input", "model.2": "BatchNorm1d stands between it and leaky_relu", "model.7": "readout"}),
    "siamese": (networks.Siamese, {"encoder.2": torch.tanh}, (random(9, 6), random(9, 6, seed=1)), {
        "encoder.0": "reads the input", "encoder.4": "readout"}),
    "experts": (networks.Experts, {"experts.0.0": F.gelu, "experts.1.0": F.gelu}, (random(60, 5),), {
        "a": "reads the input", "gate": "softmax", "experts.0.2": "product", "experts.2.0": "did not run", "c": "readout"}),
    "LayerDrop": (networks.LayerDrop, {f"blocks.{i}": torch.relu for i in range(3)}, (random(30, 5),), {"c": "readout"}),
    "Sequential with SiLU": (mlp, {"2": F.silu}, (random(30, 5),), {"0": "reads the input", "4": "readout"}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_network_of_the_readers_is_seen_without_a_name(name):
    make, functions, arguments, why = CASES[name]
    assert_seen(make().double(), functions, arguments, why=why)


@pytest.mark.parametrize("name", CASES)
def test_a_layer_that_is_seen_may_be_named_as_well(name):
    make, functions, arguments, _ = CASES[name]
    model, first = make().double(), next(iter(functions))
    assert_seen(model, {first: functions[first]}, arguments, layers=[first])
    assert_seen(model, {first: functions[first]}, arguments, layers={first: functions[first]})


def test_a_residual_network_has_no_layer_and_a_row_for_each():
    model = networks.ResNetBlock().double()
    for found, reasons in by_sal(model, (IMAGE,)), by_monitor(model, (IMAGE,)):
        assert found == {}
        assert list(reasons) == ["conv1", "conv2", "downsample", "fc"]
        assert reasons["conv1"] == reasons["downsample"] == "reads the input" and reasons["fc"] == "readout"
        assert "BatchNorm2d" in reasons["conv2"]


@pytest.mark.parametrize("last", [nn.Softmax(-1), nn.LogSoftmax(-1), nn.Sigmoid(), nn.Softplus(), nn.Tanh(), nn.ReLU(),
                                  nn.Flatten()])
@pytest.mark.parametrize("inside", [False, True])
def test_the_last_layer_is_a_readout_whatever_follows_it(last, inside):
    model = mlp(last).double()
    if inside:  # not a plain Sequential, so that only the look can tell
        model = networks.Hidden(lambda net, u: net.act(u), act=nn.SiLU())
        model.c = nn.Sequential(model.c, last)
    name, others = ("b", {"a": "reads", "c.0": "readout"}) if inside else ("2", {"0": "reads", "4": "readout"})
    assert_seen(model, {name: F.silu}, (random(30, 5),), why=others)


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(5), nn.LayerNorm(5), nn.Dropout(0.2), nn.Identity(), nn.GroupNorm(1, 5)])
def test_the_first_layer_reads_the_input_also_behind_its_normalization(norm):
    model = networks.Hidden(act=nn.Tanh())
    model.a = nn.Sequential(norm, model.a).double()
    assert_seen(model, {"b": torch.tanh}, (random(30, 5),), why={"a.1": "reads the input"})
    plain = nn.Sequential(norm, *mlp()).double()
    assert_seen(plain, {"3": F.silu}, (random(30, 5),), why={"1": "reads the input", "5": "readout"})


class Inputs(networks.Hidden):
    def __init__(self):
        super().__init__()
        self.d = nn.Linear(4, 8).double()

    def forward(self, batch, scale=1.0, *, other=None):
        x = batch["x"] if isinstance(batch, dict) else batch
        h = torch.tanh(self.a(x) * scale)
        h = h if other is None else h + torch.tanh(self.d(other))
        return {"logits": self.c(F.relu(self.b(h)))}


@pytest.mark.parametrize(("arguments", "keywords"), [
    ((random(30, 5),), {}), (({"x": random(30, 5)},), {}), ((), {"batch": {"x": random(30, 5)}}),
    ((random(30, 5), 0.5), {"other": random(30, 4)}), (({"x": random(30, 5)}, random(30, 1)), {"other": random(30, 4)}),
])  # fmt: skip
def test_inputs_come_in_any_form_and_every_branch_has_a_layer_that_reads_them(arguments, keywords):
    why = {"a": "reads the input", "c": "readout", "d": "reads the input" if "other" in keywords else "did not run"}
    assert_seen(Inputs(), {"b": torch.relu}, arguments, keywords, why=why)


@pytest.mark.parametrize("context", [torch.no_grad, torch.enable_grad])
def test_a_tensor_that_the_model_keeps_is_no_layers_output(context):
    """Neither branch is confused by constants that are no buffers, with gradients or without."""

    class Kept(networks.ActorCritic):
        def forward(self, x):
            return super().forward((x - self.shift) / self.scale)

    model = Kept().double()
    model.shift, model.scale = random(4), random(4).abs() + 1
    with context():
        assert_seen(model, {"actor.2": torch.tanh, "critic.2": torch.relu}, (random(30, 4),), why=CASES["actor-critic"][3])


def test_an_output_in_a_distribution_is_an_output():
    class Policy(networks.Hidden):
        def forward(self, x):
            u = self.b(torch.tanh(self.a(x)))
            self.logged = u.abs().mean()
            return torch.distributions.Normal(self.c(F.relu(u)), 1.0)

    assert_seen(Policy(), {"b": torch.relu}, (random(30, 5),), why={"c": "readout"})


def test_an_array_from_outside_is_an_input_and_a_layer_behind_an_embedding_is_hidden():
    class Array(networks.Hidden):
        def forward(self, x):
            return super().forward(torch.from_numpy(x))

    assert_seen(Array(act=nn.ReLU()), {"b": torch.relu}, (random(30, 5).numpy(),), why={"a": "reads the input"})
    embedded = nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2)).double()
    assert_seen(embedded, {"1": torch.relu}, (torch.arange(14) % 7,), why={"3": "readout"})
    model = networks.Hidden(act=nn.ReLU())
    model.a = nn.Sequential(nn.Embedding(7, 5).double(), model.a)
    assert_seen(model, {"a.1": torch.tanh, "b": torch.relu}, (torch.arange(14) % 7,), why={"c": "readout"})


def test_an_expert_whose_activation_comes_last_is_no_readout():
    """Its result is assigned to a part of a tensor, which the next layer reads."""
    functions = {f"experts.{i}.{k}": f for i in (0, 1) for k, f in ((0, F.gelu), (2, torch.tanh))}
    assert_seen(networks.Experts(nn.Tanh).double(), functions, (random(60, 5),), why={"experts.2.2": "did not run"})


def test_a_layer_that_did_not_run_is_looked_at_when_it_does():
    model, x = networks.LayerDrop().double(), random(30, 5)
    model.dropped = {1}
    watched = copy.deepcopy(model)
    sal = SAL(watched, lr=0.0, decay=0.0)
    with SensitivityMonitor(model) as monitor:
        for dropped in {1}, {0, 2}, set():
            watched.dropped = model.dropped = dropped
            expected = row_lengths(model, {f"blocks.{i}": torch.relu for i in range(3) if i not in dropped}, (x,))
            model(x), watched(x)
            sal.step()
            for name, lengths in expected.items():
                torch.testing.assert_close(sal.sensitivity[name], lengths, **rounding_of(lengths))
                means = [row["mean"] for row in monitor.history if row["layer"] == name]
                torch.testing.assert_close(means[-1], lengths.mean().item(), **rounding_of(lengths))
            assert ("blocks.1" in sal.sensitivity) == (1 not in dropped or dropped == set())
