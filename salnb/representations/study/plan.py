"""Every network of the comparison by name, with all its settings, and the function that trains and measures one of them.

Nothing here is chosen by a result. The strengths are the published ones, and a range around them for the curves of accuracy
against robustness. All networks of one data set share splits, so that their differences are paired.
"""

import time
from collections.abc import Iterator
from zlib import crc32

import torch

from ...common.rounded import rounded
from ..krotov_hopfield import KrotovHopfieldLayer
from ..krotov_hopfield_training import train_krotov_hopfield
from ..training.recipe import as_recipe
from ..training.train import train_hidden
from .data import SETS, WINDOWS, Split, split_of
from .measurement import measure

REPLICAS = 8
EPOCHS = {"digits": 100, "patches": 50, "mnist1d": 60}
KROTOV_HOPFIELD = {"digits": dict(updates=8000, lr=0.04, batch=100), "patches": dict(updates=2500, lr=0.1, batch=256),
                   "mnist1d": dict(updates=8000, lr=0.04, batch=100)}  # fmt: skip
DECAYS = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3)
TARGETS = (1.0, 0.5, 0.25)
EXPONENTS = (1.0, 2.0, 3.0, 4.0)
EARLY = (1 / 25, 1 / 10, 1 / 4)  # shares of the epochs
SEARCHED = ("Krotov–Hopfield", "backpropagation", "decay 0.0005")  # also attacked without gradients


def contestants(name: str) -> Iterator[tuple[str, dict]]:
    """(name, settings of ``train_hidden``) of every network on this data set."""
    epochs = dict(epochs=EPOCHS[name])
    # The exponent is imposed on the ranks over which it is measured; patches need a batch that has so many.
    first, last = WINDOWS[name]
    spectrum = dict(epochs, model="spectral", strength=1.0, first=first, last=last, batch=200 if last > 90 else 100)
    yield "Krotov–Hopfield", dict(epochs, model="krotov_hopfield", power=4.5)
    yield "Krotov–Hopfield, power 1", dict(epochs, model="krotov_hopfield", power=1.0)
    yield "backpropagation", dict(epochs, model="backprop")
    yield "backpropagation, power 4.5", dict(epochs, model="backprop", power=4.5)
    yield "exemplars", dict(epochs, model="exemplars", power=4.5)
    yield "random features", dict(epochs, model="random")
    yield "random features, power 4.5", dict(epochs, model="random", power=4.5)
    for strength in DECAYS:
        yield f"decay {strength:g}", dict(epochs, model="decay", strength=strength)
    yield "Jacobian", dict(epochs, model="jacobian")
    yield "Jacobian, published estimator", dict(epochs, model="jacobian_published")
    yield "spectral", dict(spectrum, alpha=1.0, strength=0.3)
    for share in EARLY:
        yield f"early, {share:.0%}", dict(model="early", epochs=max(1, round(share * epochs["epochs"])))
    yield "16 components", dict(epochs, model="components")
    for alpha in EXPONENTS:
        yield f"exponent {alpha:g}", dict(spectrum, alpha=alpha)
    for target in TARGETS:
        yield f"sensitivity {target:g}", dict(epochs, model="sensitivity", activation="relu", target=target)
    yield "tanh", dict(epochs, model="backprop", activation="tanh")
    for target in TARGETS:
        yield f"tanh, sensitivity {target:g}", dict(epochs, model="sensitivity", activation="tanh", target=target)
    for strength in DECAYS:
        yield f"tanh, decay {strength:g}", dict(epochs, model="decay", activation="tanh", strength=strength)


Job = tuple[str, str, dict]


def study_jobs() -> list[Job]:
    """(data set, name, settings) of all runs; the most important networks of all sets come first."""
    runs = {name: list(contestants(name)) for name in SETS}
    return [(name, *runs[name][i]) for i in range(max(map(len, runs.values()))) for name in SETS if i < len(runs[name])]


def seed_of(name: str, what: str) -> int:
    """A seed for the splits of a data set (``what`` "splits"), or for one network."""
    return crc32(f"geometry: {name}, {what}".encode()) % 1_000_000


def krotov_hopfield(name: str, split: Split, generator: torch.Generator) -> tuple[KrotovHopfieldLayer, dict]:
    """The trained layer of every replica, and the shares of its units that have not converged and that win nothing."""
    x = split.fit.images
    layer = KrotovHopfieldLayer(x.shape[-1], 200, replicas=len(x), generator=generator)
    train_krotov_hopfield(layer, x, generator=generator, **KROTOV_HOPFIELD[name])
    return layer, {"unconverged": layer.unconverged().tolist(), "silent": layer.silent(x).tolist()}


def run_one(job: Job, *, replicas: int = REPLICAS, pilot: bool = False) -> dict:
    """Trains and measures one network of all replicas. ``pilot``: on other splits, for a first look, which are stored nowhere."""
    name, what, settings = job
    began, extra = time.perf_counter(), {}
    split = split_of(name, replicas, torch.Generator().manual_seed(seed_of(name, "splits") + pilot))
    generator = torch.Generator().manual_seed(seed_of(name, what) + pilot)
    if settings["model"] == "krotov_hopfield":
        # Both powers read the same layer.
        layer, extra = krotov_hopfield(name, split, torch.Generator().manual_seed(seed_of(name, "Krotov–Hopfield") + pilot))
        extra["hidden_weight"] = layer.effective_weight()
    weight = extra.pop("hidden_weight", None)
    net, history = train_hidden(*split.fit, hidden_weight=weight, classes=split.classes, generator=generator, **settings)
    trained = time.perf_counter() - began
    found = measure(net, split, generator, search=what in SEARCHED)
    found |= {"loss": history["loss"][-1].tolist(), **extra, "training_seconds": round(trained, 1)}
    return {**rounded(found), "seconds": round(time.perf_counter() - began, 1), "seed": generator.initial_seed()}


def settings_of(job: Job) -> dict:
    """What a stored run is compared with: a run with other settings is made again."""
    name, _, settings = job
    recipe = as_recipe(settings["model"], {k: v for k, v in settings.items() if k != "model"})
    extra = KROTOV_HOPFIELD[name] if settings["model"] == "krotov_hopfield" else {}
    return {**settings, **extra, "lr of Adam": recipe.lr, "batch of Adam": recipe.batch, "replicas": REPLICAS}
