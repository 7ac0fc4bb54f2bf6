"""The three ringing networks: the script computes what the library computes from the same weights."""

import math

import pytest
import torch

from salnb import finite_time_exponents, lyapunov_spectrum
from salnb.experiments.measurements import after_first_pulse, kept_bit, orbits
from salnb.experiments.measurements.working_memory import right_answers
from salnb.networks import rnn_step
from tests.tolerances import rounding
from tools.playground_data.numerals import read
from tools.playground_data.ringing import KINDS, NAME, network_of

STORED = read(NAME)
NET = network_of(STORED["networks"])  # a replica for each kind
STEPS, KICKED, SIZE = 50, 20, 0.3
WARMUP, LONG = 2000, 4000
MODEL = "const model = salnb.models.clock_latch_echo, nets = salnb.data.clock_latch_echo.networks.map(model.network);"


@pytest.fixture(scope="module")
def page(functions):
    return functions(NAME)


def runs(steps: int) -> torch.Tensor:
    """The library's states (3, 2, steps + 1, N), from right after the pulse."""
    first = after_first_pulse(NET)
    return torch.cat([first.unsqueeze(0), orbits(NET, first, steps)]).movedim(0, 2)


def tolerance() -> float:
    """Rounding of sums of 66 terms over 50 steps, carried as far as the direction that grows most."""
    growth = finite_time_exponents(rnn_step(NET), after_first_pulse(NET), n_steps=STEPS)[..., 0].max().item()
    found = rounding(torch.float64, 66 * STEPS, math.exp(STEPS * max(growth, 0.0)))
    assert found < 1e-9  # what the book promises of its figures
    return found


def test_the_stored_networks_are_of_their_kinds_and_answer():
    kept = kept_bit(NET, lag=STORED["lag"], n_warmup=4000, n_steps=1000)
    assert tuple(kept.kind) == KINDS == tuple(one["kind"] for one in STORED["networks"])
    assert (right_answers(NET, STORED["lag"]) == 4).all()
    rest = orbits(NET, after_first_pulse(NET), 2000)[-2:]
    moving = (rest[1] - rest[0]).abs().amax(-1) > 1e-6
    assert moving.tolist() == [[True, True], [False, False], [False, False]]  # the latch rests in both of its places


def test_the_same_trajectory(page):
    seen = torch.tensor(page.evaluate(f"""() => {{ {MODEL}
      return nets.map((net) => [1, -1].map((sign) => [...model.run(net, sign, {STEPS})])); }}"""), dtype=torch.float64)
    expected = runs(STEPS)
    assert (seen.view_as(expected) - expected).abs().max() < tolerance()


def test_a_kick_moves_the_state_towards_the_other_sign_and_is_carried_on(page):
    seen = torch.tensor(page.evaluate(f"""() => {{ {MODEL}
      const kicks = [{{ time: {KICKED}, size: {SIZE} }}];
      return nets.map((net) => [...model.run(net, 1, {STEPS}, kicks, model.run(net, -1, {STEPS}))]); }}"""), dtype=torch.float64)
    seen = seen.view(3, STEPS + 1, -1)
    plus, minus = runs(STEPS).unbind(1)
    way = minus[:, KICKED] - plus[:, KICKED]
    kicked = plus[:, KICKED] + SIZE * way / way.square().mean(-1, keepdim=True).sqrt()
    after = orbits(NET, kicked.unsqueeze(1), STEPS - KICKED).squeeze(2).movedim(0, 1)
    expected = torch.cat([plus[:, :KICKED], kicked.unsqueeze(1), after], 1)
    assert (seen - expected).abs().max() < 10 * tolerance()  # by the other sign's rounding, divided by a distance of at least 0.1
    assert way.square().mean(-1).sqrt().min() > 0.1


def test_the_same_answers(page):
    seen = page.evaluate(f"""() => {{ {MODEL}
      return nets.map((net) => [...model.right(net, [1, -1].map((sign) => model.run(net, sign, 60)))]); }}""")
    expected = torch.stack([right_answers(NET, wait) for wait in range(1, 61)], 1)
    assert [row[1:] for row in seen] == expected.tolist()


def test_the_same_exponent(page):
    seen = torch.tensor(page.evaluate(f"""() => {{ {MODEL}
      return nets.map((net) => [1, -1].map((sign) => model.exponent(net, sign, {WARMUP}, {LONG}))); }}"""), dtype=torch.float64)
    along = lyapunov_spectrum(rnn_step(NET), after_first_pulse(NET), n_steps=LONG, n_warmup=WARMUP, k=1)
    kept = [[one[part] for one in STORED["networks"]] for part in ("exponents", "errors")]
    stored, error = torch.tensor(kept, dtype=torch.float64)
    # Another first tangent is another phase of a direction that turns and breathes: at most 2 nats over the whole run.
    assert (seen - along.exponents[..., 0]).abs().max() < 2 / LONG
    assert ((seen - stored).abs() < 5 * error + 2 / LONG).all()


def test_what_the_caption_says_of_kicks(page):
    seen = page.evaluate(f"""() => {{ {MODEL}
      return nets.map((net) => {{
        const free = model.run(net, 1, 600), other = model.run(net, -1, 600);
        return [0.3, 1].map((size) => {{
          const kicked = model.run(net, 1, 600, [{{ time: 300, size }}], other);
          return [free, other].map((run) => model.distance(kicked, run, net.size)[600]);
        }});
      }}); }}""")
    (clock, _), (small, large), (echo, _) = seen
    assert clock[0] > 0.1 and clock[1] > 0.1  # another phase, kept
    assert small[0] < 1e-3 < 0.1 < small[1]  # the latch falls back,
    assert large[1] < 1e-3 < 0.1 < large[0]  # or to the other place
    assert max(echo) < 1e-3


def test_what_the_caption_says_of_answers():
    late = torch.stack([right_answers(NET, wait) for wait in range(150, 401, 10)])
    clock, latch, echo = late.unbind(1)
    assert (clock == 4).any() and (latch < 4).all() and (echo < 4).all()
