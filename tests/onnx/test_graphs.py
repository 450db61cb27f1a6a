"""The graph itself: what it computes, what ONNX's own checks say of it, its names and its shapes."""

import copy
import pickle

import numpy as np
import pytest

import spec
from tests.cases import CASES, VARIANTS
from tests.support import loaded, photographs, require, verdict


@pytest.fixture(scope="module")
def backend():
    return require("onnx")


def random_weights(network: spec.Network, dtype: type[np.floating] = np.float64) -> spec.Weights:
    return spec.randomize(spec.initialize(network, 0, dtype), 0)


def inferred(proto) -> dict[str, tuple[int, ...]]:
    """{tensor: shape} as ONNX infers them, strictly; the weights are inputs, so that none have to be there."""
    import onnx

    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    bare.graph.input.extend(
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in proto.graph.initializer
    )
    del bare.graph.initializer[:]
    onnx.checker.check_model(bare, full_check=True)
    found = onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=True).graph
    return {
        value.name: tuple(dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim)
        for value in (*found.value_info, *found.output)
    }


def fixed(proto, shape: tuple[int, ...]):
    """The same graph for images of one shape."""
    for dim, size in zip(proto.graph.input[0].type.tensor_type.shape.dim, shape):
        dim.dim_value = size
    del proto.graph.output[0].type.tensor_type.shape.dim[2:]
    return proto


@pytest.mark.parametrize("case", CASES)
def test_every_layer_of_the_graph_agrees_in_float64(case):
    require("onnx")
    found = verdict(CASES[case].network, "onnx", photographs(CASES[case].input_shape), "float64", checks=["layers"])
    assert found.agrees, found.problem


@pytest.mark.parametrize("case", ["bottleneck", "se_everywhere", "residual_normed", "residual_squeezed"])
def test_a_network_that_is_rewritten_for_inference_does(case):
    require("onnx")
    network, weights = spec.optimized(CASES[case].network, random_weights(CASES[case].network))
    batch = photographs(CASES[case].input_shape)
    found = verdict(network, "onnx", batch, "float64", checks=["layers"], weights=weights)
    assert found.agrees, found.problem


@pytest.mark.parametrize("name", VARIANTS)
def test_what_onnx_infers_of_a_variant_are_the_shapes_of_the_spec(backend, name):
    network = spec.variant(name)
    proto = backend.build(network).proto
    shapes = inferred(fixed(copy.deepcopy(proto), (2, *network.input_shape)))
    nodes = {node.name: node.output[0] for node in proto.graph.node}
    rows = [row for row in spec.analyze(network) if row.path in nodes]
    assert len(rows) > 9
    assert {row.path: shapes[nodes[row.path]] for row in rows} == {row.path: (2, *row.output_shape) for row in rows}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_takes_images_of_any_number_and_size(backend, name):
    network = spec.variant(name)
    proto = backend.build(network).proto
    shapes = inferred(proto)
    (images,) = proto.graph.input
    assert [dim.dim_value or dim.dim_param for dim in images.type.tensor_type.shape.dim] == [
        *("batch", network.in_channels, "height", "width")
    ]
    assert shapes["logits"] == ("batch", network.num_classes)


@pytest.mark.parametrize("name", VARIANTS)
def test_initializers_are_the_weights_under_their_names_in_order(backend, name):
    network = spec.variant(name)
    proto = backend.build(network).proto
    assert {each.name: tuple(each.dims) for each in proto.graph.initializer} == spec.parameter_shapes(network)
    assert [each.name for each in proto.graph.initializer] == list(spec.parameter_shapes(network))


@pytest.mark.parametrize("case", CASES)
def test_nodes_and_what_they_put_out_are_called_by_their_paths(backend, case):
    network = CASES[case].network
    proto = backend.build(network).proto
    *before, last = proto.graph.node
    assert [each.name for each in before] == [each.output[0] for each in before]
    paths = dict(spec.walk(network.root))
    helpers = {name for name in (each.name for each in proto.graph.node) if name not in paths}
    assert {name.rpartition(".")[2] for name in helpers} <= {"axes", "unsqueeze", "add", "sum"}
    assert last.output[0] == proto.graph.output[0].name


@pytest.mark.parametrize("case", CASES)
def test_a_trace_has_every_layer_in_order(backend, case):
    network = CASES[case].network
    model = loaded(backend, network, random_weights(network, np.float32))
    traced = backend.trace(model, photographs(CASES[case].input_shape))
    assert list(traced) == [path for path, _ in spec.walk(network.root)]


def test_the_file_format_is_one_that_engines_take(backend):
    proto = backend.build(CASES["plain"].network).proto
    assert [(each.domain, each.version) for each in proto.opset_import] == [("", 17)]
    assert proto.ir_version == 8  # that of ONNX 1.12, which brought opset 17


@pytest.mark.parametrize(
    ("network", "name"),
    [
        (CASES["plain"].network, "logits"),
        (CASES["softmax"].network, "probabilities"),
        (CASES["plain"].network.headless, "features"),
    ],
    ids=["logits", "probabilities", "features"],
)
def test_the_output_is_called_what_it_is(backend, network, name):
    model = loaded(backend, network, random_weights(network))
    assert [each.name for each in model.proto.graph.output] == [name]
    batch = photographs(network.input_shape)
    assert (list(backend.trace(model, batch).values())[-1] == backend.predict(model, batch)).all()


def test_weights_come_out_as_they_went_in(backend):
    network = CASES["se_everywhere"].network
    weights = random_weights(network)
    found = backend.export_weights(loaded(backend, network, weights))
    assert list(found) == list(spec.parameter_shapes(network))
    for name, array in weights.items():
        assert found[name].dtype == array.dtype
        assert (found[name] == array).all()
        found[name][...] = 0  # a copy of its own


def test_kernels_in_any_order_of_memory_are_taken(backend):
    network = CASES["plain"].network
    weights = {name: np.asfortranarray(array) for name, array in random_weights(network).items()}
    found = backend.export_weights(loaded(backend, network, weights))
    assert all((found[name] == array).all() for name, array in weights.items())


def test_weights_that_do_not_fit_are_refused_and_nothing_is_loaded(backend):
    network = CASES["plain"].network
    weights = random_weights(network, np.float32)
    model = loaded(backend, network, weights)
    for wrong, sentence in {
        "features.conv0.weight is float64 and the model float32": {"features.conv0.weight": np.zeros((6, 3, 7, 7))},
        r"features.norm0.bias has shape \(5,\), expected \(6,\)": {"features.norm0.bias": np.zeros(5, np.float32)},
        "unexpected features.conv9.weight": {"features.conv9.weight": np.zeros(5, np.float32)},
        "not finite": {"classifier.bias": np.full(5, np.nan, np.float32)},
    }.items():
        with pytest.raises(spec.SpecError, match=f"weights do not fit, nothing was loaded: .*{wrong}"):
            backend.load_weights(model, weights | sentence)
    assert all((backend.export_weights(model)[name] == array).all() for name, array in weights.items())


def test_a_model_without_values_is_refused_in_one_sentence(backend, tmp_path):
    model, batch = backend.build(CASES["plain"].network), photographs((3, 40, 40))
    for function, arguments in {
        backend.export_weights: (model,),
        backend.predict: (model, batch),
        backend.trace: (model, batch),
        backend.EXECUTORS["reference"]: (model, batch),
        backend.save: (tmp_path / "model.onnx", model),
    }.items():
        with pytest.raises(spec.SpecError, match=r"^small has no values yet: call load_weights first$"):
            function(*arguments)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.zeros((1, 3, 4, 4), np.float32), "input 3x4x4 is too small for small"),
        (np.zeros((1, 1, 40, 40), np.float32), r"takes images of 3 channel\(s\), found 1x40x40"),
        (np.full((1, 3, 40, 40), np.inf, np.float32), "images must have finite values"),
    ],
    ids=["size", "channels", "infinite"],
)
def test_images_that_do_not_fit_are_refused(backend, images, sentence):
    network = CASES["plain"].network
    model = loaded(backend, network, random_weights(network, np.float32))
    for run in (backend.predict, backend.trace, *backend.EXECUTORS.values()):
        with pytest.raises(spec.SpecError, match=sentence):
            run(model, images)


def test_another_dtype_is_refused(backend):
    with pytest.raises(spec.SpecError, match=r"^dtype must be float32 or float64, found 'float16'$"):
        backend.build(CASES["plain"].network, "float16")


def test_a_copy_has_the_weights_and_is_a_model_of_its_own(backend):
    network = CASES["plain"].network
    model, batch = loaded(backend, network, random_weights(network, np.float32)), photographs((3, 40, 40))
    before = backend.predict(model, batch)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert (backend.predict(other, batch) == before).all()
        backend.load_weights(other, spec.initialize(network, 1))
        assert not (backend.predict(other, batch) == before).all()
    assert (backend.predict(model, batch) == before).all()


def test_a_builder_takes_a_file_or_draws_the_weights(backend, tmp_path):
    network = spec.variant("densenet_d2l", num_classes=3)
    weights = random_weights(network, np.float32)
    spec.save(tmp_path / "mine.safetensors", network, weights)
    for found, expected in {
        backend.densenet_d2l(num_classes=3): spec.initialize(network, 0),
        backend.densenet_d2l(num_classes=3, weights=tmp_path / "mine.safetensors"): weights,
        backend.from_file(tmp_path / "mine.safetensors"): weights,
    }.items():
        assert found.network == network
        assert all((backend.export_weights(found)[name] == array).all() for name, array in expected.items())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_of_no_operator_hands_its_images_on(backend, dtype):
    network = spec.Network("dropped", spec.Sequential((("dropout", spec.layers.Dropout(rate=0.5)),)), (3, 8, 8), None)
    model, images = backend.build(network, dtype), photographs(network.input_shape).astype(dtype)
    assert (backend.predict(model, images) == images).all()
    assert (backend.trace(model, images)["dropout"] == images).all()


def test_the_model_is_left_as_it_was(backend):
    network = CASES["bottleneck"].network
    model = loaded(backend, network, random_weights(network, np.float32))
    before = model.proto.SerializeToString(deterministic=True)
    for run in (backend.predict, backend.trace, *backend.EXECUTORS.values()):
        run(model, photographs(network.input_shape))
        assert model.proto.SerializeToString(deterministic=True) == before


TRAINING = {
    "loss_and_gradients": (np.zeros((2, 3, 40, 40), np.float32), np.arange(2)),
    "sgd": (0.1,),
    "step": (None, np.zeros((2, 3, 40, 40), np.float32), np.arange(2)),
    "freeze": (["features.conv0.weight"],),
    "export_velocities": (None,),
    "load_velocities": (None, {}),
    "set_learning_rate": (0.1,),
}


@pytest.mark.parametrize("function", TRAINING)
def test_training_is_refused_in_one_sentence(backend, function):
    with pytest.raises(spec.SpecError, match=r"^densenet_onnx runs networks and trains none: train in torch, mxnet"):
        getattr(backend, function)(backend.build(CASES["plain"].network), *TRAINING[function])


def test_a_device_that_is_not_there_is_refused(backend):
    with backend.device("cpu"):
        pass
    sentence = "device 'gpu' is not there: densenet_onnx runs ONNX Runtime on the cpu; use cpu"
    with pytest.raises(spec.SpecError, match=sentence), backend.device("gpu"):
        pass
