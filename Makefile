# `make demo` and `make test` do all the set-up themselves: a virtual environment in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint types bench clean

# By file, so that fixtures are made once; in their order, in which the quick ones come last.
test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

demo: $(READY)
	$(BIN)/python examples/demo.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# On one system mypy checks no code that is for another.
types: $(READY)
	$(BIN)/mypy --platform linux --cache-dir .mypy_cache/linux
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32

# Meson would use ccache.
bench: export CCACHE_DISABLE = 1
bench: $(READY)
	$(BIN)/python tests/benchmarks/run.py
	$(BIN)/python tests/benchmarks/in_place.py
	$(BIN)/python tests/benchmarks/index.py
	$(BIN)/python tests/benchmarks/explain.py
	$(BIN)/python tests/benchmarks/matrix.py
	$(BIN)/python tests/benchmarks/audit.py
	$(BIN)/python tests/benchmarks/build.py
	$(BIN)/python tests/benchmarks/compiler_cache.py

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "polywheel needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[cli,test,lint]'
	touch $@

clean:
	rm -rf $(VENV) .cache
