# `make demo` and `make test` need a Python of 3.11 or later and its pip; everything else comes into .venv.
# PYTHON=/path/to/python chooses another interpreter.

VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2

# The first interpreter that is new enough and can make a virtual environment.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
  "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
  && { echo "$$p"; break; }; done)

# onnxruntime would keep a database of events in the user's cache folder, and send them.
export ORT_DISABLE_TELEMETRY := 1

.PHONY: demo test lint docs paper bench clean
.NOTPARALLEL:

demo: $(VENV)/demo.stamp
	$(BIN)/python -m redc.demo

test: lint
	$(BIN)/python -m pytest -n $(JOBS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m isa.manual --check

docs: $(VENV)/dev.stamp
	$(BIN)/python -m isa.manual

# The RED paper's claims beside our figures: docs/paper.md.
paper: $(VENV)/dev.stamp
	$(BIN)/python -m redc.paper

# Timings, for a quiet machine: scripts, so `make test` never waits for them.
bench: $(VENV)/dev.stamp
	@set -e; for script in tests/bench/bench_*.py; do echo "== $$script"; $(BIN)/python $$script; done

$(VENV)/%.stamp: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "redc needs Python 3.11 or later with venv and pip; set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
