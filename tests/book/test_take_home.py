"""A chapter as one file: it carries the library and what it draws, says what it does, and runs alone on a bare kernel."""

from __future__ import annotations

import contextlib
import csv
import importlib.metadata
import importlib.util
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

from salnb.notebook.book_files import read_results
from tools import bare, first_cell, take_home
from tools.address import setup_source
from tools.tree import ROOT, notebooks

ADDRESS = "https://github.com/someone/sensitivity"
STORED = {path.stem for path in (ROOT / "book/results").glob("*.json")}
# One chapter of theory, with sliders; one experiment, with stored runs; the ledger. `make test-everywhere` runs them all.
IN_CI = ("theory/one_neuron", "experiments/three_hundred_layers", "appendix/claims")


@pytest.fixture(scope="session")
def files() -> dict[str, bytes]:
    """What the library's wheel holds."""
    return take_home.library()


def chapter(*sources: str) -> nbformat.NotebookNode:
    """A notebook of a setup cell and these code cells."""
    setup = nbformat.v4.new_code_cell(setup_source("", "0"), metadata={"tags": ["setup", "remove-cell"]}, id="setup")
    return nbformat.v4.new_notebook(cells=[setup, *(nbformat.v4.new_code_cell(source) for source in sources)])


def written(tmp_path: Path, files: dict[str, bytes], *sources: str, repository: str = "") -> nbformat.NotebookNode:
    """The take-home file of such a notebook, in a book that has this address."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8").replace('repository = ""', f'repository = "{repository}"')
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    path = tmp_path / "book/theory/new.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(chapter(*sources), path)
    return take_home.take_home(path, files, tmp_path)


def run_first_cell(notebook: nbformat.NotebookNode, monkeypatch: pytest.MonkeyPatch, found: dict[str, bool] | None = None) -> str:
    """Execute it as a kernel would where salnb is not installed; what it printed. ``found`` overrides what is installed."""
    really, present = importlib.util.find_spec, {"salnb": False} | (found or {})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: really(name, *a) if present.get(name, True) else None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in sys.modules if name.split(".")[0] == "salnb"]:
        monkeypatch.delitem(sys.modules, name)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(notebook.cells[0].source, "first cell", "exec"), {})
    return said.getvalue()


def test_the_wheel_holds_the_results_that_are_drawn_and_no_others(files) -> None:
    with zipfile.ZipFile(io.BytesIO(take_home.wheel_with(files, {"spectra", "claims"}))) as wheel:
        results = {name for name in wheel.namelist() if "/results/" in name and name.startswith("salnb/data")}
        assert results == {"salnb/data/results/spectra.json", "salnb/data/results/claims.json"}
        assert wheel.read("salnb/data/results/spectra.json") == (ROOT / "book/results/spectra.json").read_bytes()
        assert "salnb/data/claims.toml" in wheel.namelist()
        record = next(name for name in wheel.namelist() if name.endswith("RECORD"))
        assert {row[0] for row in csv.reader(io.StringIO(wheel.read(record).decode()))} == set(wheel.namelist())


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_every_result_that_a_chapter_reads_is_found_in_its_code(path: Path) -> None:
    """`read_results` of a name that is put together from pieces would be missed, and the notebook would fail elsewhere."""
    code = "\n".join(take_home.code_of(nbformat.read(path, 4)))
    drawn = take_home.drawn_results(nbformat.read(path, 4), STORED)
    assert drawn or "read_results(" not in code
    assert len(drawn) >= code.count("read_results(") - code.count("read_results(name)"), "several reads, fewer names"


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_every_chapter_can_be_taken_home(path: Path, files) -> None:
    notebook = take_home.take_home(path, files)
    nbformat.validate(notebook)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert "def bring(" in first.source and first.metadata.cellView == "form" and first.metadata.jupyter.source_hidden
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert not [link for link in take_home.LINK.findall(cell.source) if link[1].split("#")[0].endswith((".md", ".ipynb"))]
        elif cell.metadata.get("mystnb", {}).get("code_prompt_show", "").startswith("Solution"):
            assert cell.metadata.jupyter.source_hidden


def test_the_first_cell_unpacks_and_says_so(tmp_path, files, monkeypatch) -> None:
    notebook = written(tmp_path, files, "read_results('spectra')")
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(first_cell.tempfile, "tempdir", str(folder))
    said = run_first_cell(notebook, monkeypatch)
    assert said.startswith("salnb ") and "unpacked from this cell" in said and said.count("\n") == 1
    (made,) = folder.iterdir()
    assert (made / "salnb/__init__.py").is_file() and sys.path[0] == str(made)
    assert (made / "salnb/data/results/spectra.json").is_file() and not (made / "salnb/data/results/lag.json").exists()


def test_where_the_library_is_installed_it_is_used(tmp_path, files, monkeypatch) -> None:
    said = run_first_cell(written(tmp_path, files), monkeypatch, {"salnb": True})
    assert said == f"salnb {importlib.metadata.version('salnb')} is installed here, and is used.\n"


def test_another_version_is_told(tmp_path, files, monkeypatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9")
    said = run_first_cell(written(tmp_path, files), monkeypatch, {"salnb": True})
    assert said.startswith("salnb 9.9 is installed here") and "made with 0.1.0" in said


def test_a_damaged_copy_is_refused(tmp_path, files, monkeypatch) -> None:
    notebook = written(tmp_path, files)
    lines = notebook.cells[0].source.split("\n")
    lines[-2] = lines[-2][:-2] + ("ab" if lines[-2][-2:] != "ab" else "ba")
    notebook.cells[0].source = "\n".join(lines)
    with pytest.raises(RuntimeError, match="damaged.*Download"):
        run_first_cell(notebook, monkeypatch)


def test_what_a_kernel_lacks_is_named_as_pip_calls_it(tmp_path, files, monkeypatch) -> None:
    notebook = written(tmp_path, files, "from salnb.experiments import digits")
    with pytest.raises(ModuleNotFoundError, match="needs scipy scikit-learn. Run `%pip install scipy scikit-learn`"):
        run_first_cell(notebook, monkeypatch, {"scipy": False, "sklearn": False})


def test_with_an_address_the_release_comes_first_and_the_copy_when_that_fails(tmp_path, files, monkeypatch) -> None:
    notebook = written(tmp_path, files, repository=ADDRESS)
    asked: list[str] = []

    def no_network(command, **options):
        asked.append(command[-1])
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(first_cell.subprocess, "run", no_network)
    assert "unpacked from this cell" in run_first_cell(notebook, monkeypatch)
    assert asked == [f"salnb @ git+{ADDRESS}@v0.1.0"]


def test_with_an_address_links_lead_there(tmp_path, files) -> None:
    text = "see [SAL](../theory/network.ipynb#x)"
    assert take_home.with_whole_links(text, "book/theory/new", ADDRESS, "0.1.0") == \
        f"see [SAL]({ADDRESS}/blob/v0.1.0/book/theory/network.ipynb#x)"  # fmt: skip


def test_too_many_results_are_refused(tmp_path, files) -> None:
    noise = bytes(range(256)) * 4_000  # a megabyte, more than the 700 kB that a first cell may take
    heavy = {**files, "salnb/data/results/heavy.json": __import__("random").Random(0).randbytes(len(noise))}
    with pytest.raises(ValueError, match="first cell takes .* bytes"):
        written(tmp_path, heavy, "read_results('heavy')")


def test_a_chapter_without_setup_cell_is_named(tmp_path, files) -> None:
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    (tmp_path / "book").mkdir()
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "book/new.ipynb")
    with pytest.raises(ValueError, match="book/new: .*make address"):
        take_home.take_home(tmp_path / "book/new.ipynb", files, tmp_path)


def test_a_result_that_was_not_carried_is_refused_in_words() -> None:
    with pytest.raises(FileNotFoundError, match="nothing.json"):
        read_results("nothing")


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> Path:
    """The interpreter of an environment with a bare kernel's packages."""
    return bare.make_from_here(tmp_path_factory.mktemp("bare") / "environment")


PROBE = """
import importlib.util, os, socket
assert os.listdir(".") and all("probe" in name or name.startswith(("kernel", ".")) for name in os.listdir(".")), os.listdir(".")
for name in ("salnb", "tqdm", "pytest", "tools"):
    assert importlib.util.find_spec(name) is None, name
for name in ("torch", "numpy", "matplotlib", "ipywidgets", "sklearn", "scipy"):
    assert importlib.util.find_spec(name) is not None, name
try:
    socket.create_connection(("192.0.2.1", 80), timeout=2).close()  # an address that no machine has
except OSError as error:
    assert error.errno == 101, error  # the network is unreachable: there is no way out at all
else:
    raise AssertionError("there is a network")
"""


@pytest.mark.skipif(not bare.has_namespaces(), reason="`unshare -rn` is not allowed here")
def test_the_bare_kernel_is_bare(bare_python, tmp_path) -> None:
    nbformat.write(chapter(PROBE), tmp_path / "probe.ipynb")
    notebook = nbformat.read(tmp_path / "probe.ipynb", 4)
    del notebook.cells[0]
    nbformat.write(notebook, tmp_path / "probe.ipynb")
    (result,) = bare.run_all(bare_python, [tmp_path / "probe.ipynb"])
    assert result["errors"] == []


@pytest.mark.skipif(not bare.has_namespaces(), reason="`unshare -rn` is not allowed here")
def test_an_error_in_a_cell_or_a_widget_is_seen(bare_python, tmp_path) -> None:
    callback = "import ipywidgets; ipywidgets.interact(lambda x: 1 / x, x=(0.0, 1.0)).widget.children[0].value = 0.0"
    for name, source in (("cell", "1 / 0"), ("widget", callback)):
        notebook = chapter(source)
        del notebook.cells[0]
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    for result in bare.run_all(bare_python, [tmp_path / "cell.ipynb", tmp_path / "widget.ipynb"]):
        assert "ZeroDivisionError" in result["errors"][0]


@pytest.mark.skipif(not bare.has_namespaces(), reason="`unshare -rn` is not allowed here")
@pytest.mark.parametrize("name", IN_CI)
def test_a_chapter_runs_alone_on_a_bare_kernel(name, bare_python, files, tmp_path) -> None:
    target = tmp_path / f"{Path(name).name}.ipynb"
    nbformat.write(take_home.take_home(ROOT / f"book/{name}.ipynb", files), target)
    (result,) = bare.run_all(bare_python, [target])
    assert result["errors"] == [] and "unpacked from this cell" in result["said"]
