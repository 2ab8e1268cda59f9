# Works with Python 3.11+ and make alone; everything else is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run run-modal test faults kills fuzz schedules check bench reference contact-sheets screenshots format lock sbom clean

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

setup: .venv/.run ## Prepare .venv to run the service
setup-dev: .venv/.dev ## Prepare .venv to work on it as well

.venv/bin/python:
	@echo "Creating .venv"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Framehook needs Python 3.11 or newer")'
	@$(PYTHON) -m venv .venv

.venv/.run: .venv/bin/python pyproject.toml requirements.lock
	@echo "Installing what the service needs (once; a minute or two)"
	@$(PIP) -e .
	@touch $@

.venv/.dev: .venv/.run
	@echo "Installing what its tests need (once; a minute or two)"
	@$(PIP) -e '.[dev]'
	@touch $@

run: setup ## Start the service and export a video that it makes (ARGS=--once ends after it)
	@$(BIN)/framehook demo $(ARGS)

run-modal: setup ## The same on Modal: its SDK and `modal deploy` against a control plane on this machine
	@$(BIN)/framehook demo --modal $(ARGS)

test: setup-dev ## Run every test, in a process more than there are cores (ARGS=... goes to pytest; -n0 for one process)
	@$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal $(ARGS)

faults: setup-dev ## Break everything around the service, hundreds of times (ARGS="--seed N --mutations --minutes M ...")
	@$(BIN)/python -m tests.faults $(ARGS)

kills: setup-dev ## Kill the service 200 times while it delivers webhooks (ARGS="--seed N --kills K --days D ...")
	@$(BIN)/python -m tests.faults.crash_main $(ARGS)

fuzz: setup-dev ## Send generated requests to a service of its own for 10 minutes (ARGS="--seconds S --seed N")
	@$(BIN)/python -m tests.fuzz $(ARGS)

schedules: setup-dev ## Play 2,000 schedules of faults to the browser client (ARGS="--seed N --count N --mutations")
	@$(BIN)/python -m tests.service.web.schedules_main $(ARGS)

check: setup-dev ## Lint, types, layers, names and sizes
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest --quiet --no-header -p no:cacheprovider tests/test_conventions.py

bench: setup-dev ## Run benchmarks and write their figures to the guide (ARGS="--list", ARGS="callbacks --rounds 3")
	@$(BIN)/python -m tests.bench $(ARGS)

reference: setup-dev ## Write the commands' help, the settings and the metrics to their guides
	@$(BIN)/python -m tests.docs.command_reference
	@$(BIN)/python -m tests.docs.setting_reference
	@$(BIN)/python -m tests.docs.metric_reference

contact-sheets: setup-dev ## Draw the pictures of the exports guide
	@$(BIN)/python -m tests.bench.contact_sheets $(ARGS)

screenshots: setup-dev ## Draw each page of the console, with real exports in it
	@$(BIN)/python -m tests.console.screenshots $(ARGS)

format: setup-dev ## Format, and mend what the linter can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

COMPILE := $(BIN)/uv pip compile --python-version 3.11 --upgrade --no-header --no-annotate --no-emit-index-url \
	--no-emit-find-links --quiet
COMPILE_FOR_IMAGE := $(COMPILE) --python-platform linux --constraint requirements.lock --generate-hashes

lock: setup ## Resolve the versions anew, for every platform, and hash what the image installs
	@$(BIN)/python -m pip install --quiet uv
	@$(COMPILE) pyproject.toml --all-extras --universal --output-file requirements.lock
	@$(COMPILE_FOR_IMAGE) pyproject.toml --extra tracing --output-file infra/locks/service.txt
	@sed -n 's/^requires = \["\(.*\)"\]/\1/p' pyproject.toml | $(COMPILE_FOR_IMAGE) - --output-file infra/locks/build.txt

sbom: setup-dev ## Write what the image installs as a CycloneDX bill of materials (OUTPUT=sbom.json)
	@mkdir -p $(dir $(or $(OUTPUT),var/sbom.json))
	@$(BIN)/cyclonedx-py requirements infra/locks/service.txt --pyproject pyproject.toml --output-reproducible \
		--output-file $(or $(OUTPUT),var/sbom.json)

clean: ## Remove .venv, caches and the data folder
	@rm -rf .venv .npm-packages .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis var
