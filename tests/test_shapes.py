"""Every layer of every backend has the spec's name, place in the order, output shape and parameters."""

import numpy as np
import pytest

import spec
from densenet_tools.inspection import Observed, differences, observe
from tests.cases import CASES
from tests.support import Runner, loaded, require


@pytest.mark.parametrize("case", CASES)
def test_every_layer_is_as_the_spec_says(case, backend_name):
    """Of variants the same is shown by test_parity, where every layer's output is compared."""
    require(backend_name)
    network, input_shape = CASES[case].network, CASES[case].input_shape
    observed = observe(network, Runner(backend_name), input_shape)
    assert differences(spec.analyze(network, input_shape), observed, Runner(backend_name)) == []
    assert list(observed) == [path for path, _ in spec.walk(network.root)]


@pytest.mark.parametrize("case", CASES)
def test_the_reference_has_the_shapes_of_the_table(case):
    network, input_shape = CASES[case].network, CASES[case].input_shape
    numpy = Runner("numpy")
    assert differences(spec.analyze(network, input_shape), observe(network, numpy, input_shape), numpy) == []


@pytest.mark.parametrize("case", CASES)
def test_the_smallest_input_works_and_one_pixel_less_does_not(case, backend):
    network = CASES[case].network
    C, size = network.in_channels, network.min_size
    model = loaded(backend, network, spec.initialize(network, 0))
    assert backend.predict(model, np.zeros((1, C, size, size))).shape == (1, network.num_classes)
    with pytest.raises(spec.SpecError, match=f"the smallest that works is {C}x{size}x{size}"):
        backend.predict(model, np.zeros((1, C, size - 1, size)))


def test_differences_names_what_is_missing_added_and_changed():
    network = CASES["plain"].network
    rows = spec.analyze(network)
    observed = {row.path: Observed(row.output_shape, row.parameters, row.buffers) for row in rows if row.path}
    assert differences(rows, observed, Runner("torch")) == []
    conv = observed.pop("features.conv0")
    observed["features.norm0"] = Observed((6, 10, 10), 13, 12)
    observed["features.conv_0"] = conv
    missing, changed, added = differences(rows, observed, Runner("torch"))
    assert missing == "features.conv0: torch has no such layer"
    assert changed.startswith("features.norm0: torch has Observed(output_shape=(6, 10, 10), parameters=13")
    assert added == "features.conv_0: torch has this layer, the spec has not"
