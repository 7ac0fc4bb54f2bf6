"""The runs behind the comparison of SAL and gradient flossing in *What SAL cannot do*.

The same 32 recurrent networks, and the same sequences, in every arm: as they are drawn, orthogonal, after SAL, after flossing,
after SAL and then flossing; and after SAL with three times as many learning steps, since flossing takes long. First the singular
values of a product of 100 Jacobians, then learning the order of two symbols. Each arm learns at the rate of three that did best
on networks that judge nothing. The rule that turns the numbers into verdicts is in ``book/claims.toml``.
"""

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import torch
from torch import Tensor

from ...networks.recurrent import TanhRNN
from ..tasks.classification import as_classification_task
from ..training.baselines import recurrent_net
from ..training.flossing import leading_exponents, learned, treated
from ..training.recipe import LAG
from ..training.record import rounded
from ..training.sweeps import name_of

FILE = "flossing"
ARMS = {
    "gain 1": dict(init="gaussian", sal=False, flossing=False),
    "orthogonal": dict(init="orthogonal", sal=False, flossing=False),
    "SAL": dict(init="gaussian", sal=True, flossing=False),
    "flossing": dict(init="gaussian", sal=False, flossing=True),
    "SAL, then flossing": dict(init="gaussian", sal=True, flossing=True),
}
LONG_ARM = "SAL, longer"  # at the rate of SAL; all else is as there
COMMON_RATE = 1e-3  # the arms with SAL once more at this rate, after a look: the one selected did worse on those that count
SIZES = dict(task="temporal_order", lag=60, n_hidden=32)
FLOSSING = dict(k=16, steps=80, lr=3e-3, batch=1)  # found on other networks, before the runs that count
LEARNING, LONGER = dict(steps=1500, batch=16), dict(steps=4500, batch=16)
PRODUCT = dict(steps=100, sequences=4)
RATES = (3e-4, 1e-3, 3e-3)
NETWORKS, SELECTING = 32, 8
FACTOR = 10.0  # a direction counts as kept as long as its singular value is within this factor of the largest


def seed_of(what: str) -> int:
    """A seed for the weights, the sequences or the learning; all arms share it, so that their networks are paired."""
    return crc32(f"flossing: {what}".encode()) % 1_000_000


def flossing_jobs() -> Iterator[tuple[str, dict]]:
    """(name, settings) of all runs, in the order in which they are made: what selects a rate comes before what it is for."""
    def settings_of(arm: str, how: dict, learning: dict) -> dict:
        named = {**how, "flossing": FLOSSING if how["flossing"] else None}
        return dict(arm=arm, **named, **SIZES, learning=learning, product=PRODUCT)

    for arm, how in ARMS.items():
        yield rates_name(arm), dict(settings_of(arm, how, LEARNING), networks=SELECTING, rates=list(RATES), seed=seed_of("rates"))
        yield arm, dict(settings_of(arm, how, LEARNING), networks=NETWORKS, seed=seed_of("networks"))
    yield LONG_ARM, dict(settings_of(LONG_ARM, ARMS["SAL"], LONGER), networks=NETWORKS, seed=seed_of("networks"))
    for arm in ("SAL", "SAL, then flossing"):
        again = f"{arm}, rate {COMMON_RATE:g}"
        yield again, dict(settings_of(again, ARMS[arm], LEARNING), networks=NETWORKS, seed=seed_of("networks"), lr=COMMON_RATE)


def rates_name(arm: str) -> str:
    """The name of the run that selects the rate of this arm."""
    return f"{'SAL' if arm == LONG_ARM else arm}, rates"


def rate_of(arm: str, read: Callable[[str], dict]) -> float:
    """The rate of an arm: of those that were tried the one with the highest mean accuracy."""
    tried = read(FILE)[rates_name(arm)]
    means = [sum(values) / len(values) for values in tried["accuracy"]]
    return tried["settings"]["rates"][means.index(max(means))]


def flossing_is_stored(name: str, settings: dict, read: Callable[[str], dict]) -> bool:
    """Whether a run has been made with these settings and at the rate that is selected now."""
    run = read(FILE).get(name, {})
    return run.get("settings") == settings and ("rates" in settings or run["lr"] == (settings.get("lr") or rate_of(name, read)))


def log_singular_values(net: TanhRNN, settings: dict) -> Tensor:
    """ln σ (R, B, N), descending, of the product of so many Jacobians of one time step, at fresh sequences of that length."""
    problem = as_classification_task(settings["task"], lag=settings["product"]["steps"] - 1)
    drawn, (replicas,) = torch.Generator().manual_seed(settings["seed"] + 3), net.replicas
    inputs, _ = problem.draw(settings["product"]["sequences"], drawn, replicas, fresh=True)
    with torch.no_grad():
        return len(inputs) * leading_exponents(deepcopy(net).double(), inputs.double(), net.n_hidden[-1])


def kept_directions(logs: Tensor) -> Tensor:
    """How many singular values lie within ``FACTOR`` of the largest: (R, B, N) -> (R,), the mean over the sequences.

    Example:
        >>> kept_directions(torch.tensor([[[0.0, -1.0, -9.0], [0.0, -3.0, -9.0]]]))
        tensor([1.5000], dtype=torch.float64)
    """
    return (logs[..., :1] - logs < math.log(FACTOR)).double().sum(-1).mean(-1)


def product_figures(net: TanhRNN, settings: dict) -> dict:
    """The singular values of the product as stored: ln σ, the mean over sequences, and how many directions are kept."""
    logs = log_singular_values(net, settings)
    return {"log_singular_values": rounded(logs.mean(1), 2), "directions": rounded(kept_directions(logs), 2)}


def run_flossing(name: str, settings: dict, read: Callable[[str], dict], folder: Path) -> dict:
    """Makes one run of ``flossing_jobs``; ``folder`` holds the state of learning meanwhile. Returns what is stored."""
    torch.set_num_threads(1)
    problem, seed = as_classification_task(settings["task"], lag=settings["lag"]), settings["seed"]
    net = recurrent_net("tanh", problem.n_in, settings["n_hidden"], problem.n_out, gain=1.0, init=settings["init"],
                        lag=settings["lag"], replicas=settings["networks"],
                        generator=torch.Generator().manual_seed(seed))  # fmt: skip
    policy = replace(LAG, when="before") if settings["sal"] else None
    done = treated(net, problem, sal=policy, flossing=settings["flossing"], generator=torch.Generator().manual_seed(seed + 1))
    before = product_figures(net, settings)
    rates = settings.get("rates") or [settings.get("lr") or rate_of(name, read)]
    found = []
    for lr in rates:
        path = folder / f"{name_of({**settings, 'lr': lr})}.pt"
        trained, run = learned(net, problem, settings=settings, lr=lr, seed=seed + 2, path=path, **settings["learning"])
        found.append((run, product_figures(trained, settings)))
        path.unlink(missing_ok=True)
    each = {"accuracy": [rounded(run.accuracy, 4) for run, _ in found], "held": [rounded(run.held, 4) for run, _ in found],
            "log_sensitivity": [rounded(run.history["log_sensitivity"][0], 4) for run, _ in found],
            "after": [after for _, after in found]}  # fmt: skip
    seconds = {key: round(value, 1) for key, value in done.items() if key.startswith("seconds")}
    learning = round(sum(run.seconds for run, _ in found), 1)
    stored = {**done, **seconds, "floss_loss": [round(v, 5) for v in done["floss_loss"]], "before": before,
              "seconds_learning": learning, "seconds": round(sum(seconds.values()) + learning, 1)}  # fmt: skip
    if "rates" in settings:
        return {**stored, "accuracy": each["accuracy"], "settings": settings}
    return {**stored, **{key: values[0] for key, values in each.items()}, "lr": rates[0], "settings": settings}


def flossing_groups(read: Callable[[str], dict]) -> dict[str, tuple[list[dict], dict[str, list[float]]]]:
    """For each claim the runs behind it and its groups of paired differences; a claim of which runs are missing is left out."""
    runs = read(FILE)
    complete = {name for name, settings in flossing_jobs() if runs.get(name, {}).get("settings") == settings}
    count = lambda run: run["before"]["directions"]  # noqa: E731
    right = lambda run: run["accuracy"]  # noqa: E731
    with_flossing = {arm: (arm, "SAL") for arm in ("flossing", "SAL, then flossing")}
    pairs = {
        "flossing-directions": (count, with_flossing),
        "flossing-lag": (right, with_flossing),
        "flossing-alone": (right, {"flossing": ("flossing", "SAL, then flossing")}),
    }
    found = {}
    for claim, (of, groups) in pairs.items():
        needed = sorted({name for pair in groups.values() for name in pair})
        if set(needed) <= complete:
            found[claim] = [runs[name] for name in needed], {
                group: [a - b for a, b in zip(of(runs[ours]), of(runs[other]), strict=True)]
                for group, (ours, other) in groups.items()}  # fmt: skip
    return found
