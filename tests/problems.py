"""Systems whose answer is known without the library: oracles by autograd, hand-written networks, maps with exact exponents."""

import math
import os
from collections.abc import Callable

import torch
from torch import Tensor, nn

LOG_2 = math.log(2)
CAT = math.log((3 + math.sqrt(5)) / 2)
# Another value draws every network, state and data set of the tests anew: what the tests say must hold for these as well.
SEED = int(os.environ.get("SALNB_TEST_SEED", "0"))


def seeded(seed: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for every seed, and another one for every value of SALNB_TEST_SEED."""
    return torch.Generator(device).manual_seed(seed + 10007 * SEED)


def random(*shape: int, seed: int = 0, device="cpu", dtype=torch.float64) -> Tensor:
    """Standard normal numbers, the same on every device."""
    return torch.randn(shape, generator=seeded(seed), dtype=dtype).to(device)


# --- neurons ---------------------------------------------------------------------------------------------------------
def autograd_sensitivity(weight: Tensor, inputs: Tensor, pre: Tensor, function: Callable) -> tuple[Tensor, Tensor, Tensor]:
    """Definition by automatic differentiation: s (..., B, N) = |d f(w.x + rest) / dx|, and d mean_B(s) / d(w, theta).

    ``pre`` is the whole pre-activation; what is not w.x (bias, drive) is held constant.
    """
    lead = torch.broadcast_shapes(weight.shape[:-2], inputs.shape[:-2], pre.shape[:-2])
    weight = weight.detach().expand(*lead, *weight.shape[-2:]).clone().requires_grad_()
    inputs = inputs.detach().expand(*lead, *inputs.shape[-2:]).clone().requires_grad_()
    theta = torch.zeros(weight.shape[:-1], dtype=weight.dtype, device=weight.device, requires_grad=True)
    product = torch.einsum("...nm,...bm->...bn", weight, inputs)
    output = function(product + (pre - product).detach() + theta.unsqueeze(-2))
    slopes = [torch.autograd.grad(output[..., n].sum(), inputs, create_graph=True)[0] for n in range(weight.shape[-2])]
    sensitivity = torch.stack([torch.linalg.vector_norm(slope, dim=-1) for slope in slopes], -1)
    total = sensitivity.mean(-2).sum()
    by_weight, by_bias = torch.autograd.grad(total, (weight, theta), allow_unused=True, materialize_grads=True)
    return sensitivity.detach(), by_weight, by_bias


def unrolled_rnn(rnn: nn.RNN, inputs: Tensor, start: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
    """For each layer of an nn.RNN, time first and batched: what its recurrent weights read (T, B, N) and U (T, B, N)."""
    function = torch.relu if rnn.nonlinearity == "relu" else torch.tanh
    seen = []
    for layer in range(rnn.num_layers):
        p = {name: getattr(rnn, f"{name}_l{layer}", None) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        bias = p["bias_ih"] + p["bias_hh"] if p["bias_ih"] is not None else 0.0
        h = inputs.new_zeros(inputs.shape[1], rnn.hidden_size) if start is None else start[layer]
        before, pre = [], []
        for x in inputs:
            before.append(h)
            pre.append(x @ p["weight_ih"].mT + h @ p["weight_hh"].mT + bias)
            h = function(pre[-1])
        seen.append((torch.stack(before).detach(), torch.stack(pre).detach()))
        inputs = function(seen[-1][1])
    return seen


class HandLoop(nn.Module):
    """A foreign recurrent model: the activation is a function call, the loop over time is written by hand."""

    def __init__(self, n: int = 5, function: Callable = torch.tanh, device=None) -> None:
        super().__init__()
        self.hidden = nn.Linear(n, n, device=device)
        self.readout = nn.Linear(n, 1, device=device)
        self.function = function

    def forward(self, state: Tensor, steps: int = 3) -> Tensor:
        for _ in range(steps):
            state = self.function(self.hidden(state))
        return self.readout(state)


def sequential(*sizes: int, activation: type[nn.Module] = nn.Tanh, seed: int = 0, device=None, dtype=None) -> nn.Sequential:
    """Linear, activation, Linear, ... , Linear, with reproducible weights."""
    parts: list[nn.Module] = []
    for i, (m, n) in enumerate(zip(sizes, sizes[1:], strict=False)):
        layer = nn.Linear(m, n, device=device, dtype=dtype)
        for j, parameter in enumerate(layer.parameters()):
            parameter.data.copy_(random(*parameter.shape, seed=seed + 100 * i + j) / math.sqrt(m) / (1 + 9 * j))
        parts += [layer, activation()]
    return nn.Sequential(*parts[:-1])


# --- maps and flows with known exponents --------------------------------------------------------------------------------
def linear_step(matrix: Tensor) -> Callable:
    def step(x: Tensor) -> Tensor:
        return x @ matrix.mT

    step.jvp = lambda x, tangents: (step(x), matrix @ tangents)
    return step


def logistic(r: float) -> Callable:
    def step(x: Tensor) -> Tensor:
        return r * x * (1 - x)

    step.jvp = lambda x, tangents: (step(x), r * (1 - 2 * x).unsqueeze(-1) * tangents)
    return step


def cat_map(x: Tensor) -> Tensor:
    a, b = x.unbind(-1)
    return torch.stack([(2 * a + b) % 1, (a + b) % 1], -1)


def skew_product(slope: float) -> Callable:
    """The logistic map at r = 4 drives y' = slope y + sin x: exponents ln 2 and ln |slope|."""

    def step(z: Tensor) -> Tensor:
        x, y = z.unbind(-1)
        return torch.stack([4 * x * (1 - x), slope * y + torch.sin(3 * x)], -1)

    return step


def henon(z: Tensor) -> Tensor:
    x, y = z.unbind(-1)
    return torch.stack([1 - 1.4 * x**2 + y, 0.3 * x], -1)


def lorenz_rk4(dt: float) -> Callable:
    """Lorenz-63, one Runge-Kutta step; its jvp is the exact derivative of the step, written out by hand."""

    def flow(s: Tensor) -> Tensor:
        x, y, z = s.unbind(-1)
        return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)

    def linear(s: Tensor, d: Tensor) -> Tensor:
        x, y, z = (c.unsqueeze(-1) for c in s.unbind(-1))
        a, b, c = d.unbind(-2)
        return torch.stack([10 * (b - a), (28 - z) * a - b - x * c, y * a + x * b - 8 / 3 * c], -2)

    def jvp(s: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
        slopes, moved = [flow(s)], [linear(s, d)]
        for part in (dt / 2, dt / 2, dt):
            at, along = s + part * slopes[-1], d + part * moved[-1]
            slopes.append(flow(at))
            moved.append(linear(at, along))
        weights = [dt / 6, dt / 3, dt / 3, dt / 6]
        return (
            s + sum(w * k for w, k in zip(weights, slopes, strict=True)),
            d + sum(w * k for w, k in zip(weights, moved, strict=True)),
        )

    def step(s: Tensor) -> Tensor:
        first = flow(s)
        second = flow(s + dt / 2 * first)
        third = flow(s + dt / 2 * second)
        return s + dt / 6 * (first + 2 * second + 2 * third + flow(s + dt * third))

    step.jvp = jvp
    return step


def tanh_step(matrix: Tensor) -> Callable:
    """x' = tanh(J x) for J (..., N, N) and x (..., N), with its analytic tangent step."""

    def step(x: Tensor) -> Tensor:
        return torch.tanh((matrix @ x.unsqueeze(-1)).squeeze(-1))

    def jvp(x: Tensor, tangents: Tensor) -> tuple[Tensor, Tensor]:
        following = step(x)
        return following, (1 - following.square()).unsqueeze(-1) * (matrix @ tangents)

    step.jvp = jvp
    return step


def gaussian(n: int, gain: float, *, replicas: tuple[int, ...] = (), seed: int = 0, device="cpu") -> Tensor:
    return gain / math.sqrt(n) * random(*replicas, n, n, seed=seed, device=device)
