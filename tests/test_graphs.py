"""`step` and `predict` compile once for a model and shape, and follow what changes afterwards."""

import gc
import weakref

import numpy as np
import pytest

import spec
from spec import reference
from tests.cases import small
from tests.support import loaded, require

NETWORK = small(block_config=[2, 1], bn_size=2, input_size=24)
OTHER = 32  # pixels: another shape


def weights(seed: int = 0) -> spec.Weights:
    return spec.randomize(spec.initialize(NETWORK, seed, np.float64), seed)


def images(size: int = 24, count: int = 4) -> np.ndarray:
    return np.random.default_rng(size).normal(0, 0.5, (count, 3, size, size))


LABELS = np.arange(4) % NETWORK.num_classes


def expected(own: spec.Weights, batch: np.ndarray) -> np.ndarray:
    return reference.predict(loaded(reference, NETWORK, own), batch)


def test_predictions_stay_right_when_they_are_compiled(backend):
    """In turn with other shapes, other weights, training steps, and a pass that records every layer."""
    model = loaded(backend, NETWORK, weights())
    optimizer = backend.sgd(model, 0.125, momentum=0.5)
    for turn in range(3):
        for batch in (images(), images(OTHER), images(count=3)):
            for _ in range(3):
                found = backend.predict(model, batch)
                assert found == pytest.approx(expected(backend.export_weights(model), batch), rel=1e-10, abs=1e-12)
        assert list(backend.trace(model, images()))[-1] == "classifier"
        backend.step(model, optimizer, images(), LABELS) if turn else backend.load_weights(model, weights(1))


@pytest.mark.parametrize("training", [False, True])
def test_gluon_makes_one_graph_and_another_for_other_blocks(monkeypatch, training):
    densenet_mxnet = require("mxnet")
    from densenet_mxnet import graph

    made = []
    before = graph.Graph.__init__
    monkeypatch.setattr(graph.Graph, "__init__", lambda *args: made.append(args) or before(*args))
    model = loaded(densenet_mxnet, NETWORK, weights())
    optimizer = densenet_mxnet.sgd(model, 0.125)

    def run(batch):
        return (
            densenet_mxnet.step(model, optimizer, batch, LABELS) if training else densenet_mxnet.predict(model, batch)
        )

    for batch in (images(), images(OTHER), images()):
        run(batch)
        run(batch)
    assert len(made) == 1
    import mxnet as mx

    classifier = mx.gluon.nn.Dense(NETWORK.num_classes, in_units=model.classifier.weight.shape[1])
    classifier.initialize(mx.init.Zero())
    classifier.cast("float64")
    model.classifier = classifier
    assert (densenet_mxnet.predict(model, images()) == 0).all()


def test_gluons_graph_follows_a_changed_number():
    densenet_mxnet = require("mxnet")
    model = loaded(densenet_mxnet, NETWORK, weights())
    before = densenet_mxnet.predict(model, images())
    model.features.norm0._kwargs["eps"] = 0.5
    after = densenet_mxnet.predict(model, images())
    assert abs(after - before).max() > 0.01 * abs(before).max()
    assert after == pytest.approx(model(densenet_mxnet.interop.to_input(model, images())).asnumpy(), rel=1e-12)


def test_a_block_that_takes_arrays_alone_is_run_eagerly():
    densenet_mxnet = require("mxnet")
    expected = densenet_mxnet.predict(loaded(densenet_mxnet, NETWORK, weights()), images())
    model = loaded(densenet_mxnet, NETWORK, weights())
    forward = model.classifier.hybrid_forward
    model.classifier.hybrid_forward = lambda F, x, **own: forward(F, x, **own)[:, ::-1]  # symbols have no slices
    assert (densenet_mxnet.predict(model, images()) == expected[:, ::-1]).all()
    densenet_mxnet.step(model, densenet_mxnet.sgd(model, 0.125), images(), LABELS)


def test_gluons_hooks_are_called_by_predict():
    densenet_mxnet = require("mxnet")
    model = loaded(densenet_mxnet, NETWORK, weights())
    densenet_mxnet.predict(model, images())
    seen = []
    hook = model.features.register_forward_hook(lambda block, args, output: seen.append(output.shape))
    densenet_mxnet.predict(model, images())
    assert len(seen) == 1
    hook.detach()
    densenet_mxnet.predict(model, images())
    assert len(seen) == 1


def test_no_graph_keeps_a_model_alive(backend):
    model = loaded(backend, NETWORK, weights())
    optimizer = backend.sgd(model, 0.125)
    for _ in range(2):
        backend.predict(model, images())
        backend.step(model, optimizer, images(), LABELS)
    gone = weakref.ref(model)
    del model, optimizer
    gc.collect()
    assert gone() is None


def test_gluons_model_is_left_as_it_was():
    """It is not hybridized for its user, nor is one that was hybridized any other."""
    densenet_mxnet = require("mxnet")
    for hybridized in (False, True):
        model = loaded(densenet_mxnet, NETWORK, weights())
        model.hybridize(hybridized)
        flags = list(model._flags)
        densenet_mxnet.step(model, densenet_mxnet.sgd(model, 0.125), images(), LABELS)
        densenet_mxnet.predict(model, images())
        assert (model._active, model._flags) == (hybridized, flags)


def test_keras_traces_once_for_each_shape_and_choice_of_what_is_trained(monkeypatch):
    densenet_keras = require("keras")
    import keras

    if keras.backend.backend() == "torch":
        pytest.skip("on PyTorch Keras runs eagerly")
    model = loaded(densenet_keras, NETWORK, weights())
    optimizer = densenet_keras.sgd(model, 0.125)
    calls = []
    before = type(model).call
    monkeypatch.setattr(type(model), "call", lambda *args, **options: calls.append(args) or before(*args, **options))

    def traced(function, *arguments, **options) -> int:
        calls.clear()
        for _ in range(3):
            function(model, *arguments, **options)
        return len(calls)

    assert traced(densenet_keras.step, optimizer, images(), LABELS) == 1
    assert traced(densenet_keras.step, optimizer, images(OTHER), LABELS) == 1
    assert traced(densenet_keras.step, optimizer, images(), LABELS) == 0
    assert traced(densenet_keras.step, optimizer, images(), LABELS, frozen_statistics=True) == 1
    densenet_keras.freeze(model, ["classifier.bias"])
    assert traced(densenet_keras.step, optimizer, images(), LABELS) == 1
    assert traced(densenet_keras.predict, images()) == 1
    assert traced(densenet_keras.predict, images()) == 0


def test_keras_layers_are_trainable_as_before_after_frozen_statistics():
    densenet_keras = require("keras")
    model = loaded(densenet_keras, NETWORK, weights())
    densenet_keras.freeze(model, ["features.norm0.weight"])
    before = [(each.name, each.trainable) for layer in model.layers for each in (layer, *layer.variables)]
    densenet_keras.step(model, densenet_keras.sgd(model, 0.125), images(), LABELS, frozen_statistics=True)
    assert [(each.name, each.trainable) for layer in model.layers for each in (layer, *layer.variables)] == before
