# Every target sets up what it needs. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# A build never spends a key that happens to be in the environment.
notebook test evaluate bench: export MEMORY_COOKBOOK_OFFLINE := 1

.PHONY: help notebook html test check lab evaluate live bench lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

notebook: $(READY) ## run memory_cookbook.ipynb top to bottom and save it with its outputs
	$(BIN)/python scripts/run_notebook.py memory_cookbook.ipynb

# Of the templates, "classic" is the one that keeps the figures' alt texts.
html: $(READY) ## export memory_cookbook.ipynb as it is saved to memory_cookbook.html
	$(BIN)/jupyter nbconvert --to html --template classic memory_cookbook.ipynb

test: $(READY) ## run every test; one of them runs the notebook by nbmake
	$(BIN)/python -m pytest -n auto --dist worksteal tests

check: $(READY) ## lint, format and types, as CI checks them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lab: $(READY) ## open the notebook in JupyterLab
	$(BIN)/jupyter lab memory_cookbook.ipynb

evaluate: $(READY) ## measure what memory and context editing change, offline
	$(BIN)/python -m memory_demo.evaluation
	$(BIN)/python -m memory_demo.evaluation long --files 100
	$(BIN)/python -m memory_demo.evaluation poisoning

live: $(READY) ## ask the API what the stand-in asserts and record the notebook; asks first (ARGS="--yes --budget 2.00")
	$(BIN)/python -m memory_demo.live $(ARGS)

bench: $(READY) ## time memory commands against the SDK and bare system calls, and what screens and journal add
	$(BIN)/python benchmarks/bench_memory_tool.py
	$(BIN)/python benchmarks/bench_mitigations.py
	$(BIN)/python benchmarks/bench_postgres.py
	$(BIN)/python benchmarks/bench_review.py
	$(BIN)/python scripts/run_notebook.py memory_cookbook.ipynb --time

lock: $(READY) ## resolve pyproject.toml into requirements.lock, for every platform
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9,<1"
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links \
	    --upgrade --all-extras pyproject.toml --output-file requirements.lock

clean: ## remove the virtual environment and everything generated, but no notes in memory_storage
	rm -rf $(VENV) memory_cookbook.html demo_memory evaluation_results .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with make PYTHON=...")'
	@echo "Setting up $(VENV) (about a minute, only the first time and after a change of dependencies)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
