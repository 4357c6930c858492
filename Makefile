# `make demo` and `make test` do everything, from a bare checkout on: they need make, a C++ compiler
# and Python 3.10 to 3.12 (`make PYTHON=/path/to/python demo` picks one).

# The first Python on PATH that runs and suits.
PYTHON ?= $(shell for name in python3 python3.12 python3.11 python3.10; do \
    if "$$name" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
    >/dev/null 2>&1; then echo "$$name"; break; fi; done)

MAIN := .venv/bin/python
OPENMMLAB := .venv-openmmlab/bin/python

# Two files of tests at a time, and one thread each: tensors this small gain little from a second
# thread, and several processes on the same cores are in each other's way.
WORKERS ?= 2
PYTEST = -m pytest -n $(WORKERS) --dist worksteal
test test-fast test-cuda test-openmmlab: export OMP_NUM_THREADS ?= 1

.PHONY: help setup setup-openmmlab demo test test-fast test-cuda test-openmmlab lint lock clean \
    python

help:
	@echo 'make demo             a first training with tricks, and what they did'
	@echo 'make test             ruff, mypy and the tests, on the maintained stack'
	@echo 'make test-fast        the tests without the slow ones: under two minutes'
	@echo 'make test-cuda        the tests that need a GPU; says so where there is none'
	@echo 'make test-openmmlab   the tests, on the upstream OpenMMLab stack'
	@echo 'make lint             ruff and mypy alone'
	@echo 'make setup            only the environment (.venv) for the above'
	@echo 'make setup-openmmlab  only the upstream environment (.venv-openmmlab)'
	@echo 'make lock             resolves requirements/*.txt anew into the .lock files'
	@echo 'make clean            removes builds, caches and runs; keeps .venv* and .wheels'

python:
	@test -n "$(PYTHON)" || { echo 'No Python 3.10, 3.11 or 3.12 on PATH: install one, for example with apt-get install python3 python3-venv python3-dev' >&2; exit 1; }

setup: python
	@$(PYTHON) scripts/setup_env.py main

setup-openmmlab: python
	@$(PYTHON) scripts/setup_env.py openmmlab

demo: setup
	$(MAIN) examples/demo.py

lint: setup
	$(MAIN) -m ruff check .
	$(MAIN) -m mypy

test: lint
	$(MAIN) $(PYTEST)

test-fast: setup
	$(MAIN) $(PYTEST) -m 'not slow'

test-cuda: setup
	$(MAIN) -m pytest -m cuda

test-openmmlab: setup-openmmlab
	$(OPENMMLAB) $(PYTEST)

lock: setup
	cd requirements && for stack in main openmmlab; do \
	    ../$(MAIN) -m uv pip compile --quiet --universal --python-version 3.10 --no-header \
	        --no-annotate --upgrade --override overrides.txt $$stack.txt \
	        --output-file $$stack.lock || exit 1; \
	done

clean:
	rm -rf build dist *.egg-info work_dirs .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
