"""Every paper-scale run of the book, by name, with its settings: measurements, training runs, the search for the recipe."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import chain, zip_longest
from pathlib import Path
from zlib import crc32

from ..measurements.random_spectra import SPECTRA
from ..training.recipe import Policy
from ..training.sweeps import run_one
from ..training.train import train_deep, train_lag

# --- measurements: architectures, SAL's settings, targets, single layers ----------------------------------------------------
FLAT = [(n, connectivity) for n in (50, 100, 200, 400) for connectivity in (1.0, 0.3, 0.1)]
TWO, THREE = (100, 100), (100, 100, 100)
RINGS = [(TWO, 1.0), (TWO, 0.3), ((60, 140), 1.0), (THREE, 1.0), (THREE, 0.3), ((50, 100, 150), 1.0)]
RATES = [(1e-3, 0.9), (2e-3, 0.9), (5e-3, 0.9), (2e-2, 0.9), (2e-3, 0.0), (2e-3, 0.98), (5e-4, 0.99), (2e-3, 0.99), (5e-3, 0.99)]
LAYERS = [dict(width=width, activation=activation, average="mean", size=0.5, replicas=32, samples=1000, seed=seed + width)
          for activation, seed in (("tanh", 4000), ("relu", 5000), ("gelu", 6000)) for width in (16, 64, 256)]  # fmt: skip
TARGETS = (0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 2.0)


def label(n_hidden: int | tuple[int, ...], connectivity: float) -> str:
    """A short name of an architecture: "100, 0.3" or "100+100, 1"."""
    return f"{n_hidden if isinstance(n_hidden, int) else '+'.join(map(str, n_hidden))}, {connectivity:g}"


def measurement_jobs() -> Iterator[tuple[str, str, dict]]:
    """All runs: (file, name in it, arguments of its function). Every run has seeds of its own."""
    common = dict(replicas=10, n_passes=720, n_looks=13, look_steps=800, warmup=300)
    # Networks that nobody had seen when the ledger's rule for each architecture was written down; three of the first rings of
    # ten networks had been too few to decide. Seed 700 belongs to a spectrum below.
    for i, (n, connectivity) in enumerate(FLAT + RINGS):
        yield "exponent_architectures", label(n, connectivity), dict(
            common, replicas=30, n_hidden=n, connectivity=connectivity, seed=700 + (i or 18))  # fmt: skip
    for i, (lr, decay) in enumerate(RATES):
        for j, rule in enumerate(("one_sided", "proportional")):
            # The proportional pull weakens as s nears its target, so it gets four times the passes to arrive.
            n_passes = max(200, round((2.0 if rule == "one_sided" else 8.0) / lr))
            yield "exponent_rules", f"{rule}, {lr:g}, {decay:g}", dict(
                common, rule=rule, lr=lr, decay=decay, n_passes=n_passes, n_looks=7, seed=200 + 2 * i + j)  # fmt: skip
    for i, target in enumerate(TARGETS):
        yield "exponent_targets", f"{target:g}", dict(
            common, target=target, n_passes=round((target + 0.4) / 2e-3), n_looks=5, seed=300 + i)  # fmt: skip
    yield from (("spectra", name, settings) for name, settings in SPECTRA.items())


# --- the search for the recipe: few networks per setting, over other seeds than the experiments that use the recipe ------------
# Every setting is written out, so that a later change of the defaults does not change what was searched.
BEFORE = dict(when="before", learning_lr=1e-3, learning_target=1.0, every=1)
LATER = ("falling",)  # came after the search; at its default it changes nothing


def in_full(policy: Policy) -> dict:
    """All settings of a policy but those that came after the search."""
    return {name: value for name, value in asdict(policy).items() if name not in LATER}


DEEP = in_full(Policy(lr=4e-3, average="rms", passes=1000, batch=32, **BEFORE))
LAG = in_full(Policy(lr=2e-3, passes=2000, batch=8, **BEFORE))
DISC = dict(task="disc_and_ring", bias=0.5, steps=300)


def search_jobs() -> Iterator[tuple[str, dict]]:
    """(name, arguments of ``train_deep`` or, where the name begins with "lag", of ``train_lag``)."""
    six, eight = dict(DISC, replicas=6, seed=1), dict(DISC, replicas=8, seed=3)
    yield "depth, no biases, Adam 1e-4, SAL by the mean before", dict(six, bias=0.0, lr=1e-4, sal=dict(DEEP, average="mean"))
    yield "depth, no biases, Adam 3e-5, SAL before", dict(six, bias=0.0, lr=3e-5, sal=DEEP)
    yield "depth, biases 0.5, Adam 3e-5, SAL before", dict(six, lr=3e-5, sal=DEEP)
    yield "depth, biases 1, Adam 3e-5, SAL before", dict(six, bias=1.0, lr=3e-5, sal=DEEP)
    yield "depth, biases 0.5, Adam 1e-4, SAL before", dict(six, lr=1e-4, sal=DEEP)
    yield "depth, biases 0.5, Adam 1e-4, SAL while struggling, 1e-3", dict(six, lr=1e-4, sal=dict(DEEP, when="struggling"))
    yield "depth, Adam 3e-5, SAL before, 600 steps", dict(eight, lr=3e-5, steps=600, sal=DEEP)
    yield "depth, Adam 3e-5, SAL while struggling, 3e-4", dict(
        eight, lr=3e-5, sal=dict(DEEP, when="struggling", learning_lr=3e-4))  # fmt: skip
    yield "depth, SGD 1e-2, SAL while struggling, 1e-3", dict(
        eight, optimizer="sgd", lr=1e-2, sal=dict(DEEP, when="struggling"))  # fmt: skip
    for gain in (1.0, 1.1):
        yield f"depth, Adam 3e-5, no SAL, gain {gain:g}", dict(eight, lr=3e-5, sal=False, gain=gain)
    lag = dict(steps=2000, replicas=8, seed=1)
    for lr, text in ((3e-4, "3e-4"), (1e-3, "1e-3"), (1e-4, "1e-4")):
        yield f"lag, Adam {text}, SAL before", dict(lag, lr=lr, sal=LAG)
    yield "lag, Adam 3e-4, SAL while struggling, 1e-3", dict(lag, lr=3e-4, sal=dict(LAG, when="struggling"))
    yield "lag, Adam 3e-4, SAL throughout, 1e-4", dict(lag, lr=3e-4, sal=dict(LAG, when="throughout", learning_lr=1e-4))
    yield "lag, Adam 3e-4, proportional SAL before", dict(
        lag, lr=3e-4, sal=dict(LAG, rule="proportional", lr=5e-3, passes=1000))  # fmt: skip
    for lr, text in ((3e-3, "3e-3"), (1e-2, "1e-2")):
        yield f"lag, SGD {text}, SAL before", dict(lag, optimizer="sgd", lr=lr, sal=LAG)


# --- other learning rates: a start without SAL may fail at SAL's rate only because this rate does not suit it -------------------
# So the most important starts are also trained at a slower and at a faster rate.
Named = Iterator[tuple[str, dict]]
TASKS = ("disc_and_ring", "parity", "two_moons")
THROUGHOUT = dict(when="throughout", learning_lr=1e-4, learning_target=1.0, every=1)
FALLING = dict(THROUGHOUT, falling=True)
STARTS = {"SAL": {}, **{f"gain {g:g}": dict(sal=False, gain=g) for g in (1.0, 1.05, 1.1, 1.2)},
          "orthogonal": dict(sal=False, gain=1.0, init="orthogonal"), "relu": dict(sal=False, cell="relu"),
          "layer norm": dict(sal=False, gain=1.0, architecture="layer_norm"),
          "SAL throughout, falling": dict(sal=FALLING)}  # fmt: skip


def deep_rates() -> Named:
    """Networks of 300 layers at a third and three times Adam's rate, then with SGD at four rates."""
    gains = ("gain 1", "gain 1.1", "gain 1.2")
    slower = [(task, name, 1e-5) for name in (*gains, "SAL", "orthogonal") for task in TASKS]
    faster = [(task, name, 1e-4) for name in ("SAL", "gain 1.1") for task in TASKS]
    only = [("disc_and_ring", name, lr) for name, lr in (("gain 1", 1e-4), ("layer norm", 1e-5), ("layer norm", 1e-4))]
    for task, name, lr in slower + faster + only:
        yield f"{task}, {name}, rate {lr:g}", dict(task=task, lr=lr, **STARTS[name])
    sgd = dict(task="disc_and_ring", optimizer="sgd")
    for name in ("gain 1.2", "orthogonal"):  # at the rate of the others, 0.01
        yield f"disc_and_ring, {name}, SGD", dict(sgd, **STARTS[name])
    for lr in (1e-3, 3e-3, 3e-2):
        for name in ("SAL", *gains[1:], "orthogonal"):
            yield f"disc_and_ring, {name}, SGD, rate {lr:g}", dict(sgd, lr=lr, **STARTS[name])


def lag_rates() -> Named:
    """XOR over 300 time steps at a third and three times Adam's rate."""
    for lr in (1e-4, 1e-3):
        for name in ("SAL", "gain 1", "gain 1.05", "gain 1.1", "orthogonal", "SAL throughout, falling", "relu"):
            yield f"xor, {name}, rate {lr:g}", dict(lr=lr, **STARTS[name])
    yield "xor, relu, rate 1e-05", dict(lr=1e-5, **STARTS["relu"])  # it leaves the identity within a few larger steps
    for lr in (1e-4, 3e-4, 1e-3):  # the two best starts again, in a comparison that was planned before the runs
        for name in ("SAL", "gain 1.1"):
            yield f"xor, {name}, rate {lr:g}, again", dict(lr=lr, replicas=32, **STARTS[name])


# --- training: SAL and what it is compared with, the most important runs first --------------------------------------------------
Job = tuple[str, str, dict]
TUNED_RADIUS, TUNED_DEPTH = "tuned_radius", "tuned_depth"  # the files of the runs in tuned_radius.py and tuned_depth.py
NONE = dict(sal=False)
PAIRED = 102104  # the same networks and data for two policies; the recipe was completed after looking at them, so neither counts
GAINS = (0.8, 0.9, 1.0, 1.1, 1.2, 1.3)


def depth_jobs() -> Iterator[tuple[str, dict]]:
    """The training runs of deep networks, by name; most have 300 layers."""
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
    """The training runs of recurrent networks, by name; most have a lag of 300 time steps."""
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
    for gain in (1.5, 2.0):  # to find the largest gain that learns
        yield f"xor, gain {gain:g}", dict(NONE, gain=gain)
    yield "xor, orthogonal + SAL", dict(init="orthogonal")
    yield "xor, orthogonal + SAL by RMS", dict(init="orthogonal", sal=dict(average="rms"))  # the mean never reaches the target
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
    for task, others in (("lagged_parity", three), ("temporal_order", order)):  # the best settings for two pulses
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


# --- what trained networks do in the long run: runs of "lag" that are trained once more, and then measured ----------------------
REMEMBERED = ("xor, SAL from 0.5", "xor, gain 1.1", "xor, SAL, lag 30")
LIVE = dict(lag=50, steps=300, replicas=64, seed=crc32(b"memory: xor, SAL, lag 50") % 1_000_000)  # many of those trained live


def memory_jobs() -> Iterator[tuple[str, dict]]:
    """(name, arguments of ``train_lag``), with the settings and seeds of the stored runs of the same names, and one new run."""
    trained = {name: arguments for file, name, arguments in training_jobs() if file == "lag"}
    yield from ((name, trained[name]) for name in REMEMBERED)
    yield "xor, SAL, lag 50", LIVE


def function_of(job: Job) -> Callable:
    """The function that carries out this run."""
    return train_lag if job[0] in ("lag", TUNED_RADIUS) or job[1].startswith("lag") else train_deep


def train_one(job: Job, folder: Path) -> tuple[Job, dict]:
    """Carries out one run and returns its record. Its state is stored in ``folder`` meanwhile, so that it can be resumed."""
    arguments = job[2]
    record = run_one(function_of(job), arguments, folder).as_json()
    return job, {**record, "arguments": arguments}
