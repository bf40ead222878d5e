# `make run` serves the portal, `make test` proves it. Both begin in a bare checkout.

PORT ?= 8000
SITES_PORT ?= 8001
# Extra arguments for pytest: make test PYTEST_ARGS="tests/orders -x"
PYTEST_ARGS ?=
# The first Python that is new enough and can make virtual environments; 3.11 is the one the tests run on. Debian's own
# comes first: it is built with measured optimisation, and needs a seventh less of the processor than a plain build.
PYTHON ?= $(shell for p in /usr/bin/python3.11 python3.11 python3 python3.12 python3.13 python3.14; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

PY := .venv/bin/python
BOOTSTRAP = $(if $(PYTHON),,$(error the portal needs Python 3.11 or newer with venv; on Debian: apt-get install python3 python3-venv))$(PYTHON) scripts/bootstrap.py
# Three at a time, whatever the processors: of two, servers that somebody waits for left a fifth idle.
PYTEST := $(PY) -m pytest -n 3 --dist loadgroup
LINTED := portal tests scripts deploy bench migrations worker.py wsgi.py

# Where Python is told to keep no compiled code, each of the many processes below would compile the portal anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run test unit check format lock messages bench screens clean

help: ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  %-14s %s\n", $$1, $$2}'

setup: ## Install everything into the checkout
	@$(BOOTSTRAP)

run: ## Serve the portal with demo data (PORT=8000 SITES_PORT=8001)
	@$(BOOTSTRAP)
	@exec $(PY) -m portal.dev --port $(PORT) --sites-port $(SITES_PORT)

test: ## Run every test on real servers, a browser included
	@$(BOOTSTRAP) --tests
	@$(PY) scripts/install_servers.py
	@$(PYTEST) $(PYTEST_ARGS)

unit: ## Run the tests that need neither a browser nor broken servers
	@$(BOOTSTRAP) --tests
	@$(PY) scripts/install_servers.py
	@$(PYTEST) -m "not browser and not slow_fault" $(PYTEST_ARGS)

check: ## Formatting, lint, types and unit tests
	@$(BOOTSTRAP) --tests
	$(PY) -m ruff format --check $(wildcard $(LINTED))
	$(PY) -m ruff check $(wildcard $(LINTED))
	$(PY) -m mypy
	@$(MAKE) --no-print-directory unit

format: ## Format the code and sort the imports
	@$(BOOTSTRAP) --tests
	$(PY) -m ruff check --fix --select I,UP,RUF100 $(wildcard $(LINTED))
	$(PY) -m ruff format $(wildcard $(LINTED))

lock: ## Resolve requirements*.in and package.json anew (UPGRADE=1 takes newer versions)
	@$(BOOTSTRAP)
	@$(PY) scripts/lock.py $(if $(UPGRADE),--upgrade)

messages: ## Collect the texts to translate into portal/translations
	@$(BOOTSTRAP)
	@$(PY) scripts/messages.py

bench: ## Measure against the ratios of the design
	@$(BOOTSTRAP) --tests
	@$(PY) scripts/install_servers.py
	@$(PY) -m bench

screens: ## Take a picture of every page into docs/screens
	@$(BOOTSTRAP) --tests
	@$(PY) scripts/install_servers.py
	@$(PY) -m scripts.screens

clean: ## Remove what was installed and built; var/ (your data) stays
	rm -rf .venv node_modules static/vendor .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find portal tests scripts bench migrations \( -name __pycache__ -o -name '*.mo' \) -prune -exec rm -rf {} + 2>/dev/null || true
