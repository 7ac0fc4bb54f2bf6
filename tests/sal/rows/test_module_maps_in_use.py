"""What users do to a module by rows: modes, hooks, named arguments, images, half types, replaced parameters, inference mode."""

import copy

import pytest
import torch
from torch import nn

from salnb import SAL, SensitivityMonitor
from tests.problems import random
from tests.sal.rows.row_oracle import rounding_of
from tests.sal.rows.test_module_maps import GLU, Around, Residual


def by_jacobian(block, h):
    """E[s] of a block's units, the last dimension, by autograd alone."""
    rows = torch.autograd.functional.jacobian(lambda h: block(h).sum(0), h).flatten(1 - h.ndim).norm(dim=-1)
    return rows.movedim(-1, 0).flatten(0, -2).mean(0)


def measured(model, call, **settings):
    sal = SAL(model, lr=0.0, layers={"block": "rows"}, **settings)
    call(model)
    sal.step()
    sal.detach()
    return sal.sensitivity["block"]


def test_the_mode_of_the_pass_counts_and_nothing_is_trained_by_the_step():
    torch.manual_seed(0)
    model, x = Around(nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Tanh())), random(12, 4)
    model(x)
    model.block[1].eval()
    before = copy.deepcopy(model.state_dict())
    wanted = by_jacobian(model.block, torch.tanh(model.a(x)).detach())
    sal = SAL(model, lr=0.0, layers={"block": "rows"})
    model(x)
    model.train()
    sal.step()
    torch.testing.assert_close(sal.sensitivity["block"], wanted, **rounding_of(wanted))
    assert model.block[1].training and all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_hooks_on_the_block_and_arguments_by_name_belong_to_the_map():
    class Skipped(GLU):
        def forward(self, x, mask=None, *, skip=None):
            return super().forward(x if skip is None else skip)

    torch.manual_seed(0)
    model, x = Around(Skipped(6)), random(9, 4)
    h = torch.tanh(model.a(x)).detach()
    plain = by_jacobian(model.block, h)
    block = model.block
    for call in (block, lambda u: block(u, None), lambda u: block(None, skip=u)):
        found = measured(model, lambda m, call=call: run(m, call, x))
        torch.testing.assert_close(found, plain, **rounding_of(plain))
    model.block.register_forward_hook(lambda module, given, output: 5 * output)
    torch.testing.assert_close(measured(model, lambda m: m(x)), 5 * plain, **rounding_of(5 * plain))


def run(model, call, x):
    """One call of the model, in which the block is called like this."""
    model.forward = lambda x: model.c(call(torch.tanh(model.a(x))))
    try:
        return model(x)
    finally:
        del model.forward


def test_channels_are_the_units_of_a_convolutional_block():
    torch.manual_seed(0)

    class Residual2d(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return torch.relu(x + self.b(torch.tanh(self.a(x))))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.block = nn.Conv2d(1, 3, 3), Residual2d()
            self.double()

        def forward(self, x):
            return self.block(self.stem(x)).mean((2, 3))

    model, found = Net(), []
    for width in 5, 6:
        h = model.stem(random(4, 1, 5, width)).detach()
        rows = torch.autograd.functional.jacobian(lambda h: model.block(h).sum(0), h).flatten(-3).norm(dim=-1)
        wanted = rows.mean((1, 2, 3))
        sal = SAL(model, lr=0.0, layers={"block": "rows"}, average="mean")
        for _ in range(20):
            model(random(4, 1, 5, width))
            sal.step()
        found.append((sal.sensitivity["block"], wanted))
        sal.detach()
    for one, wanted in found:  # 36 to 72 numbers: the larger image by random tangents, over twenty steps
        assert one.shape == (3,) and ((one / wanted - 1).abs() < 0.2).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_block_of_a_half_type_counts_all_samples(dtype):
    torch.manual_seed(0)
    model = nn.ModuleDict({"block": GLU(6)}).to(dtype)
    model.forward = lambda x: model["block"](x)
    sal, x = SAL(model, lr=0.0, layers={"block": "rows"}), random(700, 6).to(dtype)
    for one in x.split(1):
        model(one)
    sal.step()
    wanted = by_jacobian(GLU_in_float(model["block"]), x.float())
    # Products of a half type are off by its eps, the sums over 700 samples are not.
    torch.testing.assert_close(sal.sensitivity["block"].float(), wanted, rtol=0, atol=16 * torch.finfo(dtype).eps)


def GLU_in_float(block):  # noqa: N802 (named after the class)
    return copy.deepcopy(block).float()


def test_a_parameter_that_is_replaced_later_is_noticed():
    model, x = Around(Residual(6, 8)), random(9, 4)
    sal = SAL(model, layers={"block": "rows"})
    model.block.two = nn.Linear(8, 6).double()
    model(x)
    with pytest.raises(RuntimeError, match="the weight of the layer 'block' is another tensor"):
        sal.step()


def test_a_step_and_a_monitor_in_inference_mode():
    model, x = Around(Residual(6, 8)), random(9, 4)
    wanted = by_jacobian(model.block, torch.tanh(model.a(x)).detach())
    sal = SAL(model, lr=0.1, layers={"block": "rows"})
    before = model.block.one.weight.detach().clone()
    model(x)
    with torch.inference_mode():
        sal.step()
        with SensitivityMonitor(model, {"block": "rows"}) as monitor:
            model(x)
    torch.testing.assert_close(sal.sensitivity["block"], wanted, **rounding_of(wanted))
    assert not torch.equal(model.block.one.weight, before) and len(monitor.history) == 1


def test_parametrized_parts_around_what_is_named():
    """A bias that is parametrized, and weights of a GRU that are."""
    weight_norm = torch.nn.utils.parametrizations.weight_norm
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    nn.utils.parametrize.register_parametrization(model[2], "bias", nn.Tanh())
    sal, h = SAL(model, lr=0.0), random(9, 4)
    model(h)
    sal.step()
    wanted = by_jacobian(model[2:4], model[:2](h).detach())
    torch.testing.assert_close(sal.sensitivity["2"], wanted, **rounding_of(wanted))
    with pytest.raises(ValueError, match="the weights of '0' are parametrized"):
        SAL(nn.Sequential(weight_norm(nn.GRU(3, 4), "weight_hh_l0")), layers={"0": "rows"})
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), weight_norm(nn.Linear(6, 6)), nn.Tanh(), nn.Linear(6, 2))
    sal = SAL(model, layers={"2": "rows"})
    nn.utils.parametrize.remove_parametrizations(model[2], "weight")
    model(random(9, 4).float())
    with pytest.raises(RuntimeError, match="the weight of the layer '2' is another tensor"):
        sal.step()
