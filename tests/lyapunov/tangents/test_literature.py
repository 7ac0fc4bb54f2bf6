"""Systems of the literature, each written in the ways in which people write them: one answer, and the one that algebra gives."""

import math
from functools import cache
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from salnb import lyapunov_spectrum, rk4_step
from tests.problems import CAT
from tests.tolerances import rounding

D, WARMUP, STEPS = torch.float64, 4, 6


# --- maps and fields, from the entries of a state to the entries of what follows; c holds the constants -----------------------
def cat(x, y, c):
    return (c[0] * x + y) % 1, (x + y) % 1


def henon(x, y, c):
    return 1 - c[0] * x**2 + y, c[1] * x


def ikeda(x, y, c):
    turn = c[1] - c[2] / (1 + x**2 + y**2)
    return 1 + c[0] * (x * turn.cos() - y * turn.sin()), c[0] * (x * turn.sin() + y * turn.cos())


def standard(angle, momentum, c):
    momentum = momentum + c[0] * angle.sin()
    return (angle + momentum) % (2 * math.pi), momentum % (2 * math.pi)


def roessler(x, y, z, c):
    return -y - z, x + c[0] * y, c[1] + z * (x - c[2])


def thomas(x, y, z, c):
    return y.sin() - c[0] * x, z.sin() - c[0] * y, x.sin() - c[0] * z


def henon_heiles(x, y, p, q, c):
    return p, q, -x - c[0] * x * y, -y - x**2 + y**2


class System(NamedTuple):
    """``rule``, its constants, two starts, the time h of a step (None: a map), and what bounds its errors.

    ``spread``: the largest |J|² / |det J| of a map, by which the smallest exponent loses digits. ``rate``: the largest entry sum
    of a field's Jacobian; a Runge-Kutta step multiplies volumes as the field does up to (h · rate)⁵ / 5! in each direction.
    """

    rule: callable
    constants: list[float]
    starts: list[list[float]]
    h: float | None = None
    spread: float = 1.0
    rate: float = 0.0


SYSTEMS = {
    "cat": System(cat, [2.0], [[0.2137, 0.7071], [0.6180, 0.1414]], spread=7),
    "Henon": System(henon, [1.4, 0.3], [[0.1, 0.2], [-0.3, 0.1]], spread=3.8**2 / 0.3),
    "Ikeda": System(ikeda, [0.9, 0.4, 6.0], [[0.3, 0.1], [0.9, -0.4]], spread=6**2 / 0.81),
    "standard": System(standard, [1.2], [[1.0, 2.0], [3.0, 0.5]], spread=3.2**2),
    "Roessler": System(roessler, [0.2, 0.2, 5.7], [[1.0, -3.0, 0.1], [-4.0, 2.0, 0.05]], h=0.01, rate=12),
    "Thomas": System(thomas, [0.18], [[0.5, 1.0, -0.5], [1.0, 0.2, 0.3]], h=0.05, rate=1.2),
    "Henon-Heiles": System(henon_heiles, [2.0], [[0.0, 0.1, 0.4, 0.1], [0.1, -0.2, 0.3, 0.2]], h=0.05, rate=2),
}


def step_of(system: System, function):
    """The map itself, or a step of the flow."""
    return function if system.h is None else rk4_step(function, system.h)


# --- the ways ------------------------------------------------------------------------------------------------------------------
def batched(system):
    return step_of(system, lambda s: torch.stack(system.rule(*s.unbind(-1), system.constants), -1))


def one_state(system):
    """x, y = s: the entries have dimension 0, and meet Python's floats."""
    return step_of(system, lambda s: torch.stack(system.rule(*s, [float(c) for c in system.constants])))


def constants_as_tensors(system):
    return step_of(system, lambda s: torch.stack(system.rule(*s.unbind(-1), torch.tensor(system.constants, dtype=D)), -1))


def in_place(system):
    """The state is overwritten, and given back."""
    step = batched(system)

    def overwrite(s):
        for i, entry in enumerate(step(s.clone()).unbind(-1)):
            s[..., i] = entry
        return s

    return overwrite


def last_of_a_solution(system):
    """As an integrator that returns all points of the trajectory."""
    step = batched(system)

    def solve(s, n=1):
        points = [s]
        for _ in range(n):
            points.append(step(points[-1]))
        return torch.stack(points)

    return lambda s: solve(s)[-1]


WAYS = {f.__name__: f for f in (one_state, constants_as_tensors, in_place, last_of_a_solution)}


def spectrum(step, state, system, **given):
    return lyapunov_spectrum(step, state, **{"n_steps": STEPS, "n_warmup": WARMUP, "dt": system.h or 1.0, "k": None, **given})


@cache
def together(name):
    """Both starts in a batch."""
    system = SYSTEMS[name]
    return spectrum(batched(system), torch.tensor(system.starts, dtype=D), system)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SYSTEMS)
def test_every_way_of_writing_a_system_gives_the_same_exponents(name, way):
    system, start = SYSTEMS[name], torch.tensor(SYSTEMS[name].starts[0], dtype=D)
    found = spectrum(WAYS[way](system), start, system)
    # The same operations in another order, less than 30 a step. The most chaotic of these, the cat map, makes a difference in the
    # state grow by e^0.96 a step.
    tolerance = rounding(D, 30, system.spread * math.exp(WARMUP + STEPS)) / (system.h or 1.0)
    torch.testing.assert_close(found.exponents, together(name).exponents[0], rtol=0, atol=tolerance)
    assert tolerance < 1e-5


def expected_sum(name: str) -> Tensor:
    """The mean log determinant, per unit of time, for both starts."""
    system, (first, *_) = SYSTEMS[name], SYSTEMS[name].constants
    if name == "Roessler":  # the divergence 0.2 + x − 5.7, integrated along with the state
        field = lambda s: torch.cat([torch.stack(roessler(*s[..., :3].unbind(-1), system.constants), -1), s[..., :1]], -1)  # noqa: E731
        state = torch.cat([torch.tensor(system.starts, dtype=D), torch.zeros(2, 1, dtype=D)], -1)
        for n in range(WARMUP + STEPS):
            if n == WARMUP:
                state[:, 3] = 0.0
            state = rk4_step(field, system.h)(state)
        return 0.2 - 5.7 + state[:, 3] / (STEPS * system.h)
    known = {"cat": 0.0, "Henon": math.log(0.3), "Ikeda": 2 * math.log(first), "standard": 0.0, "Thomas": -3 * first,
             "Henon-Heiles": 0.0}  # fmt: skip
    return torch.full((2,), known[name], dtype=D)


@pytest.mark.parametrize("name", SYSTEMS)
def test_their_sum_is_the_mean_log_determinant(name):
    system, found = SYSTEMS[name], together(name)
    h, size = system.h or 1.0, len(system.starts[0])
    method = size * (h * system.rate) ** 5 / math.factorial(5) / h
    torch.testing.assert_close(found.sum(), expected_sum(name), rtol=0, atol=method + rounding(D, 30, system.spread) / h)


@pytest.mark.parametrize("way", ["batched", *WAYS])
def test_the_cat_map_has_its_exponents_however_it_is_written(way):
    system = SYSTEMS["cat"]
    step, start = {"batched": batched, **WAYS}[way](system), torch.tensor(system.starts[0], dtype=D)
    # After 20 steps the frame is aligned up to e^(−2 · 0.96 · 20), below the digits.
    found = spectrum(step, start, system, n_warmup=20).exponents
    torch.testing.assert_close(found, torch.tensor([CAT, -CAT], dtype=D), rtol=0, atol=rounding(D, 8, system.spread))


@pytest.mark.parametrize("name", SYSTEMS)
def test_rebuilt_by_torch_tensor_they_are_refused_in_words_and_right_by_differences(name):
    system, start = SYSTEMS[name], torch.tensor(SYSTEMS[name].starts[0], dtype=D)
    step = step_of(system, lambda s: torch.tensor(system.rule(*s, system.constants), dtype=D))
    for k in (1, None):
        with pytest.raises(ValueError, match='step: its derivative by PyTorch is not.*torch.stack.*jvp="finite-difference"'):
            spectrum(step, start, system, k=k)
    found = spectrum(step, start, system, jvp="finite-difference").exponents
    # A tangent is right to eps^(2/3) of its size, 4e-11, times third derivatives of up to a hundred; the smallest loses `spread`.
    torch.testing.assert_close(found, together(name).exponents[0], rtol=0, atol=4e-9 * system.spread / (system.h or 1.0))
