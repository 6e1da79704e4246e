# `make` lists the targets. Everything runs in the locked environment, .venv.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help doctor install up down demo test test-parts test-line lint docs clean

BIN := .venv/bin
# uv as installed; where there is none, one of our own in .uv.
UV := $(shell command -v uv || echo .uv/bin/uv)
# Folder of real files for `make demo DATA=…`; empty: readers and books are generated.
DATA ?=
# Passed on to pytest, for example PYTEST=--durations=20.
PYTEST ?=
# The parts are tested on one stack; the line as a whole, and what takes long of it, beside them on another.
LINE_TESTS := tests/e2e tests/training
export BOOKWORKS_TEST_PORT_OFFSET ?= 1000
LINE_PORT_OFFSET := $(shell expr $(BOOKWORKS_TEST_PORT_OFFSET) + 1100)

help: ## List the targets.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/\1\t\2/' | expand -t 12

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet 'uv>=0.8'

install: $(filter .uv/%,$(UV)) ## Install the locked environment and the servers; what is there stays.
	$(UV) sync --frozen
	$(BIN)/bookworks install

doctor: $(filter .uv/%,$(UV)) ## Name each missing prerequisite and how to install it.
	$(UV) sync --frozen --quiet
	$(BIN)/bookworks doctor

up: install ## Start every server and wait until each answers.
	$(BIN)/bookworks up

down: ## Stop every server.
	$(BIN)/bookworks down

demo: install ## Run the whole line and show what came of it; DATA=folder takes real files.
	$(BIN)/bookworks demo $(if $(DATA),--data "$(DATA)")

test: install lint docs ## All checks and tests, the same that CI runs; starts the servers it needs.
	$(MAKE) --jobs=2 --keep-going --output-sync=target test-parts test-line

test-parts:
	+$(BIN)/pytest $(LINE_TESTS:%=--ignore=%) $(PYTEST)  # the plus: shown as it goes, not as a whole at its end

test-line:
	BOOKWORKS_TEST_PORT_OFFSET=$(LINE_PORT_OFFSET) nice -n 5 $(BIN)/pytest $(LINE_TESTS) $(PYTEST)

lint: ## Style, types and import rules.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy --strict -p infra -p analytics
	$(BIN)/lint-imports

docs: ## Build the documentation, strictly, into site/.
	$(BIN)/mkdocs build --strict

clean: ## Remove what checks and tests leave behind; the stacks' data stays.
	rm -rf site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
