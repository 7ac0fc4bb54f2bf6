"""Makes `.venv`, and makes it again only when what it was made from has changed.

Runs before anything is installed, so it uses the standard library alone. pip's own settings (a pip.conf, or
PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS in the environment) reach pip untouched.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PINS = VENV / "pins.stamp"
PACKAGE = VENV / "package.stamp"


def fingerprint(*parts):
    """A hash of whatever JSON can hold.

    >>> fingerprint("a==1", [3, 11]) == fingerprint("a==1", [3, 12])
    False
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def wanted(requirements, project, python, root):
    """What each stamp must hold: the environment hangs on the first, the editable install on the second.

    `root` belongs to both: they point at the folder they were made in, and break when it is moved.
    """
    declared = {key: project.get(key) for key in ("name", "version", "dependencies", "optional-dependencies")}
    return {PINS: fingerprint(requirements, list(python), root), PACKAGE: fingerprint(declared, list(python), root)}


def wanted_here():
    """What the stamps must hold for the repository as it stands."""
    import tomllib  # not at the top: an older Python must live long enough to be told that it is too old

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    return wanted(requirements, project, sys.version_info[:3], str(ROOT))


def current(stamp, value):
    """Whether what `stamp` vouches for is there and made from what is wanted."""
    return stamp.is_file() and stamp.read_text().strip() == value and venv_python().exists()


def venv_python():
    """The environment's own interpreter; `Scripts` is Windows."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run(*command):
    """Run a command and end with its exit code if it fails."""
    code = subprocess.call([str(part) for part in command], cwd=ROOT)
    if code:
        sys.exit("\nThe environment in .venv could not be finished: see above. The next `make` tries again.")


def pip(*arguments):
    """Install into the environment."""
    run(venv_python(), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def make_environment():
    """A fresh `.venv` with everything in requirements.txt."""
    try:
        import ensurepip  # noqa: F401  (Debian ships it in a package of its own)
    except ImportError:
        sys.exit("This Python cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv")
    start = time.monotonic()
    print("Making the environment in .venv; this downloads a few hundred MB, once.", flush=True)
    run(sys.executable, "-m", "venv", "--clear", VENV)  # --clear: what is left of an old or unfinished one goes
    pip("-r", "requirements.txt")
    # Kernels talk to this machine alone; the warning that they print about it at every start would only worry.
    quiet = VENV / "etc/ipython/ipython_kernel_config.py"
    quiet.parent.mkdir(parents=True, exist_ok=True)
    quiet.write_text("c = get_config()\nc.IPKernelApp.log_level = 40\n")
    print(f"The environment is ready ({time.monotonic() - start:.0f} s).", flush=True)


def main():
    """Leave with a complete `.venv`."""
    if sys.version_info < OLDEST:
        sys.exit(
            "salnb needs Python {}.{} or newer, and this is {}.{}. "
            "Name another one: make book PYTHON=python3.12".format(*OLDEST, *sys.version_info[:2])
        )
    want = wanted_here()
    # A stamp is written when its step is done: an interrupted step has none, and is taken again.
    if not current(PINS, want[PINS]):
        make_environment()
        PINS.write_text(want[PINS] + "\n")
    if not current(PACKAGE, want[PACKAGE]):
        PACKAGE.unlink(missing_ok=True)
        pip("--no-deps", "--no-build-isolation", "-e", ".")
        PACKAGE.write_text(want[PACKAGE] + "\n")


if __name__ == "__main__":
    main()
