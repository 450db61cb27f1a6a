"""Loss, gradients and running statistics of a training pass agree, and the oracle's are right."""

import dataclasses

import numpy as np
import pytest

import spec
import spec.blocks
import spec.layers
from densenet_tools.parity.differences import gradient_differences
from densenet_tools.parity.tolerance import gradient_tolerance
from spec import reference
from spec.reference.backward import pullback
from spec.reference.forward import per_channel
from spec.tree import Composite, Container, Leaf
from tests.cases import CASES, VARIANTS, small
from tests.support import FRAMEWORKS, kinds, loaded, photographs, require, verdict

LOGITS = [name for name, case in CASES.items() if case.network.gives_logits]
# One of each family, and DenseNet with and without bottleneck; the slow run has all.
FEW = ["densenet40_k12", "densenet100_k12_bc", "se_densenet121", "densenet_d2l", "alexnet", "se_googlenet", "resnet18"]


def prepared(network: spec.Network, input_shape: tuple[int, ...], n: int = 4):
    """The reference in float64 with random weights, images and labels."""
    model = reference.build(spec.without_dropout(network))
    reference.load_weights(model, spec.randomize(spec.initialize(network, 0, np.float64), 0))
    batch = np.random.default_rng(1).normal(size=(n, *input_shape))
    return model, batch, np.arange(n) % network.num_classes


def errors(case: str) -> dict[str, float]:
    """{name: how far the reference's gradient is from central finite differences}, of every parameter and the input.

    The step is 1e-6 of values of size one: the difference quotient is right to about 1e-9, unless a ReLU
    or a max pool switches within the step, which is why the median over some entries of a tensor counts.
    """
    network, input_shape = CASES[case].network, CASES[case].input_shape
    model, batch, labels = prepared(network, input_shape)
    _, gradients, _ = reference.loss_and_gradients(model, batch, labels)
    assert set(gradients) == {name for name in model.weights if not spec.is_buffer(name)} | {"input"}
    rng, step = np.random.default_rng(2), 1e-6
    found = {}
    for name, gradient in gradients.items():
        values = batch if name == "input" else model.weights[name]
        quotients = []
        indices = rng.choice(values.size, size=min(5, values.size), replace=False)
        for index in indices:
            kept = values.flat[index]
            losses = []
            for value in (kept + step, kept - step):
                values.flat[index] = value
                losses.append(reference.training_loss(model, batch, labels))
            values.flat[index] = kept
            quotients.append((losses[0] - losses[1]) / (2 * step))
        found[name] = np.median(abs(quotients - gradient.flat[indices])) / max(abs(gradient).max(), 1e-3)
    return found


@pytest.mark.parametrize("case", LOGITS)
def test_the_reference_has_the_gradients_that_its_loss_has(case):
    found = errors(case)
    assert max(found.values()) < 1e-6, max(found, key=lambda name: found[name])


def test_finite_differences_catch_a_wrong_gradient(monkeypatch):
    """The control of the test above: a batch norm that treats its statistics as constants."""

    def naive(node, gradient, x, *, run, path):
        deviation = np.sqrt(x.var(axis=(0, 2, 3)) + node.eps)
        normalized = (x - per_channel(x.mean(axis=(0, 2, 3)))) / per_channel(deviation)
        run.gradients[f"{path}.bias"] = gradient.sum(axis=(0, 2, 3))
        run.gradients[f"{path}.weight"] = (gradient * normalized).sum(axis=(0, 2, 3))
        return (gradient * per_channel(run.weights[f"{path}.weight"] / deviation),)

    right = pullback.dispatch(spec.layers.BatchNorm)
    pullback.register(spec.layers.BatchNorm, naive)
    try:
        wrong = {name for name, error in errors("one_block").items() if error > 1e-3}
    finally:
        pullback.register(spec.layers.BatchNorm, right)
    assert {"input", "features.conv0.weight", "features.norm0.weight"} <= wrong
    assert not {"features.norm5.weight", "features.norm5.bias", "classifier.weight", "classifier.bias"} & wrong


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", LOGITS)
def test_gradients_agree(case, dtype, backend_name):
    require(backend_name)
    batch = photographs(CASES[case].input_shape, 3)
    result = verdict(CASES[case].network, backend_name, batch, dtype, checks=["gradients"])
    assert [check.name for check in result.checks] == ["logits", "loss", "gradients", "statistics"]
    assert result.agrees, result.problem


@pytest.mark.parametrize(
    "case", [*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS if name not in FEW)]
)
def test_gradients_of_variants_agree(case, backend_name):
    require(backend_name)
    case = VARIANTS[case]
    result = verdict(case.network, backend_name, photographs(case.input_shape, 3), "float64", checks=["gradients"])
    assert result.agrees, result.problem


def test_running_statistics_after_a_step(backend_name):
    """With a decay that float32 holds exactly: means agree, variances after the factor n / (n - 1) in PyTorch only."""
    backend = require(backend_name)
    network = small(bn_size=4, decay=0.875)
    model, batch, labels = prepared(network, network.input_shape)
    before = reference.export_weights(model)
    _, _, expected = reference.loss_and_gradients(model, batch, labels)
    native = backend.build(network, dtype="float64")
    backend.load_weights(native, before)
    _, _, found = backend.loss_and_gradients(native, batch, labels)
    counts = network.values_per_channel(batch.shape)
    assert counts["features.norm0"] == 4 * 20 * 20
    assert counts["features.norm5"] == 4 * 5 * 5
    for path, n in counts.items():
        mean, var = f"{path}.running_mean", f"{path}.running_var"
        assert found[mean] == pytest.approx(expected[mean], rel=1e-12, abs=1e-14)
        found_batch, expected_batch = ((after[var] - 0.875 * before[var]) / 0.125 for after in (found, expected))
        factor = n / (n - 1) if backend_name == "torch" else 1
        assert found_batch == pytest.approx(factor * expected_batch, rel=1e-12)
        assert found_batch != pytest.approx((n / (n - 1) if factor == 1 else 1) * expected_batch, rel=1e-6)


def test_a_pass_leaves_the_model_as_it_was(backend):
    """With dropout; and without, where it can be seen that a second pass of the same model finds what the first did."""
    network = CASES["se_everywhere"].network
    model, batch, labels = prepared(network, network.input_shape)
    native = loaded(backend, network, model.weights)
    backend.loss_and_gradients(native, batch, labels)
    assert all((array == model.weights[name]).all() for name, array in backend.export_weights(native).items())
    native = loaded(backend, spec.without_dropout(network), model.weights)
    logits = backend.predict(native, batch)
    first, again = (backend.loss_and_gradients(native, batch, labels) for _ in range(2))
    assert first[0] == pytest.approx(again[0], rel=1e-14)
    for before, after in zip(first[1:], again[1:]):
        assert all(after[name] == pytest.approx(array, rel=1e-10, abs=1e-14) for name, array in before.items())
    assert (backend.predict(native, batch) == logits).all()


def test_gradients_are_relative_to_the_block_they_are_in():
    expected = {"a.conv.weight": 2.0, "a.conv.bias": 0.0, "a.se.fc1.bias": 0.0, "b.norm.bias": 4.0, "input": 0.5}
    found = {"a.conv.weight": 2.0, "a.conv.bias": 1e-6, "a.se.fc1.bias": 2e-6, "b.norm.bias": 4.0, "input": 0.25}
    expected, found = ({name: np.array([value]) for name, value in each.items()} for each in (expected, found))
    assert gradient_differences(found, expected) == {
        "a.conv.weight": 0.0,
        "a.conv.bias": 5e-7,
        "a.se.fc1.bias": 1e-6,
        "b.norm.bias": 0.0,
        "input": 0.5,
    }
    assert np.isnan(gradient_differences({}, expected)["input"])


def test_the_tolerance_in_float32_grows_with_depth_and_width():
    shallow, deep = (gradient_tolerance(small(block_config=blocks)) for blocks in ([1], [4, 4]))
    narrow, wide = (gradient_tolerance(small(stem={"channels": channels})) for channels in (6, 600))
    assert shallow < deep < 0.1
    assert narrow < wide
    assert gradient_tolerance(small()) == gradient_tolerance(dataclasses.replace(small(), name="other"))


# Found by a random network: with these weights and images one ReLU's input is a hundred-millionth of its like.
AT_A_KINK = {
    "growth_rate": 7,
    "block_config": [3, 2],
    "bn_size": 2,
    "num_classes": 2,
    "input_size": 22,
    "stem": {"kernel_size": 4, "stride": 2, "padding": 0},
    "squeeze_excitation": {"ratio": 6, "placement": ["layer"], "bias": True},
}


@pytest.mark.parametrize(("factor", "agrees"), [(1.0, True), (1.2, False), (np.nan, False)])
def test_in_float32_a_kink_within_rounding_is_no_fault_and_a_wrong_gradient_is_one(monkeypatch, factor, agrees):
    """The network's gradients at images a ten-millionth away, where the ReLU switches, and one of them spoiled."""
    network = spec.build(spec.DenseNetConfig(**AT_A_KINK), "kink")
    batch = photographs(network.input_shape)
    near = batch.astype(np.float32) * (1 + 1e-7 * np.random.default_rng(1).normal(size=batch.shape))
    right = reference.loss_and_gradients

    def pass_nearby(model, batch, labels):
        if model.weights["features.conv0.weight"].dtype == np.float64:
            return right(model, batch, labels)
        exact = reference.build(network)
        reference.load_weights(exact, {name: array.astype(np.float64) for name, array in model.weights.items()})
        loss, gradients, after = right(exact, near, labels)
        return loss, gradients | {"classifier.weight": factor * gradients["classifier.weight"]}, after

    monkeypatch.setattr(reference, "loss_and_gradients", pass_nearby)
    result = verdict(network, "numpy", batch, "float32", checks=["gradients"])
    assert result.agrees == agrees, result.problem
    check = next(check for check in result.checks if check.name == "gradients")
    if agrees:
        assert check.relative > gradient_tolerance(network), "only the kink excuses it"
    else:
        assert check.worst == "classifier.weight"


def test_every_node_kind_and_branch_is_among_the_small_networks():
    nodes = [node for case in CASES.values() for _, node in spec.walk(case.network.root)]
    assert {type(node) for node in nodes} == {*kinds(Leaf), *kinds(Container), *kinds(Composite)}
    dense = [node for node in nodes if isinstance(node, spec.blocks.DenseLayer)]
    assert {(node.bn_size is None, node.squeeze_excitation is None, node.dropout > 0) for node in dense} >= {
        (True, True, False),
        (False, True, False),
        (True, False, False),
        (False, True, True),
        (False, False, True),
    }
    residual = [node for node in nodes if isinstance(node, spec.blocks.Residual)]
    assert {(node.projection, node.projection_norm) for node in residual} == {
        (False, False),
        (True, False),
        (True, True),
    }
    assert {node.squeeze_excitation is None for node in residual} == {True, False}
    assert {node.stride for node in residual} == {1, 2}
    for kind in (spec.layers.Conv, spec.layers.Linear, spec.blocks.SqueezeExcitation, spec.blocks.Transition):
        assert {node.bias for node in nodes if isinstance(node, kind)} == {True, False}, kind
    assert FRAMEWORKS == ["torch", "mxnet", "keras"]
