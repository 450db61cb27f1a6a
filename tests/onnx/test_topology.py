"""The graph has the nodes of PyTorch's own export of the PyTorch model."""

import io
import warnings
from collections import Counter

import numpy as np
import pytest

import spec
from spec.rewrites import folded
from tests.support import require

NETWORK = spec.variant("densenet121")


@pytest.fixture
def theirs():
    """PyTorch's model and images to trace it with."""
    import torch

    return require("torch").build(NETWORK).eval(), (torch.zeros(1, 3, 64, 64),)


def kinds(proto) -> Counter[str]:
    return Counter(node.op_type for node in proto.graph.node)


def test_it_has_the_nodes_of_the_exporter_that_traces(theirs):
    """torch.onnx.export by TorchScript, told to fold nothing.

    What it has more: an Identity for each parameter that has the values of another, as biases of zero have.
    """
    import onnx
    import torch

    backend, file = require("onnx"), io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # this exporter is on its way out
        torch.onnx.export(
            *theirs, file, dynamo=False, do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE
        )
    found = kinds(onnx.load_model_from_string(file.getvalue()))
    del found["Identity"]
    assert found == kinds(backend.build(NETWORK).proto)


@pytest.mark.slow
def test_it_has_the_nodes_of_the_exporter_by_default(theirs):
    """torch.onnx.export by torch.export, which folds batch norms as `folded` does.

    It pools globally by ReduceMean, and flattens by Reshape.
    """
    import torch

    pytest.importorskip("onnxscript")
    backend = require("onnx")
    with warnings.catch_warnings(action="ignore"):  # of what its own libraries call
        found = kinds(torch.onnx.export(*theirs, dynamo=True, verbose=False).model_proto)
    network, _ = folded(NETWORK, {name: np.zeros(s, "float32") for name, s in spec.parameter_shapes(NETWORK).items()})
    expected = kinds(backend.build(network).proto)
    for name, other in {"GlobalAveragePool": "ReduceMean", "Flatten": "Reshape"}.items():
        expected[other] = expected.pop(name)
    assert found == expected
