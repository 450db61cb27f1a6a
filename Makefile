# `make demo` and `make test` are all there is to set up; both create .venv on their first run.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
DEMO := densenet121 se_densenet121 densenet100_k12_bc densenet_d2l
BACKENDS := numpy,torch,mxnet,keras

.PHONY: demo test test-slow check format clean

demo: $(STAMP)
	$(BIN)/densenet parity $(DEMO)

test: $(STAMP)
	DENSENET_BACKENDS=$(BACKENDS) OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

test-slow: $(STAMP)
	DENSENET_BACKENDS=$(BACKENDS) OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m slow

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV)

# The stamp is newer than what decides about the environment: the environment is up to date.
$(STAMP): pyproject.toml constraints.txt
	PYTHON="$(PYTHON)" sh install.sh $(VENV)
	touch $@
