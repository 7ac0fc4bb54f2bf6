"""What ``import salnb`` brings along, and the short names of modules that the book goes on using."""

import importlib
import json
import os
import subprocess
import sys

import pytest

import salnb
from salnb.common.old_names import PLACES, ROOMS
from tools.tree import ROOT

HEAVY = {"torch._dynamo", "matplotlib", "tqdm", "sklearn", "scipy", "IPython", "joblib"}
IMPORT = """
import json, sys, time
import torch
before, began = set(sys.modules), time.process_time()
import salnb
print(json.dumps([time.process_time() - began, sorted(set(sys.modules) - before)]))
"""
ALIAS = """
import sys
import salnb.{old} as first
import salnb.{new} as second
from salnb import {old} as third
assert first is second is third is sys.modules["salnb.{old}"] is sys.modules["salnb.{new}"] is sys.modules["salnb"].{old}
assert first.__name__ == first.__spec__.name == "salnb.{new}"
"""


# Most of the time of a new process goes into importing PyTorch. One process does that, and has a copy of itself for each piece.
COPIES = """
import json, os, sys, traceback
import torch
for code in json.load(sys.stdin):
    sys.stdout.flush()
    child = os.fork()
    if not child:
        status = 1
        try:
            exec(code, {})
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(status)
    print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
"""
NAMED = {room: f"import sys, salnb; assert 'salnb.{room}' not in sys.modules; assert salnb.{room} is sys.modules['salnb.{room}']"
         for room in ROOMS}  # fmt: skip
CODES = {"light": IMPORT, **{old: ALIAS.format(old=old, new=new) for old, new in PLACES.items()}, **NAMED}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, list]:
    """What each piece of code printed, as JSON, and at the end its exit code, in a process that has imported PyTorch alone."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    repeated = [*CODES.items(), *[("light", IMPORT)] * 2]  # the first may have to compile
    done = subprocess.run([sys.executable, "-c", COPIES], input=json.dumps([code for _, code in repeated]), cwd=ROOT,
                          capture_output=True, text=True, check=True)  # fmt: skip
    found, lines = {}, iter(map(json.loads, done.stdout.splitlines()))
    for name, _ in repeated:
        while not isinstance(line := next(lines), int):
            found.setdefault(name, []).append(line)
        assert line == 0 or name != "light", done.stderr
        found.setdefault(name, []).append(line if line == 0 else done.stderr)
    return found


def test_importing_salnb_is_light(outcomes):
    tries = [line for line in outcomes["light"] if line != 0]
    assert len(tries) == 3 and min(seconds for seconds, _ in tries) <= 0.3
    brought = set(tries[0][1])
    assert not HEAVY & brought and not {f"salnb.{name}" for name in (*PLACES, *PLACES.values(), *ROOMS)} & brought


@pytest.mark.parametrize("old", PLACES)
def test_a_short_name_is_the_same_module(old, outcomes):
    assert outcomes[old] == [0]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_that_is_not_loaded_is_there_when_it_is_named(room, outcomes):
    assert outcomes[room] == [0]


def test_names_out_of_a_module_by_its_short_name():
    from salnb import experiments, notebook
    from salnb.claims import check
    from salnb.sweeps import sweep
    from salnb.tasks import two_moons
    from salnb.tasks.sequences import lagged_xor

    assert check is notebook.claims.check and sweep is experiments.training.sweeps.sweep
    assert two_moons is experiments.tasks.two_moons and lagged_xor is experiments.tasks.sequences.lagged_xor
    assert salnb.experiments is experiments and salnb.Activation is salnb.sensitivity.activations.Activation


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        salnb.nothing  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("salnb.nothing")
