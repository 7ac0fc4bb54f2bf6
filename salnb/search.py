"""The search for the recipe: a few networks per setting, over other seeds than the experiments that follow from it.

Everything is said in full, so that a later change of the defaults does not change what was searched.
"""

from collections.abc import Iterator
from dataclasses import asdict

from .policy import Policy

BEFORE = dict(when="before", learning_lr=1e-3, learning_target=1.0, every=1)
LATER = ("falling",)  # came after the search; at its default it changes nothing


def in_full(policy: Policy) -> dict:
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
