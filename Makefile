# `make demo` and `make test` are all there is to set up; both create .venv on their first run.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
DEMO := densenet121 se_densenet121 densenet100_k12_bc densenet_d2l
BACKENDS := numpy,torch,mxnet,keras
# Keras' own tests, and those of all backends on the small networks: what takes minutes on PyTorch and on JAX too.
KERAS_TESTS := tests/test_keras.py tests/test_shapes.py tests/test_parity.py tests/test_gradients.py
FOR_TORCH := not (densenet1 or densenet2 or vgg or resnet34)
FOR_JAX := test_keras or keras and (plain or bottleneck or se_everywhere or residual_strided or inception \
	or flattened or running or dropout or as_it_was)

.PHONY: demo test test-slow test-keras-torch test-keras-jax check format clean

demo: $(STAMP)
	$(BIN)/densenet parity $(DEMO)

test: $(STAMP)
	DENSENET_BACKENDS=$(BACKENDS) OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

test-slow: $(STAMP)
	DENSENET_BACKENDS=$(BACKENDS) OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m slow

test-keras-torch: $(STAMP)
	KERAS_BACKEND=torch DENSENET_BACKENDS=numpy,keras OMP_NUM_THREADS=1 \
		$(BIN)/pytest -n 2 --dist worksteal $(KERAS_TESTS) -k "$(FOR_TORCH)"

# JAX compiles each operation for each shape, which takes longer than to run it: with few optimizations, half as long.
test-keras-jax: $(STAMP)
	KERAS_BACKEND=jax JAX_ENABLE_X64=1 JAX_DISABLE_MOST_OPTIMIZATIONS=1 DENSENET_BACKENDS=numpy,keras OMP_NUM_THREADS=1 \
		$(BIN)/pytest -n 2 --dist worksteal $(KERAS_TESTS) -k "$(FOR_JAX)"

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
