# make run   set everything up and run (the app on a terminal, the status report without one)
# make test  lint, types, import contracts and all tests but the lab
# make lab   the virtual machine lab: a stock kernel with real multi-queue NICs, systemd, and power cuts
# make faults SIGKILL at every system call of apply, confirm and rollback (a quarter of an hour; make test takes a spread)
# make bench the benchmarks, as ratios beside their targets (ARGS=walkers for one part, ARGS=--help for how to read them)
# make units the systemd units, rendered into build/units; make install-units puts them below /etc/systemd (as root)
# make lock  requirements.lock and requirements-dev.lock anew from pyproject.toml (ARGS=--upgrade: the newest versions)
# make sbom  build/quietcore.cdx.json: what is inside, as CycloneDX
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAB ?= ../shared/lab/vm

.DEFAULT_GOAL := help
.PHONY: help venv run test lint lab faults bench units install-units lock sbom clean

help:
	@sed -n 's/^# //p' $(firstword $(MAKEFILE_LIST))

venv: $(VENV)/ready

$(VENV)/ready: pyproject.toml setup.py $(wildcard ingest/*/*.[ch]) requirements-dev.lock tools/prepare
	@PYTHON=$(PYTHON) tools/prepare $(VENV)
	@touch $@

run: $(VENV)/ready
	@$(BIN)/quietcore $(ARGS)

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Three runs side by side: those that break transactions and those of the app wait most of their time, for processes and screens.
test: lint
	@mkdir -p build
	@$(BIN)/python -m pytest tests/faults tests/tuner > build/transaction.log 2>&1 & transaction=$$!; \
	$(BIN)/python -m pytest tests/app > build/app.log 2>&1 & app=$$!; \
	$(BIN)/python -m pytest --ignore tests/faults --ignore tests/tuner --ignore tests/app; rest=$$?; \
	wait $$transaction; transaction=$$?; wait $$app; app=$$?; \
	printf '\n== tests/faults and tests/tuner\n'; cat build/transaction.log; \
	printf '\n== tests/app\n'; cat build/app.log; exit $$((rest | transaction | app))

lab: $(VENV)/ready
	$(BIN)/python tests/lab/run.py $(LAB)
	$(BIN)/python tests/lab/power.py $(LAB)

faults: $(VENV)/ready
	QUIETCORE_ALL_FAULTS=1 $(BIN)/python -m pytest tests/faults --timeout 3000

bench: $(VENV)/ready
	@$(BIN)/python -m bench $(ARGS)

units: $(VENV)/ready
	@$(BIN)/python tools/units build/units

install-units: $(VENV)/ready
	@$(BIN)/python tools/units build/units --install

lock:
	@$(PYTHON) tools/lock $(ARGS)

sbom: $(VENV)/ready
	@$(BIN)/python tools/sbom build/quietcore.cdx.json

clean:
	rm -rf $(VENV) build dist *.egg-info ingest/rings/_walk.so ingest/load/_send.so
