"""Networks that are rewritten for inference compute what they did, with less."""

from itertools import pairwise

import numpy as np
import pytest

import spec
from densenet_tools.parity import verify
from densenet_tools.parity.differences import difference
from densenet_tools.parity.tolerance import OUTPUTS
from spec import reference, rewrites
from spec.blocks import Concatenation, DenseLayer, Transition
from spec.layers import BatchNorm, Conv
from tests.cases import CASES, SMALL, VARIANTS
from tests.support import Runner, loaded, photographs, require


def random_weights(network: spec.Network, dtype: type[np.floating] = np.float64) -> spec.Weights:
    return spec.randomize(spec.initialize(network, 0, dtype), 0)


def logits(network: spec.Network, weights: spec.Weights, batch: np.ndarray) -> np.ndarray:
    return reference.predict(loaded(reference, network, weights), batch)


@pytest.mark.parametrize("case", CASES)
def test_the_optimized_network_computes_the_same(case):
    network, weights = CASES[case].network, random_weights(CASES[case].network)
    batch = photographs(CASES[case].input_shape).astype("float64")
    found = logits(*spec.optimized(network, weights), batch)
    assert difference(found, logits(network, weights, batch))[1] <= OUTPUTS["float64"]


@pytest.mark.parametrize("case", ["bottleneck", "se_everywhere", "residual_normed", "residual_squeezed"])
def test_every_backend_runs_it(case, backend_name):
    require(backend_name)
    network, weights = spec.optimized(CASES[case].network, random_weights(CASES[case].network))
    batch = photographs(CASES[case].input_shape)
    (verdict,) = verify(
        network, [Runner(backend_name)], batch, "float64", checks=["layers", "gradients"], weights=weights
    )
    assert verdict.agrees, verdict.problem


@pytest.mark.parametrize("name", VARIANTS)
def test_no_batch_norm_is_left_behind_a_convolution(name):
    network = VARIANTS[name].network
    zeros = {key: np.zeros(shape, "float32") for key, shape in spec.parameter_shapes(network).items()}
    optimized, weights = spec.optimized(network, zeros)
    assert {key: array.shape for key, array in weights.items()} == spec.parameter_shapes(optimized)
    chains = [chain for node in [optimized.root, *dict(spec.walk(optimized.root)).values()] for chain in node.branches]
    for chain in chains:
        kinds = [type(node) for _, node in chain]
        assert (Conv, BatchNorm) not in pairwise(kinds)
    assert not any(isinstance(node, (DenseLayer, Transition)) for _, node in spec.walk(optimized.root))


def test_a_transition_multiplies_a_quarter_as_often():
    network = SMALL["plain"]
    before, after = (
        {row.path: row.multiply_adds for row in spec.analyze(each)}
        for each in (network, rewrites.pooled_first(network))
    )
    assert before["features.transition1.conv"] == 4 * after["features.transition1.conv"] > 0


def test_weights_keep_their_dtype_and_are_folded_in_float64():
    network = SMALL["bottleneck"]
    single = random_weights(network, np.float32)
    _, folded = spec.optimized(network, single)
    _, exact = spec.optimized(network, {name: array.astype("float64") for name, array in single.items()})
    for name, array in folded.items():
        assert (array.dtype, exact[name].dtype) == (np.float32, np.float64), name
        assert (array == exact[name].astype("float32")).all(), name


def test_what_is_given_stays_as_it_was():
    network = SMALL["bottleneck"]
    weights = random_weights(network)
    before = {name: array.copy() for name, array in weights.items()}
    spec.optimized(network, weights)
    assert list(weights) == list(before)
    assert all((weights[name] == array).all() for name, array in before.items())


def test_weights_of_another_network_are_refused():
    weights = random_weights(SMALL["bottleneck"])
    with pytest.raises(spec.SpecError, match=r"missing features\.conv0\.bias"):
        spec.optimized(SMALL["biased"], weights)


def test_a_wrong_epsilon_is_noticed(monkeypatch):
    network, weights = SMALL["bottleneck"], random_weights(SMALL["bottleneck"])
    fold = rewrites.fold
    monkeypatch.setattr(rewrites, "fold", lambda weight, bias, norm, eps: fold(weight, bias, norm, 1.001 * eps))
    batch = photographs(network.input_shape).astype("float64")
    found = logits(*spec.optimized(network, weights), batch)
    assert difference(found, logits(network, weights, batch))[1] > OUTPUTS["float64"]


def test_chains_whose_ends_do_not_fit_are_refused():
    conv = Conv(3, 4, kernel_size=3, stride=1, padding=0, bias=False)
    root = spec.Sequential((("pair", Concatenation(((), (("conv", conv),)))),))
    with pytest.raises(spec.SpecError, match="pair: concatenates maps of different sizes: 3x8x8, 4x6x6"):
        spec.Network("tiny", root, (3, 8, 8), num_classes=None)
