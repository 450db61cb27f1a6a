"""Dropout as each framework runs it natively: its share, its scale, where its zeros are, and that inference has none.

The comparison with the reference leaves dropout out, as two frameworks never draw the same masks.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import reduce
from itertools import combinations
from math import sqrt
from typing import Any

import numpy as np
import pytest

import spec
from spec.blocks import DenseLayer
from spec.layers import Dropout
from tests.support import loaded, require

RATES = [0.2, 0.7]  # inverted or halved, each is another by far
DEVIATIONS = 5  # standard deviations that a share may be off
SHAPE = (8, 16, 24, 24)


def native(backend_name: str, training: bool) -> dict[str, Callable[[Any, Any], Any]]:
    """The ways in which a framework's users call a model, in training or in inference."""
    if backend_name == "torch":
        return {"train" if training else "eval": lambda model, x: model.train(training)(x)}
    if backend_name == "keras":
        ways = {f"training={training}": lambda model, x: model(x, training=training)}
        return ways if training else ways | {"unsaid": lambda model, x: model(x)}
    from mxnet import autograd

    def under(mode, hybrid=False):
        def call(model, x):
            model.hybridize(hybrid)
            with mode():
                return model(x)

        return call

    modes = [autograd.record, autograd.train_mode] if training else [nullcontext, autograd.predict_mode]
    return {mode.__name__: under(mode) for mode in modes} | {"hybridized": under(modes[0], hybrid=True)}


def seeded(backend_name: str) -> None:
    if backend_name == "torch":
        import torch

        torch.manual_seed(0)
    elif backend_name == "mxnet":
        import mxnet

        mxnet.random.seed(0)
    else:
        import keras

        keras.utils.set_random_seed(0)


def to_native(backend_name: str, x: np.ndarray) -> Any:
    """Maps (N, C, H, W) as the framework's own tensor, in its layout."""
    if backend_name == "torch":
        import torch

        return torch.from_numpy(x)
    if backend_name == "mxnet":
        import mxnet

        return mxnet.nd.array(x)
    import keras

    last = keras.config.image_data_format() == "channels_last"
    return keras.ops.convert_to_tensor(x.transpose(0, 2, 3, 1) if last else x)


def from_native(backend_name: str, y: Any) -> np.ndarray:
    """A framework's tensor as an array, maps (N, C, H, W)."""
    if backend_name == "torch":
        return y.detach().numpy().copy()
    if backend_name == "mxnet":
        return y.asnumpy()
    import keras

    array = np.array(keras.ops.convert_to_numpy(y))
    last = keras.config.image_data_format() == "channels_last"
    return array.transpose(0, 3, 1, 2) if last and array.ndim == 4 else array


def called(backend_name: str, way: Callable[[Any, Any], Any], model: Any, x: np.ndarray) -> np.ndarray:
    return from_native(backend_name, way(model, to_native(backend_name, x)))


def masks(backend_name: str, model: Any, images: np.ndarray, paths: list[str]) -> dict[str, np.ndarray]:
    """{path of a dropout: which of the values that arrive there, zeros aside, are dropped} in a training-mode call."""
    seeded(backend_name)
    seen: dict[str, tuple[Any, Any]] = {}

    def record(path: str) -> Callable:
        return lambda layer, args, output: seen.update({path: (args[0], output)})

    way = next(iter(native(backend_name, training=True).values()))
    if backend_name == "keras":
        import keras

        layers = {path: model.get_layer(path) for path in paths}
        ends = {path: (layer.input, layer.output) for path, layer in layers.items()}
        seen = way(keras.Model(model.inputs[0], ends), to_native(backend_name, images))
    else:
        for path in paths:
            reduce(getattr, path.split("."), model).register_forward_hook(record(path))
        way(model, to_native(backend_name, images))
    arrays = {path: [from_native(backend_name, each) for each in pair] for path, pair in seen.items()}
    return {path: after[before != 0] == 0 for path, (before, after) in arrays.items()}


def deviation(rate: float, count: int) -> float:
    """The standard deviation of the share of `count` values that are dropped, each by itself."""
    return sqrt(rate * (1 - rate) / count)


def alone(rate: float) -> tuple[spec.Network, spec.Weights]:
    """A dropout and nothing else."""
    return spec.Network("dropped", spec.Sequential((("drop", Dropout(rate=rate)),)), SHAPE[1:], None), {}


def inside(rate: float) -> tuple[spec.Network, spec.Weights]:
    """A dense layer with as many new channels as it gets, each filled with a number of its own: a bias."""
    channels = SHAPE[1]
    layer = DenseLayer(
        channels, channels, bn_size=2, bias=True, dropout=rate, squeeze_excitation=None, eps=1e-5, decay=0.9
    )
    network = spec.Network("dropped", spec.Sequential((("layer", layer),)), SHAPE[1:], None)
    weights = {name: np.zeros_like(array) for name, array in spec.initialize(network, 0).items()}
    return network, weights | {"layer.conv2.bias": np.linspace(1, 2, channels, dtype=np.float32)}


PLACES = {"alone": alone, "inside a dense layer": inside}


def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


def model_of(backend_name: str, network: spec.Network, weights: spec.Weights) -> Any:
    backend = require(backend_name)
    return loaded(backend, network, weights) if weights else backend.build(network, dtype="float32")


def each_way(backend_name: str, training: bool, place: str, rate: float):
    """(way, what it makes of the images, the values that a dropout gets) for each native call."""
    require(backend_name)
    for name, way in native(backend_name, training).items():
        network, weights = PLACES[place](rate)
        seeded(backend_name)
        out = called(backend_name, way, model_of(backend_name, network, weights), images())
        if place == "alone":
            yield name, out, images()
        else:
            kept, new = np.split(out, 2, axis=1)
            assert (kept == images()).all(), "what the dense layer passes on is never dropped"
            bias = weights["layer.conv2.bias"][:, None, None]
            yield name, new, np.broadcast_to(bias, SHAPE)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("place", PLACES)
def test_in_training_a_share_is_dropped_and_the_rest_scaled(place, rate, backend_name):
    for way, out, values in each_way(backend_name, True, place, rate):
        dropped = out == 0
        assert dropped.mean() == pytest.approx(rate, abs=DEVIATIONS * deviation(rate, dropped.size)), way
        assert out[~dropped] == pytest.approx((values / (1 - rate))[~dropped], rel=1e-6), way


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("place", PLACES)
def test_each_value_is_dropped_by_itself(place, rate, backend_name):
    """No image, channel, row or column has more zeros than chance gives it, and none of their zeros go together.

    The square of a share's distance from the rate is its variance, on average over many shares. Were all values
    along an axis dropped together, whole channels say, it would be as many times that as the axis is long.
    """
    for way, out, _ in each_way(backend_name, True, place, rate):
        dropped = out == 0
        for axis in range(4):
            rest = tuple(other for other in range(4) if other != axis)
            share, count = dropped.mean(axis=rest), dropped.size // SHAPE[axis]
            assert share == pytest.approx(rate, abs=DEVIATIONS * deviation(rate, count)), (way, axis)
        for axes in (axes for length in (1, 2) for axes in combinations(range(4), length)):
            count = np.prod([SHAPE[axis] for axis in axes])
            squares = ((dropped.mean(axis=axes) - rate) / deviation(rate, count)) ** 2
            assert squares.mean() == pytest.approx(1, abs=DEVIATIONS * sqrt(2 / squares.size)), (way, axes)


@pytest.mark.parametrize("rate", RATES)
def test_two_calls_draw_masks_that_have_nothing_in_common(rate, backend_name):
    require(backend_name)
    for way in native(backend_name, training=True).values():
        model = model_of(backend_name, *alone(rate))
        seeded(backend_name)
        first, second = (called(backend_name, way, model, images()) == 0 for _ in range(2))
        both = rate**2
        assert (first & second).mean() == pytest.approx(both, abs=DEVIATIONS * deviation(both, first.size))


@pytest.mark.parametrize("place", PLACES)
def test_in_inference_nothing_is_dropped_to_the_bit(place, backend_name):
    """Before a call in training, and after it."""
    require(backend_name)
    train = next(iter(native(backend_name, training=True).values()))
    for name, way in native(backend_name, training=False).items():
        network, weights = PLACES[place](0.7)
        plain = model_of(backend_name, spec.without_dropout(network), weights)
        model = model_of(backend_name, network, weights)
        expected = called(backend_name, way, plain, images())
        assert (called(backend_name, way, model, images()) == expected).all(), name
        for each in (model, plain):  # which moves the running statistics of both alike
            called(backend_name, train, each, images())
        expected = called(backend_name, way, plain, images())
        assert (called(backend_name, way, model, images()) == expected).all(), name
        assert (expected != 0).all()


def test_dropped_values_have_no_gradient_and_the_others_the_scale(backend_name):
    """That of the sum of all outputs by each input is what it was multiplied with."""
    rate = 0.7
    model = model_of(backend_name, *alone(rate))
    seeded(backend_name)
    x = to_native(backend_name, images())
    if backend_name == "torch":
        y = model.train()(x.requires_grad_())
        y.sum().backward()
        gradient = x.grad
    elif backend_name == "mxnet":
        from mxnet import autograd

        x.attach_grad()
        with autograd.record():
            y = model(x)
        y.backward()
        gradient = x.grad
    else:
        import keras

        from densenet_keras.gradients import DIFFERENTIATE

        def total(tensors):
            y = model(tensors[0], training=True)
            return keras.ops.sum(y), [y]

        (_, (y,)), (gradient,) = DIFFERENTIATE[keras.backend.backend()](total)([x])
    out, gradient = (from_native(backend_name, each) for each in (y, gradient))
    assert gradient == pytest.approx(np.where(out == 0, 0, 1 / (1 - rate)), rel=1e-6)
