# `make demo` and `make test` are all there is to set up; both create .venv on their first run.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
# With JAX in an environment of its own: where it is installed TensorFlow loads it, too.
JAX_VENV := .venv-jax
JAX_BIN := $(JAX_VENV)/bin
JAX_STAMP := $(JAX_VENV)/installed
# With other people's packages beside ours.
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/installed
DEMO := densenet121 se_densenet121 densenet100_k12_bc densenet_d2l
BACKENDS := numpy,torch,mxnet,keras,onnx
SEED := 0
COUNT := 420
JOBS := 2
PYTEST := pytest -n 2 --dist worksteal
# What takes minutes on JAX, which compiles every operation for every shape, and shows nothing that less does not.
LONG_ON_JAX := vgg or densenet1 or densenet2 or densenet40 or densenet_d2l or alexnet or -nin] or googlenet or resnet34 \
	or TestApplications or both_data_formats or peers or isolation or cli or controls or hostile or follows_a_changed \
	or test_builders or test_tolerance or test_examples or test_docs \
	or test_diagnose or our_own_networks_are_what_they_compute

.PHONY: demo test test-slow test-keras-torch test-keras-jax parity benchmark package mutation check format clean

demo: $(STAMP)
	$(BIN)/densenet parity $(DEMO)

test: $(STAMP)
	DENSENET_BACKENDS=$(BACKENDS) OMP_NUM_THREADS=1 $(BIN)/$(PYTEST)

test-slow: $(STAMP)
	DENSENET_BACKENDS=$(BACKENDS) OMP_NUM_THREADS=1 $(BIN)/$(PYTEST) -m slow

# Everything of Keras, on another framework.
test-keras-torch: $(STAMP)
	KERAS_BACKEND=torch DENSENET_BACKENDS=numpy,keras OMP_NUM_THREADS=1 $(BIN)/$(PYTEST) -k "keras or random"

test-keras-jax: $(JAX_STAMP)
	KERAS_BACKEND=jax JAX_ENABLE_X64=1 JAX_DISABLE_MOST_OPTIMIZATIONS=1 DENSENET_BACKENDS=numpy,keras \
		OMP_NUM_THREADS=1 $(JAX_BIN)/$(PYTEST) -k "keras and not ($(LONG_ON_JAX))"

# Every layer and gradient of every variant, then every executor of the demo's networks: as JSON and as a page.
parity: $(JAX_STAMP)
	$(JAX_BIN)/densenet parity --all --layers --gradients --dtype float64 --json parity.json --html parity.html
	$(JAX_BIN)/densenet parity $(DEMO) --executors --dtype float64 --json executors.json --html executors.html

# Ours beside other people's, as benchmarks/results and docs/performance.md; minutes in which the machine does nothing else.
benchmark: $(BENCH_STAMP)
	$(BENCH_VENV)/bin/python -m benchmarks
	$(BENCH_VENV)/bin/python -m benchmarks page

# The wheel and the sdist, in dist/, and whether they work where one framework is all there is.
package: $(STAMP)
	sh package.sh $(VENV)

# A sample of all small changes to the code, and which of them the tests notice: as mutation.md.
mutation: $(STAMP)
	$(BIN)/python -m tests.mutation.run --seed $(SEED) --count $(COUNT) --jobs $(JOBS) $(if $(FOLDER),--folder $(FOLDER))

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) $(JAX_VENV) $(BENCH_VENV) dist .package

# The stamp is newer than what decides about the environment: the environment is up to date.
$(STAMP): EXTRAS := all,dev
$(JAX_STAMP): EXTRAS := all,jax,dev
$(BENCH_STAMP): EXTRAS := all,dev
$(STAMP) $(JAX_STAMP): pyproject.toml constraints.txt
	PYTHON="$(PYTHON)" sh install.sh $(@D) $(EXTRAS)
	touch $@

# Without what they depend on, which is there: another PyTorch would come with it.
$(BENCH_STAMP): pyproject.toml constraints.txt benchmarks/requirements.txt
	PYTHON="$(PYTHON)" sh install.sh $(@D) $(EXTRAS)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement benchmarks/requirements.txt
	touch $@
