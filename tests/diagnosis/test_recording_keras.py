"""What is recorded of Keras models, of every way to write one: each call, replayed in NumPy from what is said of it."""

import math
import threading
from importlib import import_module

import numpy as np
import pytest

import spec
from spec import reference
from spec.recording import INPUT, UNKNOWN
from tests.cases import SMALL, small, squeezed
from tests.support import loaded, require

ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x, slope: np.where(x < 0, slope * x, x),
    "elu": lambda x, slope: np.where(x < 0, slope * np.expm1(x), x),
    "selu": lambda x: 1.05070098 * np.where(x < 0, 1.67326324 * np.expm1(x), x),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "gelu": lambda x: x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2,
    "softplus": lambda x: np.log1p(np.exp(x)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hard_silu": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True),
    "log_softmax": lambda x: x - np.log(np.exp(x).sum(1, keepdims=True)),
    "identity": lambda x: x,
}
REDUCTIONS = {"mean": np.mean, "max": np.max, "sum": np.sum}
COMBINATIONS = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide}


@pytest.fixture(autouse=True)
def keras():
    require("keras")
    import keras

    keras.utils.set_random_seed(0)
    return keras


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


IMAGES = numbers(2, 3, 9, 8)
DENSENET = small(block_config=[1, 1], bn_size=2, dropout=0.1, **squeezed("layer", "final"))


def windows(x, size, stride, padding, dilation=(1, 1), value=0.0):
    """(N, C, H, W) -> (N, C, H', W', height, width) of padded windows."""
    x = np.pad(x, ((0, 0), (0, 0), *padding), constant_values=value)
    reach = [(k - 1) * d + 1 for k, d in zip(size, dilation)]
    every = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))
    return every[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def replayed(call, inputs, held, expected):
    """What a call should put out, by its kind, its settings and its parameters alone."""
    settings, x = dict(call.settings), inputs[0]
    parameters = {last: held[name] for last, name in call.parameters.items()}
    groups = settings.pop("groups", 1)
    if call.kind == "conv":
        found, weight = windows(x, parameters["weight"].shape[2:], **settings), parameters["weight"]
        parts = zip(np.split(found, groups, axis=1), np.split(weight, groups))
        y = np.concatenate([np.einsum("nchwij,ocij->nohw", each, kernel) for each, kernel in parts], axis=1)
        return y + parameters.get("bias", np.zeros(len(weight)))[:, None, None]
    if call.kind == "batch_norm":
        axes, shape = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
        mean, var = parameters["running_mean"].reshape(shape), parameters["running_var"].reshape(shape)
        if settings["training"]:
            mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        y = (x - mean) / np.sqrt(var + settings["eps"]) * parameters.get("weight", np.ones(x.shape[1])).reshape(shape)
        return y + parameters.get("bias", np.zeros(x.shape[1])).reshape(shape)
    if call.kind == "linear":
        return x @ parameters["weight"].T + parameters.get("bias", 0)
    if call.kind == "max_pool":
        return windows(x, settings.pop("kernel_size"), value=-np.inf, **settings).max((4, 5))
    if call.kind == "avg_pool":
        assert settings.pop("count_include_pad") is False
        return np.nanmean(windows(x, settings.pop("kernel_size"), value=np.nan, **settings), (4, 5))
    if call.kind == "pad":
        return np.pad(x, ((0, 0), (0, 0), *settings["padding"]), constant_values=settings["value"])
    if call.kind in REDUCTIONS:
        return REDUCTIONS[call.kind](x, axis=settings["axes"], keepdims=settings["keepdims"])
    if call.kind == "concat":
        return np.concatenate(inputs, settings["axis"])
    if call.kind in COMBINATIONS:
        return COMBINATIONS[call.kind](x, settings["constant"] if "constant" in settings else inputs[1])
    if call.kind in ACTIVATIONS:
        return ACTIVATIONS[call.kind](x, **settings)
    if call.kind == "dropout" and not settings["training"]:
        return x
    return expected  # reshaped, or none that it could be


def recorded(model, images=IMAGES, training=False, loose=1e-5):
    """A recording whose calls all compute what they say, and put out in the end what the model does."""
    import keras

    from densenet_keras.recording import arrays, record

    recording = record(model, images, training)
    held = arrays(model)
    for number, (call, output) in enumerate(zip(recording.calls, recording.outputs)):
        expected = replayed(call, recording.inputs(number), held, output)
        assert expected.shape == output.shape, call
        np.testing.assert_allclose(output, expected, loose, loose, err_msg=str(call))
    if not training:
        x = images if keras.config.image_data_format() == "channels_first" else images.transpose(0, 2, 3, 1)
        np.testing.assert_allclose(recording.value(recording.output), array(model(x, training=False)), 1e-5, 1e-5)
    return recording


def array(tensor):
    import keras

    return np.array(keras.ops.convert_to_numpy(tensor))


def kinds(recording):
    return [call.kind for call in recording.calls]


def randomized(model):
    """The model with values in which no axis or parameter can be taken for another."""
    from densenet_keras.recording import arrays, assign

    rng = np.random.default_rng(1)
    for name, each in arrays(model).items():
        values = rng.uniform(0.5, 1.5, each.shape) if each.ndim < 2 else rng.normal(size=each.shape)
        assign(model, {name: values.astype(each.dtype)})
    return model


def headed(keras, x, inputs):
    """A model that ends in logits."""
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x) if len(x.shape) == 4 else x
    return randomized(keras.Model(inputs, keras.layers.Dense(5, name="head")(x)))


def layer_model(keras, *layers, shape=(9, 8, 3)):
    inputs = x = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    return headed(keras, x, inputs)


@pytest.mark.parametrize(("kernel_size", "stride"), [(2, 1), (1, 2), (2, 2), ((3, 5), 2), ((3, 5), 3)])
def test_same_padding_is_numbers(keras, kernel_size, stride):
    layers = keras.layers
    model = layer_model(
        keras,
        layers.Conv2D(4, kernel_size, strides=stride, padding="same", name="conv"),
        layers.MaxPooling2D(kernel_size, strides=stride, padding="same"),
        layers.AveragePooling2D(2, strides=stride, padding="same"),  # 3 on PyTorch: Keras repeats the border there
        shape=(None, None, 3),
    )
    for size in [(9, 9), (8, 8), (9, 8)]:
        assert kinds(recorded(model, numbers(2, 3, *size))) == ["conv", "max_pool", "avg_pool", "mean", "linear"]


def test_same_padding_of_an_even_size_is_at_the_end(keras):
    """By hand: 8 pixels, a kernel of 3 and a stride of 2 make 4 outputs, which need 9."""
    model = layer_model(keras, keras.layers.Conv2D(4, 3, strides=2, padding="same"), shape=(8, 9, 3))
    assert recorded(model, numbers(2, 3, 8, 9)).calls[0].settings == {
        "stride": (2, 2),
        "padding": ((0, 1), (1, 1)),
        "dilation": (1, 1),
        "groups": 1,
    }


def test_a_fused_activation_is_a_call_of_its_own(keras):
    model = layer_model(
        keras,
        keras.layers.Conv2D(4, 3, activation="relu", name="conv"),
        keras.layers.Flatten(),
        keras.layers.Dense(6, activation="tanh", name="dense"),
    )
    recording = recorded(model)
    assert kinds(recording) == ["conv", "relu", "flatten", "linear", "tanh", "linear"]
    assert [call.layer for call in recording.calls] == ["conv", "conv", "flatten", "dense", "dense", "head"]
    assert recording.calls[0].parameters == {"weight": "conv/kernel", "bias": "conv/bias"}
    assert [call.text for call in recording.calls[:3]] == ["layers.Conv2D", "activations.relu", "layers.Flatten"]
    assert recording.outputs[0].min() < 0


def test_activations_are_known_by_their_names(keras):
    known = [
        "relu",
        "relu6",
        "leaky_relu",
        "elu",
        "selu",
        "silu",
        "tanh",
        "softplus",
        "sigmoid",
        "hard_sigmoid",
        "hard_silu",
        "gelu",
    ]
    inputs = keras.Input((9, 8, 3))
    active = [
        keras.layers.Activation(name, name=name)(inputs) for name in [*known, "log_softmax", "exponential", "mish"]
    ]
    recording = recorded(headed(keras, keras.layers.Concatenate()(active), inputs))
    found = {call.layer: call.kind for call in recording.calls if call.inputs == (INPUT,)}
    assert found == {name: name for name in [*known, "log_softmax"]} | {"exponential": "other", "mish": "other"}
    assert recording.calls[-3].inputs == tuple(range(15))


def test_layers_of_activation_have_their_settings(keras):
    layers = keras.layers
    model = layer_model(
        keras,
        layers.ReLU(),
        layers.ReLU(max_value=6),
        layers.ReLU(negative_slope=0.25),
        layers.LeakyReLU(negative_slope=0.125),
        layers.ELU(alpha=0.5),
        layers.ReLU(max_value=3),
    )
    found = [(call.kind, call.settings) for call in recorded(model).calls[:6]]
    assert found == [
        ("relu", {}),
        ("relu6", {}),
        ("leaky_relu", {"slope": 0.25}),
        ("leaky_relu", {"slope": 0.125}),
        ("elu", {"slope": 0.5}),
        ("other", {}),
    ]


def test_batch_norms_leave_out_what_they_lack(keras):
    layers = keras.layers
    model = layer_model(
        keras,
        layers.BatchNormalization(epsilon=1e-2, momentum=0.75, name="whole"),
        layers.BatchNormalization(scale=False, name="unscaled"),
        layers.BatchNormalization(center=False, name="uncentered"),
        layers.BatchNormalization(axis=1, name="over_rows"),
    )
    recording = recorded(model)
    assert kinds(recording) == ["batch_norm"] * 3 + ["other", "mean", "linear"]
    assert recording.calls[0].settings == {"eps": 1e-2, "decay": 0.75, "training": False}
    assert set(recording.calls[1].parameters) == {"bias", "running_mean", "running_var"}
    assert set(recording.calls[2].parameters) == {"weight", "running_mean", "running_var"}


def test_training_mode_uses_the_batch_and_leaves_the_model_as_it_was(keras):
    from densenet_keras.recording import arrays

    layers = keras.layers
    frozen = layers.BatchNormalization(name="frozen", trainable=False)
    model = layer_model(keras, layers.BatchNormalization(name="norm"), frozen, layers.Dropout(0.25, name="drop"))
    before = arrays(model)
    recording = recorded(model, training=True)
    assert kinds(recording) == ["batch_norm", "batch_norm", "dropout", "mean", "linear"]
    assert [call.settings.get("training") for call in recording.calls[:3]] == [True, False, True]
    assert recording.calls[2].settings["rate"] == 0.25
    after = arrays(model)
    assert all(np.array_equal(after[name], before[name]) for name in before)
    assert [call.settings["training"] for call in recorded(model).calls[:3]] == [False] * 3


def test_what_a_layer_was_told_of_training_is_followed(keras):
    class Stubborn(keras.Model):
        def __init__(self):
            super().__init__()
            self.norm, self.head = keras.layers.BatchNormalization(), keras.layers.Dense(5)

        def call(self, x):
            return self.head(keras.ops.mean(self.norm(x, training=True), (1, 2)))

    recording = recorded(Stubborn())
    assert kinds(recording) == ["batch_norm", "mean", "linear"]
    assert recording.calls[0].settings["training"] is True


def test_functions_are_seen(keras):
    ops = keras.ops
    inputs = keras.Input((9, 8, 3))
    x = ops.pad(inputs, ((0, 0), (0, 2), (0, 1), (0, 0)), constant_values=-1.0)
    x = ops.relu(x)
    x = ops.concatenate([x, ops.multiply(x, np.array([1.0, 2.0, 3.0], np.float32))], axis=-1)
    x = 2.0 * x + 1.0
    x = ops.subtract(x, np.arange(6, dtype=np.float32)) / 4.0
    x = ops.maximum(x, 0.0)
    x = ops.clip(x, 0, 6)
    x = ops.hard_silu(ops.max_pool(x, (2, 2), (2, 2))) + ops.flip(ops.average_pool(x, (2, 2), (2, 2)), -1)
    x = ops.mean(x, axis=[1, 2], keepdims=True)
    model = headed(keras, ops.squeeze(x, (1, 2)), inputs)
    recording = recorded(model)
    assert kinds(recording) == [
        *("pad", "relu", "multiply", "concat", "multiply", "add", "subtract", "divide", "relu", "relu6"),
        *("avg_pool", "max_pool", "hard_silu", "other", "add", "mean", "flatten", "linear"),
    ]
    calls = recording.calls
    assert calls[0].settings == {"padding": ((0, 2), (0, 1)), "value": -1.0}
    assert calls[2].settings["constant"].ravel().tolist() == [1.0, 2.0, 3.0]
    assert calls[3].settings == {"axis": 1}
    assert calls[3].inputs == (1, 2)
    assert calls[15].settings == {"axes": (2, 3), "keepdims": True}


def test_a_constant_on_the_left_of_a_difference_is_no_subtraction_of_it(keras):
    inputs = keras.Input((9, 8, 3))
    assert kinds(recorded(headed(keras, 1.0 - inputs, inputs))) == ["other", "mean", "linear"]


def test_models_in_models_are_seen_under_their_path(keras):
    layers = keras.layers
    innermost = keras.Sequential([layers.Conv2D(4, 3, name="conv"), layers.ReLU(name="relu")], name="innermost")
    inputs = keras.Input((9, 8, 3))
    inner = keras.Model(inputs, layers.MaxPooling2D(2, name="pool")(innermost(inputs)), name="inner")
    recording = recorded(layer_model(keras, inner))
    assert kinds(recording) == ["conv", "relu", "max_pool", "mean", "linear"]
    paths = [call.layer for call in recording.calls]
    assert paths == ["inner/innermost/conv", "inner/innermost/relu", "inner/pool", "pool", "head"]
    assert [call.inputs for call in recording.calls] == [(INPUT,), (0,), (1,), (2,), (3,)]


def test_a_layer_that_is_used_twice_is_two_calls(keras):
    inputs = keras.Input((9, 8, 3))
    conv = keras.layers.Conv2D(3, 3, padding="same", name="conv")
    block = keras.Sequential([conv, keras.layers.ReLU()], name="block")
    x = keras.layers.Add()([conv(inputs), block(block(inputs))])
    recording = recorded(headed(keras, x, inputs))
    assert sorted(kinds(recording)) == sorted(["conv", "conv", "relu", "conv", "relu", "add", "mean", "linear"])
    weights = {call.parameters["weight"] for call in recording.calls if call.kind == "conv"}
    assert weights == {"conv/kernel"}


def subclassed(keras):
    """DenseNet as a tutorial has it: lists of layers of one's own, functions between them, a flag handed on."""
    layers, ops = keras.layers, keras.ops

    class DenseLayer(layers.Layer):
        def __init__(self, growth_rate, **options):
            super().__init__(**options)
            self.norm = layers.BatchNormalization(name="norm")
            self.conv = layers.Conv2D(growth_rate, 3, padding="same", name="conv")

        def call(self, x, training=None):
            return ops.concatenate([x, self.conv(ops.relu(self.norm(x, training=training)))], axis=-1)

    class DenseNet(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = [DenseLayer(2, name=f"dense{i}") for i in range(2)]
            self.head = layers.Dense(5, name="head")

        def call(self, x, training=None):
            for layer in self.dense:
                x = layer(x, training=training)
            return {"logits": self.head(ops.mean(x, axis=(1, 2))), "features": x}

    return DenseNet()


@pytest.mark.parametrize("training", [False, True])
def test_a_subclassed_model_is_seen_through_and_need_not_be_built(keras, training):
    model = subclassed(keras)
    recording = recorded(model, training=True) if training else None
    from densenet_keras.recording import record

    recording = recording or record(model, IMAGES)
    assert kinds(recording) == ["batch_norm", "relu", "conv", "concat"] * 2 + ["mean", "linear"]
    assert [call.layer for call in recording.calls[:4]] == ["dense0/norm", "dense0", "dense0/conv", "dense0"]
    assert recording.calls[3].inputs == (INPUT, 2)
    assert recording.calls[0].settings["training"] is training
    assert not model.dense[0].norm._inbound_nodes


def test_what_the_framework_under_keras_did_is_told_by_what_came_of_it(keras):
    """NumPy stands for tf.nn.relu and tf.concat: symbols can do neither."""

    def foreign(function, *tensors):
        return keras.ops.convert_to_tensor(function(*map(keras.ops.convert_to_numpy, tensors)))

    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="block")
            self.norm = keras.layers.BatchNormalization(name="norm")
            self.conv = keras.layers.Conv2D(4, 3, padding="same", activation=self.relu, name="conv")

        def relu(self, x):
            return foreign(lambda x: np.maximum(x, 0), x)

        def build(self, shape):
            self.norm.build(shape)
            self.conv.build(shape)

        def compute_output_shape(self, shape):
            return (*shape[:-1], shape[-1] + 4)

        def call(self, x):
            new = self.conv(self.relu(self.norm(x)))
            return foreign(lambda *ends: np.concatenate(ends, -1), x, new)

    sine = keras.layers.Lambda(lambda x: foreign(np.sin, x), output_shape=lambda shape: shape)
    model = layer_model(keras, keras.layers.ReLU(), Block(), sine)
    recording = recorded(model)
    assert kinds(recording) == ["relu", "batch_norm", "relu", "conv", "relu", "concat", "other", "mean", "linear"]
    assert [call.inputs for call in recording.calls[:7]] == [(INPUT,), (0,), (1,), (2,), (3,), (0, 4), (5,)]
    assert [call.layer for call in recording.calls[1:6]] == ["block/norm", "block", "block/conv", "block/conv", "block"]


def test_what_only_runs_as_a_whole_is_one_call(keras):
    class Closed(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="closed")
            self.relu = keras.layers.ReLU()

        def call(self, x):
            from densenet_keras import recording

            assert recording._here.seen is None, "a compiler that cannot bear to be watched"
            return self.relu(x) ** 2

    recording = recorded(layer_model(keras, Closed()))
    assert kinds(recording) == ["other", "mean", "linear"]
    assert (recording.calls[0].layer, recording.calls[0].text, recording.calls[0].inputs) == ("closed", "Closed", (-1,))


def test_layers_whose_call_was_replaced_are_seen_through(keras):
    layers = keras.layers
    conv = layers.Conv2D(4, 3, name="conv")
    norm, relu = layers.BatchNormalization(name="norm"), layers.ReLU(name="relu")
    model = layer_model(keras, conv, norm, relu)
    convolve, normalize, rectify = conv.call, norm.call, relu.call
    conv.call = lambda x: convolve(keras.ops.flip(x, -1)) + conv.bias
    norm.call = lambda x, training=None, mask=None: normalize(rectify(x), training=True)
    relu.call = lambda x: x
    for training in (False, True):
        recording = recorded(model, training=training)
        assert kinds(recording) == ["other", "conv", "add", "relu", "batch_norm", "mean", "linear"]
        assert recording.calls[1].parameters == {"weight": "conv/kernel", "bias": "conv/bias"}
        assert set(recording.calls[4].parameters) == {"weight", "bias", "running_mean", "running_var"}
        assert recording.calls[4].settings["training"] is True


def test_a_mask_has_values(keras):
    class Masked(keras.layers.Layer):
        def call(self, x):
            mask = x < -1e300  # more than Keras' own function would take
            return keras.ops.where(mask, keras.ops.zeros_like(x), keras.ops.relu(x)) if keras.ops.any(x > 0) else x

    model = layer_model(keras, keras.layers.ReLU())
    model.layers[1].call = Masked().call
    recording = recorded(model)
    assert kinds(recording) == ["other", "relu", "other", "mean", "linear"]
    assert recording.calls[2].inputs == (UNKNOWN, 0, 1)


def test_layers_derived_from_those_of_keras_are_seen_through(keras):
    class Standardized(keras.layers.Conv2D):
        def convolution_op(self, inputs, kernel):
            return super().convolution_op(inputs, kernel - keras.ops.mean(kernel, (0, 1, 2)))

    class Frozen(keras.layers.BatchNormalization):
        def call(self, x, training=None):
            return super().call(x, training=False)

    model = layer_model(keras, Standardized(4, 3, use_bias=False, name="conv"), Frozen(name="norm"))
    from densenet_keras.recording import record

    recording = record(model, IMAGES, training=True)
    assert kinds(recording) == ["conv", "batch_norm", "mean", "linear"]
    assert recording.calls[0].parameters == {}
    assert recording.calls[1].settings["training"] is False


def test_grouped_dilated_and_depthwise_convolutions(keras):
    layers = keras.layers
    model = layer_model(
        keras,
        layers.Conv2D(6, 3, groups=3, padding="same", name="grouped"),
        layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="relu", name="depthwise"),
        layers.Conv2D(4, 3, dilation_rate=2, padding="same", name="dilated"),
        layers.SeparableConv2D(4, 3, name="separable"),
        layers.Conv2DTranspose(4, 3, name="transposed"),
    )
    recording = recorded(model)
    assert kinds(recording)[:4] == ["conv", "conv", "relu", "conv"]
    assert [call.settings["groups"] for call in recording.calls if call.kind == "conv"] == [3, 6, 1]
    assert recording.calls[3].settings["padding"] == ((2, 2), (2, 2))
    assert {call.kind for call in recording.calls[4:-2]} == {"other", "add"}


def test_preprocessing_layers_are_arithmetic(keras):
    layers = keras.layers
    model = layer_model(
        keras,
        layers.Rescaling(1 / 255, offset=[0.5, 1.0, 2.0]),
        layers.Rescaling(2.0),
        layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0]),
        layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0], invert=True),
        layers.RandomFlip(),
    )
    recording = recorded(model)
    expected = ["multiply", "add", "multiply", "subtract", "divide", "multiply", "add", "mean", "linear"]
    assert kinds(recording) == expected
    assert recording.calls[3].settings["constant"].shape == (1, 3, 1, 1)
    np.testing.assert_allclose(recording.calls[4].settings["constant"].ravel(), np.sqrt([4, 5, 6]), 1e-6)


def test_a_change_of_layout_changes_nothing(keras):
    """(N, H, W, C) -> (N, C, H, W) is the same feature map; flattened, it is torch's order."""
    model = layer_model(keras, keras.layers.Permute((3, 1, 2)), keras.layers.Flatten(data_format="channels_last"))
    recording = recorded(model)
    assert kinds(recording) == ["identity", "flatten", "linear"]
    assert np.array_equal(recording.outputs[1], IMAGES.reshape(2, -1))


def test_a_gate_is_a_feature_map_again(keras):
    layers = keras.layers
    inputs = keras.Input((9, 8, 3))
    gate = layers.Reshape((1, 1, 3))(layers.Dense(3, activation="sigmoid")(layers.GlobalMaxPooling2D()(inputs)))
    recording = recorded(headed(keras, layers.Multiply()([inputs, gate]), inputs))
    assert kinds(recording) == ["max", "linear", "sigmoid", "reshape", "multiply", "mean", "linear"]
    assert recording.outputs[3].shape == (2, 3, 1, 1)
    assert recording.calls[4].inputs == (INPUT, 3)


def test_dropout_that_does_nothing_is_seen(keras):
    layers = keras.layers
    model = layer_model(keras, layers.Dropout(0.5), layers.SpatialDropout2D(0.25), layers.Softmax())
    recording = recorded(model)
    assert kinds(recording) == ["dropout", "dropout", "softmax", "mean", "linear"]
    assert [call.settings for call in recording.calls[:2]] == [{"rate": r, "training": False} for r in (0.5, 0.25)]


def test_channels_first(keras):
    layers = keras.layers
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        model = layer_model(
            keras,
            layers.ZeroPadding2D(((1, 2), (3, 4))),
            layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
            layers.BatchNormalization(axis=1),
            layers.MaxPooling2D(2, strides=1),
            layers.Rescaling([1.0, 2.0, 3.0, 4.0]),
            shape=(3, 9, 8),
        )
        recording = recorded(model)
    finally:
        keras.config.set_image_data_format(before)
    assert kinds(recording) == ["pad", "conv", "relu", "batch_norm", "max_pool", "multiply", "mean", "linear"]
    assert recording.calls[0].settings["padding"] == ((1, 2), (3, 4))
    assert recording.outputs[1].shape == (2, 4, 6, 8)


@pytest.mark.parametrize("network", [DENSENET, SMALL["flattened"]], ids=lambda network: network.name)
def test_our_own_networks_are_what_they_compute(network):
    import densenet_keras

    model = densenet_keras.build(network)
    densenet_keras.load_weights(model, spec.randomize(spec.initialize(network, 0), 0))
    recording = recorded(model, numbers(2, *network.input_shape), loose=1e-4)
    assert "other" not in kinds(recording)
    count = sum(call.kind in spec.recording.PARAMETRIC for call in recording.calls)
    assert count == len({name.rpartition(".")[0] for name in spec.parameter_shapes(network)})


def test_arrays_are_canonical_and_go_back_where_they_came_from(keras):
    from densenet_keras.recording import arrays, assign

    layers = keras.layers
    model = layer_model(
        keras,
        layers.Conv2D(4, (3, 2), name="conv"),
        layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise"),
        layers.BatchNormalization(name="norm"),
        layers.Dropout(0.5),
    )
    held = arrays(model)
    assert {name: each.shape for name, each in held.items()} == {
        "conv/kernel": (4, 3, 3, 2),
        "conv/bias": (4,),
        "depthwise/kernel": (8, 1, 3, 3),
        "depthwise/bias": (8,),
        "norm/gamma": (8,),
        "norm/beta": (8,),
        "norm/moving_mean": (8,),
        "norm/moving_variance": (8,),
        "head/kernel": (5, 8),
        "head/bias": (5,),
    }
    changed = {name: each + 1 for name, each in held.items()}
    assign(model, changed)
    assert all(np.array_equal(each, changed[name]) for name, each in arrays(model).items())
    assign(model, {"conv/kernel": held["conv/kernel"]})
    assert np.array_equal(arrays(model)["conv/kernel"], held["conv/kernel"])


def test_layers_of_one_name_have_arrays_of_their_own(keras):
    from densenet_keras.recording import arrays

    class Twice(keras.Model):
        def __init__(self):
            super().__init__(name="twice")
            self.first, self.second = (keras.layers.Dense(5, name="dense") for _ in range(2))

        def call(self, x):
            return self.second(self.first(keras.ops.mean(x, (1, 2))))

    model = Twice()
    model(IMAGES.transpose(0, 2, 3, 1))
    recording = recorded(randomized(model))
    assert set(arrays(model)) == {f"twice/dense/{last}{n}" for last in ("kernel", "bias") for n in ("", ":2")}
    weights = [call.parameters["weight"] for call in recording.calls[1:]]
    assert weights == ["twice/dense/kernel", "twice/dense/kernel:2"]


def test_half_precision_is_cast_in_sight(keras):
    inputs = x = keras.Input((9, 8, 3))
    for i in range(2):
        x = keras.layers.Conv2D(3, 3, padding="same", dtype="mixed_float16", name=f"conv{i}")(x)
    x = keras.layers.Activation("linear", dtype="float32")(x)
    recording = recorded(headed(keras, x, inputs), loose=1e-1)
    assert kinds(recording) == ["identity", "conv", "conv", "identity", "mean", "linear"]
    assert recording.dtype == "float32"


def test_other_threads_go_on_as_ever(keras):
    other = layer_model(keras, keras.layers.ReLU())
    results = []

    class Meanwhile(keras.layers.Layer):
        def call(self, x):
            def work():
                results.append(layer_model(keras, keras.layers.ReLU()).count_params())
                results.append(tuple(other(np.ones((1, 9, 8, 3), np.float32)).shape))

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            return x

    assert kinds(recorded(layer_model(keras, Meanwhile()))) == ["mean", "linear"]
    assert results[-2:] == [20, (1, 5)]


@pytest.mark.parametrize(
    ("output", "found"),
    [(lambda x: x, r"a tensor of shape \(2, 9, 8, 3\)"), (lambda x: {"scores": x}, "NoneType")],
)
def test_what_are_no_logits_is_said_and_keras_is_as_it_was(keras, output, found):
    from densenet_keras.recording import record

    before = keras.Layer.__call__, keras.Operation.__call__, keras.Operation.symbolic_call
    inputs = keras.Input((9, 8, 3))
    with pytest.raises(spec.SpecError, match=rf"the model should return logits \(N, classes\), found {found}: give"):
        record(keras.Model(inputs, output(keras.layers.ReLU()(inputs))), IMAGES)
    assert (keras.Layer.__call__, keras.Operation.__call__, keras.Operation.symbolic_call) == before


def test_images_that_do_not_fit_are_refused(keras):
    from densenet_keras.recording import record

    model = layer_model(keras, shape=(None, 8, 3))
    recorded(model)
    with pytest.raises(
        spec.SpecError, match=r"takes images of 3 x any x 8, found 3 x 9 x 9: give images of that shape"
    ):
        record(model, numbers(2, 3, 9, 9))
    inputs = [keras.Input((9, 8, 3)), keras.Input((9, 8, 3))]
    with pytest.raises(spec.SpecError, match="has 2 inputs, expected images alone"):
        record(headed(keras, keras.layers.Add()(inputs), inputs), IMAGES)
    assert UNKNOWN not in {value for call in recorded(model).calls for value in call.inputs}


LABELS = np.array([1, 3])


@pytest.fixture
def training():
    """record_training, where Keras runs on a framework that has a tape."""
    from densenet_keras.gradients import TAPES
    from densenet_keras.recording import record_training

    if framework() not in TAPES:
        pytest.skip(f"{framework()} has no tape")
    return record_training


def framework():
    import keras

    return keras.backend.backend()


def double(network):
    """Keras' model of a network in float64, in which no value is special."""
    import densenet_keras

    network = spec.without_dropout(network)
    return loaded(densenet_keras, network, spec.randomize(spec.initialize(network, 0, np.float64), 0))


def same(found, expected, tolerance=1e-9):
    """Arrays of the same names and values, relative to the largest."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, tolerance, tolerance * abs(array).max() + 1e-15, err_msg=name)


CASES = ["biased", "se_everywhere", "softmax", "residual_normed", "inception", "flattened"]


@pytest.mark.parametrize("case", CASES)
def test_gradients_and_statistics_are_those_of_the_backend(training, case):
    import densenet_keras
    from densenet_keras.interop import variables_of

    images = numbers(2, *SMALL[case].input_shape).astype("float64")
    model = double(small() if case == "softmax" else SMALL[case])
    _, gradients, statistics = densenet_keras.loss_and_gradients(model, images, LABELS)
    names = {name: variable.path for name, variable in variables_of(model).items()}
    del gradients["input"]
    found = training(double(SMALL[case]), images, LABELS)
    same(found.parameters, {names[name]: array for name, array in gradients.items()})
    same(found.buffers, {names[name]: array for name, array in statistics.items()})
    assert found.labels is LABELS


@pytest.mark.parametrize("case", CASES)
def test_gradients_by_what_layers_put_out_are_those_of_the_reference(training, case, monkeypatch):
    backward = import_module("spec.reference.backward")
    expected, pullback = {}, backward.pullback

    def watched(node, gradient, *ends, run, path):
        expected[path] = gradient
        return pullback(node, gradient, *ends, run=run, path=path)

    monkeypatch.setattr(backward, "pullback", watched)
    network = spec.without_dropout(small() if case == "softmax" else SMALL[case])
    images = numbers(2, *network.input_shape).astype("float64")
    oracle = reference.build(network)
    reference.load_weights(oracle, spec.randomize(spec.initialize(network, 0, np.float64), 0))
    reference.loss_and_gradients(oracle, images, LABELS)
    found = training(double(SMALL[case]), images, LABELS)
    calls = found.recording.calls
    assert list(found.gradients) == [i for i, call in enumerate(calls) if call.kind in spec.recording.LAYERS]
    seen = {calls[number].layer: gradient for number, gradient in found.gradients.items()}
    inside = {path for path in seen.keys() - expected.keys() if calls_of(calls, path) == {"mean"}}  # squeezing
    parametric = {call.layer for call in calls if call.kind in spec.recording.PARAMETRIC}
    assert parametric <= expected.keys()
    same(
        {path: seen[path].reshape(expected[path].shape) for path in seen.keys() - inside},
        {path: expected[path] for path in seen.keys() - inside},
    )
    assert all(found.gradients[number].shape == found.recording.outputs[number].shape for number in found.gradients)


def calls_of(calls, path):
    return {call.kind for call in calls if call.layer == path}


def chained(recording, gradients, parameters):
    """Each parameter's gradient from that by its layer's output, by hand: summed up where layers are called twice."""
    expected = {}
    for number, gradient in gradients.items():
        call, (x, *_) = recording.calls[number], (*recording.inputs(number), None)
        held, axes = dict(call.parameters), (0, *range(2, gradient.ndim))
        parts = {"bias": gradient.sum(axes)}
        if call.kind == "batch_norm":
            mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
            parts["weight"] = (gradient * (x - mean) / np.sqrt(var + call.settings["eps"])).sum(axes)
        if call.kind == "linear":
            parts["weight"] = gradient.T @ x
        if call.kind == "conv":
            settings, size = dict(call.settings), parameters[held["weight"]].shape[2:]
            groups = settings.pop("groups")
            pairs = zip(np.split(windows(x, size, **settings), groups, 1), np.split(gradient, groups, 1))
            parts["weight"] = np.concatenate([np.einsum("nohw,nchwij->ocij", g, each) for each, g in pairs])
        for last in held.keys() & parts.keys():
            expected[held[last]] = expected.get(held[last], 0) + parts[last]
    return expected


def test_strangers_models_have_the_gradients_of_the_chain_rule(keras, training):
    """Functional, subclassed and nested; grouped and depthwise; in any layout; layers that are called twice."""
    layers = keras.layers
    inputs = x = keras.Input((9, 8, 3))
    twice = layers.Conv2D(3, 3, padding="same", use_bias=False, name="twice")
    block = keras.Sequential([twice, layers.BatchNormalization(name="norm"), layers.ReLU()], name="block")
    x = layers.Add()([twice(x), block(x)])
    x = layers.Conv2D(6, (3, 2), strides=2, groups=3, activation="tanh", name="grouped")(x)
    x = layers.Permute((3, 1, 2))(layers.DepthwiseConv2D(2, depth_multiplier=2, name="depthwise")(x))
    functional = headed(keras, layers.Dense(7, name="dense")(layers.Flatten()(x)), inputs)
    for model in (functional, subclassed(keras)):
        found = training(model, IMAGES, LABELS)
        parametric = {name for call in found.recording.calls for name in call.parameters.values()}
        assert found.parameters.keys() | found.buffers.keys() == parametric
        expected = chained(found.recording, found.gradients, found.parameters)
        same(found.parameters, expected, 1e-4)
        assert all(array.any() for array in found.parameters.values())


def test_a_gradient_is_in_the_layout_of_its_output(keras, training):
    layers = keras.layers
    pool = layers.GlobalAveragePooling2D(data_format="channels_first", keepdims=True)
    model = layer_model(keras, layers.Conv2D(4, 1, name="conv"), layers.Permute((3, 1, 2)), pool, layers.Flatten())
    found = training(model, IMAGES, LABELS)
    expected = found.gradients[4] @ array(model.get_layer("head").kernel).T
    np.testing.assert_allclose(found.gradients[2], expected[:, :, None, None], 1e-5)


def test_nothing_arrives_before_a_stopped_gradient(keras, training):
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((9, 8, 3))
    before = layers.BatchNormalization(name="before")(layers.Conv2D(3, 1, name="conv")(inputs))
    x = layers.MaxPooling2D(2)(ops.stop_gradient(before))
    model = headed(keras, layers.BatchNormalization(name="behind")(x), inputs)
    found = training(model, IMAGES, LABELS)
    arrives = {found.recording.calls[number].layer: bool(g.any()) for number, g in found.gradients.items()}
    no, yes = ("conv", "before", "max_pooling2d"), ("behind", "pool", "head")
    assert arrives == dict.fromkeys(no, False) | dict.fromkeys(yes, True)
    assert not any(found.parameters[name].any() for name in found.parameters if name.startswith(("conv", "before")))
    assert {"behind/gamma", "behind/beta", "head/kernel", "head/bias"} <= found.parameters.keys()
    assert (found.buffers["before/moving_mean"] != 0).all()


def test_frozen_layers_have_gradients_by_what_they_put_out_alone(keras, training):
    layers = keras.layers
    conv, norm = layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization(name="norm")
    model = layer_model(keras, conv, norm)
    conv.trainable = norm.trainable = False
    found = training(model, IMAGES, LABELS)
    assert set(found.parameters) == {"head/kernel", "head/bias"}
    assert set(found.buffers) == {"norm/moving_mean", "norm/moving_variance"}
    assert all(gradient.any() for gradient in found.gradients.values())
    assert len(found.gradients) == 4


def test_penalties_are_no_part_of_the_loss(keras, training):
    plain = layer_model(keras, keras.layers.Conv2D(4, 3, name="conv"))
    penalized = layer_model(keras, keras.layers.Conv2D(4, 3, name="conv", kernel_regularizer="l2"))
    found, expected = (training(model, IMAGES, LABELS) for model in (penalized, plain))
    same(found.parameters, expected.parameters)


def test_what_is_tried_twice_updates_statistics_once(keras, training):
    """What symbols cannot do is done again with real tensors. By hand: 0.75 of 0 is kept."""

    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="block")
            self.norm = keras.layers.BatchNormalization(momentum=0.75, name="norm")

        def call(self, x, training=None):
            y = self.norm(x, training=training)
            assert not isinstance(y, keras.KerasTensor), "a function of the framework's own"
            return y

    model = layer_model(keras, Block())
    model.get_layer("block").norm.moving_mean.assign(np.zeros(3))
    found = training(model, IMAGES, LABELS)
    np.testing.assert_allclose(found.buffers["block/norm/moving_mean"], IMAGES.mean((0, 2, 3)) / 4, 1e-5, 1e-7)


def test_what_is_computed_anew_for_the_backward_pass_is_left_out_where_its_gradients_are_unseen(keras, training):
    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="block")
            self.norm = keras.layers.BatchNormalization(name="norm")
            self.conv = keras.layers.Conv2D(4, 3, name="conv")

        def call(self, x, training=None):
            def inner(x):
                return self.conv(self.norm(x, training=True))

            if framework() == "tensorflow":
                import tensorflow as tf

                return tf.recompute_grad(inner)(x)
            from torch.utils.checkpoint import checkpoint

            assert not isinstance(x, keras.KerasTensor)
            return checkpoint(inner, x, use_reentrant=False)

    model = layer_model(keras, keras.layers.Conv2D(3, 1, use_bias=False, name="first"), Block())
    before = held(model)
    found = training(model, IMAGES, LABELS)
    seen = {found.recording.calls[number].layer for number in found.gradients}
    assert {"block/norm", "block/conv"} <= {call.layer for call in found.recording.calls}
    assert seen == {"first", "pool", "head"} | ({"block/norm", "block/conv"} if framework() == "torch" else set())
    expected = chained(found.recording, found.gradients, found.parameters)
    same({name: found.parameters[name] for name in expected}, expected, 1e-4)
    assert found.gradients[0].any()
    assert found.parameters["block/conv/kernel"].any()
    mean = found.recording.outputs[0].mean((0, 2, 3))
    expected = 0.99 * before["block/norm/moving_mean"] + 0.01 * mean
    np.testing.assert_allclose(found.buffers["block/norm/moving_mean"], expected, 1e-5)
    same(held(model), before, 0)


def test_what_pytorch_computes_without_its_tape_is_left_out(keras, training):
    if framework() != "torch":
        pytest.skip("other frameworks have no such switch")
    import torch

    class Untaped(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="untaped")
            self.conv = keras.layers.Conv2D(3, 1, name="conv")

        def call(self, x):
            with torch.no_grad():
                return self.conv(x)

    found = training(layer_model(keras, Untaped()), IMAGES, LABELS)
    assert [found.recording.calls[number].layer for number in found.gradients] == ["pool", "head"]
    assert set(found.parameters) == {"head/kernel", "head/bias"}


def test_what_pytorch_writes_to_in_place_is_a_new_value(keras, training):
    if framework() != "torch":
        pytest.skip("other frameworks' tensors cannot be written to")
    import torch

    class InPlace(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="in_place")
            self.conv = keras.layers.Conv2D(3, 1, name="conv")

        def call(self, x):
            return torch.relu_(self.conv(x.mul_(2)).add_(1))

    found = training(layer_model(keras, InPlace()), IMAGES, LABELS)
    calls, outputs = found.recording.calls, found.recording.outputs
    assert [call.kind for call in calls] == ["other", "conv", "other", "mean", "linear"]
    np.testing.assert_array_equal(outputs[0], 2 * IMAGES)
    assert outputs[1].min() < -1
    np.testing.assert_array_equal(outputs[2], np.maximum(outputs[1] + 1, 0))
    share = found.gradients[3][:, :, None, None] / 72
    np.testing.assert_allclose(found.gradients[1], share * (outputs[1] > -1), 1e-5)


def held(model):
    """All that a pass might change."""
    from densenet_keras.recording import arrays

    found = arrays(model) | {f"{v.path}: trainable": np.array(v.trainable) for v in model.variables}
    if framework() == "torch":
        grads = {f"{v.path}: grad": v.value.grad for v in model.variables if v.value.grad is not None}
        found |= {name: array(each) for name, each in grads.items()}
        found |= {f"{v.path}: requires_grad": np.array(v.value.requires_grad) for v in model.variables}
    return found


@pytest.mark.parametrize("raises", [False, True])
def test_a_training_pass_leaves_the_model_as_it_was_also_where_it_raises(keras, training, raises):
    class Stops(keras.layers.Layer):
        def call(self, x, training=None):
            if training and raises:
                raise ValueError("no more")
            return x

    frozen = keras.layers.BatchNormalization(name="frozen", trainable=False)
    model = layer_model(keras, keras.layers.BatchNormalization(name="norm"), frozen, Stops())
    if framework() == "torch":
        for variable in model.trainable_variables:
            variable.value.grad = variable.value.detach() + 1
    before = held(model)
    if raises:
        with pytest.raises(ValueError, match="no more"):
            training(model, IMAGES, LABELS)
    else:
        training(model, IMAGES, LABELS)
    assert not keras.src.backend.common.stateless_scope.in_stateless_scope()
    same(held(model), before, 0)


def test_a_norm_that_tensorflow_has_traced_updates_and_is_put_back(keras, training):
    if framework() != "tensorflow":
        pytest.skip("tf.function is TensorFlow's")
    import tensorflow as tf

    class Traced(keras.Model):
        def __init__(self):
            super().__init__(name="traced")
            self.norm, self.head = keras.layers.BatchNormalization(momentum=0.75), keras.layers.Dense(5)

        def build(self, shape):
            self.norm.build(shape)
            self.head.build((None, 3))

        @tf.function
        def normalized(self, x):
            return self.norm(x, training=True)

        def call(self, x):
            return self.head(keras.ops.mean(self.normalized(x), (1, 2)))

    model = Traced()
    model(IMAGES.transpose(0, 2, 3, 1))
    before = held(model)
    found = training(model, IMAGES, LABELS)
    (name,) = (name for name in found.buffers if "mean" in name)
    assert before[name].all(), "an assignment that was traced"
    np.testing.assert_allclose(found.buffers[name], 0.75 * before[name] + 0.25 * IMAGES.mean((0, 2, 3)), 1e-5, 1e-7)
    assert {"gamma", "beta"} <= {each.rpartition("/")[2] for each in found.parameters}
    same(held(model), before, 0)


def test_without_a_tape_it_is_said_what_to_do(keras, monkeypatch):
    from densenet_keras import gradients
    from densenet_keras.recording import record_training

    monkeypatch.delitem(gradients.TAPES, framework(), raising=False)
    others = ", ".join(gradients.TAPES)
    with pytest.raises(spec.SpecError, match=f"found {framework()}: set KERAS_BACKEND to one of {others}$"):
        record_training(layer_model(keras, keras.layers.ReLU()), IMAGES, LABELS)


def descent(keras):
    """A model with a frozen layer, and two steps' gradients of its parameters."""
    from densenet_keras.recording import arrays

    layers = keras.layers
    frozen = layers.Conv2D(3, 1, name="frozen", trainable=False)
    model = layer_model(keras, frozen, layers.DepthwiseConv2D((3, 2), name="depthwise"), layers.BatchNormalization())
    rng = np.random.default_rng(2)
    own = {name: each for name, each in arrays(model).items() if "moving" not in name}
    return model, own, [{name: rng.normal(size=a.shape).astype(a.dtype) for name, a in own.items()} for _ in range(2)]


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_steps_are_those_of_keras_own_descent(keras, built, scaled):
    """By hand: Keras' velocity has the learning rate inside, v = 0.5 v - rate g; the last rate is a quarter."""
    from densenet_keras.recording import descend

    if scaled and framework() == "jax":
        pytest.skip("on JAX Keras scales only where it compiles the step")
    model, own, (first, second) = descent(keras)
    before = held(model)
    optimizer = keras.optimizers.SGD(0.5, momentum=0.5)
    optimizer = keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer
    if built:
        optimizer.build(model.trainable_variables)
    after = descend(model, optimizer, [first, second], 0.25)
    moved = [name for name in own if name.partition("/")[0] != "frozen"]
    velocity = {name: -0.5 * first[name] for name in moved}
    expected = {name: own[name] + velocity[name] for name in moved}
    same(after[0], expected, 1e-5)
    same(after[1], {name: expected[name] + 0.5 * velocity[name] - 0.125 * second[name] for name in moved}, 1e-5)
    same(held(model), before, 0)


def test_optimizers_run_without_pytorchs_tape(keras):
    """As in Keras' own loop: else PyTorch refuses to write to what is trained."""
    from densenet_keras.recording import descend

    class InPlace(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            if framework() != "torch":
                return super().update_step(gradient, variable, learning_rate)
            return variable.value.sub_(0.25 * gradient)

        def _backend_update_step(self, grads, trainable_variables, learning_rate):
            for gradient, variable in zip(grads, trainable_variables):
                self.update_step(gradient, variable, learning_rate)

    model, own, gradients = descent(keras)
    (after,) = descend(model, InPlace(0.25), gradients[:1], 1.0)
    same({"head/bias": after["head/bias"]}, {"head/bias": own["head/bias"] - 0.25 * gradients[0]["head/bias"]}, 1e-5)


def test_nothing_moves_where_all_is_frozen(keras):
    from densenet_keras.recording import descend

    model, _, gradients = descent(keras)
    model.trainable = False
    before = held(model)
    assert descend(model, keras.optimizers.SGD(0.1), gradients, 0.5) == [{}, {}]
    same(held(model), before, 0)


def test_the_model_is_as_it_was_where_an_optimizer_raises(keras):
    from densenet_keras.recording import descend

    class Breaks(keras.optimizers.SGD):
        def apply(self, grads, trainable_variables=None):
            super().apply(grads, trainable_variables)
            raise ValueError("no more")

    model, _, gradients = descent(keras)
    before = held(model)
    with pytest.raises(ValueError, match="no more"):
        descend(model, Breaks(0.1), gradients, 0.5)
    same(held(model), before, 0)


def test_optimizers_that_cannot_be_compared_are_refused(keras):
    from densenet_keras.recording import descend

    model, _, gradients = descent(keras)
    for schedule in (keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9), lambda: 0.1):
        with pytest.raises(spec.SpecError, match=r"learning rate follows a schedule.*give one with a constant rate"):
            descend(model, keras.optimizers.SGD(schedule), gradients, 0.5)
    other = keras.optimizers.SGD(0.1)
    other.build(layer_model(keras, keras.layers.ReLU()).trainable_variables)
    with pytest.raises(spec.SpecError, match=rf"moves no trainable variable of {model.name}: give one"):
        descend(model, other, gradients, 0.5)
