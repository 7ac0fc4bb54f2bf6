"""SAL's arithmetic: one step against autograd and a hand-written average, on every kind of model it attaches to."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from salnb import SAL, DeepNet, TanhRNN
from tests.problems import HandLoop, autograd_sensitivity, random, seeded, sequential, unrolled_rnn
from tests.tolerances import close, rounding

# Up to three layers and seven steps of products of eight terms, then means over up to 28 samples, of numbers up to 10.
EXACT = close(torch.float64, 3 * 7 * 8 + 28, 10)
FUNCTION = {nn.Tanh: torch.tanh, nn.ReLU: F.relu, nn.GELU: F.gelu, nn.LeakyReLU: F.leaky_relu}


def seen_by_linear(model: nn.Sequential, x: torch.Tensor, index: int):
    """What the Linear at ``index`` reads and gives, flattened to samples."""
    with torch.no_grad():
        inputs = model[:index](x)
        return inputs.reshape(-1, inputs.shape[-1]), model[index](inputs).reshape(-1, model[index].out_features)


@pytest.mark.parametrize("activation", FUNCTION)
@pytest.mark.parametrize("rule", ["one_sided", "proportional"])
@pytest.mark.parametrize("average", ["mean", "rms"])
def test_step_moves_along_the_gradient_of_the_mean_sensitivity_with_both_rules_and_averages(activation, rule, average, device):
    model = sequential(3, 8, 8, 8, 2, activation=activation, device=device, dtype=torch.float64)
    lr, target, decay = 0.05, 0.6, 0.7
    sal = SAL(model, lr=lr, target=target, decay=decay, rule=rule, average=average)
    running = {}
    for i in range(3):
        x = random(4, 5, 3, seed=i, device=device)  # two batch dimensions are one set of samples
        expected, logs = {}, []
        for index in (2, 4):
            inputs, pre = seen_by_linear(model, x, index)
            s, by_weight, by_bias = autograd_sensitivity(model[index].weight, inputs, pre, FUNCTION[activation])
            now = s.mean(0) if average == "mean" else s.square().mean(0)
            running[index] = now if index not in running else decay * running[index] + (1 - decay) * now
            s_bar = running[index] if average == "mean" else running[index].sqrt()
            pull = lr * ((s_bar < target).double() if rule == "one_sided" else target - s_bar)
            logs.append(0.5 * s.square().mean().log())
            expected[index] = (s_bar, model[index].weight + pull[:, None] * by_weight, model[index].bias + pull * by_bias)
        untouched = [model[index].weight.clone() for index in (0, 6)]
        model(x)
        sal.step()
        torch.testing.assert_close(sal.log_sensitivity(), torch.stack(logs))
        for index, (s_bar, weight, bias) in expected.items():
            torch.testing.assert_close(sal.sensitivity[str(index)], s_bar)
            torch.testing.assert_close(model[index].weight, nn.Parameter(weight), **EXACT)
            torch.testing.assert_close(model[index].bias, nn.Parameter(bias), **EXACT)
        assert all(torch.equal(a, model[i].weight) for a, i in zip(untouched, (0, 6), strict=True))


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["time first", "batch first", "unbatched", "state by keyword"])
def test_nn_rnn_counts_recurrent_weights_over_all_samples_and_time_steps(nonlinearity, layers, bias, kind, device):
    rnn = nn.RNN(3, 6, layers, nonlinearity=nonlinearity, bias=bias, batch_first=kind == "batch first").to(device).double()
    for i, parameter in enumerate(rnn.parameters()):
        parameter.data.copy_(random(*parameter.shape, seed=i) * 0.3)
    x = random(7, 1 if kind == "unbatched" else 4, 3, device=device)
    state = random(layers, 4, 6, seed=1, device=device).tanh() if kind == "state by keyword" else None
    function, expected, logs = (torch.tanh if nonlinearity == "tanh" else F.relu), [], []
    for layer, (before, pre) in enumerate(unrolled_rnn(rnn, x, state)):
        weight, theta = getattr(rnn, f"weight_hh_l{layer}"), getattr(rnn, f"bias_hh_l{layer}", None)
        s, by_weight, by_bias = autograd_sensitivity(weight, before.reshape(-1, 6), pre.reshape(-1, 6), function)
        logs.append(0.5 * s.square().mean().log())
        expected.append((s.mean(0), weight + 0.1 * by_weight, None if theta is None else theta + 0.1 * by_bias))
    others = {n: p.clone() for n, p in rnn.named_parameters() if "_ih_" in n}
    sal = SAL(rnn, lr=0.1, decay=0.5, target=1e9)
    given = {"time first": x, "batch first": x.transpose(0, 1), "unbatched": x[:, 0], "state by keyword": x}[kind]
    if state is None:
        rnn(given)
    else:
        rnn(input=given, hx=state)
    torch.testing.assert_close(sal.log_sensitivity(), torch.stack(logs))
    sal.step()
    for layer, (mean, weight, theta) in enumerate(expected):
        torch.testing.assert_close(sal.sensitivity[f"weight_hh_l{layer}"], mean)
        torch.testing.assert_close(getattr(rnn, f"weight_hh_l{layer}"), nn.Parameter(weight), **EXACT)
        if theta is not None:
            torch.testing.assert_close(getattr(rnn, f"bias_hh_l{layer}"), nn.Parameter(theta), **EXACT)
    assert all(torch.equal(p, others[n]) for n, p in rnn.named_parameters() if n in others)


@pytest.mark.parametrize("function", [torch.tanh, torch.tanh_, F.relu, F.relu_, torch.sigmoid, torch.sigmoid_])
def test_function_call_modules_through_layers_with_in_place_activations_too(function, device):
    """A hand-written loop over time; the names of the in-place functions end in an underscore."""
    plain = {"tanh": torch.tanh, "relu": F.relu, "sigmoid": torch.sigmoid}[function.__name__.rstrip("_")]
    model, x = HandLoop(5, function, device=device).double(), random(4, 5, device=device)
    inputs, pre, h = [], [], x
    for _ in range(3):
        inputs.append(h)
        pre.append((h @ model.hidden.weight.mT + model.hidden.bias).detach())
        h = plain(pre[-1])
    s, by_weight, by_bias = autograd_sensitivity(model.hidden.weight, torch.cat(inputs), torch.cat(pre), plain)
    expected = model.hidden.weight + 0.1 * by_weight, model.hidden.bias + 0.1 * by_bias
    sal = SAL(model, lr=0.1, target=1e9, layers={"hidden": function.__name__.rstrip("_")})
    model(x.clone()).sum().backward()
    sal.step()
    torch.testing.assert_close(sal.sensitivity["hidden"], s.mean(0))
    torch.testing.assert_close(model.hidden.weight, nn.Parameter(expected[0]), **EXACT)
    torch.testing.assert_close(model.hidden.bias, nn.Parameter(expected[1]), **EXACT)


@pytest.mark.parametrize("make", [lambda: nn.ReLU(inplace=True), lambda: nn.LeakyReLU(0.2, inplace=True)])
def test_in_place_activation_modules_give_what_the_others_give(make, device):
    results = []
    for inplace in (True, False):
        model = sequential(3, 6, 6, 1, activation=lambda: make(), device=device)
        for part in model:
            if hasattr(part, "inplace"):
                part.inplace = inplace
        sal = SAL(model, lr=0.1)
        model(random(5, 3, device=device).float()).sum().backward()
        sal.step()
        results.append((sal.sensitivity["2"], model[2].weight.detach()))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("replicas", [(), (3,), (2, 2)])
@pytest.mark.parametrize("kind", ["deep", "flat", "ring", "sparse"])
def test_our_own_networks_with_replicas_equal_a_loop_over_replicas(kind, replicas, device):
    given = {"gain": 0.8, "replicas": replicas, "generator": seeded(), "dtype": torch.float64}
    if kind == "deep":
        net = DeepNet(3, 6, 1, 3, **given)
    else:
        net = TanhRNN(3, (4, 6) if kind == "ring" else 6, 1, connectivity=0.5 if kind == "sparse" else 1.0, **given)
    net.to(device)
    x = random(*(() if kind == "deep" else (5,)), *replicas, 4, 3, device=device)
    seen = {name: [] for name in net.sal_layers()}
    handles = [net.get_submodule(n).register_forward_hook(lambda m, a, o, n=n: seen[n].append((a[0], o))) for n in seen]
    net(x)
    for handle in handles:
        handle.remove()
    sal = SAL(net, lr=0.1)
    net(x)
    before = {n: net.get_submodule(n).weight.detach().clone() for n in seen}
    logs = sal.log_sensitivity()
    sal.step()
    assert logs.shape == (len(seen), *replicas)
    for i, (name, calls) in enumerate(seen.items()):
        layer = net.get_submodule(name)
        inputs, pre = (torch.cat([call[j].expand(*replicas, 4, -1) for call in calls], -2).detach() for j in (0, 1))
        s, by_weight, by_bias = autograd_sensitivity(before[name], inputs, pre, torch.tanh)
        assert sal.sensitivity[name].shape == (*replicas, layer.weight.shape[-2])
        torch.testing.assert_close(sal.sensitivity[name], s.mean(-2))
        torch.testing.assert_close(logs[i], 0.5 * s.square().mean((-2, -1)).log())
        below = (s.mean(-2) < 1).double() * 0.1
        mask = 1.0 if layer.mask is None else layer.mask
        expected = before[name] + below.unsqueeze(-1) * by_weight * mask
        torch.testing.assert_close(layer.weight.detach(), expected, **EXACT)
        torch.testing.assert_close(layer.bias.detach(), below * by_bias, **EXACT)


def test_a_row_of_norm_0_stays_where_it_is(device):
    model = sequential(2, 4, 4, 1, device=device)
    model[2].weight.data[1] = 0
    sal = SAL(model, lr=0.1)
    model(random(3, 2, device=device).float())
    sal.step()
    assert model[2].weight[1].abs().max() == 0 and bool(torch.isfinite(model[2].weight).all())
    assert sal.sensitivity["2"][1] == 0


@pytest.mark.parametrize("rule", ["one_sided", "proportional"])
def test_the_defaults_bring_every_neurons_average_to_target_and_leave_it_there(rule, device):
    net = DeepNet(4, 32, 1, 4, gain=0.5, generator=seeded()).to(device)
    sal = SAL(net, rule=rule, **({"lr": 0.05} if rule == "proportional" else {}))
    x = random(16, 4, device=device).float()
    for _ in range(500):
        net(x)
        sal.step()
    (lr, decay), averages = (sal.param_groups[0][key] for key in ("lr", "decay")), torch.stack([*sal.sensitivity.values()])
    if rule == "proportional":  # it goes on until a step is lost in the last digit of the weights
        torch.testing.assert_close(averages, torch.ones_like(averages), rtol=0, atol=rounding(torch.float32, 1 / lr))
    else:
        # A step raises a sensitivity by η|∇s|², and |∇s| of a neuron at 1 is about 1, below 2 for 32 inputs below 1. The average
        # is late by 1/(1 − β) passes, so it ends so far above; below by a step, where a layer before it still moves.
        late = 4 * lr / (1 - decay)
        assert bool((averages > 1 - 4 * lr).all() and (averages < 1 + late).all()) and late < 0.1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target": 0}, "target: got 0, expected a sensitivity > 0"),
        ({"target": -1.0}, "target: got -1.0, expected a sensitivity > 0"),
        ({"target": float("nan")}, "target: got nan"),
        ({"lr": -1e-3}, "lr: got -0.001, expected a rate >= 0"),
        ({"decay": 1.0}, r"decay: got 1.0, expected a number in \[0, 1\)"),
        ({"decay": -0.1}, r"decay: got -0.1, expected a number in \[0, 1\)"),
        ({"rule": "both"}, "rule: got 'both', expected one of one_sided, proportional"),
        ({"average": "median"}, "average: got 'median', expected one of mean, rms"),
    ],
)
def test_bad_settings_are_value_errors_in_words(given, message):
    with pytest.raises(ValueError, match=message):
        SAL(sequential(2, 4, 4, 1), **given)
