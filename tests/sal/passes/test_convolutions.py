"""Convolutions: the sensitivity of a channel at every place, its gradient by the kernel, masks, half types and pruning."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)
from torch.nn.utils import prune

from salnb import SAL, SensitivityMonitor
from tests.problems import random, seeded
from tests.tolerances import close

IMAGE, SOUND, BLOCK = (5, 3, 9, 8), (5, 3, 20), (2, 3, 5, 5, 5)
FUNCTIONS = {nn.Tanh: torch.tanh, nn.GELU: F.gelu, nn.SiLU: F.silu, nn.ReLU: torch.relu}
CASES = {
    "2d": (lambda: nn.Conv2d(4, 6, 3), nn.Tanh, IMAGE),
    "2d, without bias": (lambda: nn.Conv2d(4, 6, 3, bias=False), nn.ReLU, IMAGE),
    "2d, stride, padding, dilation, groups": (lambda: nn.Conv2d(4, 6, 3, 2, 1, 2, 2), nn.GELU, IMAGE),
    "2d, depthwise, circular": (lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4, padding_mode="circular"), nn.Tanh, IMAGE),
    "2d, same, uneven": (lambda: nn.Conv2d(4, 6, (3, 5), padding="same", dilation=(1, 2)), nn.SiLU, IMAGE),
    "2d, same, reflected": (lambda: nn.Conv2d(4, 6, (3, 5), padding="same", padding_mode="reflect"), nn.Tanh, IMAGE),
    "1d, stride": (lambda: nn.Conv1d(4, 6, 3, stride=2), nn.Tanh, SOUND),
    "3d, stride": (lambda: nn.Conv3d(4, 6, 2, stride=2), nn.GELU, BLOCK),
}


class Net(nn.Module):
    """A convolution between one that reads the input and a readout; ``function`` may be a function or a module."""

    def __init__(self, convolution: nn.Module, function, n_in: int = 3) -> None:
        super().__init__()
        kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[convolution.weight.ndim - 2]
        self.first = kind(n_in, convolution.in_channels, 1)
        self.middle, self.function, self.out = convolution, function, nn.Linear(convolution.out_channels, 2)

    def states(self, x):
        return torch.tanh(self.first(x))

    def forward(self, x):
        return self.out(self.function(self.middle(self.states(x))).flatten(2).mean(-1))


def built(name: str, dtype=torch.float64) -> tuple[Net, torch.Tensor]:
    make, kind, shape = CASES[name]
    torch.manual_seed(3)
    return Net(make(), kind()).to(dtype), random(*shape).to(dtype)


def mean_sensitivity(net: Net, function, x, weight, bias) -> torch.Tensor:
    """E[|f'|]·‖kernel‖ (N,) with the slope by autograd, over samples and places; differentiable."""
    u = net.middle._conv_forward(net.states(x).detach(), weight, bias)
    (slope,) = torch.autograd.grad(function(u).sum(), u, create_graph=True)
    return slope.abs().transpose(0, 1).flatten(1).mean(1) * weight.flatten(1).norm(dim=1)


def pair(net: Net) -> tuple[torch.Tensor, torch.Tensor | None]:
    bias = net.middle.bias
    return net.middle.weight.detach().clone().requires_grad_(), None if bias is None else bias.detach().clone().requires_grad_()


@pytest.mark.parametrize("name", CASES)
def test_sensitivity_and_step_are_those_of_autograd(name):
    net, x = built(name)
    weight, bias = pair(net)
    mean = mean_sensitivity(net, FUNCTIONS[CASES[name][1]], x, weight, bias)
    gradients = torch.autograd.grad(mean.sum(), [weight] if bias is None else [weight, bias], materialize_grads=True)
    sal = SAL(net, lr=0.01, rule="proportional")
    net(x)
    sal.step()
    digits = close(torch.float64, 500)  # sums over some hundred samples and places
    torch.testing.assert_close(sal.sensitivity["middle"], mean.detach(), **digits)
    amount = 0.01 * (1 - mean.detach())
    moved = weight + amount.view(-1, *[1] * (weight.ndim - 1)) * gradients[0]
    torch.testing.assert_close(net.middle.weight.detach(), moved.detach(), **digits)
    if bias is not None:
        torch.testing.assert_close(net.middle.bias.detach(), (bias + amount * gradients[1]).detach(), **digits)
    assert list(sal.sensitivity) == ["middle"]


def test_several_passes_are_one_over_all_samples_and_a_layer_may_run_twice():
    net, x = built("2d")
    other, _ = built("2d")
    one, two = SAL(net, lr=0.01), SAL(other, lr=0.01)
    net(x[:2])
    net(x[2:])
    other(x)
    one.step()
    two.step()
    for p, q in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, **close(torch.float64, 500))


def test_only_places_in_the_mask_count():
    net, x = built("2d")
    twin, _ = built("2d")
    mask = torch.zeros(5, 7, 6, dtype=torch.bool)
    mask[:, 2:6, 1:4] = True
    sal, cropped = SAL(net, lr=0.01), SAL(twin, lr=0.01)
    with sal.counting(mask):
        net(x)
    twin(x[:, :, 2:8, 1:6])  # a 3 x 3 kernel sees two more places in each direction
    sal.step()
    cropped.step()
    torch.testing.assert_close(sal.sensitivity["middle"], cropped.sensitivity["middle"], **close(torch.float64, 500))
    torch.testing.assert_close(net.middle.weight, twin.middle.weight, **close(torch.float64, 500))
    with pytest.raises(ValueError, match=r"mask of shape \(5, 6\).*'middle'.*\(5, 6, 7, 6\).*should be \(5, 7, 6\)"):  # noqa: SIM117
        with sal.counting(torch.ones(5, 6, dtype=torch.bool)):
            net(x)


@pytest.mark.parametrize("change", ["channels last", "pruned", "bfloat16", "unbatched", "frozen bias"])
def test_in_other_forms(change):
    net, x = built("2d", torch.bfloat16 if change == "bfloat16" else torch.float64)
    if change == "channels last":
        net = net.to(memory_format=torch.channels_last)
    if change == "pruned":
        prune.l1_unstructured(net.middle, "weight", 0.5)
    if change == "frozen bias":
        net.middle.bias.requires_grad_(False)
    before = net.middle.bias.detach().clone()
    sal = SAL(net, lr=0.02, decay=0.5)
    for step in range(200):
        batch = random(*IMAGE, seed=step).to(x.dtype)
        if change == "unbatched":
            net.function(net.middle(net.states(batch[0])))
        net(batch)
        sal.step()
    assert bool((sal.sensitivity["middle"] >= 1).all()) and sal.sensitivity["middle"].dtype == (
        torch.float32 if change == "bfloat16" else torch.float64)  # fmt: skip
    if change == "pruned":
        net(x)
        assert (net.middle.weight == 0).double().mean() == 0.5
    if change == "frozen bias":
        assert torch.equal(net.middle.bias, before)


def test_gated_channels_do_not_move_by_the_optimizer():
    net, x = built("2d")
    net.middle.weight.data[:3] *= 20  # above the target, the others below
    before = net.middle.weight.detach().clone()
    sal, optimizer = SAL(net, lr=0.0), torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        net(x).square().mean().backward()
        sal.gate_gradients_()
        optimizer.step()
        sal.step()
    moved = (net.middle.weight != before).flatten(1).any(1)
    below = sal.sensitivity["middle"] < 1
    assert bool(below.any()) and not bool(below.all())
    assert torch.equal(moved, ~below)


def test_a_prelu_has_a_slope_for_each_channel():
    torch.manual_seed(3)
    prelu = nn.PReLU(6, init=0.3).double()
    with torch.no_grad():
        prelu.weight.copy_(torch.rand(6, generator=seeded()))
    net, x = Net(nn.Conv2d(4, 6, 3), prelu).double(), random(*IMAGE)
    weight, bias = pair(net)
    mean = mean_sensitivity(net, prelu, x, weight, bias).detach()
    sal = SAL(net, lr=0.0)
    net(x)
    sal.step()
    torch.testing.assert_close(sal.sensitivity["middle"], mean, **close(torch.float64, 500))


def test_the_monitor_measures_them_and_nan_is_left_out():
    net, x = built("2d")
    weight, bias = pair(net)
    mean = mean_sensitivity(net, torch.tanh, x, weight, bias).detach().mean()
    with SensitivityMonitor(net) as monitor:
        net(x)
    torch.testing.assert_close(torch.tensor(monitor.history[0]["mean"], dtype=torch.float64), mean, **close(torch.float64, 500))
    sal = SAL(net)
    x[0, 0, 0, 0] = torch.nan
    net(x)
    with pytest.warns(UserWarning, match="NaN or infinite numbers in the layer 'middle'"):
        sal.step()
    assert torch.equal(net.middle.weight, weight) and sal.skipped_passes == 1


def test_saved_and_loaded_and_of_another_shape():
    net, x = built("2d")
    sal = SAL(net, lr=0.01)
    net(x)
    sal.step()
    twin, _ = built("2d")
    twin.load_state_dict(net.state_dict())
    resumed = SAL(twin)
    resumed.load_state_dict(sal.state_dict())
    for model, one in ((net, sal), (twin, resumed)):
        model(x)
        one.step()
    assert torch.equal(net.middle.weight, twin.middle.weight)
    with pytest.raises(ValueError, match=r"running average of 'middle' has shape \(6,\), but the layer has \(8,\) neurons"):
        SAL(Net(nn.Conv2d(4, 8, 3), nn.Tanh()).double()).load_state_dict(sal.state_dict())
