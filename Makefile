# Every target makes or reuses .venv by itself. With uv installed it is used, otherwise venv and pip.
.ONESHELL:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# each environment leaves a stamp; pyproject.toml being newer makes it again
DEMO_STAMP := $(VENV)/.installed-demo
DEV_STAMP := $(VENV)/.installed-dev
DOCS_STAMP := $(VENV)/.installed-docs
OUT ?= out

.PHONY: help demo test coverage test-slow test-lowest lint bench build docs weights clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 20

demo: $(DEMO_STAMP)  ## six kinds of sensor files through the bundled model; report in out/
	@$(BIN)/bindplug demo --output $(OUT)

# two workers with a thread each: more only wait for one another
test: $(DEV_STAMP)  ## the test suite (under 12 minutes on 2 cores)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 $(ARGS)

coverage: $(DEV_STAMP)  ## the test suite, and the statements it runs
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --cov --cov-report=term:skip-covered $(ARGS)

test-slow: $(DEV_STAMP)  ## the tests that need minutes and gigabytes, the network at full size among them
	@$(BIN)/python -m pytest -q -m slow $(ARGS)

test-lowest: $(DEV_STAMP)  ## the drop-ins against the lowest supported open_clip and transformers
	@scripts/test-lowest $(VENV)

lint: $(DEV_STAMP)  ## ruff, mypy, import-linter
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEV_STAMP)  ## ratios against a naive baseline measured in the same run
	@$(BIN)/python -m benchmarks $(ARGS)

build: $(DEV_STAMP)  ## sdist and wheel in out/dist, checked and tried outside the checkout
	@scripts/check-build $(PYTHON) $(VENV) $(OUT)/dist

docs: $(DOCS_STAMP)  ## the documentation site, in out/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

weights: $(DEV_STAMP)  ## train the embedded default again, end to end (some 4 hours on 2 cores)
	@$(BIN)/python -m recipes
	@$(BIN)/python -m recipes.detector --encoder runs/full/weights/toy_foreign_clip --output runs/full/weights/toy_detic
	@$(BIN)/python -m recipes.detector_report --detector runs/full/weights/toy_detic \
		--model runs/full/weights/imagebind_tiny --bridge runs/full/weights/toy_bridge --scenes 300 --write runs/full/weights/toy_detic
	$(BIN)/python -m recipes.meaningless_prompts --detector runs/full/weights/toy_detic \
		--model runs/full/weights/imagebind_tiny --write runs/full/weights/toy_detic
	$(BIN)/python -m recipes.generator --model runs/full/weights/imagebind_tiny \
		--judge runs/full/weights/toy_foreign_clip --output runs/full/weights/toy_unclip
	$(BIN)/python -m recipes.clap --output runs/full/weights/toy_clap

clean:  ## remove what the targets above made, the environment included
	rm -rf $(VENV) $(OUT) runs .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(DEMO_STAMP): pyproject.toml constraints.txt
	@scripts/make-venv $(PYTHON) $(VENV) demo
	touch $@

$(DEV_STAMP): pyproject.toml constraints.txt
	@scripts/make-venv $(PYTHON) $(VENV) dev
	touch $@ $(DEMO_STAMP)

$(DOCS_STAMP): pyproject.toml constraints.txt
	@scripts/make-venv $(PYTHON) $(VENV) docs
	touch $@
