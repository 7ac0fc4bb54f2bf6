"""A chapter runs on the GPU where there is one, and says beforehand how long the larger size takes."""

import pytest
import torch

from salnb.notebook import runtime


@pytest.fixture(autouse=True)
def only_a_cpu(monkeypatch):
    monkeypatch.delenv("SALNB_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Imagined 1")


def test_the_cpu_where_there_is_nothing_else(capsys):
    assert runtime() == torch.device("cpu")
    assert capsys.readouterr().out == "Runs on the CPU.\n"


def test_the_switch_is_offered_with_its_minutes(capsys):
    runtime(False, minutes=40)
    said = capsys.readouterr().out
    assert "PAPER_SCALE = True" in said and "about 40 min on two CPU cores" in said and "on a GPU not measured" in said


def test_the_switch_on_a_cpu_warns(capsys):
    assert runtime(True, minutes=40, gpu_minutes=0.5) == torch.device("cpu")
    said = capsys.readouterr().out
    assert said.startswith("Runs on the CPU at the larger size: about 40 min") and "about 0.5 min on a GPU" in said


def test_a_gpu_is_used_by_itself(a_gpu, capsys):
    assert runtime().type == "cuda"
    assert runtime(True, minutes=40, gpu_minutes=0.5).type == "cuda"
    assert "GPU (Imagined 1) at the larger size: about 0.5 min on a GPU" in capsys.readouterr().out


def test_the_reader_may_choose(a_gpu, monkeypatch):
    monkeypatch.setenv("SALNB_DEVICE", "cpu")
    assert runtime() == torch.device("cpu")


@pytest.mark.parametrize("asked", ["quantum", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(asked, monkeypatch):
    monkeypatch.setenv("SALNB_DEVICE", asked)
    with pytest.raises(ValueError, match=f"SALNB_DEVICE: got '{asked}'"):
        runtime()


@pytest.mark.parametrize(
    ("given", "error", "word"),
    [
        ({"paper_scale": "yes", "minutes": 4}, TypeError, "PAPER_SCALE: got 'yes'"),
        ({"paper_scale": True}, ValueError, "minutes"),
        ({"minutes": 4}, ValueError, "minutes"),
        ({"paper_scale": True, "minutes": -4}, ValueError, "minutes: got -4"),
        ({"paper_scale": True, "minutes": float("nan")}, ValueError, "minutes: got nan"),
        ({"paper_scale": True, "minutes": 4, "gpu_minutes": 0}, ValueError, "gpu_minutes: got 0"),
    ],
)
def test_what_makes_no_sense_is_refused(given, error, word):
    with pytest.raises(error, match=word):
        runtime(**given)


def test_on_cuda_where_there_is_one(device, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("SALNB_DEVICE", device.type)
    assert runtime().type == device.type
