# Two commands do everything, installation included: make figures, make test.
#
#   make test PYTHON=python3.13     another Python, in an environment of its own
#   make figures PRESET=paper       the papers' sizes
#   make figures FLAGS="--device gpu --no-strict"

PYTHON ?= python3
ifeq ($(origin PYTHON),file)
VENV ?= .venv
else
VENV ?= .venv-$(notdir $(PYTHON))
endif
PRESET ?= quick
FLAGS ?=
BIN = $(VENV)/bin
COMPILE = uv pip compile --universal --python-version 3.11 --no-header --no-annotate \
	--no-emit-index-url --quiet pyproject.toml
STAMP = $(VENV)/.installed
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/jax
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0.1

.PHONY: help figures lint check test proofs docs accelerator certify publish scatter lock clean

help:
	@echo "make figures   install what is missing, run every experiment, write results/index.html"
	@echo "make check     install what is missing, lint, check types, run a test of every file"
	@echo "make test      install what is missing, lint, check types, run every test"
	@echo "make proofs    run the tests of many cases that make test leaves out"
	@echo "make docs      execute the notebooks, write docs/_build/html"
	@echo "make accelerator   accuracy, speed and gradient_depth on a GPU, within ten minutes"
	@echo "make certify   hold five functions to the truth on all 2^32 float32 numbers (1 hour)"
	@echo "make publish   put what finished runs at the papers' sizes measured into README.md,"
	@echo "               docs/gallery and certificates/"
	@echo "make scatter   run every experiment with three seeds, write docs/scatter.md (25 minutes)"
	@echo "make lock      choose new versions for requirements.lock (needs uv)"
	@echo "make clean     remove environments, caches and results"

# Every version is pinned; the package itself is installed in place.
$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("$(PYTHON) is Python " \
		+ sys.version.split()[0] + "; 3.11 or newer is needed: make PYTHON=python3.13")'
	@if command -v uv >/dev/null; then \
		uv venv --quiet --allow-existing --seed --python $(PYTHON) $(VENV) && \
		uv pip install --quiet --python $(BIN)/python -r requirements.lock && \
		uv pip install --quiet --python $(BIN)/python --no-deps -e .; \
	else \
		{ test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); } && \
		$(BIN)/python -m pip install --quiet -r requirements.lock && \
		$(BIN)/python -m pip install --quiet --no-deps -e .; \
	fi
	@touch $@

figures: $(STAMP)
	$(BIN)/python -m experiments figures --preset $(PRESET) $(FLAGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint
	$(BIN)/python -m pytest -n 2 --slice -q
	@$(BIN)/python -m experiments.tools.gallery.stale

# A worker that crashes ends the run: xdist would wait for ever for the rest of its file.
test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0

proofs: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0 -m proof

$(VENV)/.docs: $(STAMP) docs/requirements.lock
	$(BIN)/python -m pip install --quiet -r docs/requirements.lock
	@touch $@

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo docs/_build/html/index.html

accelerator: $(STAMP)
	$(BIN)/python -m experiments.tools.accelerator $(FLAGS)

certify: $(STAMP)
	$(BIN)/python -m experiments run certify --preset paper $(FLAGS)

publish: PRESET = paper
publish: $(STAMP)
	$(BIN)/python -m experiments.tools.publish --preset $(PRESET) $(FLAGS)

scatter: $(STAMP)
	for seed in 0 1 2; do \
		$(BIN)/python -m experiments figures --seed $$seed --results results/seeds --no-strict \
			|| exit 1; \
	done
	$(BIN)/python -m experiments.tools.scatter

lock:
	$(COMPILE) --extra test -o requirements.lock
	$(COMPILE) --extra docs --constraint requirements.lock -o docs/requirements.lock

clean:
	rm -rf .venv .venv-* .cache results docs/_build
