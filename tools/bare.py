"""A bare kernel: an environment of exactly the packages that a reader's kernel has, without a network, in an empty folder.

.venv/bin/python -m tools.bare                                       every take-home notebook, in an environment made from .venv
.venv/bin/python -m tools.bare --only one_neuron three_hundred       those whose path contains one of these
.venv/bin/python -m tools.bare --versions tests/versions/colab.txt   in a fresh environment of these versions, installed by pip

An environment made from .venv holds links to the packages named and to what those require, and nothing else: it takes a second
and downloads nothing. With --versions pip installs what the file names, into a folder that is thrown away.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools.take_home import FOLDER
from tools.tree import ROOT

PACKAGES = ("torch", "numpy", "matplotlib", "ipywidgets", "scikit-learn", "scipy", "ipykernel")
# Seconds a cell. A cell takes half a minute at most, but now and then, with an old kernel, the client sleeps through the answer
# and finds it when this time is over; so it is not longer than a slow machine needs.
TIMEOUT = 120


def closure(names: tuple[str, ...]) -> dict[str, importlib.metadata.Distribution]:
    """The distributions of this environment that the names stand for, with everything that they require."""
    from packaging.requirements import Requirement

    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found[name] = importlib.metadata.distribution(name)
        for line in found[name].requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def make_from_here(folder: Path, names: tuple[str, ...] = PACKAGES) -> Path:
    """A virtual environment with links to these packages of the present one; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin/python"
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
    site = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    for distribution in closure(names).values():
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            target = site / top
            if not target.exists():
                target.symlink_to(Path(str(distribution.locate_file(top))).resolve())
    return python


def make_by_pip(folder: Path, versions: Path) -> Path:
    """A virtual environment in which pip installs what the file names; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin/python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", "-r", str(versions)], check=True)
    return python


def has_namespaces() -> bool:
    """Whether this machine lets a user make a namespace without a network."""
    return shutil.which("unshare") is not None and subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0


def run_all(python: Path, paths: list[Path]) -> list[dict]:
    """Execute each notebook alone in an empty folder without a network; path, seconds, first line said, and what went wrong."""
    command = ["unshare", "-rn"] if has_namespaces() else []
    command += [sys.executable, "-m", "tools.bare", "--inside", str(python), *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the bare kernel could not be run: {done.stderr.strip()[-1500:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def errors(notebook) -> list[str]:
    """Every error that a reader would see: of a cell, or inside a widget's own output."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    states = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    outputs += [output for model in states.values() for output in model.get("state", {}).get("outputs", [])]
    return [f"{output['ename']}: {output['evalue']}" for output in outputs if output["output_type"] == "error"]


def run_here(python: Path, path: Path) -> dict:
    """Execute one notebook with another interpreter's kernel; called inside the namespace."""
    import nbformat
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    with tempfile.TemporaryDirectory(prefix="bare-") as folder:
        alone = Path(shutil.copy(path, Path(folder) / path.name))
        # Nothing of this environment may leak in: not its variables, not its configuration, not the checkout.
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "OMP_NUM_THREADS", "LD_LIBRARY_PATH") if key in os.environ}
        environment = {**kept, "HOME": folder, "PYTHONNOUSERSITE": "1", "IPYTHONDIR": f"{folder}/.ipython"}
        manager = AsyncKernelManager(transport="ipc", connection_file=f"{folder}/kernel.json", ip=f"{folder}/kernel")
        started = [str(python), "-I", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        manager._kernel_spec = KernelSpec(argv=started, display_name="bare", language="python")
        notebook = nbformat.read(alone, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        client = NotebookClient(
            notebook, km=manager, timeout=TIMEOUT, resources={"metadata": {"path": folder}}, store_widget_state=True
        )
        began, trouble = time.monotonic(), []
        try:
            client.execute(env=environment)
        except CellExecutionError as error:
            trouble.append(re.sub(r"\x1b\[[0-9;]*m", "", str(error))[-1500:])
        except Exception as error:  # a kernel that died, a cell without an end
            trouble.append(f"{type(error).__name__}: {error}")
        first = next((cell for cell in notebook.cells if "setup" in cell.metadata.get("tags", [])), None)
        said = "".join(output.get("text", "") for output in first.outputs).strip() if first else ""
        seconds = round(time.monotonic() - began, 1)
        return {"path": str(path), "seconds": seconds, "said": said, "errors": trouble or errors(notebook)}


def main(arguments: list[str]) -> int:
    """Run what is asked for, a line for each notebook."""
    parser = argparse.ArgumentParser(prog="python -m tools.bare", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[""], help="parts of paths")
    parser.add_argument("--versions", type=Path, help="a file of pinned packages for pip, instead of those of .venv")
    parser.add_argument("--python", type=Path, help="the interpreter of an environment that is there already")
    parser.add_argument("--inside", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.inside:
        python, *paths = map(Path, given.inside)
        for path in paths:
            print(json.dumps(run_here(python, path)), flush=True)
        return 0
    paths = sorted(path for path in (ROOT / FOLDER).rglob("*.ipynb") if any(part in str(path) for part in given.only))
    if not paths:
        print(f"No such notebook in {FOLDER}; `make take-home` writes them.", file=sys.stderr)
        return 1
    if not has_namespaces():
        print("`unshare -rn` is not allowed here: the notebooks run with whatever network there is.")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="bare-") as folder:
        place = Path(folder) / "environment"
        python = given.python or (make_by_pip(place, given.versions.resolve()) if given.versions else make_from_here(place))
        for path in paths:
            (result,) = run_all(python, [path])
            failed += bool(result["errors"])
            word = "FAILED" if result["errors"] else "passed"
            print(f"{word}  {path.relative_to(ROOT / FOLDER)}  {result['seconds']:.0f} s  {result['said']}", flush=True)
            for error in result["errors"]:
                print(f"    {error}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
