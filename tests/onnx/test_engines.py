"""What runs a graph: ONNX Runtime, OpenVINO, and onnx.reference, made exact."""

import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest

import spec
from densenet_tools.backends import Runner, parse
from densenet_tools.parity.differences import difference
from densenet_tools.parity.tolerance import OUTPUTS
from spec import reference
from tests.cases import CASES, SMALL, VARIANTS
from tests.support import loaded, photographs, require, verdict

SINGLE = ["bottleneck", "se_everywhere", "bare_stem", "even_kernel", "residual_squeezed", "inception", "flattened"]
# One of each family, and DenseNet with and without bottleneck; the slow run has all.
FEW = ["densenet40_k12", "densenet40_k12_bc", "densenet_d2l", "lenet", "resnet18"]


@pytest.fixture
def backend():
    return require("onnx")


def single(network: spec.Network) -> spec.Weights:
    return spec.randomize(spec.initialize(network, 0), 0)


@pytest.mark.parametrize("runner", ["onnx", "onnx:openvino", "onnx:reference"])
@pytest.mark.parametrize("case", SINGLE)
def test_all_agree_in_float32(case, runner):
    require("onnx")
    parse(runner).check()
    found = verdict(CASES[case].network, runner, photographs(CASES[case].input_shape))
    assert found.agrees, found.problem
    if runner == "onnx:reference":  # in float64, on what float32 has of the weights
        assert found.checks[0].relative <= OUTPUTS["float64"]


@pytest.mark.parametrize(
    "name", [each if each in FEW else pytest.param(each, marks=pytest.mark.slow) for each in VARIANTS]
)
def test_every_layer_of_a_variant_agrees_in_float64(name):
    require("onnx")
    found = verdict(
        VARIANTS[name].network, "onnx", photographs(VARIANTS[name].input_shape), "float64", checks=["layers"]
    )
    assert found.agrees, found.problem


def test_every_layer_agrees_in_float32():
    require("onnx")
    case = CASES["se_everywhere"]
    found = verdict(case.network, "onnx", photographs(case.input_shape), checks=["layers"])
    assert found.agrees, found.problem


def test_a_model_is_compiled_once_for_all_sizes_and_again_for_other_weights(backend, monkeypatch):
    import onnxruntime

    made, session = [], onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *a, **k: made.append(session(*a, **k)) or made[-1])
    network = SMALL["plain"]
    weights = single(network)
    model, exact = loaded(backend, network, weights), loaded(reference, network, weights)
    for shape in ((1, 3, 40, 40), (3, 3, 40, 40), (2, 3, 48, 33)):
        batch = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        assert difference(backend.predict(model, batch), reference.predict(exact, batch))[1] <= OUTPUTS["float32"]
    assert len(made) == 1
    other = single(network) | {"classifier.bias": np.ones(5, np.float32)}
    before = backend.predict(model, batch)
    backend.load_weights(model, other)
    moved = backend.predict(model, batch) - before
    assert moved == pytest.approx(np.tile(1 - weights["classifier.bias"], (2, 1)), abs=1e-5)
    assert len(made) == 2


@pytest.mark.parametrize(("asked", "threads"), [("1", 1), ("2", 2), ("", 0), ("2,1", 0)])
def test_the_runtime_takes_as_many_threads_as_are_asked_for(backend, monkeypatch, asked, threads):
    import onnxruntime

    made, session = [], onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *a, **k: made.append(session(*a, **k)) or made[-1])
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    backend.predict(loaded(backend, SMALL["plain"], single(SMALL["plain"])), photographs((3, 40, 40)))
    assert made[0].get_session_options().intra_op_num_threads == threads


def test_many_threads_get_the_answers_that_one_gets(backend):
    network = SMALL["bottleneck"]
    model = loaded(backend, network, single(network))
    batches = [np.random.default_rng(i).normal(size=(1, 3, 40, 40)).astype(np.float32) for i in range(8)]
    expected = [backend.predict(model, batch) for batch in batches]
    model.engines.clear()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda batch: backend.predict(model, batch), batches))
    assert all((a == b).all() for a, b in zip(found, expected))


def test_openvino_refuses_float64_which_it_would_compute_in_float32(backend):
    network = SMALL["plain"]
    model = loaded(backend, network, spec.initialize(network, 0, np.float64))
    sentence = "^OpenVINO is for models in float32, and this one is float64: build it in float32$"
    with pytest.raises(spec.SpecError, match=sentence):
        backend.EXECUTORS["openvino"](model, photographs((3, 40, 40)))


def test_an_executor_that_computes_in_float32_is_left_out_of_float64(monkeypatch):
    monkeypatch.setattr("densenet_tools.backends.find_spec", lambda name: True)
    others = ["onnx:openvino", "onnx:openvino_bfloat16", "onnx:int8", "onnx:reference"]
    assert list(map(str, Runner("onnx").others())) == others
    assert list(map(str, Runner("onnx").others("float64"))) == ["onnx:reference"]
    assert list(map(str, Runner("mxnet").others("float64"))) == ["mxnet:hybridized", "mxnet:static"]


def test_without_openvino_the_extra_is_named(backend, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    network = SMALL["plain"]
    model = loaded(backend, network, single(network))
    with pytest.raises(
        spec.SpecError, match=r"OpenVINO is not installed: pip install 'densenet-reference\[openvino\]'"
    ):
        backend.EXECUTORS["openvino"](model, photographs((3, 40, 40)))


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_the_backend_needs_both_of_its_packages(monkeypatch, missing):
    monkeypatch.setattr("densenet_tools.backends.find_spec", lambda name: None if name == missing else True)
    assert not Runner("onnx").installed
    with pytest.raises(
        spec.SpecError, match=r"backend 'onnx' is not installed: pip install 'densenet-reference\[onnx\]'"
    ):
        Runner("onnx").check()


def evaluated(operator: str, batch: np.ndarray, *arrays: np.ndarray, own: bool, **attributes) -> np.ndarray:
    """What onnx.reference makes of one node in float64; with this project's operators, or its own."""
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    from densenet_onnx.compat import OPERATORS

    values = dict(zip("xabcd", (batch, *arrays)))
    graph = helper.make_graph(
        [helper.make_node(operator, list(values), ["y"], **attributes)],
        "one",
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, array.shape) for name, array in values.items()],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ReferenceEvaluator(model, new_ops=None if own else OPERATORS).run(None, values)[0]


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}),
        ("MaxPool", {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1] * 4}),
        ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
        ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ("MaxPool", {"kernel_shape": [2, 2], "strides": [1, 1], "dilations": [2, 2]}),
        ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}),
        ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ],
)
def test_pools_give_what_onnx_has_them_give(backend, operator, attributes):
    batch = np.random.default_rng(0).normal(size=(2, 3, 7, 6)) - 3
    ours, theirs = (evaluated(operator, batch, own=own, **attributes) for own in (False, True))
    assert ours.shape == theirs.shape
    assert ours == pytest.approx(theirs, rel=1e-14)


def test_an_epsilon_is_the_one_that_was_meant(backend):
    """1e-2 as a float32 is off by 2e-8 of itself, which a variance of zero shows."""
    batch = np.full((1, 1, 2, 2), 0.1)
    one, zero = np.ones(1), np.zeros(1)
    ours, theirs = (
        evaluated("BatchNormalization", batch, one, zero, zero, zero, own=own, epsilon=1e-2) for own in (False, True)
    )
    assert abs(ours - 1).max() <= 2.3e-16
    assert abs(theirs - 1).max() > 1e-9


def test_openvino_is_there_where_all_backends_must_be():
    """So that no row of the table is skipped unnoticed."""
    require("onnx")
    assert find_spec("openvino")
