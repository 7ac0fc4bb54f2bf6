"""The same experiment under many settings, on several processes or machines.

Many calls of one function with other arguments are a *sweep*. On one machine, a process per core:

    runs = sweep(train_lag, grid(gain=[0.5, 0.9, 1.1], seed=range(20)), n_jobs=-1, folder="runs")

On several machines the call is the same and names the backend, "dask" after ``dask.distributed.Client(address)`` (installed by
``pip install "dask[distributed]"``) or "ray" after ``ray.util.joblib.register_ray()`` (``pip install "ray[default]"``). Every run
stores its state in ``folder``, which all machines have to share. An interrupted sweep is called again and goes on, on the same
kind of machine to bit-identical results.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import torch

Settings = dict[str, Any]


def grid(**choices: Iterable) -> list[Settings]:
    """All combinations of the given choices, the last one changing fastest.

    Example:
        >>> grid(gain=[0.5, 1.0], sal=[True, False])[1]
        {'gain': 0.5, 'sal': False}
    """
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def run_one(function: Callable, settings: Mapping[str, object], folder: Path | None) -> object:
    """One cell of a sweep: ``seed`` becomes a generator, and ``folder`` a path for what the run stores as it goes."""
    arguments = dict(settings)
    if "seed" in arguments:
        arguments["generator"] = torch.Generator().manual_seed(arguments.pop("seed"))
    if folder is not None:
        arguments["path"] = folder / f"{name_of(settings)}.pt"
    return function(**arguments)


def name_of(settings: Mapping[str, object]) -> str:
    """A file name that belongs to these settings alone."""
    text = json.dumps({k: v if isinstance(v, int | float | str | list | dict | None) else repr(v) for k, v in settings.items()},
                      sort_keys=True, default=repr)  # fmt: skip
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sweep(
    function: Callable, cells: Iterable[Mapping[str, object]], *, n_jobs: int = 1, backend: str | None = None,
    folder: str | Path | None = None,
) -> list:  # fmt: skip
    r"""Runs ``function(**settings)`` for every cell of a grid through joblib and returns the results in the grid's order.

    Args:
        function: ``train_lag``, ``train_deep``, or any function at the top level of a module.
        cells: mappings of keyword arguments; an integer ``seed`` is turned into a ``generator``. See ``grid``.
        n_jobs: processes; −1 for one per core. Each uses its share of the cores.
        backend: joblib's name of where they run: None for processes on this machine, "sequential", "threading", or with the
            package installed and a client or cluster started "dask" or "ray", for as many machines as one has.
        folder: every run stores its state there as it goes, so that an interrupted sweep, called again, continues.

    Returns:
        list of what ``function`` returned.

    Raises:
        ValueError: cells that are not mappings. ImportError: joblib is not installed.

    Example:
        >>> from salnb.experiments import train_lag
        >>> runs = sweep(train_lag, grid(gain=[0.5, 0.9], lag=[8], n_hidden=[8], steps=[4], replicas=[2], sal=[False], seed=[0]))
        >>> [run.settings["gain"] for run in runs]
        [0.5, 0.9]
    """
    from joblib import Parallel, delayed, parallel_config

    cells, folder = list(cells), None if folder is None else Path(folder)
    for cell in cells:
        if not isinstance(cell, Mapping):
            raise ValueError(f"cells: got a {type(cell).__name__}, expected mappings of keyword arguments; grid(...) makes them")
    # Only the context manager loads the backends of other packages by name.
    with parallel_config(**({"backend": backend} if backend else {}), n_jobs=n_jobs):
        return Parallel()(delayed(run_one)(function, cell, folder) for cell in cells)
