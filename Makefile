# Each target alone, on a machine with Python 3.11 or later and make, creates the environment and does its job.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready


.PHONY: env demo test test-faults lint parity bench clean

env: $(READY)

# GluonCV is installed bare: four of its model files are used, and what it asks for would hold numpy and torch back.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gliolake needs Python 3.11 or later; set PYTHON=")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gluoncv==0.10.5.post0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: $(READY)
	$(BIN)/gliolake demo

test: $(READY) lint
	$(BIN)/python -m pytest

# The same tests with the long runs of killed processes and full disks at full length.
test-faults: $(READY)
	GLIOLAKE_FAULTS=full $(BIN)/python -m pytest -m faults

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# GluonCV's networks against GluonCV imported the ordinary way, in an environment of its time (about 3 GB).
parity: $(READY)
	$(BIN)/python tests/parity/build_environment.py .parity
	GLIOLAKE_PARITY=.parity $(BIN)/python -m pytest tests/parity

bench: $(READY)
	$(BIN)/python tests/bench/bench_training.py
	$(BIN)/python tests/bench/bench_ingest.py
	$(BIN)/python tests/bench/bench_commits.py

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
