"""A Linear or convolution behind which something stands: rows and gradient are those of the whole Jacobian."""

import copy

import pytest
import torch
from torch import nn

from salnb import SAL, SensitivityMonitor
from tests.problems import random, seeded
from tests.sal.rows.row_oracle import expected, lengths, module_map, rounding_of

NORMS = {
    "LayerNorm": lambda n: nn.LayerNorm(n),
    "LayerNorm without parameters": lambda n: nn.LayerNorm(n, elementwise_affine=False),
    "LayerNorm without bias": lambda n: nn.LayerNorm(n, bias=False),
    "LayerNorm with a large eps": lambda n: nn.LayerNorm(n, eps=0.5),
    "RMSNorm": lambda n: nn.RMSNorm(n),
    "RMSNorm without parameters": lambda n: nn.RMSNorm(n, elementwise_affine=False, eps=0.1),
    "BatchNorm": lambda n: nn.BatchNorm1d(n),
    "BatchNorm without parameters": lambda n: nn.BatchNorm1d(n, affine=False),
}
ACTIVATIONS = {"tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU, "relu": nn.ReLU, "elu": nn.ELU}


def drawn(module: nn.Module, seed: int = 1) -> nn.Module:
    """The module with numbers of its own in every parameter and buffer, in float64, its BatchNorm frozen."""
    module, generator = module.double(), seeded(seed)
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            given = {"generator": generator, "dtype": torch.float64}
            if tensor.ndim > 1:
                tensor.copy_(torch.randn(tensor.shape, **given) / tensor.shape[-1] ** 0.5)
            elif tensor.is_floating_point():
                tensor.copy_(0.5 + torch.rand(tensor.shape, **given))
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()
    return module


def behind(norm: str, activation: str, n: int = 7, m: int = 5) -> nn.Sequential:
    """input → tanh → Linear, norm, activation → readout."""
    return drawn(nn.Sequential(nn.Linear(4, m), nn.Tanh(), nn.Linear(m, n), NORMS[norm](n), ACTIVATIONS[activation](),
                               nn.Linear(n, 2)))  # fmt: skip


X = random(30, 4)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_step_goes_along_the_gradient_of_the_rows_of_the_jacobian(norm, activation):
    model = behind(norm, activation)
    part, x = model[2:5], model[:2](X).detach()
    mean, gradient_of = expected(module_map(part), part, x)
    before, sal = copy.deepcopy(part.state_dict()), SAL(model, lr=0.1, rule="proportional")
    model(X)
    sal.step()
    torch.testing.assert_close(sal.sensitivity["2"], mean, **rounding_of(mean))
    gradient = gradient_of(1 - mean)
    for name, parameter in part.named_parameters():
        # Of a BatchNorm, which is a part of the activation, SAL moves nothing.
        wanted = torch.zeros_like(parameter) if "BatchNorm" in norm and name.startswith("3.") else 0.1 * gradient[name]
        assert wanted.abs().max() > 0 or "BatchNorm" in norm or name == "3.bias" and activation == "relu", name
        torch.testing.assert_close(parameter.detach() - before[name], wanted, **rounding_of(before[name]))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("average", ["mean", "rms"])
def test_a_layer_before_a_normalization_is_brought_to_target(norm, average):
    model = behind(norm, "tanh")
    with torch.no_grad():
        model[2].weight.mul_(0.3)
        if getattr(model[3], "weight", None) is not None:
            model[3].weight.mul_(0.3)
    sal = SAL(model, lr=0.2, rule="proportional", average=average, decay=0.0)
    part, x, steps = model[2:5], model[:2](X).detach(), 1200 if norm == "BatchNorm" else 300
    start = (lengths_of(part, x, average) - 1).abs()
    for _ in range(steps):
        model(X)
        sal.step()
    assert ((lengths_of(part, x, average) - 1).abs() < start.max() / 10).all()


def lengths_of(part, x, average):
    found = lengths(module_map(part), dict(part.named_parameters()), x).detach().flatten(0, -2)
    return found.mean(0) if average == "mean" else found.square().mean(0).sqrt()


@pytest.mark.parametrize("norm", NORMS)
def test_the_monitor_measures_the_same(norm):
    model = behind(norm, "tanh")
    with SensitivityMonitor(model) as monitor:
        model(X)
    part, x = model[2:5], model[:2](X).detach()
    found = lengths_of(part, x, "mean")
    (row,) = monitor.history
    assert row["layer"] == "2" and row["neurons"] == 7
    torch.testing.assert_close(torch.tensor(row["mean"], dtype=torch.float64), found.mean(), **rounding_of(found))


def test_saturated_means_the_same_behind_a_batch_norm():
    """A scale of 10 makes the slopes ten times as large, and no neuron less saturated."""
    plain, scaled = (drawn(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 6), *between, nn.Tanh(), nn.Linear(6, 1)))
                     for between in ([], [nn.BatchNorm1d(6)]))  # fmt: skip
    with torch.no_grad():
        scaled[3].running_mean.zero_()
        scaled[3].running_var.fill_(1 - scaled[3].eps)
        scaled[3].weight.fill_(10.0)
        scaled[3].bias.zero_()
        plain[2].weight.copy_(10 * scaled[2].weight)
        plain[2].bias.copy_(10 * scaled[2].bias)
        plain[0].load_state_dict(scaled[0].state_dict())
    rows = []
    for model in plain, scaled:
        with SensitivityMonitor(model) as monitor:
            model(random(50, 3))
        rows.append(monitor.history[0])
    assert rows[0]["saturated"] == rows[1]["saturated"] > 0
    assert abs(rows[0]["mean"] - rows[1]["mean"]) < 1e-6


def test_a_batch_norm_over_the_channels_of_a_sequence_is_a_scale_of_the_neurons():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.norm, self.c = nn.Linear(4, 5), nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 2)

        def forward(self, x):
            return self.c(torch.tanh(self.norm(self.b(torch.tanh(self.a(x))).mT).mT))

    model = drawn(Tokens())
    sal, x = SAL(model, lr=0.0), random(6, 3, 4)
    model(x)
    sal.step()
    part, h = nn.Sequential(model.b, model.norm, nn.Tanh()), torch.tanh(model.a(x)).detach().flatten(0, 1)
    mean, _ = expected(module_map(part), part, h)
    torch.testing.assert_close(sal.sensitivity["b"], mean, **rounding_of(mean))


@pytest.mark.parametrize("settings", [{}, {"stride": 2}, {"padding": 1}, {"groups": 2}])
def test_a_convolution_before_a_frozen_batch_norm(settings):
    model = drawn(nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 6, 3, **settings), nn.BatchNorm2d(6), nn.Tanh(),
                                nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)))  # fmt: skip
    x = random(5, 2, 9, 9)
    sal = SAL(model, lr=0.05, rule="proportional", layers=["2"])
    h, conv, norm = model[:2](x).detach(), model[2], model[3]
    before = conv.weight.detach().clone()

    def mean(weight):
        u = conv._conv_forward(h, weight, conv.bias)
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        v = (u - norm.running_mean.view(-1, 1, 1)) * scale.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
        slope = (1 - torch.tanh(v).square()).mean((0, 2, 3)) * scale.abs()
        return slope * weight.flatten(1).norm(dim=1)

    found, weight = mean(before).detach(), before.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((mean(weight) * (1 - found)).sum(), weight)
    model(x)
    sal.step()
    torch.testing.assert_close(sal.sensitivity["2"], found, **rounding_of(found))
    torch.testing.assert_close(conv.weight.detach() - before, 0.05 * gradient, **rounding_of(before))


PARAMETRIZED = {
    "weight_norm": torch.nn.utils.parametrizations.weight_norm,
    "spectral_norm": torch.nn.utils.parametrizations.spectral_norm,
    "orthogonal": torch.nn.utils.parametrizations.orthogonal,
}


@pytest.mark.parametrize("name", PARAMETRIZED)
def test_a_parametrized_weight_is_moved_by_the_chain_rule(name):
    model = drawn(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 2)))
    PARAMETRIZED[name](model[2])
    part, x = copy.deepcopy(model[2:4]), model[:2](X).detach()
    # Its parameters, from which every call computes the weight; a spectral norm computes it in eval mode without iterating.
    part.eval()
    mean, gradient_of = expected(module_map(part), part, x)
    before, sal = copy.deepcopy(model[2].state_dict()), SAL(model, lr=0.1, rule="proportional", layers={"2": "rows"})
    with torch.random.fork_rng():
        model(X)
    iterated = {key: value for key, value in model[2].state_dict().items() if "_u" in key or "_v" in key}
    if name == "spectral_norm":  # the pass itself has gone on with the power iteration
        part[0].load_state_dict({**before, **iterated})
        mean, gradient_of = expected(module_map(part), part, x)
    sal.step()
    torch.testing.assert_close(sal.sensitivity["2"], mean, **rounding_of(mean))
    gradient = gradient_of(1 - mean)
    for key, parameter in model[2].named_parameters():
        torch.testing.assert_close(parameter.detach() - before[key], 0.1 * gradient[f"2.{key}"], **rounding_of(before[key]))


@pytest.mark.parametrize("name", PARAMETRIZED)
def test_of_a_parametrized_weight_the_refusal_says_the_way(name):
    model = drawn(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 2)))
    PARAMETRIZED[name](model[2])
    with pytest.raises(ValueError, match=r"parametrized .*by rows: layers=\{name: 'rows'\}"):
        SAL(model, layers=["2"])


@pytest.mark.parametrize("normed", [torch.nn.utils.weight_norm, torch.nn.utils.spectral_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_of_an_old_weight_norm_the_monitor_measures_the_weight_in_force(normed):
    model = drawn(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 2)))
    normed(model[2])
    with torch.no_grad():
        for parameter in model[2].parameters():
            parameter.mul_(1.5)
    with SensitivityMonitor(model) as monitor:
        model(X)
    h = model[:2](X)
    u = h @ model[2].weight.mT + model[2].bias
    wanted = ((1 - torch.tanh(u).square()) * model[2].weight.norm(dim=1)).mean()
    (row,) = monitor.history
    assert row["layer"] == "2" and abs(row["mean"] - wanted.item()) < 1e-12
    with pytest.raises(ValueError, match="computed from other parameters"):
        SAL(model, layers=["2"])


def test_frozen_parts_stay():
    model = behind("LayerNorm", "tanh")
    model[2].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    sal = SAL(model, lr=0.1, rule="proportional")
    model(X)
    sal.step()
    assert {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])} == {
        "2.bias", "3.weight", "3.bias"}  # fmt: skip


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_gating_holds_back_the_neurons_of_a_normalized_layer(momentum):
    model = behind("LayerNorm", "tanh")
    with torch.no_grad():
        model[3].weight[:4].mul_(4.0)
    sal, optimizer = SAL(model, lr=0.0, layers=["2"]), torch.optim.SGD(model.parameters(), 0.1, momentum=momentum)
    for _ in range(3):
        model(X).square().mean().backward()
        before = copy.deepcopy(model[2:4].state_dict())
        sal.gate_gradients_()
        optimizer.step()
        sal.step()
        below = sal.sensitivity["2"] < 1
        assert below.any() and not below.all()
        for key, value in model[2:4].state_dict().items():
            changed = (value != before[key]).view(len(value), -1).any(1)
            assert not changed[below].any() and changed[~below].all()


@pytest.mark.parametrize("by", ["rows", "block", "default"])
def test_no_look_lets_a_spectral_norm_iterate(by):
    """One pass is one power iteration, with SAL or without."""
    model = drawn(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Sequential(nn.Linear(5, 5), nn.Tanh()), nn.Linear(5, 2)))
    torch.nn.utils.parametrizations.spectral_norm(model[2][0])
    other = copy.deepcopy(model)
    other(X)
    layers = {"rows": {"2.0": "rows"}, "block": {"2": "rows"}, "default": None}[by]
    with SensitivityMonitor(model, layers) as monitor:
        model(X)
    assert len(monitor.history) == 1
    for key, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key
    if by != "default":
        sal = SAL(model, lr=0.0, layers=layers)
        model(X)
        other(X)
        sal.step()
        for key, value in model.state_dict().items():
            assert torch.equal(value, other.state_dict()[key]), key
