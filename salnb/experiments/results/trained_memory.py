"""Trains the networks of a stored run once more, with the same settings and seed, and asks how they keep the first pulse."""

import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ...networks.recurrent import TanhRNN
from ..measurements.working_memory import kept_bit, portrait
from ..training.record import rounded
from ..training.sweeps import name_of, run_one
from ..training.train import train_lag


def load_trained(path: Path, n_hidden: int = 64) -> TanhRNN:
    """The networks that ``train_lag`` has left in its file, in double precision.

    Raises:
        FileNotFoundError: nothing was stored there.
    """
    weights = torch.load(path, map_location="cpu", weights_only=True)["model"]
    replicas = len(weights["readout.bias"])
    net = TanhRNN(1, n_hidden, 2, gain=1.0, replicas=(replicas,), dtype=torch.float64)
    net.load_state_dict(weights)
    return net.requires_grad_(False)


def trained_memory(arguments: Mapping[str, object], folder: Path, **measured: int) -> dict:
    """One run of ``train_lag`` on the exclusive or, and what ``kept_bit`` says of its networks, as plain numbers.

    Args:
        arguments: of ``train_lag``, with a seed. folder: for the state of the run; a run that is there already is not repeated.
        measured: settings of ``kept_bit`` other than its defaults.

    Returns:
        The attributes of ``KeptBit``, ``held`` and ``accuracy`` of the training, ``portraits`` of one network of each kind, the
        ``seconds`` of the measurement and of the training, and the ``arguments``.
    """
    run = run_one(train_lag, arguments, folder)
    lag, began = run.settings["lag"], time.time()
    net = load_trained(folder / f"{name_of(arguments)}.pt", run.settings["n_hidden"])
    found, numbers = vars(kept_bit(net, lag=lag, **measured)), {}
    for name, values in found.items():
        small = name in ("distance", "apart", "across", "within", "moves")
        numbers[name] = values if name == "kind" else significant(values) if small else rounded(values, 5)
    for name in ("times", "waits", "right"):
        numbers[name] = found[name].tolist()
    drawn = portrait(net, lag=lag, n_warmup=measured.get("n_warmup", 20_000), shown=min(20, lag - 2))
    return {
        "held": rounded(run.held, 4), "accuracy": rounded(run.accuracy, 4), **numbers,
        "portraits": portraits(found["kind"], found["exponents"].amax(1), found["moves"], *drawn), "lag": lag,
        "seconds": round(time.time() - began, 1), "trained": round(run.seconds, 1), "arguments": dict(arguments),
    }  # fmt: skip


def portraits(kinds: list[str], exponents: Tensor, moves: Tensor, path: Tensor, dots: Tensor) -> dict[str, dict]:
    """One network of each kind: its place among the networks, and its ``path`` and ``dots``.

    It is the one with the lowest exponent; of clocks, whose exponents are all 0, the one whose motion lies most in the plane.
    """
    chosen, spread = {}, (dots - dots.mean(-2, keepdim=True)).square().sum(-1).mean((1, 2))
    for kind in sorted(set(kinds)):
        among = torch.tensor([k == kind for k in kinds])
        score = -spread / moves.square() if kind == "clock" else exponents
        chosen[kind] = int(torch.where(among, score, torch.inf).argmin())
    return {kind: {"network": i, "path": rounded(path[i], 2), "dots": rounded(dots[i], 2)} for kind, i in chosen.items()}


def significant(values: Tensor, digits: int = 3) -> list | float:
    """Nested lists with so many significant digits, for numbers of very different sizes."""
    return [significant(v, digits) for v in values] if values.ndim else float(f"{float(values):.{digits}g}")
