"""The benchmarks' own arithmetic, and that salnb's contenders do the work they are timed for. No peer is needed here."""

import doctest
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import checks, growth, problems, rows, runner, table, worker
from benchmarks.contenders import flows, krotov_hopfield, learning, ours, sparse, training

ROOT = Path(__file__).resolve().parent.parent
TINY = dict(n=6, gain=2.0, steps=20, seed=0)


def line(name: str, role: str, *seconds: float) -> dict:
    return {"name": name, "role": role, "seconds": list(seconds), "version": "1"}


@pytest.mark.parametrize("module", [command, growth, runner, table])
def test_examples_in_the_docstrings(module):
    assert doctest.testmod(module).failed == 0


def test_a_ratio_is_taken_round_by_round_between_the_best_of_either_side():
    # The machine was twice as slow in the second round: the ratio must not notice.
    lines = [line("slow", "ours", 9, 9, 9), line("fast", "ours", 1, 2, 1), line("a", "peer", 4, 8, 5)]
    lines.append(line("b", "other", 0, 0, 0))
    found = runner.ratio_of(lines)
    assert (found["ours"], found["peer"]) == ("fast", "a")
    assert (found["ratio"], found["low"], found["high"]) == (0.25, 0.2, 0.25)
    assert "tuned" not in found


def test_a_peer_tuned_by_hand_makes_a_ratio_of_its_own():
    found = runner.ratio_of([line("x", "ours", 1), line("a", "peer", 4), line("t", "tuned", 2)])
    assert found["ratio"] == 0.25 and found["tuned"] == ["t", 0.5, 0.5, 0.5]


def test_no_ratio_without_a_peer_that_is_right():
    wrong = line("a", "peer", 1.0)
    runner.refuse(wrong, True, "tail off")
    lines = [line("x", "ours", 1.0), wrong]
    assert runner.ratio_of(lines) == {}
    text = table.row_text({"title": "work", "bar": 0.5, "lines": lines})
    assert "tail off" in text and "not measured" in text


def test_the_table_says_whether_the_bar_is_reached_and_what_was_scaled():
    lines = [line("x", "ours", 1.0), {**line("a", "peer", 1.5), "share": 0.1}]
    text = table.row_text({"title": "work", "bar": 0.5, "lines": lines, **runner.ratio_of(lines)})
    assert "0.67 (0.67–0.67) of a" in text and "NOT reached" in text and "1/10" in text


def test_time_to_accuracy_and_a_wrong_exponent():
    row, rng = rows.maximum_row(), np.random.default_rng(0)
    spread, steps, count = 0.006, row.problem["steps"], row.problem["trajectories"]
    draw = lambda centre: [{"means": centre + rng.normal(0, (spread / steps) ** 0.5, count)} for _ in range(5)]  # noqa: E731
    lines = [line(name, "peer", *[2.0] * 5) for name in "abcd"]
    runner.together(row, lines, {"a": draw(0.15), "b": draw(0.15), "c": draw(0.15), "d": draw(0.18)})
    assert lines[0]["seconds"][0] == pytest.approx(2.0 * spread / (steps * count) / 0.001**2, rel=0.35)
    assert ["seconds" in each for each in lines] == [True, True, True, False]
    assert "instead of" in lines[3]["reason"]


@pytest.mark.parametrize("form", ["function", "network"])
@pytest.mark.parametrize("every", ["auto", 1])
def test_our_spectrum_is_right(form, every):
    answer = ours.spectrum(TINY, form=form, every=every)()
    assert checks.spectrum(answer, TINY, {}) < checks.TAIL


@pytest.mark.parametrize("form", ["function", "network"])
def test_our_sweep_is_right(form):
    problem = dict(TINY, gains=3, k=6)
    assert checks.sweep(ours.sweep(problem, form=form)(), problem, {}) < 1e-9
    one = ours.sweep(dict(problem, k=1, steps=2000), form=form)()
    full = ours.sweep(dict(problem, steps=2000), form=form)()
    assert np.abs(one["exponents"][:, 0] - full["exponents"][:, 0]).max() < 0.05


@pytest.mark.parametrize("make", [sparse.ours, lambda p: sparse.ours(p, form="dense"),
                                  lambda p: sparse.ours(p, form="differences"), sparse.scipy_loop])  # fmt: skip
@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_exponents_of_a_sparse_reservoir_are_right(make):
    problem = dict(n=60, k=3, gain=2.0, connections=0.2, steps=20, seed=0)
    assert 0.1 < (problems.weights(problem) != 0).mean() < 0.3
    assert checks.spectrum(make(problem)(), problem, {}) < checks.TAIL


@pytest.mark.parametrize("system", ["lorenz", "henon"])
@pytest.mark.parametrize("every", [1, "auto"])
def test_exponents_of_small_systems_are_right(system, every):
    problem = dict(system=system, steps=20, trajectories=2, seed=0)
    answer = flows.ours(problem, every=every)()
    assert checks.small_system(answer, problem, {}) < checks.TAIL
    # The reference itself: the mean divergence of the flow, and the determinant of the map.
    total = problems.reference_small_system(problem, problems.points(problem, 0)[0]).sum()
    assert total == pytest.approx(-41 / 3 if system == "lorenz" else np.log(0.3), rel=1e-3 if system == "lorenz" else 1e-12)


def test_the_checks_see_a_wrong_answer():
    answer = ours.spectrum(TINY)()
    assert checks.spectrum({"exponents": answer["exponents"] + 1e-6}, TINY, {}) == pytest.approx(1e-6, rel=1e-3)


def test_our_forms_of_the_maximum_agree():
    problem = dict(TINY, trajectories=4, warmup=10)
    plain, network = (ours.maximum(problem, form=form)(3)["means"] for form in ("function", "network"))
    np.testing.assert_allclose(plain, network, atol=1e-9)
    assert plain.shape == (4,) and not np.allclose(plain, ours.maximum(problem)(4)["means"])


def test_gradients_agree():
    problem = dict(n=5, batch=3, steps=7, n_in=2, n_out=2, dtype="float64", repeats=1, seed=0)
    first, *others = (make(problem)() for make in (learning.by_hand, learning.torch_rnn, learning.salnb_autograd))
    for other in others:
        assert checks.gradients(other, problem, first) < 1e-12


@pytest.mark.parametrize("shape", [dict(n=5, depth=4), dict(n=5, steps=6, n_in=2, n_out=2, dtype="float32")], ids=["deep", "rnn"])
def test_training_steps_learn_the_same(shape):
    problem = dict(shape, batch=3, gain=1.0, repeats=2, seed=0)
    losses = [float(training.step(problem, sal=sal)()["loss"]) for sal in ("", "all", "rest")]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


def test_krotov_hopfield_updates_learn_the_same():
    problem = dict(inputs=9, units=12, batch=20, replicas=3, repeats=4, dtype="float64", seed=0)
    first = krotov_hopfield.replicas(problem)()
    for together in (True, False):
        assert checks.weights(krotov_hopfield.plainly(problem, together=together)(), problem, first) < 1e-12
    assert np.abs(first["weight"] - problems.competing_units(problem)[0]).max() > 0.04


def test_every_contender_can_be_loaded_without_its_library():
    before = set(sys.modules)
    for row in rows.all_rows():
        assert len({contender.name for contender in row.contenders}) == len(row.contenders)
        assert {"ours", "peer"} <= {contender.role for contender in row.contenders}
        for contender in row.contenders:
            assert callable(worker.load(contender.target))
    assert not {"jax", "numba", "chaotax", "lyapax", "pynamicalsys", "lyapynov"} & (set(sys.modules) - before)


def test_an_error_travels_as_text():
    with worker.Libraries() as libraries:
        with pytest.raises(RuntimeError, match="KeyError"):
            libraries["salnb"].ask("set up", "x", "learning:by_hand", {}, {"n": 3})
        libraries["salnb"].ask("set up", "x", "ours:spectrum", {}, TINY)  # and its process lives on
        seconds, answer = libraries["salnb"].ask("run", "x", 0)
        assert seconds > 0 and answer["exponents"].shape == (6,)
        assert len(libraries) == 1


def test_pins_are_exact_and_torch_is_the_books():
    pins = re.findall(r"^([\w-]+)(.*)$", (ROOT / "benchmarks/requirements.txt").read_text(), re.MULTILINE)
    pins = dict(pin for pin in pins if not pin[0].startswith("#"))
    assert all(re.fullmatch(r"==[\w.]+", version) for version in pins.values())
    assert f"torch{pins['torch']}\n" in (ROOT / "requirements.txt").read_text()
    packages = {contender.package for row in rows.all_rows() for contender in row.contenders} - {"salnb"}
    assert packages <= set(pins)
