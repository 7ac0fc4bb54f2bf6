"""A normalization between a layer and its activation is seen, however it is written, and has autograd's rows."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from salnb import SAL, SensitivityMonitor
from tests.problems import random

from .networks import Hidden
from .row_lengths import assert_refused, assert_seen

X = (random(30, 5),)
EVERY = {"a": "reads the input", "c": "readout"}


def frozen(norm: nn.Module) -> nn.Module:
    """A BatchNorm with numbers of its own that uses its stored statistics."""
    norm = norm.double().eval()
    for k, tensor in enumerate([*norm.parameters(), norm.running_mean, norm.running_var]):
        with torch.no_grad():
            tensor.copy_(0.5 + random(*tensor.shape, seed=k).abs())
    return norm


def with_numbers(norm: nn.Module) -> nn.Module:
    norm = norm.double()
    for k, parameter in enumerate(norm.parameters()):
        with torch.no_grad():
            parameter.copy_(0.5 + random(*parameter.shape, seed=k).abs())
    return norm


LAYER, RMS, BATCH = with_numbers(nn.LayerNorm(8)), with_numbers(nn.RMSNorm(8)), frozen(nn.BatchNorm1d(8))


class BatchNormAct(nn.BatchNorm1d):
    """One module for both, as timm has it."""

    def forward(self, x):
        x = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.1, self.eps)
        return F.silu(x)


def of_batch(u, by=BATCH):
    return F.batch_norm(u, by.running_mean, by.running_var, by.weight, by.bias, eps=by.eps)


WAYS = {  # what forward does with b's output, modules that it needs, the function of the output
    "module": (lambda net, u: F.relu(net.d(u)), {"d": LAYER}, lambda u: F.relu(LAYER(u))),
    "function": (lambda net, u: F.gelu(F.layer_norm(u, (8,))), {}, lambda u: F.gelu(F.layer_norm(u, (8,)))),
    "torch": (lambda net, u: torch.tanh(torch.layer_norm(u, (8,))), {}, lambda u: torch.tanh(F.layer_norm(u, (8,)))),
    "keywords": (lambda net, u: F.relu(F.layer_norm(input=u, normalized_shape=[8], eps=0.3)), {},
                 lambda u: F.relu(F.layer_norm(u, (8,), eps=0.3))),
    "in a block": (lambda net, u: net.d(u), {"d": nn.Sequential(LAYER, nn.SiLU())}, lambda u: F.silu(LAYER(u))),
    "in another block": (lambda net, u: F.silu(net.d(u)), {"d": nn.Sequential(nn.Identity(), LAYER)}, lambda u: F.silu(LAYER(u))),
    "activation in place": (lambda net, u: F.relu_(net.d(u)), {"d": LAYER}, lambda u: F.relu(LAYER(u))),
    "other shape": (lambda net, u: F.relu(net.d(u.view(5, 6, 8))).view(30, 8), {"d": LAYER}, lambda u: F.relu(LAYER(u))),
    "looked at": (lambda net, u: (F.relu(net.d(u)), net.d(u).mean())[0], {"d": LAYER}, lambda u: F.relu(LAYER(u))),
    "RMSNorm": (lambda net, u: F.relu(net.d(u)), {"d": RMS}, lambda u: F.relu(RMS(u))),
    "F.rms_norm": (lambda net, u: torch.tanh(F.rms_norm(u, (8,))), {}, lambda u: torch.tanh(F.rms_norm(u, (8,)))),
    "BatchNorm": (lambda net, u: F.relu(net.d(u)), {"d": BATCH}, lambda u: F.relu(of_batch(u))),
    "F.batch_norm": (lambda net, u: torch.tanh(of_batch(u, net.d)), {"d": BATCH}, lambda u: torch.tanh(of_batch(u))),
    "torch.batch_norm": (lambda net, u: torch.tanh(torch.batch_norm(u, net.d.weight, net.d.bias, net.d.running_mean,
                         net.d.running_var, False, 0.1, net.d.eps, False)), {"d": BATCH}, lambda u: torch.tanh(of_batch(u))),
    "one module for both": (lambda net, u: net.d(u), {"d": BatchNormAct(8).eval()},
                            lambda u: F.silu(u / (1 + 1e-5) ** 0.5)),
}  # fmt: skip


def model_of(way: str) -> Hidden:
    between, parts, _ = WAYS[way]
    model = Hidden(between, **copy.deepcopy(parts))
    for part in model.modules():  # the model as a whole was set to training when it was made
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()
    return model


@pytest.mark.parametrize("way", WAYS)
def test_a_normalization_is_seen_however_it_is_written(way):
    assert_seen(model_of(way), {"b": WAYS[way][2]}, X, why=EVERY)
    assert_seen(model_of(way), {"b": WAYS[way][2]}, X, layers=["b"])


@pytest.mark.parametrize(("way", "right", "wrong"), [("module", "relu", "tanh"), ("BatchNorm", nn.ReLU(), "sigmoid"),
                                                     ("F.rms_norm", "tanh", "relu")])  # fmt: skip
def test_the_activation_behind_it_may_be_named(way, right, wrong):
    assert_seen(model_of(way), {"b": WAYS[way][2]}, X, layers={"b": right})
    assert_refused(model_of(way), X, {"b": wrong}, "'b' was given .*, but behind .* it is")


def test_rows_of_a_layer_with_slopes_are_its_sensitivities():
    """By rows or not, a Linear has the same number, whatever of this stands between."""
    assert_seen(Hidden(lambda net, u: F.relu(u)), {"b": F.relu}, X, layers={"b": "rows"})
    assert_seen(model_of("module"), {"b": WAYS["module"][2]}, X, layers={"b": "rows"})


def test_a_batch_norm_that_is_set_to_training_later_is_refused_in_words():
    for watch in "sal", "monitor":
        model = model_of("BatchNorm")
        if watch == "sal":
            sal = SAL(model)
            model(*X)
            sal.step()
            model.train()
            with pytest.raises(RuntimeError, match=r"BatchNorm behind the layer 'b' is in training mode.*after every"):
                model(*X)
            model.d.eval()
            model(*X)
            sal.step()
        else:
            with SensitivityMonitor(model) as monitor:
                model.eval()(*X)
                model.train()(*X)  # a user's training is not disturbed; there is just no row of this layer
            with monitor:
                model(*X)
            assert len(monitor.history) == 1


def test_another_layers_activation_does_not_count():
    class Shared(Hidden):
        """One LayerNorm is used behind two layers, each with another activation."""

        def __init__(self):
            super().__init__()
            self.e, self.d = nn.Linear(8, 8).double(), copy.deepcopy(LAYER)

        def forward(self, x):
            h = F.relu(self.d(self.b(torch.tanh(self.a(x)))))
            return self.c(torch.tanh(self.d(self.e(h))))

    assert_seen(Shared(), {"b": lambda u: F.relu(LAYER(u)), "e": lambda u: torch.tanh(LAYER(u))}, X)


def test_a_hook_that_changes_the_normalized_numbers_is_seen():
    model = model_of("module")
    model.d.register_forward_hook(lambda module, given, output: 2 * output)
    assert_seen(model, {}, X, why={"b": "LayerNorm .*relu|product"})


def test_under_autocast_the_numbers_are_those_of_the_weights_own_precision():
    model = model_of("module").float()
    x = X[0].float()
    found = []
    for autocast in False, True:
        sal = SAL(copy.deepcopy(model))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            sal._model(x)
        sal.step()
        found.append(sal.sensitivity["b"])
    # Under autocast the inputs come out of tanh in bfloat16, whose numbers are off by 2^-9.
    torch.testing.assert_close(found[1], found[0], rtol=0.05, atol=0.05)


class Gemma(nn.RMSNorm):
    """γ is 1 + weight, computed at every call."""

    def forward(self, x):
        return F.rms_norm(x, (8,), 1 + self.weight, self.eps)


def test_a_scale_that_is_computed_at_every_call_is_refused():
    model = Hidden(lambda net, u: F.relu(net.d(u)), d=with_numbers(Gemma(8)))
    assert_seen(model, {}, X, why={"b": "Gemma stands between it and relu: its weight is computed anew"})


def test_other_parameters_in_its_place_are_seen_at_every_step():
    """``to`` and ``load_state_dict(assign=True)`` replace parameters and buffers."""
    for way in "module", "BatchNorm":
        model = model_of(way)
        sal = SAL(model, lr=0.0, example=X[0])
        state = {key: value.clone() for key, value in model.state_dict().items()}
        for key in state:
            if key.startswith("d.") and state[key].is_floating_point():
                state[key] = state[key] * 1.5
        for key in [key for key in model.state_dict() if key.startswith("d.")]:
            owner = model.d
            name = key.removeprefix("d.")
            if name in owner._buffers:
                owner._buffers[name] = state[key]
            else:
                owner._parameters[name] = nn.Parameter(state[key])
        model(*X)
        sal.step()
        again = SAL(copy.deepcopy(model), lr=0.0)
        again._model(*X)
        again.step()
        torch.testing.assert_close(sal.sensitivity["b"], again.sensitivity["b"], rtol=0, atol=0)


@pytest.mark.parametrize("change", ["another", "eps"])
def test_another_normalization_than_in_the_look_is_refused(change):
    model = model_of("module")
    sal = SAL(model, lr=0.0)
    model(*X)
    sal.step()
    if change == "another":
        model.d = nn.LayerNorm(8).double()
    else:
        model.d.eps = 0.5
    with pytest.raises(RuntimeError, match="normalization behind the layer 'b' is another one"):
        model(*X)
