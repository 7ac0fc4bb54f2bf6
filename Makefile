# `make` alone says what there is. Every command makes its own environment in .venv first, and again only when the pins
# change. All paths are relative and .venv's programs are run as modules, so a folder with a space in its name is fine.
PYTHON ?= python3
VENV := .venv/bin/python

# What the reader's own Jupyter, IPython and matplotlib are set to must not change the book. pip's settings pass untouched.
HERE := $(CURDIR)/.venv
export JUPYTER_PREFER_ENV_PATH := 1
export JUPYTER_CONFIG_DIR := $(HERE)/config/jupyter
export JUPYTER_DATA_DIR := $(HERE)/config/jupyter-data
export IPYTHONDIR := $(HERE)/config/ipython
export MPLCONFIGDIR := $(HERE)/config/matplotlib
export PYTHONNOUSERSITE := 1
# The networks are small: a second thread gains them nothing, and costs much where several programs share the cores.
book test results notebooks bench: export OMP_NUM_THREADS ?= 1
# Every slider is moved to both of its ends while a chapter is executed, as the tests do, which then need not execute it again.
book: export SALNB_DRIVE_WIDGETS := 1
unexport MPLBACKEND PYTHONPATH PYTHONHOME SALNB_STATIC

.DEFAULT_GOAL := help
.PHONY: help book pdf test test-everywhere live take-home results bench notebooks address wheel clean env

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

book: env  ## execute every chapter and build the pages into _build/html
	@$(VENV) -m tools.build

pdf: env  ## the built pages as one file for paper, _build/book.pdf (needs chromium)
	@$(VENV) -m tools.pdf

test: env  ## ruff, unit tests, doctests, every notebook, and the built pages if there are any
	@$(VENV) -m ruff check .
	@$(VENV) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -p tools.shown_outputs \
		--nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg

test-everywhere: env  ## for maintainers: the tests under other instruction sets, threads and draws (ARGS="--only AVX2")
	@$(VENV) -m tools.everywhere $(ARGS)

live: env  ## JupyterLab on your own copies of the chapters, in live/ (ARGS="--no-browser --port=9999" reaches it)
	@$(VENV) -m tools.live $(ARGS)

take-home: env  ## every chapter as one file that carries the library, for Colab or any kernel, in _build/take-home
	@$(VENV) -m tools.take_home

results: env  ## run the paper-scale experiments again and store them in book/results
	@$(VENV) -m salnb.experiments.results

bench:  ## each speed claim beside its peers, in an environment of their own (ARGS=--fresh measures again)
	@$(PYTHON) -m benchmarks.environment
	@.venv-bench/bin/python -m benchmarks $(ARGS)

notebooks: env  ## for maintainers: execute all chapters in place
	@$(VENV) -m tools.notebooks
	@$(VENV) -m tools.hero
	@$(VENV) -m tools.cover

address: env  ## for maintainers: carry the address in pyproject.toml into notebooks, README and CITATION.cff
	@$(VENV) -m tools.address

wheel: env  ## the library as one file in dist/, to be uploaded to Colab or installed elsewhere
	@$(VENV) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean:  ## remove everything that the commands above have made
	rm -rf .venv .venv-bench _build dist .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

env:
	@$(PYTHON) tools/environment.py
