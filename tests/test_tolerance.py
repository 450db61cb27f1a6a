"""What counts as rounding: small enough to see faults, large enough for every right implementation."""

import numpy as np
import pytest

import spec
from densenet_tools.parity import tolerance
from densenet_tools.parity.checks import judge
from densenet_tools.parity.differences import gradient_differences, statistic_differences
from densenet_tools.parity.run import REFERENCE, Reference, Run
from densenet_tools.parity.verdict import worst_of
from spec import reference
from spec.layers import BatchNorm, Conv, Flatten, Linear
from tests.cases import CONV, pooled, small, squeezed, tiny
from tests.support import photographs, verdict

HUGE = {
    "dense": small(eps=1e6),
    "bottleneck": small(eps=1e6, bn_size=4, conv_bias=True),
    "squeezed": small(eps=1e6, bn_size=2, **squeezed("layer", "final")),
    "residual": spec.variant("resnet18", eps=1e6, block_config=[1, 1], input_size=33, num_classes=5),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", HUGE)
def test_gradients_of_1e_15_are_what_is_left_of_larger_terms(name, dtype, backend_name):
    """And MXNet's variance is what is left of 1 / sqrt(var + 1e6)."""
    network = HUGE[name]
    found = verdict(network, backend_name, photographs(network.input_shape), dtype, checks=["gradients"])
    assert found.agrees, found.problem


@pytest.mark.parametrize("lost", [0.0, 1.5])
def test_a_gradient_of_1e_15_that_is_lost_is_seen(lost):
    """Rounding of the largest gradient is less than it by far."""
    network, spoiled = HUGE["dense"], "features.denseblock2.denselayer3.conv1.weight"
    weights = spec.randomize(spec.initialize(network, 0, np.float64), 0)
    images = photographs(network.input_shape)
    run, right = Run(network, REFERENCE, "float64", weights, images), Reference(network, weights, images)
    _, gradients, _ = run.training
    assert abs(gradients[spoiled]).max() < 1e-8 * max(abs(array).max() for array in gradients.values())
    assert judge(run, right, ["gradients"]).agrees
    gradients[spoiled] = lost * gradients[spoiled]
    assert f"in gradients, most at {spoiled}" in judge(run, right, ["gradients"]).problem


def test_bars_follow_from_depth_and_width_alone():
    """How many layers there are, and how many values the widest adds up: 3 * 3 * 3, or 6 * 5 * 5."""
    norm = BatchNorm(4, eps=1e-5, decay=0.9)
    shallow = pooled(4, CONV, ("norm", norm))
    wider = ("wide", Conv(6, 4, kernel_size=5, stride=1, padding=2, bias=True))
    deep = pooled(4, ("first", Conv(3, 6, kernel_size=3, stride=1, padding=1, bias=True)), wider, ("norm", norm))
    flat = tiny(4, ("flatten", Flatten()), ("classifier", Linear(48, 5, bias=True)))
    for network, depth, width in ((shallow, 3, 27), (deep, 4, 150), (flat, 1, 48)):
        assert tolerance.rounding(network) == pytest.approx(2**-24 * depth * width**0.5, rel=1e-12)
        assert tolerance.gradient_tolerance(network) == pytest.approx(
            10 * (2**-24 * depth * width**0.5) ** 0.5, rel=1e-12
        )
    assert tolerance.statistic_tolerance("float32", norm, 1000) == pytest.approx(1e-5 + 0.1 * 1000 * 2**-24, rel=1e-12)
    assert tolerance.statistic_tolerance("float64", norm, 1000) == pytest.approx(1e-12 + 0.1 * 1000 * 2**-53, rel=1e-12)


def test_a_loss_is_compared_relative_to_itself(monkeypatch):
    """Of ln(1000), about 7, where logits are near 0: by as much an absolute difference would be larger."""
    network, right = small(num_classes=1000), reference.loss_and_gradients

    def off(model, images, labels):
        loss, gradients, statistics = right(model, images, labels)
        return loss * (1.001 if model.dtype == "float32" else 1), gradients, statistics

    monkeypatch.setattr(reference, "loss_and_gradients", off)
    found = verdict(network, "numpy", photographs(network.input_shape), "float32", checks=["gradients"])
    loss = next(check for check in found.checks if check.name == "loss")
    assert loss.relative == pytest.approx(1e-3, rel=0.01)
    assert not loss.passes


def test_a_group_counts_as_no_smaller_than_the_floor():
    expected = {"a.conv.weight": np.array([2.0]), "b.conv.weight": np.array([1e-12])}
    found = {"a.conv.weight": np.array([2.0]), "b.conv.weight": np.array([2e-12])}
    assert gradient_differences(found, expected)["b.conv.weight"] == 1
    assert gradient_differences(found, expected, floor=1e-3)["b.conv.weight"] == pytest.approx(5e-10)
    assert gradient_differences(found, expected, floor=1e-13)["b.conv.weight"] == 1


def test_a_variance_is_relative_to_epsilon_and_a_mean_to_the_deviation():
    expected = {"n.running_mean": np.array([0.0, 1.0]), "n.running_var": np.array([4.0, 9.0])}
    found = {"n.running_mean": np.array([0.3, 1.0]), "n.running_var": np.array([4.0, 9.9])}
    assert statistic_differences(found, expected, {"n": 1e-5}) == pytest.approx(
        {"n.running_mean": 0.1, "n.running_var": 0.1}
    )
    assert statistic_differences(found, expected, {"n": 90.0})["n.running_var"] == pytest.approx(0.01)
    missing = statistic_differences({}, expected, {"n": 1e-5})
    assert np.isnan(list(missing.values())).all()


@pytest.mark.parametrize("count", [6272, 25088])
def test_a_sum_in_float32_of_equal_terms_one_by_one_breaks_a_fixed_bar_and_not_ours(count):
    """The maps of a batch behind a ReLU have many zeros: the errors of a sum do not cancel as random ones do."""
    maps = np.maximum(np.random.default_rng(0).normal(size=(64, count)), 0).astype(np.float32)
    squares = (maps - maps.mean(axis=1, keepdims=True)) ** 2
    in_a_row = np.add.accumulate(squares, axis=1)[:, -1] / count
    exact = squares.mean(axis=1, dtype=np.float64)
    node = BatchNorm(64, eps=1e-5, decay=0.0)  # the running variance is the batch's
    worst = statistic_differences({"n.running_var": in_a_row}, {"n.running_var": exact}, {"n": node.eps})
    off, bar = worst["n.running_var"], tolerance.statistic_tolerance("float32", node, count)
    assert tolerance.OUTPUTS["float32"] < off < bar < 1e-2
    assert tolerance.statistic_tolerance("float64", node, count) < 1e-11
    kept = BatchNorm(64, eps=1e-5, decay=0.9)
    assert tolerance.statistic_tolerance("float32", kept, count) == pytest.approx(1e-5 + 0.1 * count * 2.0**-24)


def test_the_worst_tensor_is_the_one_farthest_beyond_its_own_bar():
    differences = {"a": 2e-5, "b": 1e-4}
    assert worst_of("statistics", differences, 1e-5).worst == "b"
    check = worst_of("statistics", differences, {"a": 1e-5, "b": 1e-3})
    assert (check.worst, check.tolerance, check.passes) == ("a", 1e-5, False)
    assert worst_of("statistics", {"a": 1e-9, "b": float("nan")}, 1e-5).worst == "b"
    assert worst_of("statistics", {}, 1e-5).passes
