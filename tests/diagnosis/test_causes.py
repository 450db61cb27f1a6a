"""Causes that no planted fault of the suite has: put into a PyTorch model, each is named, alone and where it sits."""

import numpy as np
import pytest

import spec
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


def test_logits_from_outside_the_framework_are_refused():
    require("torch")
    import torch

    class Outside(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.own = require("torch").build(NETWORK)

        def forward(self, x):
            return torch.from_numpy(self.own(x).numpy() * 2)

    with pytest.raises(spec.SpecError, match="the logits cannot be followed back to the images"):
        diagnose(Outside(), NETWORK)


def test_weights_that_are_computed_in_the_pass_are_told():
    backend = require("torch")
    from torch.nn.utils.parametrizations import weight_norm

    model = backend.build(NETWORK)
    weight_norm(model.get_submodule(LAYER).conv1)
    found = diagnose(model, NETWORK)
    assert found.structure[0].startswith(
        f"1 weights are no parameters but computed in each pass, that of {LAYER}.conv1"
    )


def test_instance_norms_are_told_from_a_training_mode_that_is_on():
    backend = require("torch")
    import torch

    model = backend.build(NETWORK)
    model.features.norm5 = torch.nn.InstanceNorm2d(model.features.norm5.num_features, affine=True)
    assert any("nn.InstanceNorm2d" in sentence for sentence in diagnose(model, NETWORK).structure)


def test_a_norm_without_running_statistics_is_told():
    backend = require("torch")
    import torch

    model = backend.build(NETWORK)
    model.features.norm5 = torch.nn.BatchNorm2d(model.features.norm5.num_features, track_running_stats=False)
    assert "features.norm5: no running statistics: the batch's are used:" in to_text(diagnose(model, NETWORK))


def test_a_traced_model_is_recorded_as_what_was_traced():
    require("torch")
    import torch
    from torch import nn

    from densenet_torch.recording import record

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).eval()
    images = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype("float32")
    traced = record(torch.jit.trace(model, torch.from_numpy(images)), images)
    assert [(call.kind, dict(call.parameters)) for call in traced.calls] == [
        (call.kind, dict(call.parameters)) for call in record(model, images).calls
    ]


def test_another_way_to_the_same_result_is_no_fault():
    """A transition whose pool comes before its 1x1 convolution, which the mean commutes with."""
    backend = require("torch")
    import torch

    model = backend.build(NETWORK)
    conv, mean = model.get_submodule(TRANSITION).conv, torch.nn.AvgPool2d(2)
    forward = conv.forward
    conv.forward = lambda x: forward(mean(x))
    model.get_submodule(TRANSITION).pool = torch.nn.Identity()
    found = diagnose(model, NETWORK)
    assert found.agrees, to_text(found)
    assert found.notes[0].startswith("computed in another way, with the same result: ")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("features.denseblock1.denselayer2.conv1.weight", np.nan, "160 of 160 values of weight are not finite"),
        ("features.norm5.running_var", -1.0, "running_var is negative"),
    ],
)
def test_what_is_no_number_is_told_where_it_comes_from_and_once(name, value, said):
    model = require("torch").build(NETWORK)
    model.state_dict()[name].fill_(value)
    found = diagnose(model, NETWORK, use="own", training=True)
    assert [(each.layer, each.causes[0].text) for each in found.findings] == [(name.rpartition(".")[0], said)]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_model_of_low_precision_departs_in_nothing(dtype):
    backend = require("torch")
    import torch

    found = diagnose(backend.build(NETWORK).to(getattr(torch, dtype)), NETWORK, training=True)
    assert found.agrees, to_text(found)
    assert found.dtype == dtype
