# Every target makes the environment first if it is missing, or if its requirements have changed.
VENV ?= .venv
PYTHON ?= python3
# More arguments for `make demo`, e.g. DEMO_ARGS="--epochs 1".
DEMO_ARGS ?=
# FAST=1 leaves the slow tests out. TEST_ARGS: more arguments for pytest, e.g. TEST_ARGS="-k moe".
FAST ?=
TEST_ARGS ?=
# Real images for the benchmarks that need them.
REAL_DATA ?= $(or $(MSGFM_REAL_DATA),../shared/data)

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test check bench

help:
	@echo "make demo    pretrain on images made by the project (minutes, two cores), report in demo/report.html"
	@echo "make test    all tests; FAST=1 leaves out the slow ones; MSGFM_REAL_DATA=FOLDER names the real images"
	@echo "make check   ruff, mypy, import contracts"
	@echo "make bench   the benchmarks, one table each"

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/msgfm demo --out demo $(DEMO_ARGS)

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 $(if $(FAST),-m "not slow") $(TEST_ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)
	$(BIN)/python benchmarks/pretrain_step.py
	$(BIN)/python benchmarks/data_loading.py
	$(BIN)/python benchmarks/synthetic_world.py
	$(BIN)/python benchmarks/scene.py
	if test -d "$(REAL_DATA)"; then $(BIN)/python benchmarks/input_contract.py "$(REAL_DATA)" \
	    && $(BIN)/python benchmarks/shard_codecs.py "$(REAL_DATA)"/SEN12MS-CR/*/*/*_s2_*.tif; \
	    else echo "no real images in $(REAL_DATA): input_contract.py and shard_codecs.py are left out"; fi
