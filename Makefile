# `make` lists the targets.
.DEFAULT_GOAL := help
PYTHON ?= python3
# Pinned versions; `make setup CONSTRAINTS=` takes the newest that pyproject.toml admits.
CONSTRAINTS ?= constraints.txt
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help setup browser demo serve test test-quick check format all tiny reference conformance bench bench-doctor torture clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## Make .venv with everything that is needed

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e '.[dev]'
	@touch $(READY)

browser:  ## Install Debian's Chromium, which the tests of the dashboard drive (as root)
	command -v chromium || (apt-get update -q && apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core)

demo: setup  ## Run the main job: upload, train, compare base and tuned (DATA=file.jsonl MODEL=name for your own)
	$(BIN)/python -m examples.demo $(if $(DATA),--data '$(DATA)') $(if $(MODEL),--model '$(MODEL)')

serve: setup  ## Leave the service running on 127.0.0.1:8000
	$(BIN)/tunesmith serve

test: setup  ## Pass all tests
	$(BIN)/python -m pytest -n auto --dist loadfile

test-quick: setup  ## Pass the tests that take seconds
	$(BIN)/python -m pytest -n auto --dist loadfile -m 'not slow'

check: setup  ## Format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## Put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

all: check test  ## What CI runs

tiny: setup  ## Train tunesmith-tiny again (about half an hour)
	$(BIN)/python -m scripts.tiny.train --out tunesmith/assets/tunesmith-tiny --threads 1 --steps 2560

conformance: setup  ## Run vendors' own suites and clients (from PyPI and npm; CONFORMANCE=python for no npm)
	CONFORMANCE='$(CONFORMANCE)' $(BIN)/python -m pytest conformance

bench: setup  ## Measure beside TRL and Unsloth (QUICK=1 for a trial, FULL=1 for five repeats)
	$(BIN)/python -m benchmarks.run $(if $(QUICK),--quick) $(if $(FULL),--full) $(BENCH)

bench-doctor: setup  ## Measure what the dataset doctor finds, and how long it takes
	$(BIN)/python -m benchmarks.doctor

torture: setup  ## Kill server, worker and hosts with -9 under load (ROUNDS=300, SEED= repeats a run's kills)
	$(BIN)/python -m tests.torture --rounds $(or $(ROUNDS),300) $(if $(SEED),--seed $(SEED))

reference: setup  ## Write the pages of docs/reference again
	$(BIN)/python -m scripts.reference

clean:  ## Remove what `make` made, but no data
	rm -rf .venv .conformance .bench build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
