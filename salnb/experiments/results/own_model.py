"""The runs behind *SAL on your own model*: where SAL helps and where it costs, on networks as people build them.

Two tasks: 30 plain layers of tanh or ReLU on scikit-learn's digits, and a small character model with LayerNorm and shortcuts on
this book's text. Each arm learns at a rate of its own, the best of three on seeds, images and text that judge nothing. The rule
that turns the numbers into verdicts is in ``book/claims.toml``.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from zlib import crc32

import torch

from ..tasks.frozen_text import SHA256, book_text
from ..tasks.handwritten_digits import all_digits
from ..training.character_model import train_characters
from ..training.plain_layers import seconds_alone, start_plain_layers, train_plain_layers

FILE = "own_model"
# Arm by arm: the line over the weights, and whether SAL acts before learning.
PLAIN = {
    "tanh": {"default": ("default", False), "SAL": ("default", True), "Xavier 1": ("Xavier 1", False),
             "Xavier 1 + SAL": ("Xavier 1", True), "Xavier 5/3": ("Xavier 5/3", False), "Xavier 5/3 + SAL": ("Xavier 5/3", True)},
    "relu": {"default": ("default", False), "SAL": ("default", True), "He": ("He", False), "He + SAL": ("He", True)},
}  # fmt: skip
CHARACTERS = {
    "default": dict(line="default", sal="never"),
    "Xavier": dict(line="Xavier", sal="never"),
    "SAL before": dict(line="default", sal="before", average="rms"),
    "SAL throughout": dict(line="default", sal="throughout"),
    "SAL throughout, RMS": dict(line="default", sal="throughout", average="rms"),
}
RATES, CHARACTER_RATES = (1e-4, 3e-4, 1e-3, 3e-3), (1e-3, 3e-3, 1e-2)
START, LEARN = dict(depth=30, passes=800, batch=32), dict(steps=600, batch=32)
MODEL = dict(passes=600, steps=800, batch=8)
NETWORKS, MODELS = 16, 8  # judged; the rates are selected on fewer
SELECTING, SELECTING_MODELS = 4, 1


def seeds_of(what: str, n: int) -> list[int]:
    """Seeds of a task, the same for all of its arms, so that their networks are paired."""
    first = crc32(f"own model: {what}".encode()) % 1_000_000
    return [first + 1000 * i for i in range(n)]


def own_model_jobs() -> Iterator[tuple[str, dict]]:
    """(name, settings) of all runs, in the order in which they are made: what selects a rate comes before what it is for."""
    for activation, arms in PLAIN.items():
        for arm, (line, sal) in arms.items():
            common = dict(activation=activation, line=line, sal=sal, start=START, learn=LEARN)
            yield f"digits, {activation}, {arm}, rates", dict(
                common, rates=list(RATES), seeds=seeds_of("digits, rates", SELECTING))  # fmt: skip
            yield f"digits, {activation}, {arm}", dict(common, seeds=seeds_of("digits", NETWORKS))
        yield f"digits, {activation}, alone", dict(activation=activation, seed=seeds_of("digits", 1)[0], passes=START["passes"])
    for arm, how in CHARACTERS.items():
        yield f"characters, {arm}, rates", dict(
            how, **MODEL, rates=list(CHARACTER_RATES), seeds=seeds_of("characters, rates", SELECTING_MODELS), text=SHA256[:16])
    for n in range(1, MODELS + 1):  # one network of each arm, then the next of each
        for arm, how in CHARACTERS.items():
            yield f"characters, {arm}", dict(how, **MODEL, seeds=seeds_of("characters", n), text=SHA256[:16])


def rate_of(name: str, read: Callable[[str], dict]) -> float:
    """The rate of an arm: of those that were tried the one with the highest mean accuracy, or the lowest mean loss."""
    tried = read(FILE)[f"{name}, rates"]
    key, sign = ("loss", -1) if "loss" in tried else ("accuracy", 1)
    means = [sign * sum(values) / len(values) for values in tried[key]]
    return tried["settings"]["rates"][means.index(max(means))]


def is_stored(name: str, settings: dict, read: Callable[[str], dict]) -> bool:
    """Whether a run has been made with these settings, for all of these seeds, and at the rate that is selected now."""
    run = read(FILE).get(name, {})
    before = run.get("settings", {})
    same = {**before, "seeds": None} == {**settings, "seeds": None}
    at_rate = "rates" in settings or "lr" not in run or run["lr"] == rate_of(name, read)
    return same and at_rate and set(settings.get("seeds", ())) <= set(before.get("seeds", ()))


def run_own_model(name: str, settings: dict, read: Callable[[str], dict]) -> dict:
    """Makes one run of ``own_model_jobs``; a run for some of its seeds is completed. Returns what is stored under its name."""
    torch.set_num_threads(1)
    if name.endswith(", alone"):
        return {**rounded(seconds_alone(all_digits()[0][:1500], **part(settings, "seed", "activation", "passes"))),
                "settings": settings}  # fmt: skip
    make, before = digits_run if name.startswith("digits") else characters_run, read(FILE).get(name, {})
    rates = settings.get("rates") or [rate_of(name, read)]
    known = {**before.get("settings", {}), "seeds": None} == {**settings, "seeds": None} and before.get("lr") == rates[0]
    done = before["settings"]["seeds"] if known else []
    found = rounded(make(settings, rates, [seed for seed in settings["seeds"] if seed not in done]))
    if "rates" not in settings:
        found = {key: value[0] if key in PER_RATE else value for key, value in found.items()}
        found = {**(joined(before, found) if done else found), "lr": rates[0]}
    return {**found, "settings": settings}


PER_RATE = ("accuracy", "train_loss", "loss", "log_sensitivity_after")


def part(settings: dict, *names: str) -> dict:
    """Those of these settings that are there."""
    return {name: settings[name] for name in names if name in settings}


def joined(before: dict, more: dict) -> dict:
    """Two runs of other seeds as one: lists of networks one behind the other, seconds added up."""
    return {key: before[key] if key == "watched" else before[key] + value for key, value in more.items()}


def digits_run(settings: dict, rates: list[float], seeds: list[int]) -> dict:
    """Plain layers on the digits: from one start, learning at each of these rates.

    While a rate is selected, the first 1,200 training images teach and the other 300 judge. The runs that count learn from all
    1,500 and are judged on the 297 images that are left.
    """
    images, labels = all_digits()
    cut, end = (1200, 1500) if "rates" in settings else (1500, len(labels))
    train, test = (images[:cut], labels[:cut]), (images[cut:end], labels[cut:end])
    net, found = start_plain_layers(train[0], seeds=seeds, **part(settings, "activation", "line", "sal"), **settings["start"])
    runs = [train_plain_layers(deepcopy(net), train, test, lr=lr, seeds=seeds, **settings["learn"]) for lr in rates]
    seconds = sum(run.pop("seconds_learning") for run in runs)
    return {**found, **{key: [run[key] for run in runs] for key in runs[0]}, "seconds": found["seconds_start"] + seconds}


def characters_run(settings: dict, rates: list[float], seeds: list[int]) -> dict:
    """The character model, for each rate and seed; a rate is selected on a part of the text that judges nothing."""
    text = book_text()
    test = text.selection if "rates" in settings else text.test
    how = part(settings, "line", "sal", "average", "passes", "steps", "batch")
    runs = [[train_characters(text.train, test, len(text.characters), lr=lr, seed=seed, **how) for seed in seeds] for lr in rates]
    column = lambda key: [[run[key] for run in row] for row in runs]  # noqa: E731
    return {"loss": column("loss"), "train_loss": column("train_loss"), "watched": runs[0][0]["watched"],
            "log_sensitivity": [run["log_sensitivity"][0] for run in runs[0]],
            "log_sensitivity_after": [[run["log_sensitivity"][1] for run in row] for row in runs],
            "seconds_start": sum(map(sum, column("seconds_start"))), "seconds": sum(map(sum, column("seconds")))}  # fmt: skip


def rounded(value: object) -> object:
    """Numbers with five decimals, in lists and dictionaries; seconds with one."""
    if isinstance(value, dict):
        return {key: round(inner, 1) if key.startswith("seconds") else rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(value, 5) if isinstance(value, float) else value


# --- the claims ----------------------------------------------------------------------------------------------------------------
LINES = {"tanh": ("Xavier 1", "Xavier 5/3"), "relu": ("He",)}


def differences(runs: dict, ours: str, other: str, key: str) -> list[float]:
    """Ours minus the other's, network by network; both have the same seeds."""
    return [a - b for a, b in zip(runs[ours][key], runs[other][key], strict=True)]


def own_model_groups(read: Callable[[str], dict]) -> dict[str, tuple[list[dict], dict[str, list[float]]]]:
    """For each claim the runs behind it and its groups; a claim of which runs are missing is left out.

    With the lines over the weights SAL is compared to the better one where there are two: the one with the higher mean accuracy.
    """
    runs, found = read(FILE), {}
    wanted = {name: settings for name, settings in own_model_jobs() if not name.endswith(("rates", "alone"))}
    complete = {name for name, settings in wanted.items() if runs.get(name, {}).get("settings") == settings}
    shown = {"tanh": "tanh", "relu": "ReLU"}
    pairs: dict[str, dict[str, tuple[str, str, str]]] = {"own-model-start": {}, "own-model-line": {}, "own-model-cost": {}}
    for activation, lines in LINES.items():
        arm = lambda name: f"digits, {activation}, {name}"  # noqa: B023, E731
        pairs["own-model-start"][shown[activation]] = arm("SAL"), arm("default"), "accuracy"
        if all(arm(line) in complete for line in lines):
            best = max(lines, key=lambda line: sum(runs[arm(line)]["accuracy"]))  # noqa: B023
            pairs["own-model-line"][shown[activation]] = arm("SAL"), arm(best), "accuracy"
    for group, arm in (("by the mean", "SAL throughout"), ("by the RMS", "SAL throughout, RMS")):
        pairs["own-model-cost"][group] = f"characters, {arm}", "characters, default", "loss"
    for claim, groups in pairs.items():
        needed = {name for ours, other, _ in groups.values() for name in (ours, other)}
        if len(groups) == 2 and needed <= complete:
            made = [runs[name] for name in sorted(needed)]
            found[claim] = made, {group: differences(runs, *pair) for group, pair in groups.items()}
    return found
