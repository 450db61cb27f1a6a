"""What is recorded of Gluon blocks that are none of ours."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest

import spec
from spec.recording import INPUT, UNKNOWN
from tests.cases import SMALL, small
from tests.support import loaded, require

NO_PADDING, ONE = ((0, 0), (0, 0)), ((1, 1), (1, 1))


@pytest.fixture(autouse=True)
def mx():
    require("mxnet")
    import mxnet

    mxnet.random.seed(0)
    return mxnet


@pytest.fixture
def record():
    from densenet_mxnet.recording import record

    return record


@pytest.fixture
def images(rng):
    return rng.normal(size=(2, 3, 8, 8)).astype("float32")


def functional(mx):
    """Two convolutions as layers; all else is called as functions, one of the convolutions twice."""

    class Functional(mx.gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            with self.name_scope():
                self.stem = mx.gluon.nn.HybridSequential()
                self.stem.add(mx.gluon.nn.Conv2D(4, 3, padding=1), mx.gluon.nn.BatchNorm())
                self.twice = mx.gluon.nn.Conv2D(4, 1, use_bias=False)
                self.scale = self.params.get("scale", shape=(1, 8, 1, 1), init="ones")

        def hybrid_forward(self, F, x, scale):
            x = F.relu(self.stem(x))
            y = self.twice(self.twice(x))
            z = F.broadcast_mul(F.concat(x, y * 2, dim=1), scale)
            z = F.Pooling(z, kernel=(3, 3), stride=(2, 2), pool_type="avg", pooling_convention="full")
            return F.mean(z, axis=(2, 3))

    return filled(Functional())


def plain(mx, forward, *layers):
    """A block that is not hybrid, whose `forward` is given its layers and arrays."""

    class Plain(mx.gluon.Block):
        def __init__(self):
            super().__init__()
            for number, layer in enumerate(layers):
                self.register_child(layer, f"layer{number}")

        def forward(self, x):
            return forward(x, *layers)

    return filled(Plain())


def chain(mx, *layers):
    block = mx.gluon.nn.HybridSequential()
    block.add(*layers)
    return filled(block)


def filled(block):
    block.initialize()
    return block


def kinds(recording):
    return [call.kind for call in recording.calls]


def test_functions_and_layers_are_recorded_alike(mx, record, images):
    model = functional(mx)
    recording = record(model, images)
    found = [(call.kind, call.layer, call.text, call.inputs) for call in recording.calls]
    assert found == [
        ("conv", "stem.0", "nn.Conv2D", (INPUT,)),
        ("batch_norm", "stem.1", "nn.BatchNorm", (0,)),
        ("relu", "", "mxnet relu", (1,)),
        ("conv", "twice", "nn.Conv2D", (2,)),
        ("conv", "twice", "nn.Conv2D", (3,)),
        ("multiply", "", "mxnet _mul_scalar", (4,)),
        ("concat", "", "mxnet Concat", (2, 5)),
        ("multiply", "", "mxnet broadcast_mul", (6,)),
        ("avg_pool", "", "mxnet Pooling", (7,)),
        ("mean", "", "mxnet mean", (8,)),
    ]
    conv = {"stride": (1, 1), "padding": ONE, "dilation": (1, 1), "groups": 1}
    pool = {"kernel_size": (3, 3), "stride": (2, 2), "padding": NO_PADDING}
    settings = [call.settings for call in recording.calls]
    assert settings[0] == conv
    assert settings[1] == {"eps": 1e-5, "decay": 0.9, "training": False}  # as Gluon has them
    assert settings[3] == settings[4] == conv | {"padding": NO_PADDING}
    assert settings[5] == {"constant": 2}
    assert settings[6] == {"axis": 1}
    assert (settings[7]["constant"] == np.ones((1, 8, 1, 1))).all()
    assert settings[8] == pool | {"ceil_mode": True, "count_include_pad": True}
    assert settings[9] == {"axes": (2, 3), "keepdims": False}
    assert recording.calls[0].parameters == {"weight": "stem.0.weight", "bias": "stem.0.bias"}
    assert recording.calls[1].parameters["running_var"] == "stem.1.running_var"
    assert recording.calls[3].parameters == recording.calls[4].parameters == {"weight": "twice.weight"}
    assert (recording.framework, recording.dtype, recording.output) == ("mxnet", "float32", 9)
    assert (recording.value(9) == model(mx.nd.array(images)).asnumpy()).all()


def test_a_hybridized_block_is_taken_apart_and_hybridized_afterwards(mx, record, images):
    model, x = functional(mx), mx.nd.array(images)
    eager = record(model, images)
    model.hybridize(static_alloc=True, static_shape=True)
    model(x).wait_to_read()
    graph, calls = model._cached_op, []
    recording = record(model, images)
    assert kinds(recording) == kinds(eager)
    assert all((found == expected).all() for found, expected in zip(recording.outputs, eager.outputs))
    assert model._cached_op is graph
    assert model._active
    assert model.stem._active
    model.twice.register_forward_hook(lambda *_: calls.append(1))
    model(x).wait_to_read()
    assert not calls


def test_what_a_plain_block_does_with_arrays_is_recorded(mx, record, images):
    def forward(x, conv, dense):
        y = mx.nd.concat(x, conv(x).relu())
        y += 1
        y = y.reshape((2, 0, -1)).max(axis=2, keepdims=True)  # a view, which is no operation to MXNet
        y = y.reshape((0, 0)) - mx.nd.ones((2, 7))
        return dense(mx.nd.concat(y[:, :3], y[:, 3:]))

    recording = record(plain(mx, forward, mx.gluon.nn.Conv2D(4, 1), mx.gluon.nn.Dense(5)), images)
    assert [(call.kind, call.layer, call.inputs) for call in recording.calls] == [
        ("conv", "layer0", (INPUT,)),
        ("relu", "", (0,)),
        ("concat", "", (INPUT, 1)),
        ("add", "", (2,)),
        ("reshape", "", (3,)),
        ("max", "", (4,)),
        ("reshape", "", (5,)),
        ("subtract", "", (6, UNKNOWN)),
        ("other", "", (7,)),
        ("other", "", (7,)),
        ("concat", "", (8, 9)),
        ("linear", "layer1", (10,)),
    ]
    assert (recording.calls[7].settings["constant"] == np.ones((2, 7))).all()
    assert recording.calls[11].parameters == {"weight": "layer1.weight", "bias": "layer1.bias"}


def test_what_is_written_in_place_is_a_new_value(mx, record, images):
    def forward(x):
        y = x.relu()
        y[0][:] = 0  # through a view
        return y.flatten()

    recording = record(plain(mx, forward), images)
    written = [number for number, call in enumerate(recording.calls) if call.text == "written to in place"]
    assert recording.calls[written[-1]].inputs == (0,)
    assert recording.calls[recording.output].inputs == (written[-1],)
    assert (recording.value(0) == np.maximum(images, 0)).all()
    assert (recording.value(recording.output)[0] == 0).all()


def test_a_model_may_write_into_its_images(mx, record, images):
    def forward(x, conv):
        x *= 2
        return conv(x).flatten()

    recording = record(plain(mx, forward, mx.gluon.nn.Conv2D(4, 1)), images)  # whose shape no pass has told yet
    assert kinds(recording) == ["multiply", "conv", "flatten"]
    assert (recording.value(INPUT) == images).all()
    assert (recording.value(0) == 2 * images).all()


def test_each_output_of_an_operation_is_a_value(mx, record, images):
    def forward(x):
        first, _, third = x.split(3, axis=1)
        return (third + first).flatten()

    recording = record(plain(mx, forward), images)
    assert [call.inputs for call in recording.calls] == [(INPUT,), (INPUT,), (INPUT,), (2, 0), (3,)]
    assert (recording.value(2) == images[:, 2:]).all()


OPERATIONS = {
    # MXNet's own defaults, from its reference of operators, where an attribute is left out.
    "Pooling of nothing else": (lambda nd, x: nd.Pooling(x, kernel=(2, 2)), "max_pool", {"stride": (1, 1)}),
    "Pooling with padding": (
        lambda nd, x: nd.Pooling(x, kernel=(3, 2), stride=(2, 1), pad=(1, 0), pool_type="avg", count_include_pad=False),
        "avg_pool",
        {
            "kernel_size": (3, 2),
            "stride": (2, 1),
            "padding": ((1, 1), (0, 0)),
            "ceil_mode": False,
            "count_include_pad": False,
        },
    ),
    "Pooling with empty windows": (
        lambda nd, x: nd.Pooling(x, kernel=(1, 1), stride=(2, 2), pooling_convention="full"),
        "other",
        {},
    ),
    "Pooling of sums": (lambda nd, x: nd.Pooling(x, kernel=(2, 2), pool_type="sum"), "other", {}),
    "a global mean": (
        lambda nd, x: nd.Pooling(x, global_pool=True, pool_type="avg"),
        "mean",
        {"axes": (2, 3), "keepdims": True},
    ),
    "a global maximum": (lambda nd, x: nd.Pooling(x, global_pool=True), "max", {"axes": (2, 3), "keepdims": True}),
    "an adaptive mean": (lambda nd, x: nd.contrib.AdaptiveAvgPooling2D(x), "mean", {"axes": (2, 3), "keepdims": True}),
    "mean": (lambda nd, x: nd.mean(x, axis=1, exclude=True, keepdims=True), "mean", {"axes": (0, 2, 3)}),
    "sum of all": (lambda nd, x: nd.broadcast_mul(x.sum().reshape((1, 1, 1, 1)), x), "sum", {"axes": (0, 1, 2, 3)}),
    "Convolution": (
        lambda nd, x: nd.Convolution(x, nd.ones((3, 1, 2, 2)), no_bias=True, kernel=(2, 2), num_filter=3, num_group=3),
        "conv",
        {"stride": (1, 1), "padding": NO_PADDING, "dilation": (1, 1), "groups": 3},
    ),
    "BatchNorm": (
        lambda nd, x: nd.BatchNorm(x, *(nd.ones(3) for _ in range(4))),
        "batch_norm",
        {"eps": 1e-3, "decay": 0.9, "training": False, "fix_gamma": True},
    ),
    "BatchNorm over the width": (lambda nd, x: nd.BatchNorm(x, *(nd.ones(8) for _ in range(4)), axis=3), "other", {}),
    "sigmoid": (lambda nd, x: nd.Activation(x, act_type="sigmoid"), "sigmoid", {}),
    "softplus": (lambda nd, x: nd.Activation(x, act_type="softrelu"), "softplus", {}),
    "softsign": (lambda nd, x: nd.Activation(x, act_type="softsign"), "other", {}),
    "leaky": (lambda nd, x: nd.LeakyReLU(x), "leaky_relu", {"slope": 0.25}),
    "elu": (lambda nd, x: nd.LeakyReLU(x, act_type="elu", slope=1.0), "elu", {"slope": 1.0}),
    "gelu": (lambda nd, x: nd.LeakyReLU(x, act_type="gelu"), "gelu", {}),
    "prelu": (lambda nd, x: nd.LeakyReLU(x, nd.ones(3), act_type="prelu"), "other", {}),
    "relu as a maximum": (lambda nd, x: nd.maximum(x, 0), "relu", {}),
    "relu as a limit": (lambda nd, x: nd.clip(x, 0, np.inf), "relu", {}),
    "relu6": (lambda nd, x: nd.clip(x, 0, 6), "relu6", {}),
    "another limit": (lambda nd, x: nd.clip(x, -1, 1), "other", {}),
    "MXNet's hard sigmoid": (lambda nd, x: nd.hard_sigmoid(x), "other", {}),
    "the usual hard sigmoid": (lambda nd, x: nd.hard_sigmoid(x, alpha=1 / 6), "hard_sigmoid", {}),
    "softmax over the width": (lambda nd, x: nd.softmax(x), "other", {}),
    "softmax over channels": (lambda nd, x: nd.softmax(x, axis=1), "softmax", {}),
    "pad": (
        lambda nd, x: nd.pad(x, mode="constant", pad_width=(0, 0, 0, 0, 1, 2, 3, 4), constant_value=5),
        "pad",
        {"padding": ((1, 2), (3, 4)), "value": 5},
    ),
    "pad by the edge": (lambda nd, x: nd.pad(x, mode="edge", pad_width=(0, 0, 0, 0, 1, 1, 1, 1)), "other", {}),
    "transpose": (lambda nd, x: x.transpose((0, 2, 3, 1)), "permute", {"axes": (0, 2, 3, 1)}),
    "swapaxes": (lambda nd, x: x.swapaxes(2, 3), "permute", {"axes": (0, 1, 3, 2)}),
    "concat over the height": (lambda nd, x: nd.concat(x, x, dim=-2), "concat", {"axis": 2}),
    "a sum of three": (lambda nd, x: nd.add_n(x, x, x), "other", {}),
    "what is taken from a number": (lambda nd, x: 1 - x, "other", {}),
    "what is taken from an array": (lambda nd, x: nd.ones(x.shape) - x, "other", {}),
    "division": (lambda nd, x: x / 4, "divide", {"constant": 4}),
    "a copy": (lambda nd, x: x.copy(), "identity", {}),
    "dropout, always on": (lambda nd, x: nd.Dropout(x, mode="always"), "dropout", {"rate": 0.5, "training": True}),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_has_its_kind_and_settings(mx, record, images, name):
    operation, kind, settings = OPERATIONS[name]
    recording = record(plain(mx, lambda x: operation(mx.nd, x).flatten()), images)
    call = recording.calls[0]
    assert call.kind == kind
    assert settings.items() <= call.settings.items() if settings else not call.settings
    assert call.inputs[0] == INPUT or name == "what is taken from an array"


def test_a_dense_layer_flattens_what_it_is_given(mx, record, images):
    recording = record(chain(mx, mx.gluon.nn.GlobalMaxPool2D(), mx.gluon.nn.Dense(5, activation="tanh")), images)
    assert [(call.kind, call.layer, call.inputs) for call in recording.calls] == [
        ("max", "0", (INPUT,)),
        ("flatten", "1", (0,)),
        ("linear", "1", (1,)),
        ("tanh", "1.act", (2,)),
    ]
    assert recording.value(1).shape == (2, 3)


@pytest.mark.filterwarnings("ignore:Cannot decide type", "ignore:Parameter .* is already initialized")
def test_a_graph_from_a_file_is_recorded_operation_by_operation(mx, record, images, tmp_path):
    model = functional(mx)
    expected = record(model, images)
    model.hybridize()
    model(mx.nd.array(images))
    model.export(str(tmp_path / "model"))
    files = [str(tmp_path / name) for name in ("model-symbol.json", "model-0000.params")]
    graph = mx.gluon.SymbolBlock.imports(files[0], ["data"], files[1])
    recording = record(graph, images)
    assert kinds(recording) == kinds(expected)
    assert [call.inputs for call in recording.calls] == [call.inputs for call in expected.calls]
    assert all((found == made).all() for found, made in zip(recording.outputs, expected.outputs))
    named = {node["name"] for node in json.loads((tmp_path / "model-symbol.json").read_text())["nodes"]}
    weight = recording.calls[0].parameters["weight"]
    assert any(name.endswith(weight) for name in named)
    assert weight == f"{recording.calls[0].layer}_weight"
    assert "forward" not in vars(graph)
    inside = record(plain(mx, lambda x, inner: inner(x) + 1, graph), images)
    assert inside.calls[0].layer == f"layer0.{recording.calls[0].layer}"


def test_arrays_of_mx_np_are_recorded(mx, record, images):
    with mx.util.np_shape(True), mx.util.np_array(True):
        model = mx.gluon.nn.HybridSequential()
        model.add(mx.gluon.nn.Conv2D(4, 1), mx.gluon.nn.BatchNorm(), mx.gluon.nn.GlobalAvgPool2D())
        block = plain(mx, lambda x, inner: mx.np.concatenate((inner(x), x[:, :, :1, :1]), axis=1).reshape(2, -1), model)
        recording = record(block, images)
    assert kinds(recording) == ["conv", "batch_norm", "mean", "other", "concat", "flatten"]
    assert recording.calls[4].settings == {"axis": 1}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_mode_leaves_the_model_as_it_was(mx, record, images, dtype):
    from densenet_mxnet.recording import arrays

    nn = mx.gluon.nn
    norm, frozen = nn.BatchNorm(scale=False), nn.BatchNorm(use_global_stats=True)

    def forward(x, *layers):
        for layer in layers:
            x = layer(x)
        norm.running_mean.data()[:] = 7  # as blocks do that keep statistics of their own
        return x.flatten()

    model = plain(mx, forward, nn.Conv2D(4, 1), norm, frozen, nn.Dropout(0.3))
    model.cast(dtype)
    record(model, images)
    norm.gamma.set_data(mx.nd.full(4, 3))  # MXNet writes ones into one that is not trained
    before = arrays(model)
    recording = record(model, images, training=True)
    assert [call.settings.get("training") for call in recording.calls] == [None, True, False, True, None]
    assert recording.calls[3].settings == {"rate": pytest.approx(0.3), "training": True}
    assert all((array == before[name]).all() for name, array in arrays(model).items())
    assert recording.dtype == recording.outputs[-1].dtype == dtype
    assert abs(recording.value(1).mean(axis=(0, 2, 3))).max() < 1e-5  # by the statistics of the batch
    assert not mx.autograd.is_training()


def test_what_is_assigned_is_what_the_model_computes_with(mx, record, images, rng):
    from densenet_mxnet.recording import arrays, assign

    model, x = functional(mx), mx.nd.array(images)
    record(model, images)
    model.hybridize()
    model(x)
    values = {name: rng.uniform(0.5, 1, array.shape) for name, array in arrays(model).items()}
    assert "stem.1.running_var" in values
    assign(model, values)
    assert all((array == values[name].astype("float32")).all() for name, array in arrays(model).items())
    assert model(x).asnumpy() == pytest.approx(record(model, images).outputs[-1], rel=1e-5)
    scale = values["scale"].astype("float32")
    assert (record(model, images).calls[7].settings["constant"] == scale).all()


def test_settings_and_arrays_are_all_that_the_outputs_take(mx, record, rng):
    """Each call of a small DenseNet, done again by NumPy, from what it was given."""
    import densenet_mxnet
    from densenet_mxnet.recording import arrays

    network = SMALL["biased"]
    model = loaded(densenet_mxnet, network, spec.randomize(spec.initialize(network, 0, dtype="float64"), 0))
    recording = record(model, rng.normal(size=(2, 3, 40, 40)))
    values = arrays(model)
    replayed = set()
    for number, call in enumerate(recording.calls):
        own = {last: values[name] for last, name in call.parameters.items()}
        expected = REPLAYS[call.kind](*recording.inputs(number), **call.settings, **own)
        assert recording.value(number) == pytest.approx(expected, rel=1e-9, abs=1e-9), call
        replayed.add(call.kind)
    assert {"conv", "batch_norm", "linear", "max_pool", "avg_pool", "mean"} <= replayed
    assert recording.dtype == "float64"
    assert recording.calls[0].layer == "features.conv0"


def windows(x, padding, kernel_size, stride, value=0.0, dilation=(1, 1)):
    """(N, C, H, W, height, width) of the windows at each place."""
    x = np.pad(x, ((0, 0), (0, 0), *padding), constant_values=value)
    size = [(k - 1) * d + 1 for k, d in zip(kernel_size, dilation)]
    found = np.lib.stride_tricks.sliding_window_view(x, size, axis=(2, 3))
    return found[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def convolved(x, stride, padding, dilation, groups, weight, bias=0.0):
    assert groups == 1
    seen = windows(x, padding, weight.shape[2:], stride, dilation=dilation)
    return np.einsum("nchwij,ocij->nohw", seen, weight) + np.reshape(bias, (1, -1, 1, 1))


def normed(x, eps, decay, training, weight, bias, running_mean, running_var):
    assert not training
    weight, bias, mean, var = (each.reshape(1, -1, 1, 1) for each in (weight, bias, running_mean, running_var))
    return (x - mean) / np.sqrt(var + eps) * weight + bias


def pooled(reduce, value):
    def pool(x, kernel_size, stride, padding, ceil_mode, count_include_pad=True):
        assert not ceil_mode
        return reduce(windows(x, padding, kernel_size, stride, value), axis=(4, 5))

    return pool


REPLAYS = {
    "conv": convolved,
    "batch_norm": normed,
    "relu": lambda x: np.maximum(x, 0),
    "max_pool": pooled(np.max, -np.inf),
    "avg_pool": pooled(np.mean, 0),
    "concat": lambda *xs, axis: np.concatenate(xs, axis),
    "mean": lambda x, axes, keepdims: x.mean(axes, keepdims=keepdims),
    "flatten": lambda x: x.reshape(len(x), -1),
    "linear": lambda x, weight, bias: x @ weight.T + bias,
}


def test_other_threads_are_not_recorded(mx, record, images):
    def forward(x):
        other = threading.Thread(target=lambda: mx.nd.tanh(x).wait_to_read())
        other.start()
        other.join()
        return x.flatten()

    assert kinds(record(plain(mx, forward), images)) == ["flatten"]


def test_everything_is_put_back_where_a_model_fails(mx, record, images):
    from mxnet.ndarray import register

    def forward(x, inner):
        inner(x)
        inner.weight.data()[:] = 0
        raise RuntimeError("of its own")

    original = register._imperative_invoke
    model = plain(mx, forward, mx.gluon.nn.Conv2D(4, 1, in_channels=3))
    layer = model._children["layer0"]
    layer.hybridize()
    with pytest.raises(RuntimeError, match="of its own"):
        record(model, images)
    assert register._imperative_invoke is original
    assert layer._active
    assert not layer._forward_hooks
    assert layer.weight.data().asnumpy().any()


def loose(mx):
    block = mx.gluon.nn.HybridLambda("flatten")
    block.hybridize()
    return plain(mx, lambda x: block(x))


def looped(mx):
    x = mx.sym.var("data", dtype="float32")
    made, _ = mx.sym.contrib.foreach(lambda each, state: (each * 2, state), x, [])
    return filled(mx.gluon.SymbolBlock(mx.sym.flatten(made), x))


REFUSED = {
    "no values": (
        lambda mx: mx.gluon.nn.Dense(5),
        r"weight has no values: call the model's initialize\(\)",
    ),
    "too large a pool": (
        lambda mx: chain(mx, mx.gluon.nn.AvgPool2D(9)),
        r"the model cannot take images of shape \(3, 8, 8\): .*kernel size \(9\) exceeds input",
    ),
    "no logits": (
        lambda mx: chain(mx, mx.gluon.nn.MaxPool2D(2)),
        r"logits \(N, classes\), found an array of shape \(2, 3, 4, 4\)",
    ),
    "NHWC": (
        lambda mx: chain(mx, mx.gluon.nn.Conv2D(4, 1, layout="NHWC"), mx.gluon.nn.Flatten()),
        "0: layout NHWC cannot be compared",
    ),
    "NumPy": (
        lambda mx: plain(mx, lambda x: mx.nd.array(x.asnumpy().mean((2, 3)))),
        "the logits cannot be followed back to the images: a part of the model computes in NumPy",
    ),
    "a loose block": (loose, "the logits cannot be followed back to the images: .* register_child"),
    "a loop": (looped, "the model is optimized, or has loops: _foreach is a graph by itself"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recorded_is_refused_in_a_sentence(mx, record, images, name):
    build, sentence = REFUSED[name]
    with pytest.raises(spec.SpecError, match=sentence) as refusal:
        record(build(mx), images)
    assert "\n" not in str(refusal.value)


LABELS = np.array([1, 0])


@pytest.fixture
def record_training():
    from densenet_mxnet.recording import record_training

    return record_training


def loop(mx, model, images):
    """{name: gradient} as a training loop in Gluon has them of LABELS; the parameters keep them."""
    with mx.autograd.record():
        loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()(model(mx.nd.array(images)), mx.nd.array(LABELS)).mean()
    loss.backward()
    named = model._collect_params_with_prefix().items()
    return {name: parameter.grad().asnumpy() for name, parameter in named if parameter.grad_req != "null"}


def of_logits(training):
    """The loss's gradient by the logits, by hand: softmax minus one-hot, of the mean of two images."""
    logits = training.recording.value(training.recording.output)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return (softmax - np.eye(logits.shape[1])[LABELS]) / 2


def by_output(training, layer):
    """The gradient by what the layer of this name puts out."""
    (number,) = (number for number in training.gradients if training.recording.calls[number].layer == layer)
    return training.gradients[number]


@pytest.mark.parametrize("name", ["biased", "se_everywhere"])
def test_a_training_pass_is_the_one_that_the_backend_takes(mx, record_training, rng, name):
    import densenet_mxnet

    network = SMALL[name]
    model = loaded(densenet_mxnet, network, spec.randomize(spec.initialize(network, 0), 0))
    images = rng.normal(size=(2, 3, 40, 40)).astype("float32")
    mx.random.seed(1)  # of dropout
    _, gradients, statistics = densenet_mxnet.loss_and_gradients(model, images, LABELS)
    mx.random.seed(1)
    training = record_training(model, images, LABELS)
    for found, expected in ((training.parameters, gradients), (training.buffers, statistics)):
        canonical = {own.replace("gamma", "weight").replace("beta", "bias"): array for own, array in found.items()}
        assert canonical.keys() == expected.keys() - {"input"}
        assert all((array == expected[own]).all() for own, array in canonical.items())


def test_gradients_by_outputs_sum_up_to_those_of_the_reference_by_biases(mx, record_training, rng):
    import densenet_mxnet
    from spec import reference

    network = SMALL["biased"]
    weights = spec.randomize(spec.initialize(network, 0, dtype="float64"), 0)
    images = rng.normal(size=(2, 3, 40, 40))
    training = record_training(loaded(densenet_mxnet, network, weights), images, LABELS)
    _, expected, _ = reference.loss_and_gradients(loaded(reference, network, weights), images, LABELS)
    calls, held = training.recording.calls, 0
    for number, gradient in training.gradients.items():
        assert gradient.shape == training.recording.value(number).shape
        if "bias" in calls[number].parameters:
            summed = gradient.sum(axis=(0, *range(2, gradient.ndim)))
            assert summed == pytest.approx(expected[f"{calls[number].layer}.bias"], rel=1e-9, abs=1e-12)
            held += 1
    assert held == len([name for name in expected if name.endswith("bias")])
    assert {calls[number].kind for number in training.gradients} >= {"max_pool", "avg_pool", "mean"}


@pytest.mark.parametrize("hybridized", [False, True])
def test_gradients_are_those_of_a_training_loop(mx, record_training, images, hybridized):
    from densenet_mxnet.recording import arrays

    model = functional(mx)
    training = record_training(model, images, LABELS)
    if hybridized:
        model.hybridize(static_alloc=True, static_shape=True)
        model(mx.nd.array(images)).wait_to_read()
        graph = model._cached_op
        training = record_training(model, images, LABELS)
        assert model._cached_op is graph
        assert model._active
    expected = loop(mx, model, images)
    assert training.parameters.keys() == expected.keys()
    assert all(
        found == pytest.approx(expected[name], rel=1e-4, abs=1e-6) for name, found in training.parameters.items()
    )
    after = arrays(model)
    assert training.buffers.keys() == {"stem.1.running_mean", "stem.1.running_var"}
    assert all((found == after[name]).all() for name, found in training.buffers.items())
    assert (training.buffers["stem.1.running_mean"] != 0).all()
    assert (training.labels == LABELS).all()
    first, second = (number for number, call in enumerate(training.recording.calls) if call.layer == "twice")
    by_input = np.einsum("nohw,oc->nchw", training.gradients[second], model.twice.weight.data().asnumpy()[:, :, 0, 0])
    assert training.gradients[first] == pytest.approx(by_input, rel=1e-4, abs=1e-6)  # the chain rule


def test_gradients_by_pools_are_those_by_hand(mx, record_training, images):
    nn = mx.gluon.nn
    training = record_training(chain(mx, nn.MaxPool2D(2), nn.GlobalAvgPool2D(), nn.Flatten()), images, LABELS)
    expected = of_logits(training)
    assert by_output(training, "1")[:, :, 0, 0] == pytest.approx(expected, rel=1e-5)
    assert by_output(training, "0") == pytest.approx(np.tile(expected[:, :, None, None] / 16, (4, 4)), rel=1e-5)
    assert not training.parameters


def test_a_softmax_at_the_end_is_followed_by_its_logarithm(mx, record_training, images):
    softmax = mx.gluon.nn.HybridLambda("softmax")
    ends = [
        record_training(chain(mx, mx.gluon.nn.GlobalAvgPool2D(), mx.gluon.nn.Flatten(), *more), images, LABELS)
        for more in ((), (softmax,))
    ]
    assert ends[1].recording.calls[-1].kind == "softmax"
    assert by_output(ends[1], "0") == pytest.approx(by_output(ends[0], "0"), rel=1e-5)


CUTS = {
    "an operation": lambda mx, x: mx.nd.BlockGrad(x),
    "a method": lambda mx, x: x.detach(),
}


@pytest.mark.parametrize("name", CUTS)
def test_what_is_before_a_stop_has_gradients_of_zeros(mx, record_training, images, name):
    def forward(x, first, second):
        return second(CUTS[name](mx, first(x))).mean(axis=(2, 3))

    training = record_training(plain(mx, forward, mx.gluon.nn.Conv2D(4, 1), mx.gluon.nn.Conv2D(3, 1)), images, LABELS)
    assert not by_output(training, "layer0").any()
    assert by_output(training, "layer0").shape == (2, 4, 8, 8)
    assert by_output(training, "layer1").any()
    assert not training.parameters["layer0.weight"].any()
    assert training.parameters["layer1.weight"].any()


def test_all_gradients_are_zeros_where_the_logits_are_detached(mx, record_training, images):
    model = plain(mx, lambda x, conv: conv(x).mean(axis=(2, 3)).detach(), mx.gluon.nn.Conv2D(4, 1))
    training = record_training(model, images, LABELS)
    assert len(training.gradients) == 2
    assert not any(gradient.any() for gradient in [*training.gradients.values(), *training.parameters.values()])


def test_what_runs_without_autograd_is_left_out(mx, record_training, images):
    def forward(x, first, second):
        with mx.autograd.pause():
            x = first(x)
        return second(x).mean(axis=(2, 3))

    training = record_training(plain(mx, forward, mx.gluon.nn.Conv2D(4, 1), mx.gluon.nn.Conv2D(3, 1)), images, LABELS)
    assert {training.recording.calls[number].layer for number in training.gradients} == {"layer1", ""}


def test_frozen_parameters_are_left_out_though_gradients_pass(mx, record_training, images):
    model = functional(mx)
    free = record_training(model, images, LABELS)
    model.collect_params().setattr("grad_req", "null")
    training = record_training(model, images, LABELS)
    assert not training.parameters
    assert training.gradients.keys() == free.gradients.keys()
    assert all((gradient == free.gradients[number]).all() for number, gradient in training.gradients.items())
    assert all((array == free.buffers[name]).all() for name, array in training.buffers.items())


def test_a_parameter_of_two_names_has_one_gradient(mx, record_training, images):
    conv = mx.gluon.nn.Conv2D(3, 1, in_channels=3)
    tied = mx.gluon.nn.Conv2D(3, 1, in_channels=3, params=conv.params)
    model = chain(mx, conv, tied, mx.gluon.nn.GlobalAvgPool2D(), mx.gluon.nn.Flatten())
    training = record_training(model, images, LABELS)
    assert training.parameters.keys() == {"0.weight", "0.bias"}
    assert training.parameters["0.weight"] == pytest.approx(loop(mx, model, images)["0.weight"], rel=1e-5)


def test_a_concatenation_counted_from_the_last_axis_is_trained(mx, record_training, images):
    def forward(x, conv):
        x = conv(x)
        return mx.nd.concat(x, x, dim=-2).mean(axis=(2, 3))

    training = record_training(plain(mx, forward, mx.gluon.nn.Conv2D(4, 1)), images, LABELS)
    assert training.recording.calls[1].settings == {"axis": 2}
    assert training.recording.value(1).shape == (2, 4, 16, 8)
    expected = np.tile(of_logits(training)[:, :, None, None] * 2 / 128, (8, 8))
    assert by_output(training, "layer0") == pytest.approx(expected, rel=1e-4)


def test_a_concatenation_is_trained_at_widths_where_mxnet_fails(mx, record_training, rng, monkeypatch):
    """16 and 12 channels, which tests/test_mxnet.py shows to crash."""
    import densenet_mxnet
    from densenet_mxnet import blocks

    stem = {"channels": 16, "kernel_size": 3, "stride": 1, "padding": 1, "norm": False, "pool": False}
    network = small(growth_rate=12, stem=stem, input_size=16)
    model = loaded(densenet_mxnet, network, spec.initialize(network, 0))
    images = rng.normal(size=(4, 3, 16, 16)).astype("float32")
    labels = np.arange(4)
    _, expected, _ = densenet_mxnet.loss_and_gradients(model, images, labels)
    monkeypatch.setattr(blocks, "concat", lambda F, *maps: F.concat(*maps, dim=1))  # as strangers have it
    training = record_training(model, images, labels)
    concats = [call for call in training.recording.calls if call.kind == "concat"]
    assert [call.settings for call in concats] == 5 * [{"axis": 1}]
    assert {training.recording.value(call.inputs[0]).ndim for call in concats} == {4}
    weight = training.parameters["features.conv0.weight"]
    assert weight == pytest.approx(expected["features.conv0.weight"], rel=1e-3, abs=1e-5)


@pytest.mark.filterwarnings("ignore:Cannot decide type", "ignore:Parameter .* is already initialized")
def test_a_graph_from_a_file_is_trained_operation_by_operation(mx, record_training, images, tmp_path):
    model = functional(mx)
    expected = record_training(model, images, LABELS)
    model.hybridize()
    model(mx.nd.array(images))
    model.export(str(tmp_path / "model"))
    files = [str(tmp_path / name) for name in ("model-symbol.json", "model-0000.params")]
    training = record_training(mx.gluon.SymbolBlock.imports(files[0], ["data"], files[1]), images, LABELS)
    assert training.gradients.keys() == expected.gradients.keys()
    assert all((array == expected.gradients[number]).all() for number, array in training.gradients.items())
    assert len(training.parameters) == len(expected.parameters)
    assert [name.rpartition("_running")[2] for name in training.buffers] == ["_mean", "_var"]


def test_arrays_of_mx_np_are_trained(mx, record_training, images):
    with mx.util.np_shape(True), mx.util.np_array(True):
        conv = mx.gluon.nn.Conv2D(4, 1)
        training = record_training(plain(mx, lambda x, conv: conv(x).mean(axis=(2, 3)), conv), images, LABELS)
    expected = np.tile(of_logits(training)[:, :, None, None] / 64, (8, 8))
    assert by_output(training, "layer0") == pytest.approx(expected, rel=1e-5)
    assert training.parameters["layer0.bias"] == pytest.approx(of_logits(training).sum(axis=0), rel=1e-5)


def test_a_model_that_is_trained_may_write_into_its_images(mx, record_training, images):
    def forward(x, conv):
        x *= 2
        return conv(x).mean(axis=(2, 3))

    training = record_training(plain(mx, forward, mx.gluon.nn.Conv2D(4, 1)), images, LABELS)
    assert (training.recording.images == images).all()
    expected = np.einsum("no,nc->oc", of_logits(training), 2 * images.mean(axis=(2, 3)))
    assert training.parameters["layer0.weight"][:, :, 0, 0] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_what_mxnet_cannot_differentiate_is_refused_in_a_sentence(mx, record_training, images):
    def forward(x, conv):
        x = conv(x)
        x += 1
        return x.mean(axis=(2, 3))

    with pytest.raises(
        spec.SpecError, match=r"the model cannot take images of shape .*: .* you cannot use inplace operations"
    ) as refusal:
        record_training(plain(mx, forward, mx.gluon.nn.Conv2D(4, 1)), images, LABELS)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("fails", [False, True])
def test_a_training_pass_leaves_the_model_as_it_was(mx, record_training, images, fails):
    from densenet_mxnet.recording import arrays

    def forward(x, stem, norm):
        x = norm(stem(x)).mean(axis=(2, 3))
        if fails and mx.autograd.is_recording():
            raise RuntimeError("of its own")
        return x

    model = plain(mx, forward, mx.gluon.nn.Conv2D(4, 1), mx.gluon.nn.BatchNorm())
    model(mx.nd.array(images))
    stem = model._children["layer0"]
    stem.weight.grad_req, stem.bias.grad_req = "add", "null"
    stem.weight.grad()[:] = 5
    stem.weight.data()._fresh_grad = True
    before = arrays(model)
    with pytest.raises(RuntimeError, match="of its own") if fails else nullcontext():
        record_training(model, images, LABELS)
    assert all((array == before[name]).all() for name, array in arrays(model).items())
    assert (stem.weight.grad().asnumpy() == 5).all()
    assert stem.weight.data()._fresh_grad
    assert (stem.weight.grad_req, stem.bias.grad_req) == ("add", "null")
    assert not mx.autograd.is_recording()
    assert not mx.autograd.is_training()
    assert not stem._forward_hooks


def test_threads_do_not_see_each_other(mx, record_training, images):
    models = [functional(mx) for _ in range(2)]
    expected = [record_training(model, images, LABELS) for model in models]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: record_training(models[i % 2], images, LABELS), range(8)))
    for i, training in enumerate(found):
        assert all((array == expected[i % 2].gradients[number]).all() for number, array in training.gradients.items())


@pytest.fixture
def dense(mx):
    """A layer of one weight, 2, that is trained and one, 4, that is not."""
    model = filled(mx.gluon.nn.Dense(1, in_units=1, bias_initializer=mx.init.Constant(4)))
    model.weight.set_data(mx.nd.full((1, 1), 2))
    model.bias.grad_req = "null"
    return model


def trainer(mx, model, **settings):
    return mx.gluon.Trainer(model.collect_params(), "sgd", {"learning_rate": 0.1, **settings})


def test_an_optimizer_takes_steps_with_given_gradients(mx, dense):
    from densenet_mxnet.recording import descend

    optimizer = trainer(mx, dense, momentum=0.5, wd=0.25)
    gradient = {"weight": np.full((1, 1), 3.0), "bias": np.full(1, 3.0)}
    found = descend(dense, optimizer, [gradient, gradient], 0.5)
    # MXNet's momentum holds the rate. First 0.1 * (3 + 0.25 * 2) = 0.35, then 0.5 * 0.35 + 0.05 * (3 + 0.25 * 1.65).
    assert [step["weight"].item() for step in found] == pytest.approx([1.65, 1.65 - 0.175 - 0.170625])
    assert all(step.keys() == {"weight"} for step in found), "the bias is frozen"
    assert optimizer.learning_rate == pytest.approx(0.05)


def test_steps_leave_the_model_as_it_was(mx, dense):
    from densenet_mxnet.recording import descend

    dense.weight.grad()[:] = 7
    descend(dense, trainer(mx, dense), [{"weight": np.ones((1, 1))}], 1.0)
    assert (dense.weight.data().asscalar(), dense.bias.data().asscalar(), dense.weight.grad().asscalar()) == (2, 4, 7)
    assert not dense.weight.data()._fresh_grad
    dense.weight.data()._fresh_grad = True
    with pytest.raises(KeyError):
        descend(dense, trainer(mx, dense), [{"weight": np.ones((1, 1))}, {}], 1.0)
    assert (dense.weight.data().asscalar(), dense.weight.grad().asscalar()) == (2, 7)
    assert dense.weight.data()._fresh_grad


def test_an_optimizer_of_more_than_the_model_takes_steps(mx, dense):
    from densenet_mxnet.recording import descend

    other = filled(mx.gluon.nn.Dense(1, in_units=1))
    optimizer = mx.gluon.Trainer([dense.weight, other.weight], "sgd", {"learning_rate": 1})
    before = other.weight.data().asscalar()
    assert descend(dense, optimizer, [{"weight": np.ones((1, 1))}], 1.0)[0]["weight"] == 1
    assert other.weight.data().asscalar() == before


def test_gradients_of_several_devices_are_summed_up_once(mx):
    from densenet_mxnet.recording import descend

    model = mx.gluon.nn.Dense(1, in_units=1, use_bias=False)
    model.initialize(mx.init.Constant(2), ctx=[mx.cpu(0), mx.cpu(1)])
    assert descend(model, trainer(mx, model), [{"weight": np.ones((1, 1))}], 1.0)[0]["weight"] == pytest.approx(1.9)


def test_an_optimizer_that_cannot_be_followed_is_refused_in_a_sentence(mx, dense):
    from densenet_mxnet.recording import descend

    scheduled = trainer(mx, dense, lr_scheduler=mx.lr_scheduler.FactorScheduler(10, base_lr=0.1))
    with pytest.raises(spec.SpecError, match="the learning rate follows a FactorScheduler, expected one number"):
        descend(dense, scheduled, [{"weight": np.ones((1, 1))}], 1.0)
    with pytest.raises(spec.SpecError, match=r"the optimizer is a SGD, expected a gluon\.Trainer"):
        descend(dense, mx.optimizer.SGD(), [{"weight": np.ones((1, 1))}], 1.0)
