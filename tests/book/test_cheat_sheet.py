"""The cheat sheet: each piece runs after the first one alone, and does what the words above it say."""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from salnb import TanhRNN, neuron_sensitivity, rnn_step, sensitivity_gradient
from salnb.representations import fgsm
from tools.tree import ROOT

PATH = ROOT / "book/appendix/cheat_sheet.md"
PAGE = PATH.read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"^\*\*(?P<title>[^*]+?)[.?]\*\*(?P<words>[^\n]*)\n\n```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
FIRST = BLOCK.findall(PAGE)[0]
CODE = {entry["title"]: entry["code"] for entry in ENTRY.finditer(PAGE)}
Names = dict[str, object]


def run(code: str, names: Names | None = None) -> Names:
    """What a piece defines, given only what the first piece does; "said" is what it printed."""
    names = {} if names is None else names
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        if not names:
            exec(compile(FIRST, "the first piece", "exec"), names)
        exec(compile(code, code, "exec"), names)
    return names | {"said": said.getvalue()}


def rms_of_layer(model: nn.Module, layer: nn.Linear, inputs: torch.Tensor) -> float:
    """The RMS sensitivity of a tanh layer, measured anew from its weights and what it was given."""
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda module, given, out: seen.append(out))
    with torch.no_grad():
        model(inputs)
        hook.remove()
        return neuron_sensitivity(layer.weight, seen[0]).square().mean().sqrt().item()


def by_autograd(layer: nn.Linear, x: torch.Tensor, create: bool = False) -> torch.Tensor:
    """Sensitivities (B, N) of a tanh layer, one neuron after the other, as lengths of gradients."""
    x = x.detach().requires_grad_()
    outputs = torch.tanh(layer(x)).sum(0)
    return torch.stack([torch.autograd.grad(o, x, retain_graph=True, create_graph=create)[0].norm(dim=-1) for o in outputs], -1)


# --- what must come out, by title


def each_neuron(n: Names) -> None:
    assert n["s"].shape == (64, 50)
    torch.testing.assert_close(n["s"], by_autograd(n["net"][2], n["net"][:2](n["batch"])), rtol=1e-4, atol=1e-6)


def whole_layer(n: Names) -> None:
    x = n["net"][:2](n["batch"]).detach()
    # a random change grows by the RMS length of the Jacobian's rows: 64 Jacobians of 50 x 50
    squares = [torch.autograd.functional.jacobian(n["net"][2:4], point).square().sum() / 50 for point in x]
    assert n["growth"].item() == pytest.approx(0.5 * math.log(torch.stack(squares).mean()), abs=1e-5)


def table(n: Names) -> None:
    (row,) = n["monitor"].summary()
    assert row["layer"] == "2" and row["neurons"] == 50 and row["dead"] == row["saturated"] == 0
    assert row["rms"] == pytest.approx(rms_of_layer(n["net"], n["net"][2], n["batch"]), rel=1e-5)
    assert all(word in n["said"] for word in ("mean", "rms", "saturated", "dead"))


def gradient_of_sensitivity(n: Names) -> None:
    layer = n["net"][2]
    mean = by_autograd(layer, n["x"], create=True).mean(0).sum()
    for ours, truth in zip((n["by_weight"], n["by_bias"]), torch.autograd.grad(mean, (layer.weight, layer.bias)), strict=True):
        torch.testing.assert_close(ours.detach(), truth, rtol=1e-4, atol=1e-6)


def has_arrived(net: nn.Module, layer: nn.Linear, batch: torch.Tensor, margin: float = 0.05) -> None:
    """At rest: the one-sided rule ends above target by at most what the average lags, η / (1 − β) = 0.02."""
    fresh = nn.Linear(layer.in_features, layer.out_features)
    assert neuron_sensitivity(fresh.weight, torch.zeros(1, layer.out_features)).max() < 0.9  # it did not start there
    assert abs(rms_of_layer(net, layer, batch) - 1) < margin


def before_learning(n: Names) -> None:
    has_arrived(n["net"], n["net"][2], n["batch"])
    assert n["history"]["below_target"][0].item() == 1 and n["history"]["below_target"][-1].item() == 0
    assert not any(module._forward_hooks for module in n["net"].modules())


def as_long_as_it_takes(n: Names) -> None:
    assert 10 < n["passes"] < 1000 and n["sal"].share_below_target().item() < 0.05
    has_arrived(n["net"], n["net"][2], n["batch"])


def while_learning(n: Names) -> None:
    torch.manual_seed(torch.initial_seed())
    fresh = run("")  # the same network and batch, as they were
    start = nn.functional.mse_loss(fresh["net"](fresh["batch"]), fresh["targets"])
    assert nn.functional.mse_loss(n["net"](n["batch"]), n["targets"]) < start
    assert rms_of_layer(n["net"], n["net"][2], n["batch"]) > rms_of_layer(fresh["net"], fresh["net"][2], fresh["batch"]) + 0.1


def own_module(n: Names) -> None:
    assert set(n["sal"].sensitivity) == {"hidden"}
    has_arrived(n["mine"], n["mine"].hidden, n["batch"])


def recurrent(n: Names) -> None:
    (average,) = n["sal"].sensitivity.values()
    assert average.shape == (50,) and ((average - 1).abs() < 0.05).all()


def gated(n: Names) -> None:
    """The rows of the step's Jacobian by autograd, at the states of a new sequence: near 1, and a fresh GRU's are not."""
    for gru, least, largest in (n["gates"], 0.9, 1.1), (torch.nn.GRU(3, 50), 0.3, 0.8):
        x = 0.1 * torch.randn(20, 8, 3)
        before = torch.cat([torch.zeros(1, 8, 50), gru(x)[0][:-1]]).detach()
        step = lambda h, u, gru=gru: gru(u.view(1, 1, 3), h.view(1, 1, 50))[0].flatten()  # noqa: E731
        rows = [torch.func.jacrev(step)(before[t, 0], x[t, 0]).norm(dim=1) for t in (0, 5, 19)]
        assert least < torch.stack(rows).mean() < largest


def logistic(n: Names) -> None:
    spectrum = n["spectrum"]
    assert abs(spectrum.exponents - math.log(2)).item() < 5 * spectrum.stderr.item() < 0.3
    assert "LyapunovSpectrum: 1 of 1" in n["said"] and "±" in n["said"]


def driven_gru(n: Names) -> None:
    """A gated network as PyTorch starts it forgets, at the rate at which a tangent shrinks under this input."""
    state, tangent, logs = torch.zeros(1, 20), torch.ones(1, 20), []
    for u in n["drive"]:
        state, tangent = torch.func.jvp(lambda s, u=u: n["gru"](u.view(1, 1, 3), s[None])[1][0], (state,), (tangent,))
        logs.append(tangent.norm().log().item())
        tangent = tangent / tangent.norm()
    # after 100 steps both tangents lie along the leading direction, up to exp(-100 times the gap to the second)
    assert n["spectrum"].exponents.item() == pytest.approx(np.mean(logs[100:]), abs=2e-3) and np.mean(logs) < -0.05


def driven_step(n: Names) -> None:
    alone, driven = n["alone"].exponents.item(), n["driven"].exponents.item()
    assert alone > 0.05 and driven < -0.05  # of four seeds, the exponents are 0.19 to 0.30 and −0.23 to −0.20


def beside_sensitivities(n: Names) -> None:
    exponent, logs = n["spectrum"].exponents.item(), n["spectrum"].log_sensitivity().item()
    # at rest every neuron's slope is 1 and its length near the gain; a random matrix scatters by a few times 1/sqrt(N)
    assert abs(logs - math.log(0.5)) < 0.05 and abs(exponent - logs) < 0.25


def finite_time(n: Names) -> None:
    step, state = rnn_step(n["gru"].double()), torch.zeros(20, dtype=torch.float64)
    product = torch.eye(20, dtype=torch.float64)
    for u in n["drive"][:50].double():
        product = torch.autograd.functional.jacobian(lambda s, u=u: step(s, u), state) @ product
        state = step(state, u).detach()
    largest = torch.linalg.svdvals(product)[0].log() / 50
    assert n["first_three"].shape == (3,) and abs(n["first_three"][0] - largest) < 1e-4


def whole_spectrum(n: Names) -> None:
    exponents = n["spectrum"].exponents
    assert exponents.shape == (100,) and (exponents[:-1] >= exponents[1:]).all() and exponents[0] > 0 > exponents[-1]
    assert n["entropy"] == exponents[exponents > 0].sum() and 1 < n["dimension"] < 100
    assert (n["spectrum"].stderr[:5] > 0).all() and n["said"].count("tensor") == 3


def directions(n: Names) -> None:
    vectors = n["vectors"]
    assert vectors.vectors.shape == (100, 100, 2) and vectors.angles(0, 1).shape == (100,)
    step, t = vectors.states, 10
    jacobian = torch.autograd.functional.jacobian(lambda x: torch.tanh(3.0 * x @ n["weight"].T), step[t])
    pushed = jacobian @ vectors.vectors[t]
    cosine = (pushed * vectors.vectors[t + 1]).sum(0).abs() / pushed.norm(dim=0)
    assert (cosine > 0.99).all()  # carried into each other


def depth_profile(n: Names) -> None:
    hidden = n["net"][:4](n["batch"]).detach().requires_grad_()
    nn.functional.mse_loss(n["net"][4](hidden), n["targets"]).backward()
    assert n["profile"].shape == (2,) and n["profile"][-1].item() == pytest.approx(hidden.grad.norm().item(), rel=1e-4)


def time_profile(n: Names) -> None:
    assert n["profile"].shape == (300,)
    out = n["gru"](n["drive"])[0][-1]
    assert n["profile"][-1].item() == pytest.approx((2 * out / 20).norm().item(), rel=1e-3)
    assert n["profile"][0] < 1e-3 * n["profile"][-1]  # it vanishes on the way back


def by_hand(n: Names) -> None:
    rnn, inputs, gradients = n["rnn"], n["inputs"], n["gradients"]
    state, outputs = None, []
    for window in inputs.split(10):  # cut where the windows meet
        out, states = rnn(window, state)
        state = states[-1].detach()
        outputs.append(out)
    loss = nn.functional.mse_loss(torch.cat(outputs), 0 * inputs)
    loss.backward()
    assert n["loss"].item() == pytest.approx(loss.item(), rel=1e-4)
    for name, parameter in rnn.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-3, atol=1e-6)


def twenty_networks(n: Names) -> None:
    mean, error = n["mean"].item(), n["error"].item()
    assert mean > 5 * error > 0  # at gain 3 they are chaotic
    one = TanhRNN(1, 50, 1, gain=3.0)
    assert n["rnns"].recurrent[0].weight.shape == (20, *one.recurrent[0].weight.shape)


def many_gains(n: Names) -> None:
    exponents = n["exponents"].squeeze(-1)
    assert exponents.shape == (16,) and exponents[0] < -0.2 and exponents[-1] > 0.1
    alone = np.log(0.5) + torch.linalg.eigvals(n["weight"]).abs().max().log().item()
    assert exponents[0].item() == pytest.approx(alone, abs=0.05)  # at rest: the gain times the spectral radius


def device(n: Names) -> None:
    assert n["said"].startswith("Runs on the ") and n["outputs"].shape == (64, 2) and n["outputs"].device.type == "cpu"
    assert next(n["net"].parameters()).device.type == n["DEVICE"].type


def stored(n: Names) -> None:
    assert len(n["accuracy"]) == 16 and all(0 <= value <= 1 for value in n["accuracy"])


def intervals(n: Names) -> None:
    numbers = [float(number) for number in re.findall(r"0\.\d+", n["said"])]
    assert len(numbers) == 4 and numbers[0] < 0.32 < numbers[1] and numbers[2] < 13 / 16 < numbers[3]


def verdicts(n: Names) -> None:
    assert set(n["verdicts"].values()) <= {"confirmed", "refuted", "undecided", "open"} and "edge-of-chaos" in n["verdicts"]


def slider(n: Names) -> None:
    assert callable(n["draw"])  # drawn at the start, and at both ends: SALNB_DRIVE_WIDGETS, in conftest.py
    with pytest.raises(NameError):
        run(CODE["A slider for a question of my own"].replace("state := step", "state := nothing"))


def hidden_spectrum(n: Names) -> None:
    """The eigenvalues by PyTorch's covariance, the exponent by NumPy's fit of a line."""
    eigenvalues = torch.linalg.eigvalsh(torch.cov(n["h"].double().T)).flip(-1)
    torch.testing.assert_close(n["spectrum"], eigenvalues, rtol=1e-6, atol=1e-9)
    slope = np.polyfit(np.log(np.arange(1, 11)), eigenvalues[:10].log().numpy(), 1)[0]
    assert n["law"].alpha.item() == pytest.approx(-slope, abs=1e-6)


def smallest_change(n: Names) -> None:
    right = n["net"](n["batch"]).argmax(-1) == n["labels"]
    assert torch.equal(n["length"] > 0, right)
    for budget in n["budgets"]:
        # PGD is never weaker than FGSM; in ten dimensions a change of at most ε per number is at most √10 ε long
        flipped = n["net"](fgsm(n["net"], n["batch"], n["labels"], budget)).argmax(-1) != n["labels"]
        within = n["length"] <= budget * math.sqrt(10) * (1 + 1e-5)
        assert within[flipped].all()


def features(n: Names) -> None:
    weight, images = n["layer"].weight, n["images"]
    lengths = weight.abs().pow(3).sum(-1).pow(1 / 3)
    assert n["unconverged"].item() == pytest.approx(((lengths - 1).abs() > 0.01).float().mean().item())
    winners = (images @ (weight * weight.abs()).T).argmax(-1).unique()
    assert n["silent"].item() == pytest.approx(1 - len(winners) / 50, abs=1e-6)
    assert len(n["history"]["updates"]) == 20


EXPECTED: dict[str, Callable[[Names], None]] = {
    "Each neuron of a layer, for each sample": each_neuron,
    "The layer as a whole": whole_layer,
    "A running network, layer by layer": table,
    "Which way to a larger sensitivity": gradient_of_sensitivity,
    "Before learning": before_learning,
    "Only as long as it takes": as_long_as_it_takes,
    "While the network learns": while_learning,
    "A module of my own": own_module,
    "A recurrent network": recurrent,
    "A network with gates, or any other layer": gated,
    "A map": logistic,
    "My recurrent network, under its input": driven_gru,
    "Any step function with an input": driven_step,
    "Beside the sensitivities of the same steps": beside_sensitivities,
    "Over just these steps": finite_time,
    "All exponents, and what follows from them": whole_spectrum,
    "In which directions": directions,
    "Layer by layer": depth_profile,
    "Step by step": time_profile,
    "Derived by hand": by_hand,
    "Twenty networks in one tensor": twenty_networks,
    "One network at many gains": many_gains,
    "On the GPU, if there is one": device,
    "The spectrum of a hidden layer": hidden_spectrum,
    "How small a change fools it": smallest_change,
    "Features without labels": features,
    "A stored run": stored,
    "An interval around it": intervals,
    "The verdicts": verdicts,
    "A slider for a question of my own": slider,
}


@pytest.fixture(autouse=True)
def one_thread():
    """The networks are small: on a busy machine several threads take fifty times as long as one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("title", EXPECTED)
def test_a_piece_does_what_it_says(title: str) -> None:
    EXPECTED[title](run(CODE[title]))


def test_every_piece_is_tested_and_has_words_and_a_chapter() -> None:
    assert list(CODE) == list(EXPECTED)
    assert len(BLOCK.findall(PAGE)) == PAGE.count("```python") == len(CODE) + 1 == PAGE.count("```") // 2
    for entry in ENTRY.finditer(PAGE):
        words, _, link = entry["words"].partition("→")
        assert 5 <= len(words.split()) <= 30, entry["title"]
        assert re.fullmatch(r" \[[^\]]+\]\([^)]+\)", link), entry["title"]
        assert (PATH.parent / link[link.index("](") + 2 : -1]).is_file()


def test_the_pieces_run_one_after_the_other_too() -> None:
    names = run("")
    for code in CODE.values():
        names = run(code, names)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", BLOCK.sub("", PAGE)))))
def test_what_is_named_in_the_words_exists(name: str) -> None:
    """A name of Python, a file of the book, or a shape."""
    if "/" in name:
        assert (ROOT / name).exists()
    elif not name.startswith("("):
        names = run("")
        assert name == "forward" or "help" in name or eval(name, names) is not None
        if "help" in name:
            assert "sensitivity" in run(name, names)["said"]


def test_a_piece_is_short_and_fits_the_page() -> None:
    assert max(len(line) for block in BLOCK.findall(PAGE) for line in block.splitlines()) <= 88
    assert max(len(code.strip().splitlines()) for code in CODE.values()) <= 14
    assert sensitivity_gradient.__doc__  # the docstrings that the page points at
