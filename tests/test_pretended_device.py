"""The pretended device refuses what CUDA refuses, and otherwise computes what the CPU computes."""

import copy
import io
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from tests import pretended_device
from tests.problems import random

ON = bool(os.environ.get("SALNB_PRETENDED_DEVICE"))
here = pytest.mark.skipif(not ON, reason="runs in a process of its own, below: the device stays until its process ends")


@pytest.mark.skipif(ON, reason="this is that process")
def test_in_a_process_of_its_own():
    """Other tests would otherwise run in a PyTorch with one device more."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", __file__]
    done = subprocess.run(command, env=os.environ | {"SALNB_PRETENDED_DEVICE": "1"}, capture_output=True, text=True)
    assert done.returncode == 0 and "passed" in done.stdout, done.stdout + done.stderr


@pytest.fixture
def other() -> torch.device:
    """The pretended device."""
    return pretended_device.install()


def state(module: nn.Module) -> list[torch.Tensor]:
    """Its parameters and buffers."""
    return [*module.parameters(), *module.buffers()]


# --- what CUDA refuses -----------------------------------------------------------------------------------------------
REFUSED = {
    "sum": lambda a, b: a + b,
    "sum, the other way round": lambda a, b: b + a,
    "product": lambda a, b: a @ b,
    "linear": lambda a, b: nn.functional.linear(a, b),
    "where": lambda a, b: torch.where(a > 0, a, b),
    "concatenation": lambda a, b: torch.cat([a, b]),
    "stack of numbers": lambda a, b: torch.stack([a.sum(), b.sum()]),
    "einsum": lambda a, b: torch.einsum("ij,jk->ik", a, b),
    "into a tensor of the CPU": lambda a, b: b.add_(a),
    "into a number of the CPU": lambda a, b: b.sum().add_(a.sum()),
    "out=": lambda a, b: torch.add(a, a, out=b),
    "from a tensor of the CPU": lambda a, b: a.mul_(b),
    "indices of the device into the CPU": lambda a, b: b[torch.tensor([0]).to(a.device)],
    "mask": lambda a, b: a.masked_fill(b > 0, 0),
    "gather": lambda a, b: a.gather(0, torch.zeros(1, 3, dtype=torch.int64)),
    "index_select": lambda a, b: a.index_select(0, torch.tensor([0])),
    "targets": lambda a, b: nn.functional.cross_entropy(a, torch.tensor([0, 1, 2])),
    "module": lambda a, b: nn.Linear(3, 2)(a),
    "inputs of a module": lambda a, b: nn.Linear(3, 2).to(a.device)(b.float()),
    "networks of PyTorch": lambda a, b: nn.LSTM(3, 2).to(a.device)(b.float()),
    "a state of a network": lambda a, b: nn.RNN(3, 3).to(a.device)(a.float(), b[:1].float()),
    "solve": lambda a, b: torch.linalg.solve(a, b),
    "lerp": lambda a, b: torch.lerp(a, a, b),
    "a foreach list": lambda a, b: torch._foreach_add([a, a], [b, b]),
    "a gradient of another device": lambda a, b: torch.autograd.grad((a.requires_grad_() ** 2), a, b),
    "a tangent of another device": lambda a, b: torch.func.jvp(torch.tanh, (a,), (b,)),
    "inside vmap": lambda a, b: torch.func.vmap(lambda row: row + b[0])(a),
    "a generator of the CPU": lambda a, b: torch.randn(3, device=a.device, generator=torch.Generator()),
    "such a generator, in place": lambda a, b: a.normal_(generator=torch.Generator()),
}  # fmt: skip


@here
@pytest.mark.parametrize("case", REFUSED)
def test_two_devices_are_refused(case, other):
    a, b = random(3, 3, seed=1), random(3, 3, seed=2)
    with pytest.raises((RuntimeError, ValueError), match="device"):
        REFUSED[case](a.to(other), b)


@here
@pytest.mark.parametrize("read", [torch.Tensor.numpy, np.asarray, np.sin, lambda x: np.asarray([x[0]])])
def test_numpy_cannot_read_it(read, other):
    with pytest.raises(TypeError, match="Use Tensor.cpu()"):
        read(random(3).to(other))


@here
def test_a_plot_cannot_read_it(other):
    from matplotlib import pyplot

    _, axes = pyplot.subplots()
    with pytest.raises(TypeError, match="Use Tensor.cpu()"):
        axes.plot(random(3).to(other))


# --- what CUDA allows ------------------------------------------------------------------------------------------------
@here
def test_there_and_back(other):
    x = random(3, 4)
    there = x.to(other)
    assert there.device == torch.device(other) and there.device.type != "cpu" and type(there) is torch.Tensor
    assert torch.equal(there.cpu(), x) and torch.equal(there.to("cpu"), x) and there.tolist() == x.tolist()
    there.zero_()
    assert x.any() and float(there.sum()) == 0 and "pretended" in repr(there)


def second(f, x):
    """A second derivative along one direction."""
    (first,) = torch.autograd.grad(f(x).pow(2).sum(), x, create_graph=True)
    return torch.autograd.grad(first.sum(), x)[0]


def in_place(x):
    """Views of views, written into, inside a graph."""
    y = x * 1
    y[1:, 2] = x[1:, 0] * 2
    y.T[1].mul_(3)
    y.diagonal().tanh_()
    return torch.autograd.grad(y.pow(2).sum(), x)[0]


def network(cell):
    """Gradients of one of PyTorch's own networks."""

    def gradients(x):
        torch.manual_seed(3)
        module = cell(x.shape[-1], 3).double().to(x.device)
        out = module(x)
        return torch.autograd.grad((out[0] if isinstance(out, tuple) else out).sum(), list(module.parameters()))

    return gradients


def layer(module, *shape):
    """Gradients of a layer that wants inputs of its own shape."""

    def gradients(x):
        there = copy.deepcopy(module).double().to(x.device)
        return torch.autograd.grad(there(x.reshape(-1)[:1] * torch.ones(shape).to(x)).pow(2).sum(), list(there.parameters()))

    return gradients


def f(x):
    return (x @ x.T).tanh()


COMPUTED = {
    "numbers of the CPU": lambda x: (x * torch.tensor(2.0), torch.tensor(2.0) + x, x.where(x > 0, torch.tensor(0.0).double())),
    "numbers of Python": lambda x: (2.5 * x.float(), (x > 0) | False, x.float() + 1j, 2 * (x > 0), x % 1),
    "numbers of Python with one number": lambda x: (x[0, 0].float() % 0.3, 2.5 * x[0, 0].float(), x[0, 0] // 0.1, 3**x),
    "indices of the CPU": lambda x: (x[torch.tensor([2, 0])], x[:, [1]], x[torch.tensor([True, False, True])]),
    "values of the CPU": lambda x: x.clone().index_put_((torch.tensor([1]),), torch.tensor(3.0, dtype=x.dtype)),
    "a slice from the CPU": lambda x: x.clone()[1:].copy_(torch.ones(2, 3)),
    "grad": lambda x: torch.autograd.grad(f(x).sum(), x),
    "second derivative": lambda x: second(f, x),
    "in place": in_place,
    "jvp": lambda x: torch.func.jvp(f, (x.detach(),), (torch.ones_like(x),)),
    "vjp": lambda x: torch.func.vjp(f, x.detach())[1](torch.ones(3, 3).to(x)),
    "jacrev": lambda x: torch.func.jacrev(f)(x.detach()),
    "jacfwd": lambda x: torch.func.jacfwd(f)(x.detach()),
    "hessian": lambda x: torch.func.hessian(lambda y: f(y).sum())(x.detach()),
    "vmap": lambda x: torch.func.vmap(lambda row: torch.outer(row, row).tanh().sum(0))(x.detach()),
    "vmap of jvp": lambda x: torch.func.vmap(lambda v: torch.func.jvp(f, (x.detach(),), (v,))[1])(random(2, 3, 3).to(x)),
    "qr": lambda x: torch.linalg.qr(x.detach()),
    "eigvals": lambda x: torch.linalg.eigvals(x).abs().sort().values,
    "svd": lambda x: torch.linalg.svdvals(x),
    "solve, det": lambda x: (torch.linalg.solve(x, x[0]), torch.linalg.slogdet(x)),
    "fft": lambda x: torch.fft.fft(x).real,
    "sorted": lambda x: (x.sort().values, x.max(1), x.median(), torch.quantile(x, 0.3), x.topk(2).values),
    "out=": lambda x: torch.mm(x.detach(), x.detach(), out=torch.empty_like(x.detach())),
    "out= that must grow": lambda x: torch.add(x.detach(), 1, out=torch.empty(0).to(x.detach())),
    "nothing": lambda x: (x[:0].sum(0), x[:0], torch.cat([x[:0], x])),
    **{cell.__name__: network(cell) for cell in (nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell)},
    "convolution": layer(nn.Conv1d(2, 3, 3), 2, 2, 7),
    "transposed": layer(nn.ConvTranspose2d(2, 4, 3, groups=2), 1, 2, 5, 5),
    "normalized": layer(nn.Sequential(nn.LayerNorm(4), nn.BatchNorm1d(4)), 3, 4),
    "attention": layer(nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True), 1, 3, 4),
}


def tensors(value):
    """All in it."""
    return [value] if isinstance(value, torch.Tensor) else [inner for one in value for inner in tensors(one)]


@here
@pytest.mark.parametrize("case", COMPUTED)
def test_computed_there_as_on_the_cpu(case, other):
    """The same kernels on the same numbers; formulas of several operations may round elsewhere."""
    x = random(3, 3) + torch.eye(3)
    found, right = (tensors(COMPUTED[case](x.to(place).requires_grad_())) for place in (other, "cpu"))
    assert {one.device.type for one in found} == {"pretended"} and len(found) == len(right)
    for one, two in zip(found, right, strict=True):
        assert one.dtype == two.dtype and one.stride() == two.stride()
        torch.testing.assert_close(one.cpu(), two, rtol=1e-12, atol=1e-12)


@here
def test_views_share_their_memory(other):
    x = random(4, 4).to(other)
    view = x[1:, 1:].T
    view.mul_(0)
    assert view._base is x and view.storage_offset() == 5 and view.data_ptr() == x.data_ptr() + 5 * 8
    assert int(x.count_nonzero()) == 7


@here
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
@pytest.mark.parametrize("foreach", [True, False])
def test_a_module_trains_there(optimizer, foreach, other):
    module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.BatchNorm1d(5), nn.Linear(5, 2)).double()
    twin, first = copy.deepcopy(module), module[0].weight
    module.to(other)
    assert module[0].weight is first and {one.device.type for one in state(module)} == {"pretended"}
    for one, place in ((module, other), (twin, "cpu")):
        steps = optimizer(one.parameters(), lr=0.1, foreach=foreach)
        for i in range(3):
            steps.zero_grad()
            one(random(4, 3, seed=i).to(place)).pow(2).mean().backward()
            steps.step()
    torch.testing.assert_close([one.cpu() for one in state(module)], state(twin), rtol=1e-12, atol=1e-12)
    assert module.cpu()[0].weight is first


@here
def test_copied_saved_and_loaded(other):
    module, file = nn.Linear(3, 2).to(other), io.BytesIO()
    twin = copy.deepcopy({"module": module, "plain": random(3).to(other)})
    assert twin["plain"].device.type == twin["module"].weight.device.type == "pretended"
    torch.save(module.state_dict(), file)
    for place in (None, "cpu", other):
        file.seek(0)
        stored = torch.load(file, map_location=place)
        assert stored["weight"].device == torch.device(place or other)
        assert torch.equal(stored["weight"].cpu(), module.weight.cpu())
        twin["module"].load_state_dict(stored)
    assert torch.equal(twin["module"].bias.cpu(), module.bias.cpu())


@here
def test_a_generator_of_the_device(other):
    here, there = torch.Generator().manual_seed(1), torch.Generator(other).manual_seed(1)
    assert there.device == other and isinstance(here, torch.Generator) and isinstance(there, torch.Generator)
    assert torch.equal(torch.randn(3, generator=there, device=other).cpu(), torch.randn(3, generator=here))
    assert torch.randperm(3, generator=there, device=other).device == other


@here
def test_with_the_device_as_default(other):
    with other:
        assert torch.zeros(2).device == torch.randn(2).device == nn.Linear(2, 2).weight.device == other
    assert torch.zeros(2).device.type == "cpu"
