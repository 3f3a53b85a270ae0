# foveal, from a bare clone. Every target does the set-up it needs, in .venv; nothing is installed outside this folder.
#
#   make demo      train on the embedded digits, and say where the report is
#   make test      the test suite, in two processes (JOBS=0: in one)
#   make check     lint, format, types, floors, and the examples of README and docs
#   make networks  the table of networks in README and docs, and their index, anew from the catalogue
#   make lock      requirements.lock anew, after a change of the dependencies in pyproject.toml
#   make clean     .venv and the caches of this clone away; trained models stay

SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help demo test check format networks lock clean
export PYTHON
ifneq ($(origin UV), undefined)
export UV
endif

BIN := .venv/bin
READY := .venv/.ready
TESTS ?= tests
JOBS ?= 2
# One thread a process: the tests are many and small, and the bits of what they train must not depend on the machine.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

help:
	@sed -n 's/^#   //p' Makefile

$(READY): pyproject.toml requirements.lock scripts/set-up
	@scripts/set-up
	@touch $@

demo: $(READY)
	$(BIN)/foveal train digits --minutes 0.75

test: $(READY)
	$(ONE_THREAD) $(BIN)/python -m pytest --ignore=tests/test_docs.py -n $(JOBS) --dist loadfile $(TESTS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/networks_table.py --check
	$(ONE_THREAD) $(BIN)/python -m pytest -q tests/test_docs.py

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

networks: $(READY)
	$(BIN)/python scripts/networks_table.py

# Resolved for every system and every Python from 3.11 on; hashes of all wheels; no PyTorch, no registry's address.
# Versions stay as they are where they can: `make lock LOCK=--upgrade` takes the newest.
lock: $(READY) build/lock/bin/uv
	echo "torch ; sys_platform == 'never'" > build/lock/overrides.txt
	build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --group dev \
	    --override build/lock/overrides.txt --no-emit-package torch --custom-compile-command "make lock" $(LOCK) \
	    --output-file requirements.lock pyproject.toml

build/lock/bin/uv:
	mkdir -p build
	$(BIN)/python -m venv build/lock
	build/lock/bin/python -m pip install --quiet "uv>=0.8"

# What a person trained (runs/) stays.
clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist src/*.egg-info
