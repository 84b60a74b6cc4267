# make run   set everything up and run (the app on a terminal, the status report without one)
# make test  lint, types, import contracts and all tests but the lab
# make lab   the virtual machine lab: a stock kernel with real multi-queue NICs
# make bench the benchmarks, as ratios
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAB ?= ../shared/lab/vm

.DEFAULT_GOAL := help
.PHONY: help venv run test lint lab bench clean

help:
	@sed -n 's/^# //p' $(firstword $(MAKEFILE_LIST))

venv: $(VENV)/ready

$(VENV)/ready: pyproject.toml setup.py ingest/rings/walk.c tools/prepare
	@PYTHON=$(PYTHON) tools/prepare $(VENV)
	@touch $@

run: $(VENV)/ready
	@$(BIN)/quietcore $(ARGS)

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest

lab: $(VENV)/ready
	$(BIN)/python tests/lab/run.py $(LAB)

bench: $(VENV)/ready
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) build dist *.egg-info ingest/rings/_walk.so
