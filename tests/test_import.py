"""What ``import salnb`` brings along, and the short names of modules that the book goes on using."""

import importlib
import json
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


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_importing_salnb_is_light():
    tries = [json.loads(run(IMPORT)) for _ in range(3)]  # the first may have to compile
    assert min(seconds for seconds, _ in tries) <= 0.3
    brought = set(tries[0][1])
    assert not HEAVY & brought and not {f"salnb.{name}" for name in (*PLACES, *PLACES.values(), *ROOMS)} & brought


@pytest.mark.parametrize(("old", "new"), PLACES.items())
def test_a_short_name_is_the_same_module(old, new):
    run(ALIAS.format(old=old, new=new))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_that_is_not_loaded_is_there_when_it_is_named(room):
    run(f"import sys, salnb; assert 'salnb.{room}' not in sys.modules; assert salnb.{room} is sys.modules['salnb.{room}']")


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
