"""Every published figure, against the spec and against each backend's native model."""

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest

import spec
from tests.support import require

PUBLISHED = [
    pytest.param(name, entry, id=f"{name}-{entry.num_classes or 'default'}")
    for name in spec.names()
    for entry in spec.published(name)
]


def _network(name: str, entry: spec.Published) -> spec.Network:
    published = {"in_channels": entry.in_channels, "num_classes": entry.num_classes}
    return spec.variant(name, **{field: value for field, value in published.items() if value is not None})


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
    assert len(exact) == 27
    assert sum(entry.multiply_adds is not None for entry in exact) == 4


@pytest.mark.parametrize("name", [name for name in spec.names() if name.startswith("se_densenet")])
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


# torchvision's classification table: parameters, and multiply-adds in units of 10^9 as "GFLOPS".
TORCHVISION = {
    "vgg11": (132_863_336, 7.61, {}),
    "vgg13": (133_047_848, 11.31, {}),
    "vgg16": (138_357_544, 15.47, {}),
    "vgg19": (143_667_240, 19.63, {}),
    "resnet18": (11_689_512, 1.81, {"conv_bias": False, "projection_norm": True}),
    "resnet34": (21_797_672, 3.66, {"conv_bias": False, "projection_norm": True}),
    "densenet121": (7_978_856, 2.83, {}),
    "densenet161": (28_681_000, 7.73, {}),
    "densenet169": (14_149_480, 3.36, {}),
    "densenet201": (20_013_928, 4.29, {}),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_spec_has_the_figures_of_torchvision(name):
    parameters, giga_multiply_adds, overrides = TORCHVISION[name]
    total = spec.total(spec.variant(name, in_channels=3, num_classes=1000, **overrides))
    assert total.parameters == parameters
    assert round(total.multiply_adds / 1e9, 2) == giga_multiply_adds


def conv(in_channels, out_channels, kernel_size):
    return in_channels * out_channels * kernel_size**2 + out_channels


def test_classic_networks_have_the_counts_of_their_written_out_layers():
    """Convolutions with biases and linear layers, summed by hand from the published architectures."""
    lenet = conv(1, 6, 5) + conv(6, 16, 5) + conv(400, 120, 1) + conv(120, 84, 1) + conv(84, 10, 1)
    alexnet = conv(1, 96, 11) + conv(96, 256, 5) + conv(256, 384, 3) + conv(384, 384, 3) + conv(384, 256, 3)
    alexnet += conv(6400, 4096, 1) + conv(4096, 4096, 1) + conv(4096, 10, 1)
    nin = 0
    for channels, out_channels, kernel_size in [(1, 96, 11), (96, 256, 5), (256, 384, 3), (384, 10, 3)]:
        nin += conv(channels, out_channels, kernel_size) + 2 * conv(out_channels, out_channels, 1)
    googlenet = conv(1, 64, 7) + conv(64, 64, 1) + conv(64, 192, 3) + conv(1024, 10, 1)
    for C, c1, (r2, c2), (r3, c3), c4 in [
        (192, 64, (96, 128), (16, 32), 32),
        (256, 128, (128, 192), (32, 96), 64),
        (480, 192, (96, 208), (16, 48), 64),
        (512, 160, (112, 224), (24, 64), 64),
        (512, 128, (128, 256), (24, 64), 64),
        (512, 112, (144, 288), (32, 64), 64),
        (528, 256, (160, 320), (32, 128), 128),
        (832, 256, (160, 320), (32, 128), 128),
        (832, 384, (192, 384), (48, 128), 128),
    ]:
        googlenet += (
            conv(C, c1, 1) + conv(C, r2, 1) + conv(r2, c2, 3) + conv(C, r3, 1) + conv(r3, c3, 5) + conv(C, c4, 1)
        )
    resnet18 = conv(1, 64, 7) + 2 * 64 + 4 * (conv(64, 64, 3) + 2 * 64) + conv(512, 10, 1)
    for channels in (64, 128, 256):
        out = 2 * channels
        resnet18 += conv(channels, out, 3) + 3 * conv(out, out, 3) + 4 * 2 * out + conv(channels, out, 1)
    counts = {"lenet": lenet, "alexnet": alexnet, "nin": nin, "googlenet": googlenet, "resnet18": resnet18}
    for name, expected in counts.items():
        overrides = {"norm": False} if name == "alexnet" else {}
        assert spec.total(spec.variant(name, **overrides)).parameters == expected, name
    assert spec.total(spec.variant("alexnet")).parameters == alexnet + 2 * (96 + 256)


def without_memory(backend_name: str) -> AbstractContextManager:
    """Where PyTorch only counts; Gluon allocates nothing anyway, Keras always."""
    if backend_name != "torch":
        return nullcontext()
    require(backend_name)
    import torch

    return torch.device("meta")


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
    with without_memory(backend_name):
        model = require(backend_name).build(network)
    assert native_counts(backend_name, model) == (total.parameters, total.buffers)


@pytest.mark.parametrize("name", ["densenet40_k12", "densenet100_k12_bc"])
def test_native_models_have_the_published_counts_at_100_classes(name, backend_name):
    entry = next(entry for entry in spec.published(name) if entry.num_classes == 100)
    model = require(backend_name).build(spec.variant(name, num_classes=100))
    assert native_counts(backend_name, model)[0] == entry.parameters
