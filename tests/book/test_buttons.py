"""A page's buttons, built for real: with an address they lead there, without one there is no dead button."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from tools.build import JUPYTER_BOOK
from tools.tree import ROOT

ADDRESS = "https://github.com/someone/sensitivity"


def hrefs(tmp_path: Path, address: str) -> set[str]:
    """Build a book of one notebook with this address; where the buttons of its page lead."""
    for name in ("_config.yml", "book/references.bib"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "book/web", tmp_path / "book/web")
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    setting = (ROOT / "pyproject.toml").read_text(encoding="utf-8").replace('repository = ""', f'repository = "{address}"')
    (tmp_path / "pyproject.toml").write_text(setting, encoding="utf-8")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/intro\n", encoding="utf-8")
    cells = [nbformat.v4.new_markdown_cell("# T"), nbformat.v4.new_code_cell("1")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "book/intro.ipynb")
    config = (tmp_path / "_config.yml").read_text().replace("execute_notebooks: cache", 'execute_notebooks: "off"')
    (tmp_path / "_config.yml").write_text(config)
    done = subprocess.run([sys.executable, *JUPYTER_BOOK, "build", "."], cwd=tmp_path, capture_output=True, text=True)
    page = tmp_path / "_build/html/book/intro.html"
    assert page.is_file(), done.stdout[-2000:] + done.stderr[-2000:]
    buttons = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").select(".article-header-buttons a[href]")
    return {button["href"] for button in buttons} - {"#"}


@pytest.mark.parametrize("address", ["", ADDRESS])
def test_buttons_lead_where_they_should(tmp_path: Path, address: str) -> None:
    found = hrefs(tmp_path, address)
    outside = {href for href in found if href.startswith("http")}
    assert found - outside == {"../_sources/book/intro.ipynb"}
    if not address:
        assert not outside
    else:
        assert "https://colab.research.google.com/github/someone/sensitivity/blob/main/book/intro.ipynb" in outside
        assert ADDRESS in outside and any(href.startswith(f"{ADDRESS}/issues/new") for href in outside)
        assert all(href.startswith((ADDRESS, "https://colab.research.google.com/")) for href in outside)
