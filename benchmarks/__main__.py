"""`make bench`: measures every row that is missing or was measured with other code, stores and prints the table.

make bench ARGS=--fresh                  all rows again
make bench ARGS="spectrum bptt-50"       these rows
make bench ARGS="--device cuda"          on a GPU, stored beside the processor's
"""

import argparse
import hashlib
import sys
import time
from pathlib import Path

from benchmarks.growth import measure_growth
from benchmarks.rows import all_rows
from benchmarks.runner import ROUNDS, measure_row, version
from benchmarks.table import machine, row_text
from benchmarks.worker import Libraries

ROOT = Path(__file__).resolve().parent.parent
NAME = "benchmarks"


def code_version() -> str:
    """A hash of the library, of these files and of the pins: a row measured with other code is measured again."""
    files = sorted([*(ROOT / "salnb").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py"), ROOT / "benchmarks/requirements.txt"])
    content = b"".join(path.relative_to(ROOT).as_posix().encode() + path.read_bytes() for path in files)
    return hashlib.sha256(content).hexdigest()[:16]


def key(name: str, device: str) -> str:
    """Under what a row is stored.

    >>> key("spectrum", "cpu"), key("spectrum", "cuda")
    ('spectrum', 'spectrum@cuda')
    """
    return name if device == "cpu" else f"{name}@{device}"


def elsewhere(before: dict, here: dict) -> list[dict]:
    """What other machines found for a row: their list so far, and the row that this measurement replaces, if it is another's.

    >>> elsewhere({"ratio": 0.4, "low": 0.3, "high": 0.5, "peer": "a", "machine": {"processor": "A"}}, {"processor": "B"})
    [{'ratio': 0.4, 'low': 0.3, 'high': 0.5, 'peer': 'a', 'machine': {'processor': 'A'}}]
    """
    found = [row for row in before.get("elsewhere", []) if row["machine"] != here]
    if "ratio" in before and before["machine"] != here:
        found = [row for row in found if row["machine"] != before["machine"]]
        found.append({name: before[name] for name in ("ratio", "low", "high", "peer", "machine")})
    return found


def say(text: str) -> None:
    """One line that the next one overwrites, for a person who watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, store each row as soon as it is done, print the table."""
    from salnb.experiments.results.store import provenance, read, write

    rows = {row.id: row for row in all_rows()}
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join([*rows, "growth"]))
    parser.add_argument("--fresh", action="store_true", help="measure again what is stored already")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(arguments)
    if unknown := set(given.rows) - {*rows, "growth"}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join([*rows, 'growth'])}")
    if not version("jax"):
        parser.error("the peers are not installed here; `make bench` makes their environment")
    code = code_version()
    with Libraries(given.device) as libraries:
        for name in given.rows or [*rows, "growth"]:
            place, began = key(name, given.device), time.monotonic()
            if given.fresh or read(NAME).get(place, {}).get("code") != code:
                found = ({"series": measure_growth(libraries, say=say)} if name == "growth"
                         else measure_row(rows[name], libraries, given.rounds, say))  # fmt: skip
                found |= {"wall": round(time.monotonic() - began), "code": code, "provenance": provenance()}
                here = machine(given.device)
                found |= {"machine": here, "elsewhere": elsewhere(read(NAME).get(place, {}), here)}
                write(NAME, {**read(NAME), place: found})
                say("")
            if name in rows:
                print(row_text(read(NAME)[place]) + "\n", flush=True)
    print(" · ".join(f"{name} {value}" for name, value in machine(given.device).items()))


if __name__ == "__main__":
    main()
