# Works with GNU make 3.81 (macOS) and later. Needs Python 3.11, 3.12 or 3.13, and nothing else.
SHELL := /bin/sh
VENV ?= .venv
PY = $(VENV)/bin/python
STAMP = $(VENV)/.installed
REQUIREMENTS = requirements.txt requirements-dev.txt
# Tests run in one process per core; PYTEST_ARGS="tests/mlcore -x" picks some
PYTEST_ARGS ?= -n auto --dist loadgroup
export PYTHONUNBUFFERED = 1
export DJANGO_SETTINGS_MODULE = config.settings
# see config/__init__.py; the benchmarks and the unit tests of mlcore do not pass by there
export OMP_WAIT_POLICY = PASSIVE
# Every process that the desk, the tests and the benchmarks start would compile the same sources again where this is set (empty: it is not)
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help setup audit run properties contract test test-slow lint pins bench faults clean clean-data

help: ## What there is
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z%][a-z%-]*\):[^#]*## \(.*\)/\1 \2/p' $(MAKEFILE_LIST) | while read -r name text; do printf '  %-12s %s\n' "$$name" "$$text"; done
	@echo "PYTHON=python3.12 picks the Python; DATABASE_URL and REDIS_URL pick servers of yours."

setup: $(STAMP) ## The virtual environment with the pinned packages

$(STAMP): $(REQUIREMENTS) bin/setup.py bin/find-python
	@python=$$(sh bin/find-python) && "$$python" bin/setup.py $(VENV) $(REQUIREMENTS)
	@touch $(STAMP)

# DATA, MAPPING and PORT reach the launcher as environment variables, so that a path may hold spaces
run: $(STAMP) ## The whole desk: DATA=file MAPPING=name fill it with a real file, PORT=8000 moves it
	@exec $(PY) -m config.launch

# One thread a process: the tests run a process a core already, and tiny fits lose more to threads than they win
test: lint ## Lint, import contracts and tests
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(PY) -m pytest $(PYTEST_ARGS)

lint: $(STAMP) ## Ruff and the import contracts
	@$(PY) -m ruff check .
	@$(PY) -c "from importlinter.cli import lint_imports_command as run; run()"

audit: $(STAMP) ## Known vulnerabilities of what production installs; what the advisory service can't be asked about is named
	@$(PY) -m pip_audit --disable-pip --require-hashes -r requirements.txt --progress-spinner off --timeout 5

test-slow: $(STAMP) ## The tests that take minutes, or need the real data files
	@$(PY) -m pytest $(PYTEST_ARGS) -m slow

properties: $(STAMP) ## A million made-up inputs for the serializers, parsers, file readers and mappings (PROPERTY_CASES)
	@PROPERTY_CASES=$${PROPERTY_CASES:-1000000} $(PY) -m pytest -q tests/loans/api/test_properties.py tests/loans/imports/test_properties.py

contract: $(STAMP) ## 10,000 made-up requests against the OpenAPI description (CONTRACT_CASES)
	@$(PY) -m pytest -q -s -m slow tests/loans/api/test_contract.py

faults: $(STAMP) ## Every fault, then 100,000 applications through 200 of them; FAULTS_SEED=n again
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(PY) -m pytest -m faults

bench: $(STAMP) ## Every suite in benchmarks/
	@for suite in $$(grep -l '^if __name__ ==' benchmarks/*.py); do name=$$(basename "$$suite" .py); \
		echo "== $$name"; $(PY) -m "benchmarks.$$name" || exit 1; done

bench-%: $(STAMP) ## One suite: bench-scoring runs benchmarks/scoring.py
	@$(PY) -m benchmarks.$*

COMPILE = $(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links

pins: $(STAMP) ## requirements*.txt anew from requirements*.in; UPGRADE=--upgrade takes newer versions
	@UV_CUSTOM_COMPILE_COMMAND="make pins" $(COMPILE) $(UPGRADE) requirements.in -o requirements.txt
	@UV_CUSTOM_COMPILE_COMMAND="make pins" $(COMPILE) $(UPGRADE) requirements-dev.in -o requirements-dev.txt

clean: ## Remove the virtual environment and caches; data stays
	rm -rf $(VENV) build .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-data: $(STAMP) ## Delete the embedded database, queue and models, to start anew
	@$(PY) -m config.embedded clear
