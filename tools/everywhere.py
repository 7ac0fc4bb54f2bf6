"""The numerical tests as other machines would run them: other instruction sets, two threads, other draws.

make test-everywhere                                   all combinations, tests and chapters, and every take-home notebook
make test-everywhere ARGS="--only AVX2 --no-chapters"   those whose name contains this

Processors round differently, and in chaos another rounding is another trajectory after fifty steps. What this machine's processor
can imitate of others is tried here; a tolerance that is derived holds for all of them. Not part of `make test`: it takes long.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tools.margins import NEAR, worst
from tools.tree import ROOT

MARGINS = ROOT / "_build" / "margins.jsonl"
NBVAL = ["--nbval", "--nbval-current-env", "--nbval-sanitize-with", "tests/nbval_sanitize.cfg", "book"]


class Combination(NamedTuple):
    """Environment variables under which the tests must say the same; chapters have seeds of their own."""

    name: str
    variables: dict[str, str]
    chapters: bool = True


def combinations(best: str) -> list[Combination]:
    """A handful, not the full product. ``best``: the largest instruction set here, as torch names it.

    >>> [c.name for c in combinations("AVX2")][:3]
    ['nothing set', 'no vector instructions', 'AVX2']
    >>> len(combinations("AVX512")) - len(combinations("AVX2"))
    1
    """
    sets = [Combination("no vector instructions", {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"})]
    if best in ("AVX2", "AVX512"):
        sets.append(Combination("AVX2", {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2"}))
    if best == "AVX512":
        sets.append(Combination("AVX-512", {"ATEN_CPU_CAPABILITY": "avx512", "MKL_CBWR": "AVX512"}))
    return [
        Combination("nothing set", {}),
        *sets,
        Combination("two threads", {"OMP_NUM_THREADS": "2"}),
        Combination("other draws 1", {"SALNB_TEST_SEED": "1"}, chapters=False),
        Combination("other draws 2", {"SALNB_TEST_SEED": "2"}, chapters=False),
    ]


def command(chapters: bool, workers: int) -> list[str]:
    """The tests of the library with the doctests, or the chapters."""
    what = NBVAL if chapters else ["-p", "tools.margins", "tests", "salnb", "--ignore=tests/book"]
    spread = ["-n", str(workers), "--dist", "loadfile"] if workers > 1 else []
    return [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=short", "-p", "no:cacheprovider", *spread, *what]


def run(combination: Combination, chapters: bool) -> tuple[bool, float, str]:
    """Whether all tests passed, the seconds it took, and what pytest said last."""
    environment = {k: v for k, v in os.environ.items() if k not in ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "SALNB_TEST_SEED")}
    environment |= {"OMP_NUM_THREADS": "1", "SALNB_MARGINS": str(MARGINS), **combination.variables}
    workers = 1 if environment["OMP_NUM_THREADS"] != "1" else 2  # workers set their own number of threads to one
    began = time.monotonic()
    done = subprocess.run(command(chapters, workers), cwd=ROOT, env=environment, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    said = [line for line in lines if line.startswith(("FAILED", "ERROR"))] + lines[-1:]
    return done.returncode == 0, time.monotonic() - began, "\n    ".join(said)


def bare_kernel() -> int:
    """Runs every take-home notebook alone on a bare kernel; 0 if all of them went through, else 1."""
    from tools import bare, take_home

    take_home.main()
    return bare.main([])


def main(arguments: list[str]) -> int:
    """Runs all that is asked for, one after the other, and says what failed where."""
    import torch

    parser = argparse.ArgumentParser(prog="make test-everywhere", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="part of a combination's name")
    parser.add_argument("--no-chapters", action="store_true", help="only the tests of the library")
    given = parser.parse_args(arguments)
    MARGINS.parent.mkdir(exist_ok=True)
    MARGINS.unlink(missing_ok=True)
    failed = 0
    for combination in combinations(torch.backends.cpu.get_cpu_capability()):
        if given.only.lower() not in combination.name.lower():
            continue
        for chapters in (False, True) if combination.chapters and not given.no_chapters else (False,):
            passed, seconds, said = run(combination, chapters)
            failed += not passed
            what = f"{combination.name}, {'chapters' if chapters else 'tests'}"
            print(f"{'passed' if passed else 'FAILED'}  {what:34} {seconds:5.0f} s\n    {said}", flush=True)
    if not given.no_chapters and given.only.lower() in "bare kernel":
        failed += bare_kernel()
    near = {place: at for place, at in worst(_lines(MARGINS)).items() if at[0] > NEAR}
    for place, (share, test) in sorted(near.items(), key=lambda item: -item[1][0]):
        print(f"{share:6.2f} of its tolerance: {place} {test}")
    return int(failed > 0)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
