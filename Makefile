# Everything a checkout needs. `make demo` and `make test` work on a bare machine with Python ≥ 3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.base
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Threads of torch in each of the test processes: two processes share the machine's cores.
TEST_WORKERS ?= 2

.PHONY: demo test coverage check docs format bench clean help

help:  ## Show this list.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

$(BASE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "anatomark needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "no venv: on Debian, apt-get install python3-venv"; rm -rf $(VENV); exit 1; }
	@echo "Setting up $(VENV): a few minutes the first time"
	$(PIP) -e .
	@touch $@

$(READY): $(BASE)
	$(PIP) -e '.[dev]'
	@touch $@

demo: $(BASE)  ## Make phantoms, draw them, and write demo/index.html.
	$(BIN)/anatomark demo --out demo

test: $(READY)  ## Run the tests.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_WORKERS)

coverage: $(READY)  ## Run the tests, and say which lines they reach (at least nine in ten).
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_WORKERS) --cov --cov-context=test \
		--cov-report=term:skip-covered --cov-report=html:build/coverage --cov-fail-under=90

check: $(READY)  ## Style, types, layers, and the code and links of the docs.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_WORKERS) tests/test_layers.py tests/test_docs.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --site-dir build/site

format: $(READY)  ## Put the code in order.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## Build the documentation into build/site.
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --site-dir build/site

bench: $(READY)  ## Measure on this machine; results in benchmarks/results.
	$(BIN)/anatomark bench --out benchmarks/results

clean:  ## Remove what was built, the environment too.
	rm -rf $(VENV) build demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
