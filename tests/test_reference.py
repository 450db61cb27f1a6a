"""The oracle itself, against sums written out as loops and against hand-computed values."""

import itertools

import numpy as np
import pytest

import spec
from spec import layers, reference
from spec.blocks import DenseLayer, SqueezeExcitation
from spec.reference.forward import Pass, apply


def run(node, x, **weights):
    weights = {f"layer.{name}": np.asarray(array) for name, array in weights.items()}
    return apply(node, x, run=Pass(weights), path="layer")


@pytest.mark.parametrize(("kernel_size", "stride", "padding"), [(1, 1, 0), (3, 1, 1), (3, 2, 1), (4, 3, 2), (7, 2, 3)])
def test_convolution_is_the_sum_over_the_window(rng, kernel_size, stride, padding):
    node = layers.Conv(3, 2, kernel_size=kernel_size, stride=stride, padding=padding, bias=True)
    x, kernel, bias = (
        rng.normal(size=(2, 3, 8, 9)),
        rng.normal(size=(2, 3, kernel_size, kernel_size)),
        rng.normal(size=2),
    )
    out = run(node, x, weight=kernel, bias=bias)
    assert out.shape[2:] == tuple((n + 2 * padding - kernel_size) // stride + 1 for n in (8, 9))
    for n, o, i, j in np.ndindex(out.shape):
        expected = bias[o]
        for c, di, dj in itertools.product(range(3), range(kernel_size), range(kernel_size)):
            row, column = i * stride + di - padding, j * stride + dj - padding
            if 0 <= row < 8 and 0 <= column < 9:
                expected += kernel[o, c, di, dj] * x[n, c, row, column]
        assert out[n, o, i, j] == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("kernel_size", "stride", "padding"), [(3, 2, 1), (2, 2, 0), (3, 1, 1)])
def test_max_pool_ignores_what_lies_outside(rng, kernel_size, stride, padding):
    x = -1 - rng.uniform(size=(2, 3, 7, 8))  # all negative: a padding of zeros would win
    out = run(layers.MaxPool(kernel_size=kernel_size, stride=stride, padding=padding), x)
    for n, c, i, j in np.ndindex(out.shape):
        top, left = i * stride - padding, j * stride - padding
        window = x[n, c, max(top, 0) : top + kernel_size, max(left, 0) : left + kernel_size]
        assert out[n, c, i, j] == window.max()


def test_average_pool_drops_what_does_not_fill_a_window():
    x = np.arange(15.0).reshape(1, 1, 3, 5)
    assert run(layers.AvgPool(kernel_size=2, stride=2), x).tolist() == [[[[3.0, 5.0]]]]


def test_batch_norm_uses_the_running_statistics():
    x = np.array([[[[1.0, 5.0]], [[2.0, 2.0]]]])  # 1x2x1x2
    node = layers.BatchNorm(2, eps=1.0, decay=0.9)
    out = run(node, x, weight=[2, 3], bias=[10, 20], running_mean=[1, 0], running_var=[3, 3])
    assert out.tolist() == [[[[10.0, 14.0]], [[23.0, 23.0]]]]


def test_linear_softmax_sigmoid_and_flatten():
    assert run(layers.Linear(2, 1, bias=True), np.array([[1.0, 2.0]]), weight=[[3, 4]], bias=[5]).tolist() == [[16.0]]
    assert run(layers.Softmax(), np.log([[1.0, 3.0]])) == pytest.approx(np.array([[0.25, 0.75]]))
    assert run(layers.Softmax(), np.array([[1e4, 0.0]])).tolist() == [[1.0, 0.0]]
    assert run(layers.Sigmoid(), np.log([1.0, 3.0])) == pytest.approx(np.array([0.5, 0.75]))
    assert run(layers.Flatten(), np.arange(8.0).reshape(1, 2, 2, 2)).tolist() == [list(range(8))]
    assert run(layers.GlobalAvgPool(), np.arange(8.0).reshape(1, 2, 2, 2)).tolist() == [[[[1.5]], [[5.5]]]]


def test_dropout_passes_everything_in_inference(rng):
    x = rng.normal(size=(1, 2, 3, 3))
    assert (run(layers.Dropout(rate=0.9), x) == x).all()


def test_a_dense_layer_appends_and_squeeze_excitation_scales(rng):
    x, new, gate = rng.normal(size=(1, 2, 3, 3)), rng.normal(size=(1, 4, 3, 3)), rng.uniform(size=(1, 2))
    dense = DenseLayer(2, 4, bn_size=None, bias=False, dropout=0.0, squeeze_excitation=None, eps=1e-5, decay=0.9)
    out = apply(dense, x, new, run=Pass({}), path="layer")
    assert (out[:, :2] == x).all()
    assert (out[:, 2:] == new).all()
    assert (
        apply(SqueezeExcitation(2, 1, bias=True), x, gate, run=Pass({}), path="layer") == x * gate[:, :, None, None]
    ).all()


def test_it_refuses_to_run_without_weights():
    model = reference.build(spec.variant("densenet40_k12_bc"))
    with pytest.raises(spec.SpecError, match="has no values yet: call load_weights first"):
        reference.predict(model, np.zeros((1, 3, 32, 32)))


def test_weights_are_its_own(rng):
    network = spec.variant("densenet40_k12_bc")
    weights = spec.initialize(network, seed=0, dtype=np.float64)
    model = reference.build(network)
    reference.load_weights(model, weights)
    images = rng.normal(size=(1, 3, 32, 32))
    before = reference.predict(model, images)
    weights["classifier.bias"] += 1
    reference.export_weights(model)["classifier.bias"] += 1
    assert (reference.predict(model, images) == before).all()
