PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/jax
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0.2

.PHONY: help test clean

help:
	@echo "make test    install what is missing, lint, check types, run every test"
	@echo "make clean   remove the environment, caches and results"

$(STAMP): pyproject.toml
	@if command -v uv >/dev/null; then uv venv --python $(PYTHON) --allow-existing $(VENV) && \
		uv pip install --python $(BIN)/python -e '.[test]'; \
	else test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); \
		$(BIN)/python -m pip install --quiet -e '.[test]'; fi
	@touch $@

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2

clean:
	rm -rf $(VENV) .cache results
