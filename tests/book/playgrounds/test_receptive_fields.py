"""The stored frames of the Krotov-Hopfield layers are what the library gives for that seed, and the figure shows those."""

import pytest
import torch

from tools.playground_data import receptive_fields as fields
from tools.playground_data.numerals import read, unpacked
from tools.stills import opened

STORED = read(fields.NAME)
PREFIX = 12  # frames that are computed again: the first 200 and 70 updates, in which most happens


def parts(name):
    run = STORED["runs"][name]
    return {part: unpacked(run[part]).view(len(run["after"]), -1) for part in ("fields", "norms", "wins", "spectrum")}


@pytest.mark.parametrize("name", fields.STARTS)
def test_the_frames_are_what_the_library_gives(name):
    after, stored = STORED["runs"][name]["after"][:PREFIX], parts(name)
    start = fields.STARTS[name]
    x, held = fields.images_of(start["centre"])
    found = fields.frames(x, start["shorten"], after)
    # How far rounding is carried: the same run from a start that is off by 1e-12, thousands of roundings.
    other = fields.frames(x, start["shorten"] * (1 + 1e-12), after)
    units = {part: STORED["runs"][name][part]["unit"] for part in stored}
    compute = {"fields": fields.fields, "norms": lambda layer: layer.norms(),
               "spectrum": lambda layer: fields.share_in_decades(fields.covariance_spectrum(layer(held)))}  # fmt: skip
    for part, of in compute.items():
        values, nearby = (torch.stack([of(layer).flatten() for layer in layers]) for layers in (found, other))
        carried = (values - nearby).abs().max().item()
        assert carried < 0.01 * units[part], "rounding is as large as what is stored"
        assert (values - stored[part][:PREFIX]).abs().max() <= units[part] / 2 + carried + 1e-12, part
    assert torch.equal(torch.stack([fields.wins(layer, x) for layer in found]).double(), stored["wins"][:PREFIX].round())
    assert STORED["runs"][name]["off"][:PREFIX] == [round(layer.unconverged().item(), 4) for layer in found]


def test_one_layer_learns_and_the_other_only_looks_as_if():
    learned, collapsed = (parts(name)["wins"][-1].round() for name in ("learns", "collapses"))
    assert (learned > 0).all() and learned.sum() == STORED["images"]
    assert (collapsed > 0).sum() == 1
    assert STORED["runs"]["learns"]["off"][-1] == STORED["runs"]["collapses"]["off"][-1] == 0


def test_the_figure_shows_these_frames(browser):
    look = """(name) => {
      const course = salnb.models.receptive_fields.course(salnb.data.receptive_fields, name);
      const parts = ["fields", "norms", "wins", "spectrum"].map((part) => [part, course[part].map((row) => [...row])]);
      return { ...Object.fromEntries(parts), silent: course.silent };
    }"""
    page = opened(browser, fields.NAME)
    for name in STORED["runs"]:
        seen = page.evaluate(look, name)
        for part, values in parts(name).items():
            assert seen[part] == values.tolist()
        assert seen["silent"] == [(row.round() == 0).double().mean().item() for row in parts(name)["wins"]]
    shown = page.evaluate("""(frames) => frames.map((frame) => { const slider = document.querySelector("input[type=range]");
      slider.value = frame; slider.dispatchEvent(new Event("input"));
      return [...document.querySelectorAll(".number output")].map((output) => output.textContent); })""", [0, 99])
    assert shown == [["100 %", "0 %"], ["0 %", "0 %"]]
