"""What a training step can do besides: smoothed labels, frozen parameters and statistics, going on where one stopped.

Each follows the reference, whose gradients are held against finite differences in tests/test_gradients.py and here.
"""

from itertools import combinations

import numpy as np
import pytest

import spec
from spec import reference
from tests.cases import CLASSIC, small
from tests.support import FRAMEWORKS, loaded, require
from tests.test_steps import DEPARTURE, NETWORKS, RATE, TOLERANCE, batches, departure, start

OPTIONS = {
    "plain": {},
    "smoothed": {"label_smoothing": 0.125},
    "frozen_statistics": {"frozen_statistics": True},
    "both": {"label_smoothing": 0.125, "frozen_statistics": True},
}
MOMENTUM = {"momentum": 0.875, "nesterov": True, "weight_decay": 2**-7}
CASES = ["densenet", "residual"]
STEPS = 4


def run(backend, network: spec.Network, frozen: list[str] = [], settings=MOMENTUM, **options):  # noqa: B006
    """Loss and logits of each step, and the weights at the end."""
    model = loaded(backend, network, start(network))
    optimizer = backend.sgd(model, RATE, **settings)
    backend.freeze(model, frozen)
    found = [backend.step(model, optimizer, *batch, **options) for batch in batches(network)[:STEPS]]
    return [loss for loss, _ in found], [logits for _, logits in found], backend.export_weights(model)


def features(network: spec.Network) -> list[str]:
    return [
        name
        for name in spec.parameter_shapes(network)
        if not name.startswith("classifier.") and not spec.is_buffer(name)
    ]


@pytest.mark.parametrize("options", list(OPTIONS))
@pytest.mark.parametrize("case", CASES)
def test_steps_agree(case, options, backend):
    network = NETWORKS[case]
    losses, logits, weights = run(backend, network, **OPTIONS[options])
    expected_losses, expected_logits, expected = run(reference, network, **OPTIONS[options])
    assert losses == pytest.approx(expected_losses, rel=TOLERANCE)
    assert np.stack(logits) == pytest.approx(np.stack(expected_logits), rel=TOLERANCE, abs=TOLERANCE)
    assert departure(weights, expected) <= TOLERANCE
    for name in (name for name in weights if spec.is_buffer(name) and "frozen_statistics" in OPTIONS[options]):
        assert (weights[name] == start(network)[name]).all(), name


@pytest.mark.parametrize("case", CASES)
def test_every_option_matters(case):
    ends = [run(reference, NETWORKS[case], **options)[2] for options in OPTIONS.values()]
    for one, other in combinations(ends, 2):
        assert departure(one, other) > DEPARTURE


@pytest.mark.parametrize("options", list(OPTIONS))
def test_the_references_gradients_are_those_of_finite_differences(options):
    network = small(block_config=[1, 1], bn_size=2, input_size=24)
    model = loaded(reference, network, start(network))
    images, labels = batches(network)[0]
    _, found = reference.interop.training_pass(model, images, labels, **OPTIONS[options])
    rng = np.random.default_rng(2)
    for name in ("features.conv0.weight", "features.norm0.weight", "features.denseblock2.denselayer1.norm2.bias"):
        array = model.weights[name]
        direction, before = rng.normal(size=array.shape), array.copy()
        losses = []
        for sign in (1, -1):
            model.weights[name] = before + sign * 1e-6 * direction
            losses.append(reference.training_loss(model, images, labels, **OPTIONS[options]))
        model.weights[name] = before
        slope = (losses[0] - losses[1]) / 2e-6
        assert slope == pytest.approx((found.gradients[name] * direction).sum(), rel=1e-5), name


def test_smoothed_labels_by_hand():
    """Two classes, logits 0 and log 3, so p = 1/4 and 3/4; label 1 smoothed by 1/2: q = 1/4 and 3/4."""
    logits = np.array([[0.0, np.log(3.0)]])
    loss, gradient = reference.interop._cross_entropy(logits, np.array([1]), 0.5)
    assert loss == pytest.approx(-(0.25 * np.log(0.25) + 0.75 * np.log(0.75)))
    assert gradient == pytest.approx(np.zeros((1, 2)), abs=1e-15)


@pytest.mark.parametrize("value", [-0.1, 1.0, True, None, float("nan")])
@pytest.mark.parametrize("name", ["numpy", *FRAMEWORKS])
def test_smoothing_out_of_range_is_refused(name, value):
    backend, network = require(name), NETWORKS["residual"]
    model = loaded(backend, network, start(network))
    with pytest.raises(spec.SpecError, match="label_smoothing must be a number from 0 to less than 1, found"):
        backend.step(model, backend.sgd(model, RATE), *batches(network)[0], label_smoothing=value)
    assert all((array == start(network)[key]).all() for key, array in backend.export_weights(model).items())


@pytest.mark.parametrize("statistics", [False, True])
def test_frozen_features_stay_and_the_classifier_follows_the_reference(statistics, backend):
    network = NETWORKS["densenet"]
    frozen = features(network)
    _, _, weights = run(backend, network, frozen, frozen_statistics=statistics)
    _, _, expected = run(reference, network, frozen, frozen_statistics=statistics)
    for name in frozen:
        assert (weights[name] == start(network)[name]).all(), name
    assert departure(weights, expected) <= TOLERANCE
    moved = [name for name in weights if spec.is_buffer(name) and (weights[name] != start(network)[name]).any()]
    assert bool(moved) is not statistics, "statistics are those of batches unless they are frozen, too"


@pytest.mark.parametrize("name", ["numpy", *FRAMEWORKS])
def test_what_was_frozen_goes_on_afterwards(name):
    """Features frozen for two steps and then not: their velocities start from zero then, as the reference's do."""
    backend, network = require(name), NETWORKS["densenet"]

    def trained(backend):
        model = loaded(backend, network, start(network))
        backend.freeze(model, features(network))
        optimizer = backend.sgd(model, RATE, **MOMENTUM)
        for i, batch in enumerate(batches(network)[:STEPS]):
            if i == STEPS // 2:
                backend.freeze(model, [])
            backend.step(model, optimizer, *batch)
        return backend.export_weights(model)

    assert departure(trained(backend), trained(reference)) <= TOLERANCE


@pytest.mark.parametrize("name", ["numpy", *FRAMEWORKS])
def test_gradients_are_those_of_what_is_not_frozen(name):
    backend, network = require(name), NETWORKS["densenet"]
    model = loaded(backend, network, start(network))
    frozen = features(network)
    backend.freeze(model, frozen)
    _, gradients, _ = backend.loss_and_gradients(model, *batches(network)[0])
    assert list(gradients) == ["classifier.weight", "classifier.bias", "input"]
    backend.freeze(model, [])
    assert len(backend.loss_and_gradients(model, *batches(network)[0])[1]) == len(frozen) + 3


@pytest.mark.parametrize("name", ["numpy", *FRAMEWORKS])
def test_only_parameters_are_frozen(name):
    backend, network = require(name), NETWORKS["densenet"]
    model = loaded(backend, network, start(network))
    with pytest.raises(
        spec.SpecError, match=r"^'classifier\.wieght' is no parameter .*did you mean 'classifier\.weight"
    ):
        backend.freeze(model, ["classifier.wieght"])
    with pytest.raises(spec.SpecError, match=r"norm0\.running_mean' is no parameter that could be frozen"):
        backend.freeze(model, ["features.norm0.running_mean"])


@pytest.mark.parametrize("other", ["same", "reference"])
def test_a_run_goes_on_where_another_stopped(other, backend):
    """With its weights and velocities: in the same backend to the bit, and from the reference within rounding."""
    network = NETWORKS["densenet"]
    first = reference if other == "reference" else backend
    model = loaded(first, network, start(network))
    optimizer = first.sgd(model, RATE, **MOMENTUM)
    for batch in batches(network)[:2]:
        first.step(model, optimizer, *batch)
    velocities = first.export_velocities(model, optimizer)
    assert list(velocities) == [name for name in spec.parameter_shapes(network) if not spec.is_buffer(name)]
    resumed = loaded(backend, network, first.export_weights(model))
    going_on = backend.sgd(resumed, RATE, **MOMENTUM)
    backend.load_velocities(resumed, going_on, velocities)
    for batch in batches(network)[2:STEPS]:
        backend.step(resumed, going_on, *batch)
    found, expected = backend.export_weights(resumed), run(backend, network)[2]
    if other == "same":
        assert all((found[name] == expected[name]).all() for name in expected)
    assert departure(found, expected) <= TOLERANCE


@pytest.mark.parametrize("name", ["numpy", *FRAMEWORKS])
def test_velocities_are_zero_before_the_first_step_and_absent_without_momentum(name):
    backend, network = require(name), NETWORKS["residual"]
    model = loaded(backend, network, start(network))
    optimizer = backend.sgd(model, RATE, momentum=0.5)
    velocities = backend.export_velocities(model, optimizer)
    assert velocities
    assert not any(array.any() for array in velocities.values())
    plain = backend.sgd(model, RATE)
    assert backend.export_velocities(model, plain) == {}
    backend.load_velocities(model, plain, {})
    with pytest.raises(spec.SpecError, match=r"^velocities: weights do not fit, nothing was loaded: unexpected"):
        backend.load_velocities(model, plain, velocities)
    first, array = next(iter(velocities.items()))
    with pytest.raises(spec.SpecError, match=f"velocities: .*missing {first}"):
        backend.load_velocities(model, optimizer, {name: v for name, v in velocities.items() if name != first})
    with pytest.raises(spec.SpecError, match=f"velocities: .*{first} has values that are not finite"):
        backend.load_velocities(model, optimizer, velocities | {first: array * np.nan})


def test_dropout_follows_its_seed(backend):
    network = small(block_config=[2], dropout=0.5, input_size=24)
    batch = batches(network)[0]

    def losses(seeds):
        model = loaded(backend, network, start(network))
        optimizer = backend.sgd(model, 2**-20)
        found = []
        for seed in seeds:
            backend.seed_dropout(model, seed)
            found.append(backend.step(model, optimizer, *batch)[0])
        return found

    first, second = losses([1, 2]), losses([1, 2])
    assert first == second
    assert losses([3, 2])[0] != first[0]
    assert first[0] != first[1]


@pytest.mark.parametrize("name", ["numpy", *FRAMEWORKS])
def test_a_device_is_there_or_refused_by_name(name):
    backend, network = require(name), CLASSIC["residual_strided"]
    with backend.device("cpu"):
        model = loaded(backend, network, start(network))
    assert backend.predict(model, batches(network)[0][0]).shape == (4, network.num_classes)
    with pytest.raises(spec.SpecError, match=r"^device 'gpu:7' is not there: .* use cpu$"), backend.device("gpu:7"):
        pass
    with pytest.raises(spec.SpecError, match=r"^device must be cpu, gpu or gpu:N, found 'tpu'$"), backend.device("tpu"):
        pass
