# Each target alone, on a machine with Python 3.11 or later and make, creates the environment and does its job.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
MXNET_PYTHON ?= $(shell command -v python3.11)
MXNET_RUNS := $(if $(MXNET_PYTHON),$(shell $(MXNET_PYTHON) -c 'import ctypes, sys; [ctypes.CDLL(name) for name in sys.argv[1:]]' \
	libgomp.so.1 libquadmath.so.0 2>/dev/null && echo yes))
BIN := .venv/bin
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all:
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help env demo test test-long test-examples test-faults test-backbones test-study coverage lint format \
	docs parity mxnet browser bench bench-extract bench-study bench-agreement bench-scale fuzz clean

help: ## Show this list
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

env: $(READY) ## Create the environment .venv from the lock files

# Nothing is installed that the lock files do not name by version and digest (deploy/lock.py makes them). torch comes for
# CPUs, from PyTorch's index or a folder of pip's settings; where neither has it, from PyPI, with several GB of CUDA.
$(READY): requirements.lock requirements-dev.lock deploy/torch-cpu.lock deploy/cuda.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gliolake needs Python 3.11 or later; set PYTHON=")'
	$(PYTHON) -m venv .venv
	@echo 'Installing what requirements.lock names into .venv, about 3 GB. Nothing is printed for some minutes.'
	$(INSTALL) --retries 0 --index-url $(TORCH_INDEX) --requirement deploy/torch-cpu.lock || $(INSTALL) --requirement deploy/cuda.lock
	$(INSTALL) --requirement requirements.lock --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: $(READY) ## Take two synthetic cohorts from files to a table of metrics, in about two minutes
	$(BIN)/gliolake demo

# MXNet's tests are skipped where there is no Python 3.11 or MXNet misses a library of the system's, those of pages where
# there is no Chromium. A process per core; a file's tests stay together, since they share lakes.
test: $(READY) lint $(if $(MXNET_RUNS),mxnet) ## Run the checks and all tests but the long ones
	$(BIN)/python -m pytest -m 'not long' --numprocesses auto --dist loadfile --no-loadscope-reorder

# Storms of commands, killed workers, every command in a stranger's folder, the demo, networks at full size: shortened.
test-long: $(READY) $(if $(MXNET_RUNS),mxnet) ## Run the long tests: whole runs of many processes, large networks
	$(BIN)/python -m pytest -m long --numprocesses auto --dist loadfile

# Four times the generated inputs of each property, and the proofs of honesty of training on four times the deals of labels.
test-examples: $(READY) ## Run all tests but the long ones on four times the examples
	GLIOLAKE_EXAMPLES=full $(BIN)/python -m pytest -m 'not long' --numprocesses auto --dist loadfile

# Every injected fault at full length (fifteen minutes on two cores with 200 generated cohorts, and longer for storms of 600
# commands), and at the end how many there were and what they cost.
test-faults: $(READY) ## Run the fault injection at full length, 15 minutes and more
	GLIOLAKE_FAULTS=full $(BIN)/python -m pytest -m faults --numprocesses auto --dist load --durations 10

# All six networks at full size against plain torch, and real and synthetic scans through all of them (10 minutes).
test-backbones: $(READY) ## Run the networks at full size, about 10 minutes
	GLIOLAKE_BACKBONES=full $(BIN)/python -m pytest tests/features/backbones/test_networks.py tests/features/backbones/test_every_backbone.py

# Every table of the shipped study on synthetic cohorts; `make test` computes its figure 7.
test-study: $(READY) ## Compute every table of the shipped study on synthetic cohorts
	GLIOLAKE_STUDY=full $(BIN)/python -m pytest tests/analysis/study/test_whole_study.py

# Commands that tests start as processes of their own are measured too.
coverage: $(READY) ## Run all tests and report which lines they reach
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses auto --dist loadfile
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(READY) ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports & imports=$$!; $(BIN)/mypy && wait $$imports

format: $(READY) ## Format the code, and correct what ruff can correct
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) ## Write docs/data-dictionary.md anew from the schema and the SQL
	$(BIN)/gliolake dictionary --output docs/data-dictionary.md --overwrite

# GluonCV's networks against GluonCV imported the ordinary way, in an environment of its time (about 3 GB).
parity: $(READY) ## Compare GluonCV's networks with GluonCV in an environment of its time
	$(BIN)/python tests/parity/build_environment.py .parity
	GLIOLAKE_PARITY=.parity $(BIN)/python -m pytest tests/parity

# Workers for `gliolake extract --engine mxnet`: MXNet wants Python 3.11 and a numpy of 2022, so they live apart (0.6 GB).
mxnet: .mxnet/.ready ## Create the environment .mxnet of the MXNet workers

.mxnet/.ready: deploy/mxnet/requirements.txt pyproject.toml
	@test '$(MXNET_RUNS)' || { echo 'MXNet needs Python 3.11, libgomp and libquadmath' \
		'(Debian: apt install python3.11-venv libgomp1 libquadmath0).' >&2; exit 1; }
	$(MXNET_PYTHON) -m venv .mxnet
	.mxnet/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		--requirement deploy/mxnet/requirements.txt
	.mxnet/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# A browser for the tests of pages, from Debian's packages.
browser: ## Install Chromium and its driver for the tests of pages (Debian, as root)
	{ command -v chromium && command -v chromedriver; } >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends chromium chromium-driver; }

bench: $(READY) ## Measure training, ingest and commits
	$(BIN)/python tests/bench/bench_training.py
	$(BIN)/python tests/bench/bench_random_conv.py
	$(BIN)/python tests/bench/bench_ingest.py
	$(BIN)/python tests/bench/bench_commits.py

# Minutes of it: every network in two precisions, and in plain torch.
bench-extract: $(READY) ## Measure the networks in two precisions
	$(BIN)/python tests/bench/bench_extract.py

# Minutes of it: every experiment of the shipped study, and how its cost grows with the cohort.
bench-study: $(READY) ## Measure the experiments of the shipped study
	$(BIN)/python tests/bench/bench_study.py
	$(BIN)/python tests/bench/bench_study.py --scale

# Agreement of two feature sets of 100,000 scans, and how long an analyst waits for an answer on such a lake.
bench-agreement: $(READY) ## Measure agreement and queries on 100,000 scans
	$(BIN)/python tests/bench/bench_agreement.py
	$(BIN)/python tests/bench/bench_queries.py

# A lake of 100,000 scans, what everything costs on it, and how that grows; a quarter of an hour. Results: docs/scale.md.
bench-scale: $(READY) ## Measure all steps on a lake of 100,000 scans, about 15 minutes
	$(BIN)/python tests/bench/bench_scale.py

FUZZ_SECONDS ?= 60

# Each parser of strangers' files against what atheris invents, this many seconds each; inputs that break the rule stay in
# tests/fuzz/corpus.
fuzz: $(READY) ## Fuzz each parser of foreign files for FUZZ_SECONDS seconds
	$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris==3.0.0
	for parser in $$($(BIN)/python tests/fuzz/run.py list); do \
		$(BIN)/python tests/fuzz/run.py $$parser --seconds $(FUZZ_SECONDS) || exit 1; done

clean: ## Remove the environments, build output and caches
	rm -rf .venv .mxnet build *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
