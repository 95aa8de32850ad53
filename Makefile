# `make demo` and `make test` each do everything on a fresh machine: they first make $(VENV).
# PYTHON chooses the interpreter (3.11 or newer), VENV, EDGE and PEERS environments elsewhere.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
PEERS ?= .venv-peers
EDGE ?= .venv-edge
READY := $(VENV)/.blemish-ready
PYTEST_WORKERS ?= auto

.PHONY: demo test check peers

demo: $(READY)
	$(VENV)/bin/blemish demo

test: check $(EDGE)/.blemish-ready
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(PYTEST_WORKERS)

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/python -m mypy

# The environment of blemish.experiments.peers, apart from the project's own.
peers: $(PEERS)/.blemish-ready

$(PEERS)/.blemish-ready: pyproject.toml
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 -e '.[peers]'
	touch $@

# What a machine on the line has: no PyTorch. A test inspects photos there.
$(EDGE)/.blemish-ready: pyproject.toml src/blemish/version.py
	$(EDGE)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(EDGE)
	$(EDGE)/bin/python -m pip install --disable-pip-version-check -e '.[edge]'
	touch $@

# Installed again only when the requirements or the version change.
$(READY): pyproject.toml src/blemish/version.py
	$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -e '.[dev]'
	touch $@
