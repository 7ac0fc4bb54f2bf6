"""Any module by rows: exact where it is small, by random tangents where it is large, refused in words where it has no row."""

import copy
import math

import pytest
import torch
from torch import nn

from salnb import SAL, SensitivityMonitor, sensitivity_of
from salnb.sal.rows.module_maps import mean_length
from tests.problems import random
from tests.sal.rows.row_oracle import expected, module_map, rounding_of
from tests.tolerances import SIGMAS, close


class Around(nn.Module):
    """A module of the user's between an input layer and a readout."""

    def __init__(self, block: nn.Module, n: int = 6) -> None:
        super().__init__()
        self.a, self.block, self.c = nn.Linear(4, n), block, nn.Linear(n, 2)
        self.double()

    def forward(self, x):
        return self.c(self.block(torch.tanh(self.a(x))))


class Residual(nn.Module):
    def __init__(self, n: int, hidden: int) -> None:
        super().__init__()
        self.norm, self.one, self.two = nn.LayerNorm(n), nn.Linear(n, hidden), nn.Linear(hidden, n)

    def forward(self, x):
        return x + self.two(nn.functional.gelu(self.one(self.norm(x))))


class GLU(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.w = nn.Linear(n, 2 * n)

    def forward(self, x):
        return nn.functional.glu(self.w(x))


def attention(n: int = 6) -> nn.Module:
    return nn.TransformerEncoderLayer(n, 2, 8, dropout=0.0, batch_first=True, activation="gelu")


BLOCKS = {
    "residual": (lambda: Residual(6, 8), (12, 4)), "gates": (lambda: GLU(6), (12, 4)),
    "attention": (attention, (5, 3, 4)),
    "bottleneck": (lambda: nn.Sequential(nn.Linear(6, 3), nn.Sigmoid(), nn.Linear(3, 6)), (12, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", BLOCKS)
def test_units_have_autograds_rows_and_move_along_their_gradient(name):
    make, shape = BLOCKS[name]
    torch.manual_seed(3)
    model, x = Around(make()), random(*shape)
    h = torch.tanh(model.a(x)).detach()
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        mean, gradient_of = expected(module_map(model.block), model.block, h)
        gradient = gradient_of(1 - mean)
    before = {key: parameter.detach().clone() for key, parameter in model.block.named_parameters()}
    sal = SAL(model, lr=0.1, rule="proportional", layers={"block": "rows"})
    model(x)
    sal.step()
    torch.testing.assert_close(sal.sensitivity["block"], mean, **rounding_of(mean))
    moved = 0
    for key, parameter in model.block.named_parameters():
        torch.testing.assert_close(parameter.detach() - before[key], 0.1 * gradient[key], **close(torch.float64, 2000, 10))
        moved += bool((gradient[key] != 0).any())
    assert moved >= 1
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", BLOCKS)
def test_units_are_brought_to_target_and_the_monitor_agrees(name):
    make, shape = BLOCKS[name]
    torch.manual_seed(3)
    model, x = Around(make()), random(*shape)
    sal = SAL(model, lr=0.1, rule="proportional", layers={"block": "rows"}, decay=0.0)
    model(x)
    sal.step()
    start = (sal.sensitivity["block"] - 1).abs().max()
    for _ in range(60):
        model(x)
        sal.step()
    assert (sal.sensitivity["block"] - 1).abs().max() < start / 2
    with SensitivityMonitor(model, {"block": "rows"}) as monitor:
        model(x)
    assert math.isnan(monitor.history[0]["saturated"])
    model(x)
    sal.step()
    torch.testing.assert_close(torch.tensor(monitor.history[0]["mean"], dtype=torch.float64), sal.sensitivity["block"].mean(),
                               rtol=1e-12, atol=0.0)  # fmt: skip


def test_a_large_module_is_measured_without_bias():
    """Against all rows: over many samples the random tangents' mean of s and of s² is right."""
    torch.manual_seed(0)
    n = 80
    model, x = Around(Residual(n, 16), n), random(300, 4)
    h = torch.tanh(model.a(x)).detach()
    exact = sensitivity_of(model.block, h)
    for average, wanted in ("mean", exact.mean(0)), ("rms", exact.square().mean(0).sqrt()):
        sal = SAL(model, lr=0.0, layers={"block": "rows"}, average=average)
        for _ in range(3):
            model(x)
            sal.step()
        # One measurement of s by four tangents scatters by less than 0.4 of s; three passes with decay 0.9 average little.
        deviation = 0.4 * exact.square().mean(0).sqrt() / math.sqrt(len(x))
        assert ((sal.sensitivity["block"] - wanted).abs() < SIGMAS * deviation).all(), average
        sal.detach()


@pytest.mark.parametrize("probes", [1, 2, 4, 7])
def test_the_mean_length_of_normal_numbers(probes):
    """Against numerical integration of the chi distribution."""
    from scipy import stats

    assert abs(mean_length(probes) - stats.chi(probes).mean() / math.sqrt(probes)) < 1e-12


def test_tangents_are_drawn_anew_and_again_after_a_resume():
    torch.manual_seed(0)
    model, x = Around(Residual(80, 16), 80), random(20, 4)
    sal = SAL(model, lr=0.01, layers={"block": "rows"}, rule="proportional")
    for _ in range(3):
        model(x)
        sal.step()
    other = copy.deepcopy(model)
    resumed = SAL(other, lr=0.01, layers={"block": "rows"}, rule="proportional")
    resumed.load_state_dict(sal.state_dict())
    state = torch.get_rng_state()
    averages = []
    for net, one in (model, sal), (other, resumed):
        net(x)
        one.step()
        averages.append(one.sensitivity["block"])
    assert torch.equal(*averages) and torch.equal(torch.get_rng_state(), state)
    for key, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])
    sal.detach()
    fixed = SAL(model, lr=0.0, layers={"block": "rows"}, decay=0.0)
    drawn = []
    for _ in range(2):
        model(x)
        fixed.step()
        drawn.append(fixed.sensitivity["block"])
    assert not torch.equal(*drawn)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Bilinear(6, 6, 6)

    def forward(self, x, y):
        return self.w(x, y)


class TwoInputs(Around):
    def forward(self, x):
        h = torch.tanh(self.a(x))
        return self.c(self.block(h, h))


class Detached(nn.Linear):
    def forward(self, x):
        return super().forward(x.detach())


class Tuple(GLU):
    def forward(self, x):
        return super().forward(x), None


class Sign(torch.autograd.Function):
    """A function of the user's whose derivative cannot be differentiated again."""

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        return gradient * context.saved_tensors[0].cos()


class Centred(nn.Bilinear):
    """Every sample depends on the mean of all."""

    def __init__(self, n, m):
        super().__init__(n, 1, m)

    def forward(self, x):
        return super().forward(x - x.mean(0), torch.ones_like(x[:, :1]))


class DropPath(GLU):
    """Whole samples are left out at random, by a function."""

    def forward(self, x):
        keep = torch.nn.functional.dropout(torch.ones_like(x[:, :1]), 0.3, self.training)
        return x + keep * super().forward(x)


class Conformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.lin = nn.Conv1d(1, 1, 3, padding=1), nn.Linear(6, 6)

    def forward(self, x):
        return self.lin(self.conv(x.unsqueeze(1)))


class OnceOnly(nn.Linear):
    def forward(self, x):
        return Sign.apply(super().forward(x))


REFUSED = {
    "two inputs": (lambda: TwoInputs(Two()), "'block' by rows was called with Tensor, Tensor"),
    "a tuple": (lambda: Around(Tuple(6)), "'block' by rows was called with Tensor and gave tuple"),
    "dropout": (lambda: Around(nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5))), "'block' by rows draws random numbers"),
    "batch": (lambda: Around(nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))), "'block' by rows gives other .*BatchNorm in"),
    "centred": (lambda: Around(Centred(6, 6)), "'block' by rows gives other results for 5 of its 10 samples alone"),
    "stochastic depth": (lambda: Around(DropPath(6)), "'block' by rows draws random numbers"),
    "both kinds": (lambda: Around(Conformer()), "'block' by rows holds convolutions and Linear layers"),
    "detached": (lambda: Around(nn.Sequential(Detached(6, 6))), "'block' by rows does not depend on its input"),
    "once": (lambda: Around(nn.Sequential(OnceOnly(6, 6))), "'block' by rows holds a function that can .* only once"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rows_is_refused_in_words(name):
    make, words = REFUSED[name]
    model = make()
    if name == "a tuple":
        model.forward = lambda x: model.c(model.block(torch.tanh(model.a(x)))[0])
    sal = SAL(model, layers={"block": "rows"})
    with pytest.raises(RuntimeError, match=words):
        model(random(10, 4))
        sal.step()


def test_names_by_rows_are_checked():
    model = Around(Residual(6, 8))
    with pytest.raises(ValueError, match="'block.one' and 'block' share parameters"):
        SAL(model, layers={"block": "rows", "block.one": None})
    with pytest.raises(ValueError, match="'block' is a Tanh without parameters"):
        SAL(Around(nn.Tanh()), layers={"block": "rows"})
    with pytest.raises(ValueError, match="'parts' is a ModuleList"):
        SAL(nn.ModuleDict({"parts": nn.ModuleList([nn.Linear(2, 2)])}), layers={"parts": "rows"})
    with pytest.raises(ValueError, match=r"'block' is a Residual; .*by rows of its Jacobian: layers=\{'block': 'rows'\}"):
        SAL(model, layers=["block"])


def test_the_report_says_what_is_by_rows():
    model = Around(Residual(6, 8))
    sal = SAL(model, layers={"block": "rows"})
    rows = {row["layer"]: (row["watched"], row["activation"], row["why"]) for row in sal.report()}
    assert rows["block"] == ("yes", "by rows", "")
    assert rows["block.one"] == ("no", "", "a part of 'block', which is named by rows")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_parameters_of_a_half_type_keep_what_rounding_takes(dtype):
    """In float32 a hundred small steps add up; in a half type each alone would be lost."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 2))
    x, found = random(20, 4).float(), []
    for kind in torch.float32, dtype:
        net = copy.deepcopy(model).to(kind)
        sal = SAL(net, lr=1e-4, rule="proportional")
        for _ in range(100):
            net(x.to(kind))
            sal.step()
        found.append(net[2].weight.detach().float() - model[2].weight.detach())
    lost = model[2].weight.detach().abs().max() * torch.finfo(dtype).eps
    assert (found[0] - found[1]).abs().max() < 2 * lost
    assert found[1].abs().max() > 0
