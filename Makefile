# `make demo` and `make test` each do everything on a fresh machine: they first make $(VENV).
# PYTHON chooses the interpreter (3.11 or newer), VENV an environment elsewhere.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
READY := $(VENV)/.blemish-ready
PYTEST_WORKERS ?= auto

.PHONY: demo test check

demo: $(READY)
	$(VENV)/bin/blemish demo

test: check
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(PYTEST_WORKERS)

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/python -m mypy

# Installed again only when the requirements or the version change.
$(READY): pyproject.toml src/blemish/version.py
	$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -e '.[dev]'
	touch $@
