"""Executes the chapters that the book's cache does not hold yet, several at a time, and gives back what they showed.

Sphinx executes one notebook after the other and leaves the other processors idle. Here each goes into the cache of
jupyter-cache, where Sphinx finds it. `make test` compares the same outputs with those in the notebooks, so that no chapter
is executed twice for nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path

import nbformat

from tools.notebooks import TIMEOUT
from tools.tree import ROOT, notebooks

BUILD = Path("_build")
CACHE = BUILD / ".jupyter_cache"
RECORD = BUILD / "computed-from"
COMPUTED_FROM = ("salnb/**/*.py", "book/claims.toml", "book/results/**/*", "requirements.txt")
MOST_AT_A_TIME = 4  # a kernel needs up to 1 GB


def fingerprint(root: Path, patterns: Iterable[str]) -> str:
    """A hash over names and contents of the files that match."""
    digest = hashlib.sha256()
    found = {path for pattern in patterns for path in root.glob(pattern) if path.is_file()}
    for path in sorted(path for path in found if "__pycache__" not in path.parts):
        name, content = path.relative_to(root).as_posix().encode(), path.read_bytes()
        digest.update(b"%d %s %d " % (len(name), name, len(content)) + content)
    return digest.hexdigest()


def current(root: Path) -> bool:
    """Whether the outputs in the cache were computed from the files as they are now."""
    record = root / RECORD
    return record.is_file() and record.read_text().strip() == fingerprint(root, COMPUTED_FROM)


def conditions() -> dict[str, str]:
    """What else decides about outputs: the versions, what is asked of the processor, and whether sliders were moved."""
    asked = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "OMP_NUM_THREADS", "SALNB_DEVICE", "SALNB_DRIVE_WIDGETS")
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "matplotlib")},
        **{name: os.environ.get(name, "") for name in asked},
    }


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def execute_one(path: Path, timeout: int = TIMEOUT) -> tuple[Path, nbformat.NotebookNode | None, float]:
    """The executed notebook and its seconds; no notebook if it ended in an error."""
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    start = time.monotonic()
    where = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=timeout, kernel_name="python3", record_timing=False, resources=where)
    try:
        asyncio.run(client.async_execute())  # unlike execute(), it closes what it has opened in this thread
    except Exception:  # an error in a cell, one that takes too long, a kernel that died
        return path, None, time.monotonic() - start
    return path, notebook, time.monotonic() - start


def fill(root: Path = ROOT, paths: Iterable[Path] | None = None, workers: int | None = None) -> list[Path]:
    """Executes what the cache lacks, of `paths` or of the whole book, and returns what it executed with success.

    A notebook that fails is left out without a word: Sphinx executes it again, and reports the error as its own.
    """
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn

    cache, known = get_cache(str(root / CACHE)), conditions()
    missing = [path for path in (notebooks(root) if paths is None else paths) if not _held(cache, path)]
    workers = min(workers or processors(), MOST_AT_A_TIME, len(missing))
    done = []
    if not missing:
        return done
    print(f"Executing {len(missing)} chapters, {workers} at a time.", flush=True)
    # Threads suffice: each waits for a kernel, which is a process of its own.
    with ThreadPoolExecutor(workers) as pool:
        for future in as_completed([pool.submit(execute_one, path) for path in missing]):
            path, notebook, seconds = future.result()
            if notebook is None:
                continue
            data = {"execution_seconds": seconds, "conditions": known}
            bundle = CacheBundleIn(notebook, str(path), data=data)
            cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
            done.append(path)
            print(f"  {path.relative_to(root).with_suffix('')} {seconds:.1f} s", flush=True)
    return done


def _held(cache, path: Path) -> bool:
    """Whether the cache has outputs of this notebook's code."""
    try:
        cache.match_cache_notebook(nbformat.read(path, as_version=4))
    except KeyError:
        return False
    return True


def shown(path: Path, root: Path = ROOT) -> nbformat.NotebookNode | None:
    """The notebook with the outputs that the book shows; None if it must be executed again to know them.

    Again, because there are none, or the library, the stored results or the notebook's code have changed since, or because
    they come from another environment: without sliders moved, from another version, under another instruction set.
    """
    if not current(root) or not (root / CACHE).is_dir():
        return None
    from jupyter_cache import get_cache

    cache, notebook = get_cache(str(root / CACHE)), nbformat.read(path, as_version=4)
    try:
        record = cache.match_cache_notebook(notebook)
    except KeyError:
        return None
    if (record.data or {}).get("conditions") != conditions():
        return None
    return cache.get_cache_bundle(record.pk).nb
