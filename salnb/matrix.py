"""What the experiment chapters train, against what, over which seeds: one line per run, the most telling first."""

from collections.abc import Callable, Iterator
from itertools import chain, zip_longest
from pathlib import Path
from zlib import crc32

from .experiments import train_deep, train_lag
from .rates import FALLING, STARTS, TASKS, THROUGHOUT, deep_rates, lag_rates
from .search import search_jobs
from .sweeps import run_one

Job = tuple[str, str, dict]
NONE = dict(sal=False)
PAIRED = 102104  # the same networks and data for two policies; the recipe was completed after looking at them, so neither counts
GAINS = (0.8, 0.9, 1.0, 1.1, 1.2, 1.3)


def depth_jobs() -> Iterator[tuple[str, dict]]:
    """Networks of 300 layers (and others), by name."""
    starts = {f"gain {g:g}": dict(NONE, gain=g) for g in (1.0, 1.1, 0.9, 1.2)}
    others = {"orthogonal": STARTS["orthogonal"], "xavier": dict(NONE, gain=1.0, init="xavier"),
              "layer norm": STARTS["layer norm"], "residual": dict(NONE, gain=1.0, architecture="residual")}  # fmt: skip
    for task in TASKS:
        yield f"{task}, SAL", dict(task=task)
    for name, settings in {**starts, **others}.items():
        yield f"disc_and_ring, {name}", dict(task="disc_and_ring", **settings)
    for task in TASKS:
        yield f"{task}, gain 0.5", dict(NONE, task=task, gain=0.5)
    digits = dict(task="digits", steps=600)
    yield "digits, SAL", digits
    yield "digits, orthogonal", dict(digits, **others["orthogonal"])
    yield "digits, orthogonal + SAL", dict(digits, init="orthogonal")
    yield "digits, SAL before", dict(digits, sal=dict(when="before"))
    for name, target in (("before", 1.0), ("to 0.985", 0.985)):
        yield f"digits, orthogonal + SAL {name}", dict(digits, init="orthogonal", sal=dict(when="before", target=target))
    for depth in (10, 30, 100):
        yield f"disc_and_ring, SAL, depth {depth}", dict(task="disc_and_ring", depth=depth)
        yield f"disc_and_ring, gain 1, depth {depth}", dict(task="disc_and_ring", depth=depth, **starts["gain 1"])
    for gain in (0.1, 0.3, 1.0):
        yield f"disc_and_ring, SAL from {gain:g}", dict(task="disc_and_ring", gain=gain)
    for task in TASKS[1:]:
        for name, settings in {**starts, **others}.items():
            yield f"{task}, {name}", dict(task=task, **settings)
    for name in ("gain 1", "gain 1.1", "layer norm", "residual", "xavier", "gain 0.9", "gain 1.2"):
        yield f"digits, {name}", dict(digits, **{**starts, **others}[name])
    yield "disc_and_ring, orthogonal + SAL", dict(task="disc_and_ring", init="orthogonal")
    yield "disc_and_ring, layer norm + SAL", dict(
        task="disc_and_ring", architecture="layer_norm", gain=1.0, replicas=8)  # fmt: skip
    yield "disc_and_ring, SAL before", dict(task="disc_and_ring", sal=dict(when="before"))
    yield "disc_and_ring, SAL, SGD", dict(task="disc_and_ring", optimizer="sgd")
    for name in ("gain 1", "gain 1.1"):
        yield f"disc_and_ring, {name}, SGD", dict(task="disc_and_ring", optimizer="sgd", **starts[name])
    yield "disc_and_ring, SAL, depth 1000", dict(task="disc_and_ring", depth=1000, replicas=8)
    yield "disc_and_ring, gain 1, depth 1000", dict(task="disc_and_ring", depth=1000, replicas=8, **starts["gain 1"])


def lag_jobs() -> Iterator[tuple[str, dict]]:
    """Networks that carry something over 300 time steps (and others), by name."""
    tuned = {f"gain {g:g}": dict(NONE, gain=g) for g in GAINS}
    orthogonal = STARTS["orthogonal"]
    cells = {cell: dict(NONE, cell=cell) for cell in ("relu", "gru", "lstm")}
    cells["plain_gru"] = dict(NONE, cell="plain_gru", replicas=8)  # a step of a gated cell takes four times as long
    cells |= {f"{cell} + SAL": dict(cell=cell, replicas=8) for cell in ("plain_gru", "gru")}
    yield "xor, SAL from 0.5", dict(seed=923012)
    yield "xor, SAL where unhealthy", dict(seed=PAIRED)
    yield "xor, SAL before", dict(sal=dict(when="before"), seed=PAIRED)
    for name in ("gain 1", "gain 0.9", "gain 1.1"):
        yield f"xor, {name}", tuned[name]
    yield "xor, SAL from 0.1", dict(gain=0.1)
    yield "xor, orthogonal", orthogonal
    yield "xor, gain 0.5", dict(NONE, gain=0.5)
    for lag in (30, 100):
        yield f"xor, SAL, lag {lag}", dict(lag=lag, replicas=8)
        yield f"xor, gain 1, lag {lag}", dict(tuned["gain 1"], lag=lag, replicas=8)
    order = dict(task="temporal_order", replicas=8)
    yield "temporal_order, SAL", order
    yield "temporal_order, gain 1", dict(order, **tuned["gain 1"])
    yield "temporal_order, orthogonal", dict(order, **orthogonal)
    yield "xor, SAL from 1", dict(gain=1.0)
    for name in ("gain 0.8", "gain 1.2", "gain 1.3"):
        yield f"xor, {name}", tuned[name]
    for gain in (1.5, 2.0):  # where the window ends
        yield f"xor, gain {gain:g}", dict(NONE, gain=gain)
    yield "xor, orthogonal + SAL", dict(init="orthogonal")
    yield "xor, orthogonal + SAL by RMS", dict(init="orthogonal", sal=dict(average="rms"))  # the mean never gets there
    throughout, falling = dict(sal=THROUGHOUT), dict(sal=FALLING)
    yield "xor, SAL throughout", throughout
    both = dict(seed=crc32(b"lag: xor, SAL throughout") % 1_000_000)  # the same networks and data
    yield "xor, SAL throughout, falling", dict(falling, **both)
    for gain in (0.1, 1.0):  # and once more, on networks and data of their own
        yield f"xor, SAL throughout, falling, from {gain:g}", dict(falling, gain=gain)
    yield "xor, SAL while struggling", dict(sal=dict(when="struggling", learning_lr=1e-3, learning_target=1.0, every=1))
    for gain in (0.3, 0.8):
        yield f"xor, SAL from {gain:g}", dict(gain=gain)
    for gain in (0.95, 1.05):
        yield f"xor, gain {gain:g}", dict(NONE, gain=gain)
    yield "xor, SAL by RMS", dict(sal=dict(average="rms"))
    three = dict(task="lagged_parity", replicas=8)
    yield "lagged_parity, SAL", three
    yield "lagged_parity, gain 1", dict(three, **tuned["gain 1"])
    yield "lagged_parity, orthogonal", dict(three, **orthogonal)
    for task, others in (("lagged_parity", three), ("temporal_order", order)):  # what did best on two pulses
        yield f"{task}, gain 1.1", dict(others, **tuned["gain 1.1"])
        yield f"{task}, gru", dict(others, **cells["gru"])
    for name, settings in cells.items():
        yield f"xor, {name}", settings
    sgd = {"SAL": {}, **tuned, "orthogonal": orthogonal, "SAL throughout": throughout}
    for name, settings in sgd.items():
        yield f"xor, {name}, SGD", dict(settings, optimizer="sgd")


def training_jobs() -> list[Job]:
    """All runs: (file, name in it, arguments). Every run has a seed that depends on its name alone; the search has others."""
    deep, lags = chain(depth_jobs(), deep_rates()), chain(lag_jobs(), lag_rates())
    both = [("depth", name, {"steps": 300, **job}) for name, job in deep], [("lag", *job) for job in lags]
    runs = [(file, name, {"seed": crc32(f"{file}: {name}".encode()) % 1_000_000, **arguments})
            for pair in zip_longest(*both) for file, name, arguments in filter(None, pair)]  # fmt: skip
    return runs + [("recipes", name, arguments) for name, arguments in search_jobs()]


def function_of(job: Job) -> Callable:
    """What makes this run."""
    return train_lag if job[0] == "lag" or job[1].startswith("lag") else train_deep


def train_one(job: Job, folder: Path) -> tuple[Job, dict]:
    """One run as it is stored; while it goes, its state is in ``folder``, so that nothing is lost."""
    arguments = job[2]
    record = run_one(function_of(job), arguments, folder).as_json()
    return job, {**record, "arguments": arguments}
