"""The last comparison in depth: 300 layers, each task at two rates of Adam, a gain that was selected there against SAL.

As in ``tuned_radius``: networks that select judge nothing, the local rule stands beside SAL before learning only, and the rate
counts at which the selected gain held most in selection. One task is done again at two other widths, because theory says that
depth over width is what counts: how far a random start strays grows with L/N.
"""

from collections.abc import Iterator
from zlib import crc32

from .held_accuracy import count_held, first_success
from .plan import FALLING, TASKS, TUNED_DEPTH, Job
from .tuned_radius import Read

FILE = TUNED_DEPTH
RATES = (1e-5, 3e-5)
GAINS = (1.0, 1.05, 1.1, 1.15, 1.2)
SELECTING, JUDGING = 8, 16
USUAL_GAIN = 1.1  # what a tie is decided by: the nearest one
SUCCESS = 0.95
WIDE_TASK, WIDTHS = "parity", (32, 128)  # beside 64
ARMS = {"local SAL": dict(sal=FALLING), "SAL before only": dict(sal=dict(when="before"))}


def settings_of() -> list[tuple[str, dict]]:
    """(name, arguments of ``train_deep``) of all settings in which a gain is selected and judged."""
    tasks = [(task, dict(task=task)) for task in TASKS]
    return tasks + [(f"{WIDE_TASK}, {width} neurons", dict(task=WIDE_TASK, width=width)) for width in WIDTHS]


def selection_name(setting: str, gain: float, lr: float) -> str:
    """The name of the run of one gain at one rate."""
    return f"selection, {setting}, gain {gain:g}, rate {lr:g}"


def selection_jobs() -> Iterator[tuple[str, dict]]:
    """(name, arguments) of the networks that choose and do not judge."""
    for setting, settings in settings_of():
        for lr in RATES:
            for gain in GAINS:
                how = dict(sal=False, gain=gain, lr=lr, replicas=SELECTING, steps=300, **settings)
                yield seeded(selection_name(setting, gain, lr), how)


def seeded(name: str, settings: dict) -> tuple[str, dict]:
    """A run with a seed that depends on its name and this file's alone."""
    return name, {"seed": crc32(f"{FILE}: {name}".encode()) % 1_000_000, **settings}


def score(run: dict) -> tuple[int, int]:
    """How many networks of a run held, and how many were right at some look: what selection goes by, in this order."""
    return count_held(run, SUCCESS)[0], sum(step is not None for step in first_success(run, SUCCESS))


def selected(setting: str, lr: float, runs: dict) -> float | None:
    """The gain that held most at this rate; of equal ones the more often right, then the nearest to 1.1, then the smaller.

    None as long as one of them has not been run.
    """
    found = {gain: runs.get(selection_name(setting, gain, lr)) for gain in GAINS}
    if not all(found.values()):
        return None
    return max(found, key=lambda gain: (*score(found[gain]), -round(abs(gain - USUAL_GAIN), 6), -gain))


def deciding_rate(setting: str, runs: dict) -> float | None:
    """The rate at which the selected gain held most in selection; of equal ones the larger, at which learning is faster."""
    best = {lr: selected(setting, lr, runs) for lr in RATES}
    if None in best.values():
        return None
    return max(RATES, key=lambda lr: (*score(runs[selection_name(setting, best[lr], lr)]), lr))


def judgement_jobs(runs: dict) -> Iterator[tuple[str, dict]]:
    """(name, arguments) of the networks that judge, at both rates, in every setting whose selection is complete."""
    for setting, settings in settings_of():
        gains = {lr: selected(setting, lr, runs) for lr in RATES}
        if None in gains.values():
            continue
        for lr, gain in gains.items():
            for arm, how in {**ARMS, "tuned gain": dict(sal=False, gain=gain)}.items():
                yield seeded(f"{arm}, {setting}, rate {lr:g}", dict(how, lr=lr, replicas=JUDGING, steps=300, **settings))


def tuned_depth_jobs(read: Read) -> list[Job]:
    """All runs that can be named now, those of each setting's judgement as soon as its selection is complete."""
    return [(FILE, name, arguments) for name, arguments in (*selection_jobs(), *judgement_jobs(read(FILE)))]
