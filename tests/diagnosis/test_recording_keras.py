"""What is recorded of Keras models, of every way to write one: each call, replayed in NumPy from what is said of it."""

import math
import threading

import numpy as np
import pytest

import spec
from spec.recording import INPUT, UNKNOWN
from tests.cases import SMALL, small, squeezed
from tests.support import require

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
