"""Two Krotov-Hopfield layers of 16 units while they learn the digits: one that learns, and one that collapses.

Rule, data, batches and rate are those of the chapter *Learning without a teacher*. Its layers have 200 units, these have as many
as can be looked at together. Everything is in double precision: another processor's rounding stays far below what is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from salnb.experiments.results.store import provenance
from salnb.representations import KrotovHopfieldLayer, covariance_spectrum
from salnb.representations.study.data import split_of
from tools.playground_data.numerals import packed

NAME, COMMENT = "receptive_fields", "Frames of two Krotov-Hopfield layers of 16 units on scikit-learn's digits, 6 bits a weight."
UNITS, UPDATES, LR, BATCH = 16, 3000, 0.04, 100
SEEDS = {"split": 2, "layer": 3}  # as in the chapter
STARTS = {"learns": {"centre": True, "shorten": 1.0}, "collapses": {"centre": False, "shorten": 0.1}}
# After how many updates there is a frame: most of them where most changes.
FRAMES = {"learns": (0, 20, 40, 60, 75, 90, 100, 110, 125, 145, 165, 200, 300, 600, 3000),
          "collapses": (0, 1, 2, 3, 5, 8, 12, 18, 25, 35, 50, 70, 100, 200, 3000)}  # fmt: skip


def images_of(centre: bool) -> tuple[Tensor, Tensor]:
    """1,000 digits to learn from and 500 to judge by, (1000, 64) and (500, 64), minus the mean of the former or as they are."""
    split = split_of("digits", 1, torch.Generator().manual_seed(SEEDS["split"]), centre=centre)
    return split.fit.images[0].double(), split.judge.images[0].double()


def frames(x: Tensor, shorten: float, after: Sequence[int]) -> list[KrotovHopfieldLayer]:
    """The layer after each of these numbers of updates.

    Args:
        x: images to learn from. shorten: factor on the weights at the start; 0.1 makes a start from which learning collapses.
        after: ascending; nothing is learned after the last.
    """
    generator = torch.Generator().manual_seed(SEEDS["layer"])
    layer = KrotovHopfieldLayer(x.shape[-1], UNITS, generator=generator, dtype=torch.float64)
    layer.weight.mul_(shorten)
    found = []
    for done in range(after[-1] + 1):
        if done in after:
            copy = KrotovHopfieldLayer(x.shape[-1], UNITS, dtype=torch.float64)
            copy.load_state_dict(layer.state_dict())
            found.append(copy)
        if done < after[-1]:
            rows = torch.randint(len(x), (BATCH,), generator=generator)
            layer.step(x[rows], LR * (1 - done / UPDATES))
    return found


def fields(layer: KrotovHopfieldLayer) -> Tensor:
    """Receptive fields (units, D), each divided by its own largest weight."""
    return layer.weight / layer.weight.abs().amax(-1, keepdim=True)


def wins(layer: KrotovHopfieldLayer, x: Tensor) -> Tensor:
    """How many of the images each unit wins, (units,)."""
    return torch.bincount(layer(x).argmax(-1), minlength=UNITS)


def course(centre: bool, shorten: float, after: Sequence[int]) -> dict[str, Any]:
    """What is stored of one training: per frame the fields, norms, wins and the spectrum of the drives over held-out digits."""
    x, held = images_of(centre)
    layers = frames(x, shorten, after)
    spectra = torch.stack([covariance_spectrum(layer(held)) for layer in layers])
    images = covariance_spectrum(held)
    return {
        "after": after, "fields": packed(torch.stack([fields(layer) for layer in layers]), digits=1, largest=1.0),
        "norms": packed(torch.stack([layer.norms() for layer in layers])),
        "wins": packed(torch.stack([wins(layer, x) for layer in layers]), largest=2047.0),
        "spectrum": packed(share_in_decades(spectra)), "images": packed(share_in_decades(images)[:UNITS]),
        "off": [round(layer.unconverged().item(), 4) for layer in layers],
    }  # fmt: skip


def share_in_decades(spectrum: Tensor) -> Tensor:
    """log10 of each eigenvalue's share of the variance, at least -9."""
    return (spectrum / spectrum.sum(-1, keepdim=True)).log10().clamp_min(-9)


def export() -> dict[str, Any]:
    """What the script needs: settings, provenance, and the two courses."""
    torch.set_num_threads(1)
    settings = {"units": UNITS, "updates": UPDATES, "lr": LR, "batch": BATCH, "seeds": SEEDS, "starts": STARTS}
    runs = {name: course(**start, after=FRAMES[name]) for name, start in STARTS.items()}
    return {"units": UNITS, "side": 8, "images": 1000, "source": {**provenance(), **settings}, "runs": runs}
