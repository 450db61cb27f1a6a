"""Every published figure, against the spec and against each backend's native model."""

import numpy as np
import pytest

import spec
from tests.conftest import require

PUBLISHED = [
    pytest.param(name, entry, id=f"{name}-{entry.num_classes or 'default'}")
    for name in spec.names()
    for entry in spec.published(name)
]


def _network(name: str, entry: spec.Published) -> spec.Network:
    return spec.variant(name, **({"num_classes": entry.num_classes} if entry.num_classes else {}))


@pytest.mark.parametrize(("name", "entry"), PUBLISHED)
def test_spec_has_the_published_figures(name, entry):
    total = spec.total(_network(name, entry))
    for figure in ("parameters", "buffers", "multiply_adds"):
        if getattr(entry, figure) is not None:
            assert getattr(total, figure) == getattr(entry, figure), figure
    if entry.parameters_rounded is not None:
        assert f"{total.parameters / 1e6:.1f}M" == entry.parameters_rounded


def test_every_figure_of_the_literature_is_in_the_table():
    exact = [entry for name in spec.names() for entry in spec.published(name) if entry.parameters is not None]
    assert len(exact) == 22
    assert sum(entry.multiply_adds is not None for entry in exact) == 4


@pytest.mark.parametrize("name", [name for name in spec.names() if name.startswith("se_")])
def test_a_final_squeeze_excitation_adds_two_linear_layers(name):
    plain = spec.variant(name.removeprefix("se_"))
    channels = plain.root.children[-1][1].in_features
    hidden = channels // 16
    added = channels * hidden + hidden + hidden * channels + channels
    assert spec.total(spec.variant(name)).parameters - spec.total(plain).parameters == added


def test_a_plain_network_with_the_stem_and_transitions_of_bc_has_the_count_known_to_be_wrong():
    """599,050 is imgclsmob's for L=40, k=12; DenseNet's author named the mistake (liuzhuang13/DenseNet 14, 38)."""
    mistaken = spec.variant("densenet40_k12", compression=0.5, stem={"channels": 24})
    assert spec.total(mistaken).parameters == 599_050


def native_counts(backend_name: str, model) -> tuple[int, int]:
    """(trainable parameters, running statistics) in the framework's own way of counting."""
    if backend_name == "torch":
        buffers = [b for name, b in model.named_buffers() if not name.endswith("num_batches_tracked")]
        return sum(p.numel() for p in model.parameters()), sum(b.numel() for b in buffers)
    if backend_name == "mxnet":
        parameters = model.collect_params().values()
        sizes = [(p.grad_req != "null", int(np.prod(p.shape))) for p in parameters]
        return sum(n for trained, n in sizes if trained), sum(n for trained, n in sizes if not trained)
    trained = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    return trained, model.count_params() - trained


@pytest.mark.parametrize("name", spec.names())
def test_native_models_have_the_spec_counts(name, backend_name):
    """The spec's counts are the published ones, as shown above; at the default number of classes."""
    network = spec.variant(name)
    total = spec.total(network)
    model = require(backend_name).build(network)
    assert native_counts(backend_name, model) == (total.parameters, total.buffers)


@pytest.mark.parametrize("name", ["densenet40_k12", "densenet100_k12_bc"])
def test_native_models_have_the_published_counts_at_100_classes(name, backend_name):
    entry = next(entry for entry in spec.published(name) if entry.num_classes == 100)
    model = require(backend_name).build(spec.variant(name, num_classes=100))
    assert native_counts(backend_name, model)[0] == entry.parameters
