# Everything a stranger needs: `make help`. Only Python >= 3.11 and make are taken for granted;
# `make lock` alone wants uv, a developer's tool.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
RIVALS_INSTALLED := $(VENV)/.installed-rivals
RIVAL_SERVERS := .venv-rivals
RIVAL_SERVERS_INSTALLED := $(RIVAL_SERVERS)/.installed
NAME ?= decide
WORKERS ?= 2
# Hashes wrap around on purpose; interpreted, NumPy warns about it.
WRAPPING := -W 'ignore:overflow encountered:RuntimeWarning'

# One cache of compiled kernels for all targets. Several processes must never fill it at the same
# time (Numba's cache files are pickles without a lock), so `kernels` fills it first.
export INSTANTER_KERNEL_CACHE ?= $(CURDIR)/$(VENV)/kernels
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test lint format types protos kernels bench bench-rivals lock clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

demo: $(INSTALLED) ## a seeded shop, live: make demo [SECONDS=20]; Ctrl-C ends it
	@$(BIN)/instanter demo $(if $(SECONDS),--seconds $(SECONDS))

test: lint types kernels ## everything that CI runs: lint, types, contract, tests, the wheel
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -n $(WORKERS) --quiet tests/kernels $(WRAPPING)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(INSTALLED) ## style, format, imports between rooms, the contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/python protos/generate.py --check
	$(BIN)/python protos/generate.py --lint

format: $(INSTALLED) ## put imports and layout in order
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

types: $(INSTALLED) ## mypy, strict
	$(BIN)/mypy

protos: $(INSTALLED) ## write the generated modules beside the contract anew
	$(BIN)/python protos/generate.py

kernels: $(INSTALLED) ## compile every kernel once, before several processes need them
	$(BIN)/python -c 'import instanter.kernels.table'

bench: $(RIVALS_INSTALLED) kernels ## measure: make bench NAME=decide [SMALL=1]
	@$(BIN)/python -m bench.$(NAME) $(if $(SMALL),--small)

# What cannot be installed here is left out of the table, with the reason.
bench-rivals: $(INSTALLED) kernels ## against what a user would pick instead [SMALL=1]
	@$(MAKE) --no-print-directory $(RIVAL_SERVERS_INSTALLED) || true
	@$(BIN)/python -m bench.rivals $(if $(SMALL),--small)

lock: pyproject.toml ## resolve all dependencies anew (needs uv)
	uv pip compile pyproject.toml --group dev --upgrade --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet \
	  --output-file requirements.lock
	uv pip compile --group rivals --constraints requirements.lock --upgrade --universal \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --quiet --output-file bench/rivals.lock
	uv pip compile --group rival-servers --upgrade --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet \
	  --output-file bench/rivals/servers.lock
	@! grep -nE '://' requirements.lock bench/rivals.lock bench/rivals/servers.lock

clean: ## remove everything that a target made, the environment too
	rm -rf $(VENV) $(RIVAL_SERVERS) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-world
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Instanter needs Python 3.11 or later; say which: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(RIVALS_INSTALLED): bench/rivals.lock $(INSTALLED)
	$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r bench/rivals.lock
	@touch $@

# In an environment of its own: Feast wants other versions of what the server itself uses.
$(RIVAL_SERVERS_INSTALLED): bench/rivals/servers.lock | $(BIN)/python
	@rm -f $@
	@$(BIN)/python -m venv $(RIVAL_SERVERS)
	@$(RIVAL_SERVERS)/bin/python -m pip install --quiet --require-hashes --only-binary :all: \
	  -r bench/rivals/servers.lock >$(RIVAL_SERVERS)/install.log 2>&1 || \
	  { tail -3 $(RIVAL_SERVERS)/install.log >&2; exit 1; }
	@touch $@
