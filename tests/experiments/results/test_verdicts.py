"""The claims' figures, computed from stored runs."""

from salnb.experiments.results.plan import LAYERS
from salnb.experiments.results.verdicts import transmission_groups


def test_every_planned_layer_makes_a_group_forward_and_one_backward():
    named = {f"{s['activation']}, {s['width']}": {"settings": s, "forward": [i, i], "backward": [-i, -i]}
             for i, s in enumerate(LAYERS)}  # fmt: skip
    groups = transmission_groups(named)
    assert len(groups) == 2 * len(LAYERS) and list(groups)[:2] == ["tanh, N = 16, forward", "tanh, N = 16, backward"]
    assert groups["relu, N = 256, backward"] == [-5, -5]
    first = next(iter(named))
    assert transmission_groups({**named, first: {**named[first], "settings": {}}}) == {}  # another run is not the planned one
