"""Every run of the chapter by name, with all its settings, and the function that makes one of them.

Nothing here is chosen by a result. Runs of one data set share the seeds of splits and of weights, so that their differences are
paired: a replica begins with the same weights and fits the same samples in all of them.
"""

import time
from collections.abc import Callable, Mapping
from zlib import crc32

from ...common.rounded import rounded
from .branches import part
from .data import SETS
from .learning import learn
from .lottery import draw_tickets
from .modular_addition import grok

FILE = "weights"
REPLICAS = 8
DECAYS = (1e-4, 1e-3, 3e-3, 1e-2)
DECAY = 1e-3  # the one that the claims are about
EPOCHS = {"digits": 200, "mnist1d": 100}  # about 9,000 steps each
# Under permuted labels all have to be fitted. With 64 neurons and the rate 0.05 of the first plan 12 % were, so it was lowered.
WIDTHS = {64: dict(lr=0.01, epochs=600), 256: dict(lr=0.02, epochs=300)}
SHARES = {"30 %, decay 1": dict(share=0.3, steps=4000, lr=3e-3, decay=1.0),
          "30 %, no decay": dict(share=0.3, steps=4000, lr=3e-3, decay=0.0),
          "90 %, decay 1": dict(share=0.9, steps=1500, lr=3e-3, decay=1.0),
          "90 %, no decay": dict(share=0.9, steps=2000, lr=1e-3, decay=0.0)}  # fmt: skip
DENSITY = 0.05
TICKETS = dict(densities=(0.2, 0.1, DENSITY, 0.02), retrained=DENSITY, rewind=2, lr=0.05, decay=1e-4)
BRANCHES = {"digits": dict(splits=(0, 1, 2, 4, 8, 16), perturbed_at=8, epochs=30),
            "mnist1d": dict(splits=(0, 1, 2, 4, 8), perturbed_at=4, epochs=15)}  # fmt: skip
SIZES = (0.1, 0.5, 1.0, 2.5)

Job = tuple[str, Callable[..., dict], dict]
Runs = Mapping[str, dict]


def seeds_of(data: str) -> list[int]:
    """The seeds of splits and of weights, by the name of the data alone."""
    return [crc32(f"{FILE}: {data}, {what}".encode()) % 1_000_000 for what in ("splits", "weights")]


def held(decay: float) -> dict[str, bool]:
    """The names of the controls with the norms of the networks that decayed, and whether these follow their course."""
    return {f"norms of decay {decay:g}": False, f"course of decay {decay:g}": True}


def jobs() -> list[Job]:
    """(name, function, settings) of all runs, those of the main claims first."""
    found: list[Job] = []
    for data, epochs in EPOCHS.items():
        common = dict(data=data, epochs=epochs, lr=0.05)
        for decay in (0.0, *(DECAYS if data == "digits" else (DECAY,))):
            found.append((f"{data}, decay {decay:g}", learn,
                          dict(common, decay=decay, movie=data == "digits" and decay in (0.0, DECAY))))  # fmt: skip
        found += [(f"{data}, {name}", learn, dict(common, norms=f"{data}, decay {DECAY:g}", along=along))
                  for name, along in held(DECAY).items()]  # fmt: skip
    found.append(("digits, small start", learn, dict(data="digits", epochs=EPOCHS["digits"], lr=0.05, scale=0.3)))
    for share, settings in SHARES.items():
        found.append((f"addition, {share}", grok, dict(settings, data="addition")))
    for width, settings in WIDTHS.items():
        for permuted in (False, True):
            name = f"digits, {width} neurons, {'permuted' if permuted else 'true'} labels"
            found.append((name, learn, dict(settings, data="digits", width=width, permuted=permuted)))
    for data in SETS:
        found.append((f"{data}, tickets", draw_tickets, dict(TICKETS, data=data, epochs=80 if data == "digits" else 40)))
        found.append((f"{data}, branches", part, dict(BRANCHES[data], data=data, sizes=SIZES, lr=0.1)))
    return found


def settings_of(job: Job) -> dict:
    """What a stored run is compared with: a run with other settings is made again."""
    name, function, settings = job
    return {**settings, "function": function.__name__, "replicas": REPLICAS, "seeds": seeds_of(settings["data"])}


def ready(job: Job, runs: Runs) -> bool:
    """Whether the networks whose norms it holds have been trained."""
    return job[2].get("norms") in (None, *runs)


def run_one(job: Job, runs: Runs, replicas: int = REPLICAS) -> dict:
    """Makes one run; ``runs`` holds the one whose norms it needs."""
    _, function, settings = job
    began, given = time.perf_counter(), dict(settings)
    if given.get("norms") is not None:
        run = runs[given["norms"]]
        given["norms"] = {"epochs": run["epochs"], **run["norms"]}
    seeds = tuple(seeds_of(given["data"]))
    if function is grok:
        given.pop("data")
        found = function(seeds, replicas=replicas, **given)
    else:
        found = function(given.pop("data"), seeds, replicas=replicas, **given)
    return {**rounded(found), "seconds": round(time.perf_counter() - began, 1)}
