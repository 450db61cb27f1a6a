"""Causes that no planted fault of the suite has: put into a PyTorch model, each is named, alone and where it sits."""

import pytest

from densenet_tools.diagnosis import diagnose, to_text
from tests.cases import small, squeezed
from tests.support import require

NETWORK = small(bn_size=4, compression=0.5, input_size=64, **squeezed("transition"))
LAYER = "features.denseblock1.denselayer2"
TRANSITION = "features.transition1"


def activation(name):
    def put(model, torch):
        model.get_submodule(LAYER).relu2 = getattr(torch.nn, name)()

    return put


def gate(function):
    def put(model, torch):
        model.get_submodule("features.se_transition1.sigmoid").forward = lambda x: function(torch, x)

    return put


def pool(*arguments, **settings):
    def put(model, torch):
        model.get_submodule(TRANSITION).pool = torch.nn.AvgPool2d(*arguments, **settings)

    return put


def images(change):
    """Something before the first convolution."""

    def put(model, torch):
        conv = model.get_submodule("features.conv0")
        forward = conv.forward
        conv.forward = lambda x: forward(change(torch, x))

    return put


def dropped(model, torch):
    conv = model.get_submodule(LAYER).conv2
    forward = conv.forward
    conv.forward = lambda x: forward(torch.nn.functional.dropout(x, 0.25))


def strided(model, torch):
    """The stride of the stem on the wrong layer: its pool halves twice."""
    model.features.conv0.stride, model.features.pool0.stride = (1, 1), 4


def dilated(model, torch):
    conv = model.get_submodule(LAYER).conv2
    conv.dilation, conv.padding = (2, 2), (2, 2)


FAULTS = {
    "leaky ReLU": (activation("LeakyReLU"), f"before {LAYER}.conv2: leaky ReLU of slope 0.01 in place of ReLU:"),
    "ReLU6": (activation("ReLU6"), f"before {LAYER}.conv2: ReLU6 in place of ReLU:"),
    "GELU": (activation("GELU"), f"before {LAYER}.conv2: GELU in place of ReLU:"),
    "SiLU": (activation("SiLU"), f"before {LAYER}.conv2: SiLU in place of ReLU:"),
    "hard sigmoid": (
        gate(lambda torch, x: torch.nn.functional.hardsigmoid(x)),
        "features.se_transition1.sigmoid: hard sigmoid, x / 6 + 1 / 2 in place of sigmoid:",
    ),
    "no sigmoid": (gate(lambda torch, x: x), "features.se_transition1.sigmoid: no sigmoid:"),
    "another window": (
        pool(3, 2, padding=1),
        f"{TRANSITION}.pool: kernel_size 3; padded by 1; the mean counts the padding:",
    ),
    "dilation": (dilated, f"{LAYER}.conv2: dilation 2:"),
    "stride on the wrong layer": (strided, "features.conv0: stride 1:"),
    "dropout": (dropped, f"before {LAYER}.conv2: dropout of 0.25 is active:"),
    "BGR": (images(lambda torch, x: x.flip(1)), "before features.conv0: images channels reversed:"),
    "0 to 255": (images(lambda torch, x: 255 * x), "before features.conv0: images multiplied by 255:"),
    "ImageNet's mean and deviation": (
        images(lambda torch, x: (x - torch.tensor([[[0.485]], [[0.456]], [[0.406]]])) / 0.225),
        "before features.conv0: images normalized by mean (0.485, 0.456, 0.406) and deviation (0.225, 0.225, 0.225):",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_cause_is_named_where_it_sits(fault):
    backend = require("torch")
    import torch

    put, said = FAULTS[fault]
    model = backend.build(NETWORK)
    put(model, torch)
    found = diagnose(model, NETWORK)
    text = to_text(found)
    assert not found.agrees
    assert text.splitlines()[1].strip().startswith(said), text
    assert len({each.causes for each in found.findings}) == (2 if fault == "stride on the wrong layer" else 1), text
    assert all(each.causes for each in found.findings), text
