"""Makes `.venv-bench`, the environment of the peers, as tools/environment.py makes the book's.

Runs before anything is installed, so it uses the standard library alone; pip's own settings reach pip untouched.
"""

import subprocess
import sys
import time
from pathlib import Path

from tools.environment import OLDEST, fingerprint

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-bench"
STAMP = VENV / "pins.stamp"


def wanted() -> str:
    """What the stamp must hold: the pins, this Python, and the folder, since an environment breaks when it is moved."""
    return fingerprint((ROOT / "benchmarks/requirements.txt").read_text(encoding="utf-8"), list(sys.version_info[:3]), str(ROOT))


def run(*command) -> None:
    """Run a command and end with its exit code if it fails."""
    if subprocess.call([str(part) for part in command], cwd=ROOT):
        sys.exit("\nThe environment in .venv-bench could not be finished: see above. The next `make bench` tries again.")


def main() -> None:
    """Leave with a complete `.venv-bench`."""
    if sys.version_info < OLDEST:
        sys.exit("The peers need Python {}.{} or newer. Name another one: make bench PYTHON=python3.12".format(*OLDEST))
    if STAMP.is_file() and STAMP.read_text().strip() == wanted():
        return
    start = time.monotonic()
    print("Making the peers' environment in .venv-bench; this downloads a few hundred MB, once.", flush=True)
    run(sys.executable, "-m", "venv", "--clear", VENV)
    pip = (VENV / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "-r", "benchmarks/requirements.txt")
    STAMP.write_text(wanted() + "\n")
    print(f"The environment is ready ({time.monotonic() - start:.0f} s).", flush=True)


if __name__ == "__main__":
    main()
