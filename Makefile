# Every target works in an empty clone: it makes .venv, installs the pinned versions, and does its thing.
# A second call installs nothing until pyproject.toml or constraints.txt change.

PYTHON ?= python3
# MINUTES: how long quickstart trains, e.g. make quickstart MINUTES=1
MINUTES ?=
# TORCH_INDEX: another index for torch alone, e.g. the one with the smaller CPU builds for Linux
TORCH_INDEX ?=

BIN := .venv/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
TORCH = $(shell grep '^torch==' constraints.txt)

.PHONY: help quickstart test check setup soak
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

quickstart: .venv/.package  ## train a chat model on the built-in corpus, then talk to it (MINUTES=1: the short form)
	@$(BIN)/duologue quickstart $(if $(MINUTES),--minutes $(MINUTES))

test: .venv/.tests  ## run the tests
	@$(BIN)/python -m pytest

check: .venv/.tests  ## lint, check types, check that imports go down only
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

soak: .venv/.soak  ## run the long suites too; builds llama.cpp (needs a C++ compiler)
	@$(BIN)/python -m pytest -m soak --timeout 3600

setup: .venv/.tests  ## install all that the tests need, and stop

.venv/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("duologue needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	@echo "installing $(TORCH) into .venv (some minutes on a slow line, once)"
	@$(PYTHON) -m venv .venv
	@$(INSTALL) --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	@touch $@

.venv/.package: .venv/.torch pyproject.toml
	@echo "installing duologue and what it needs (about a minute, once)"
	@$(INSTALL) hatchling
	@$(INSTALL) --no-build-isolation --editable '.[corpus]'
	@touch $@

.venv/.tests: .venv/.package
	@echo "installing what the tests need (about a minute, once)"
	@$(INSTALL) --no-build-isolation --editable '.[corpus,scale,test]'
	@touch $@

.venv/.soak: .venv/.tests
	@echo "building llama.cpp for Python (some minutes, once)"
	@$(INSTALL) --no-build-isolation --editable '.[llamacpp]'
	@touch $@
