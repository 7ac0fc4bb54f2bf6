"""A rate for everyone: the contestants of the experiments at rates other than the one that was found with SAL.

A start without SAL that fails at SAL's rate may only have the wrong rate. So those that matter get a slower and a faster one.
"""

from collections.abc import Iterator

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
    for lr in (1e-4, 3e-4, 1e-3):  # the two that did best once more, a comparison that was planned before it was run
        for name in ("SAL", "gain 1.1"):
            yield f"xor, {name}, rate {lr:g}, again", dict(lr=lr, replicas=32, **STARTS[name])
