"""One contract for every backend, the reference among them; and how the tools find one, quietly, by its name."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

import spec
from densenet_tools import backends
from densenet_tools.backends import Backend, Runner, parse
from tests.cases import SMALL
from tests.support import FRAMEWORKS, require

FUNCTIONS = [name for name, member in vars(Backend).items() if inspect.isfunction(member) and not name.startswith("_")]
NAMES = ["numpy", *FRAMEWORKS]


def parameters(function) -> dict[str, inspect.Parameter]:
    return {name: each for name, each in inspect.signature(function).parameters.items() if name != "self"}


def test_the_protocol_lists_every_function():
    assert [
        *("device", "build", "load_weights", "export_weights", "from_file", "save"),
        *("predict", "trace", "loss_and_gradients", "sgd", "set_learning_rate", "step"),
        *("freeze", "export_velocities", "load_velocities", "seed_dropout"),
    ] == FUNCTIONS


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_the_same_parameters_in_every_backend(function, name):
    expected = list(parameters(getattr(Backend, function)))
    found = parameters(getattr(require(name), function))
    assert list(found)[: len(expected)] == expected
    more = list(found.values())[len(expected) :]
    assert all(each.default is not inspect.Parameter.empty for each in more)


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_lists_the_executors_that_the_backend_has(name):
    assert list(require(name).EXECUTORS) == list(backends.BACKENDS[name].executors)


def test_the_name_of_a_variant_is_given_by_its_place(backend):
    """As `name` is another thing in keras.applications."""
    first = next(iter(parameters(backend.get_model).values()))
    assert first.kind is inspect.Parameter.POSITIONAL_ONLY


@pytest.mark.parametrize("text", ["numpy", "torch:compiled", "mxnet:static", "keras:jax"])
def test_a_runner_is_written_as_it_is_read(text):
    assert str(parse(text)) == text
    assert parse(text) == Runner(*text.split(":"))


@pytest.mark.parametrize("name", ["numpy", "mxnet"])
def test_a_model_without_values_is_refused_in_one_sentence(name):
    backend = require(name)
    network = SMALL["plain"]
    model, images, labels = backend.build(network, dtype="float32"), np.zeros((2, 3, 40, 40), np.float32), np.arange(2)
    for function, arguments in {
        backend.export_weights: (),
        backend.predict: (images,),
        backend.trace: (images,),
        backend.loss_and_gradients: (images, labels),
        backend.sgd: (0.1,),
    }.items():
        with pytest.raises(spec.SpecError, match=r"^small has no values yet: call .*load_weights first$"):
            function(model, *arguments)


def test_keras_without_the_top_knows_its_network():
    keras_backend = require("keras")
    whole = keras_backend.densenet40_k12_bc(classifier_activation=None)
    weights = keras_backend.export_weights(whole)
    images = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    traced = keras_backend.trace(whole, images)
    for pooling, expected in {
        None: traced["relu"],
        "avg": traced["relu"].mean(axis=(2, 3)),
        "max": traced["relu"].max(axis=(2, 3)),
    }.items():
        body = keras_backend.densenet40_k12_bc(include_top=False, pooling=pooling)
        keras_backend.load_weights(body, {k: v for k, v in weights.items() if not k.startswith("classifier.")})
        assert list(keras_backend.export_weights(body)) == list(weights)[:-2], "in the spec's order"
        assert keras_backend.predict(body, images) == pytest.approx(expected, abs=1e-5)
        assert list(keras_backend.trace(body, images)) == list(traced)[: list(traced).index("relu") + 1]
        with pytest.raises(spec.SpecError, match="densenet40_k12_bc has no classifier, a loss needs logits"):
            keras_backend.loss_and_gradients(body, images, np.arange(2))


QUIETLY = "import os, signal\nfrom densenet_tools.quiet import quiet\nwith quiet():\n    os.write(2, b'held ')\n    "


def in_a_process(body: str) -> subprocess.CompletedProcess:
    """What a process prints that writes to stderr and then runs `body`, quietly."""
    command = [sys.executable, "-c", QUIETLY + body]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_what_an_import_writes_is_dropped():
    done = in_a_process("pass")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("body", ["raise ImportError('no luck')", "raise SystemExit('no luck')"])
def test_what_an_import_wrote_is_given_back_when_it_fails(body):
    done = in_a_process(body)
    assert done.returncode == 1
    assert done.stderr.startswith("held ")
    assert done.stderr.endswith("no luck\n")


@pytest.mark.parametrize("signal", ["SIGABRT", "SIGSEGV", "SIGKILL"])
def test_what_an_import_wrote_is_given_back_when_the_process_dies(signal):
    done = in_a_process(f"os.kill(os.getpid(), signal.{signal})")
    assert done.returncode < 0
    assert done.stderr == "held "


def test_stderr_is_what_it_was_afterwards():
    assert in_a_process("pass\nos.write(2, b'after')").stderr == "after"
