# Everything below needs only python3 >= 3.11 with venv and pip, and PyPI. `make demo` is the place to start.
SHELL := /bin/sh
PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
# Compiled here, modules need not be compiled at every start where PYTHONDONTWRITEBYTECODE is set, as containers like to.
COMPILE := $(BIN)/python -m compileall -q shoal export runtime sim2real student teacher
# --inexact keeps what uv.lock does not name, uv itself for one, so the two syncs below do not undo each other.
SYNC := UV_PROJECT_ENVIRONMENT=$(VENV) UV_PYTHON_DOWNLOADS=never UV_HTTP_TIMEOUT=$${UV_HTTP_TIMEOUT:-300} $(BIN)/uv sync --quiet --frozen --inexact --compile-bytecode --extra train

.PHONY: setup demo check test test-slow lint docs clean

setup: $(VENV)/.synced-dev ## Install everything, development tools included.

demo: $(VENV)/.synced ## Train, distil, export and drive a simulated arm.
	$(BIN)/python -m benchmarks.demo

# A worker takes up to 4 GB.
PARALLEL := -n 2 --dist worksteal

# What needs neither a compiler for XLA nor a served robot.
FAST := tests/test_imports.py tests/test_layout.py tests/test_packaging.py tests/shoal/test_facade.py \
  $(addprefix tests/sim2real/,contract robots logs timing test_files.py test_strict_yaml.py) \
  $(addprefix tests/runtime/,control goals inference ipc protocol safety test_imports.py)

check: lint ## Style, strict types and the fast tests.
	$(BIN)/python -m pytest -q $(PARALLEL) $(FAST)

test: lint ## Lint, types, and the tests that CI runs.
	$(BIN)/python -m pytest $(PARALLEL)

test-slow: $(VENV)/.synced-dev ## Only the tests that `make test` leaves out.
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.synced-dev ## Style and strict types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.synced-dev ## The documentation site, into docs/_build; a warning is an error.
	$(BIN)/sphinx-build -W --keep-going -q -j 2 docs docs/_build

clean: ## Remove the environment and caches; runs/ and models/ stay.
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build

$(BIN)/uv:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "There is no $(PYTHON) here; install Python 3.11 or newer, or name one with make PYTHON=/path/to/python3.11." >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Shoal needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1); name one with make PYTHON=/path/to/python3.11." >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "$(PYTHON) cannot create a virtual environment; install its venv module (python3-venv on Debian and Ubuntu)." >&2; exit 2; }
	@echo "Installing uv $(UV_VERSION) into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# A stamp is newer than uv.lock and pyproject.toml when the environment holds what they say.
$(VENV)/.synced: uv.lock pyproject.toml | $(BIN)/uv
	@echo "Installing Shoal with its training extra; the first time takes a few minutes"
	@$(SYNC) --no-dev
	@$(COMPILE)
	@touch $@

$(VENV)/.synced-dev: uv.lock pyproject.toml | $(BIN)/uv
	@echo "Installing Shoal with its training extra and development tools; the first time takes a few minutes"
	@$(SYNC)
	@$(COMPILE)
	@touch $@ $(VENV)/.synced
