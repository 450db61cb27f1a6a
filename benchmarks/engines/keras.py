"""Keras on TensorFlow: keras.applications' DenseNet, and ours. Images come as both have them, NHWC."""

import re
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import spec
from benchmarks.engines import Run, by_layer, inference, profile, training
from benchmarks.engines.torch import MOMENTUM, RATE

OPERATION = re.compile(r"[^:]+:(\w+)")  # of a graph, after the node's name; what runs it has Other::names


@inference("applications:function", ours=False, layout="NHWC", once=True)
def applications_function(network: spec.Network, weights: spec.Weights) -> Run:
    """A call in tf.function."""
    return function(theirs(network, weights))


@inference("applications:jit", ours=False, layout="NHWC")
def applications_jit(network: spec.Network, weights: spec.Weights) -> Run:
    """The same, compiled by XLA."""
    return function(theirs(network, weights), jit_compile=True)


@inference("applications:predict", ours=False, layout="NHWC", once=True)
def applications_predict(network: spec.Network, weights: spec.Weights) -> Run:
    """Keras' predict, which makes a data set of the images."""
    return predictor(theirs(network, weights))


@inference("keras:function", "applications:function", layout="NHWC", once=True)
def ours_function(network: spec.Network, weights: spec.Weights) -> Run:
    """A call in tf.function."""
    return function(ours(network, weights))


@inference("keras:jit", "applications:jit", layout="NHWC")
def ours_jit(network: spec.Network, weights: spec.Weights) -> Run:
    """The same, compiled by XLA."""
    return function(ours(network, weights), jit_compile=True)


@inference("keras", "applications:function", "applications:predict")
def predicted(network: spec.Network, weights: spec.Weights) -> Run:
    """densenet_keras.predict, which runs predict_on_batch."""
    import densenet_keras

    model = ours(network, weights)
    return lambda images: densenet_keras.predict(model, images)


@inference("keras:optimized", "applications:jit", layout="NHWC")
def optimized(network: spec.Network, weights: spec.Weights) -> Run:
    """Compiled by XLA, of a network that was rewritten for inference."""
    return ours_jit(*spec.optimized(network, weights))


@training("applications", ours=False, layout="NHWC")
def applications_step(network: spec.Network, weights: spec.Weights) -> Run:
    """train_on_batch."""
    return stepper(theirs(network, weights))


@training("keras", "applications")
def step(network: spec.Network, weights: spec.Weights) -> Run:
    """densenet_keras.step."""
    import densenet_keras

    model = ours(network, weights)
    optimizer = densenet_keras.sgd(model, RATE, MOMENTUM)
    return lambda images, labels: densenet_keras.step(model, optimizer, images, labels)[0]


@profile("keras", layout="NHWC")
def profile_function(network: spec.Network, weights: spec.Weights) -> Run:
    """In tf.function, which predict_on_batch is."""
    return by_operation(ours_function(network, weights))


def theirs(network: spec.Network, weights: spec.Weights) -> Any:
    """keras.applications' model of a network, whose layers have its order."""
    from densenet_keras.interop import native
    from densenet_keras.peers import build_peer

    model = build_peer(network)
    layers = [layer for layer in model.layers if layer.weights]
    for layer, arrays in zip(layers, by_layer(weights), strict=True):
        layer.set_weights([native(array) for array in arrays])
    return model


def ours(network: spec.Network, weights: spec.Weights) -> Any:
    """densenet_keras' model of a network."""
    import densenet_keras

    model = densenet_keras.build(network, "float32")
    densenet_keras.load_weights(model, weights)
    return model


def function(model: Any, **options: bool) -> Run:
    """images -> logits, by tf.function."""
    import tensorflow as tf

    run = tf.function(lambda images: model(images, training=False), **options)
    return lambda images: run(tf.constant(images)).numpy()


def predictor(model: Any) -> Run:
    """images -> logits, by Keras' predict, in one batch."""
    return lambda images: model.predict(images, batch_size=len(images), verbose=0)


def stepper(model: Any) -> Run:
    """(images, labels) -> loss, by Keras' train_on_batch."""
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(RATE, MOMENTUM), loss)

    def step(images: np.ndarray, labels: np.ndarray) -> float:
        model.reset_metrics()  # else it returns the mean over all steps
        return float(model.train_on_batch(images, labels))

    return step


def by_operation(run: Run) -> Run:
    """images -> {operation: seconds}, by TensorFlow's profiler, from the file that it writes for TensorBoard."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    def profiled(images: np.ndarray) -> dict[str, float]:
        with TemporaryDirectory() as folder:
            with tf.profiler.experimental.Profile(folder):
                run(images)
            (path,) = Path(folder).rglob("*.xplane.pb")
            planes = XSpace.FromString(path.read_bytes()).planes
        found: Counter[str] = Counter()
        for plane in planes:
            for event in (event for line in plane.lines for event in line.events):
                operation = OPERATION.fullmatch(plane.event_metadata[event.metadata_id].name)
                if operation:
                    found[operation[1]] += event.duration_ps / 1e12
        return dict(found)

    return profiled
