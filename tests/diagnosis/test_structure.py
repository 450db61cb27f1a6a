"""Which network a model is, told from a recording: every variant, any DenseNet, a stranger's, and how others depart."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings, strategies as st

import spec
from densenet_tools.diagnosis.structure import closest, differences, recognize
from spec.layers import AvgPool, BatchNorm, Conv, Linear, MaxPool
from spec.recording import Call, Recording
from spec.shapes import Shape
from spec.tree import output_shapes
from tests.cases import SMALL, small, squeezed
from tests.support import require

STEM = {"kernel_size": 3, "stride": 1, "padding": 1, "norm": False, "pool": False}
FIELDS: dict[str, Any] = {"bn_size": 2, "compression": 0.5, "stem": STEM, "input_size": 32, "block_config": [2, 2, 2]}
NETWORK = small(**FIELDS)  # growth rate 4: 8 channels, 16, 8, 16, 8, 16
FIRST = "features.denseblock1.denselayer1"
KINDS = {Conv: "conv", BatchNorm: "batch_norm", Linear: "linear", MaxPool: "max_pool", AvgPool: "avg_pool"}

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Row:
    """One operation of a model, with the shapes of its parameters and of its output."""

    kind: str
    name: str
    output: Shape
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def rows_of(network: spec.Network) -> dict[str, Row]:
    """{canonical path: operation} of a model of this network, under names that say nothing."""
    rows: dict[str, Row] = {}
    for path, node, output in output_shapes(network.root, network.input_shape):
        windows = {"stride": (node.stride,) * 2, "padding": ((node.padding,) * 2,) * 2} if type(node) is Conv else {}
        kind = KINDS.get(type(node), "other")
        rows[path] = Row(kind, f"body.{len(rows)}", (1, *output), node.parameter_shapes(), windows)
    return rows


def recording_of(
    network: spec.Network, rows: list[Row] | None = None, size: int | None = None
) -> tuple[Recording, Arrays]:
    """What a model of this network, or of these operations on images of `size`, would be recorded as."""
    shape = (1, network.in_channels, *(size or side for side in network.input_shape[1:]))
    rows = list(rows_of(network).values()) if rows is None else rows
    calls = [
        Call(row.kind, row.name, row.kind, (i - 1,), row.settings, {last: f"{row.name}.{last}" for last in row.shapes})
        for i, row in enumerate(rows)
    ]
    arrays = {f"{row.name}.{last}": empty(dims) for row in rows for last, dims in row.shapes.items()}
    outputs = tuple(empty(row.output) for row in rows)
    return Recording("none", "float32", empty(shape), tuple(calls), outputs, len(calls) - 1), arrays


def empty(shape: Shape) -> np.ndarray:
    """Takes no memory: nothing here looks at values."""
    return np.broadcast_to(np.float32(0), shape)


def with_weight(row: Row, *shape: int) -> Row:
    return replace(row, shapes={**row.shapes, "weight": shape}, output=(1, shape[0], *row.output[2:]))


def extra(name: str, *shape: int) -> Row:
    return Row("conv", name, (1, shape[0], 8, 8), {"weight": shape}, {"stride": (1, 1), "padding": ((0, 0), (0, 0))})


@pytest.mark.parametrize("name", spec.names())
def test_a_variant_is_told_from_its_layers_whatever_its_classes_and_channels(name):
    config = spec.variant_config(name, num_classes=7, in_channels=2)
    found = recognize(*recording_of(spec.build(config)))
    assert found == config
    assert differences(config, found) == []


NUMBERS = {"eps": 1e-5, "decay": 0.9, "dropout": 0.0, "classifier_activation": None}


@pytest.mark.parametrize("name", [name for name, network in SMALL.items() if network.config is not None])
def test_a_small_densenet_is_inferred_with_the_stem_that_was_recorded(name):
    """But for what no shape shows."""
    config = SMALL[name].config
    found = recognize(*recording_of(SMALL[name]))
    assert found == config.model_copy(update=NUMBERS)
    assert differences(config, found) == []


@st.composite
def densenets(draw) -> spec.Network:
    """DenseNets with every option; those that cannot be built are drawn again."""
    kernel_size = draw(st.sampled_from([1, 3, 4, 7]))
    stem = {"channels": draw(st.none() | st.integers(1, 12)), "kernel_size": kernel_size}
    stem |= {"stride": draw(st.integers(1, 3)), "padding": draw(st.integers(0, kernel_size - 1))}
    placements = st.sets(st.sampled_from(["layer", "block", "transition", "final"]), min_size=1)
    gates = {"ratio": draw(st.integers(1, 4)), "placement": sorted(draw(placements)), "bias": draw(st.booleans())}
    fields = {
        "growth_rate": draw(st.integers(1, 9)),
        "block_config": draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)),
        "bn_size": draw(st.sampled_from([None, 1, 2, 4])),
        "compression": draw(st.sampled_from([1.0, 0.5, 0.7, 0.29])),
        "conv_bias": draw(st.booleans()),
        "in_channels": draw(st.sampled_from([1, 3])),
        "stem": stem | {"norm": draw(st.booleans()), "pool": draw(st.booleans())},
        "squeeze_excitation": draw(st.sampled_from([None, gates])),
        "input_size": 200,
    }
    try:
        return small(**fields)
    except spec.SpecError:
        reject()


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])
@given(network=densenets())
def test_any_densenet_comes_back_with_the_same_layers(network):
    config, found = network.config, recognize(*recording_of(network))
    assert spec.parameter_shapes(spec.build(found)) == spec.parameter_shapes(network)
    assert differences(config, found) == []
    shown = ("growth_rate", "block_config", "bn_size", "conv_bias", "in_channels", "num_classes", "input_size")
    assert {name: getattr(found, name) for name in shown} == {name: getattr(config, name) for name in shown}
    width = config.stem.channels or 2 * config.growth_rate  # which is written as none where it is twice the growth rate
    assert found.stem.model_copy(update={"channels": width}) == config.stem.model_copy(update={"channels": width})


def test_gates_of_convolutions_are_gates():
    rows = [
        with_weight(replace(row, kind="conv"), *row.shapes["weight"], 1, 1) if row.kind == "linear" else row
        for row in rows_of(SMALL["se_everywhere"]).values()
    ]
    found = recognize(*recording_of(SMALL["se_everywhere"], rows))
    assert found == SMALL["se_everywhere"].config.model_copy(update=NUMBERS)


@pytest.mark.parametrize("stem", [{"padding": 0}, {"stride": 1}, {"pool": False}], ids=str)
def test_what_no_shape_shows_makes_no_other_network(stem):
    config = spec.variant_config("densenet121", stem=stem, eps=1e-3)
    assert recognize(*recording_of(spec.build(config))) == spec.variant_config("densenet121")
    assert differences(spec.variant_config("densenet121"), config) == []


@pytest.mark.parametrize(("before", "found"), [(3, 3), (9, 6)])
def test_padding_before_the_stem_is_the_stems(before, found):
    """As keras.applications pads; no more than a kernel can see."""
    network = small(stem={"padding": 0, "channels": 6})
    padding = ((before, 2), (before, 2))
    pad = Row("pad", "pad", (1, 3, 43 + before, 43 + before), settings={"padding": padding, "value": 0.0})
    assert recognize(*recording_of(network, [pad, *rows_of(network).values()])).stem.padding == found


def test_a_norm_without_a_scale_is_a_norm():
    network = small(**FIELDS)
    rows = [
        replace(row, shapes={last: row.shapes[last] for last in ("running_mean", "running_var")})
        if row.kind == "batch_norm"
        else row
        for row in rows_of(network).values()
    ]
    assert recognize(*recording_of(network, rows)) == network.config


def test_branches_may_run_in_another_order():
    """A ResNet whose shortcut comes before the branch."""
    network = spec.variant("resnet18")
    rows = rows_of(network)
    first = {path: row for path, row in rows.items() if path == "layer2.0.downsample.0"}
    stem = {path: row for path, row in rows.items() if not path.startswith(("layer", "fc"))}
    recording = recording_of(network, list((stem | first | rows).values()))
    assert recognize(*recording) == network.config
    assert closest(*recording, network) == []


def test_the_layers_of_a_densenet_run_in_one_order_only():
    """A transition that keeps its channels, with its norm behind its convolution."""
    network = small(**FIELDS | {"compression": 1.0})
    rows = list(rows_of(network).items())
    norm, conv = (i for i, (path, _) in enumerate(rows) if path in ("features.transition1.norm", TRANSITION))
    rows[norm], rows[conv] = rows[conv], rows[norm]
    recording = recording_of(network, [row for _, row in rows])
    assert len(closest(*recording, network)) == 2
    with pytest.raises(spec.SpecError, match=r"is a conv of .*, where a DenseNet has"):
        recognize(*recording)


@pytest.mark.parametrize(("name", "size"), [("vgg11", 64), ("densenet121", 24)])
def test_a_network_that_takes_smaller_images_than_the_specs_has_its_published_size(name, size):
    """A VGG with an adaptive pool, say, and a stem that halves nothing."""
    rows = list(rows_of(spec.variant(name)).values())
    assert recognize(*recording_of(spec.variant(name), rows, size)) == spec.variant_config(name)


def test_lenet_shows_its_size():
    assert recognize(*recording_of(spec.variant("lenet", input_size=28))).input_size == 28


@pytest.mark.parametrize("name", ["se_everywhere", "densenet40_k12_bc"])
def test_a_model_that_ran_is_told(name):
    backend = require("torch")
    from densenet_torch.recording import arrays, record

    network = SMALL.get(name) or spec.variant(name)
    model = backend.build(network)
    images = np.zeros((1, *network.input_shape), "float32")
    assert recognize(record(model, images), arrays(model)) == network.config.model_copy(update=NUMBERS)


def stranger(k: int = 4, keep: float = 0.5, bias: bool = False, more: bool = False) -> tuple[Recording, Arrays]:
    """NETWORK as somebody else writes it in PyTorch: other names, and functions in place of modules.

    `more` puts a convolution into the second dense layer of the second block, behind its first one.
    """
    require("torch")
    import torch
    from torch import nn
    from torch.nn import functional as F

    from densenet_torch.recording import arrays, record

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inp = nn.Conv2d(3, 2 * k, 3, padding=1, bias=bias)
            self.units, self.shrink = nn.ModuleList(), nn.ModuleList()
            width = 2 * k
            for block in range(3):
                for _ in range(2):
                    squeeze, grow = nn.Conv2d(width, 2 * k, 1, bias=bias), nn.Conv2d(2 * k, k, 3, padding=1, bias=bias)
                    self.units.append(
                        nn.ModuleDict({"a": nn.BatchNorm2d(width), "b": squeeze, "c": nn.BatchNorm2d(2 * k), "d": grow})
                    )
                    width += k
                if block < 2:
                    kept = int(keep * width)
                    self.shrink.append(
                        nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, kept, 1, bias=bias))
                    )
                    width = kept
            self.extra = nn.Parameter(torch.ones(2 * k, 2 * k, 1, 1))
            self.last = nn.BatchNorm2d(width)
            self.matrix, self.offset = nn.Parameter(torch.ones(5, width)), nn.Parameter(torch.ones(5))

        def forward(self, x):
            x = self.inp(x)
            for i, unit in enumerate(self.units):
                new = unit["b"](F.relu(unit["a"](x)))
                new = F.conv2d(new, self.extra) if more and i == 3 else new
                x = torch.cat([x, unit["d"](torch.relu(unit["c"](new)))], 1)
                if i in (1, 3):
                    x = F.avg_pool2d(self.shrink[i // 2](x), 2)
            return F.linear(F.relu(self.last(x)).mean((2, 3)), self.matrix, self.offset)

    net = Net()
    return record(net, np.zeros((1, 3, 32, 32), "float32")), arrays(net)


STRANGERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "as it should be": ({}, []),
    "another growth rate": ({"k": 6}, ["growth_rate 4 expected, 6 found"]),
    "no compression": ({"keep": 1.0}, ["compression 0.5 expected, 1.0 found"]),
    "biases": ({"bias": True}, ["conv_bias false expected, true found"]),
    "both": (
        {"bias": True, "keep": 0.75},
        ["compression 0.5 expected, 0.75 found", "conv_bias false expected, true found"],
    ),
}


@pytest.mark.parametrize("case", STRANGERS)
def test_a_strangers_densenet_is_told_and_how_it_departs(case):
    changes, sentences = STRANGERS[case]
    assert differences(NETWORK.config, recognize(*stranger(**changes))) == sentences


def test_a_layer_too_many_in_a_strangers_densenet_is_named():
    recording, arrays = stranger(more=True)
    assert closest(recording, arrays, NETWORK) == [
        "too many: a conv of (8, 8, 1, 1) behind features.denseblock2.denselayer2.conv1 (its name in the model: extra)"
    ]
    with pytest.raises(spec.SpecError) as error:
        recognize(recording, arrays)
    assert str(error.value) == (
        "no config describes the model: extra is a conv of (8, 8, 1, 1), "
        "where a DenseNet has features.denseblock2.denselayer2.norm2, a batch_norm of (8,)"
    )


VARIED: dict[str, tuple[spec.NetworkConfig, spec.NetworkConfig, list[str]]] = {
    "other blocks": (
        spec.variant_config("densenet121"),
        spec.variant_config("densenet169"),
        ["block_config (6, 12, 24, 16) expected, (6, 12, 32, 32) found: this is densenet169"],
    ),
    "another variant for other data": (
        spec.variant_config("densenet121"),
        spec.variant_config("densenet161", num_classes=10, in_channels=1),
        [
            "growth_rate 32 expected, 48 found",
            "block_config (6, 12, 24, 16) expected, (6, 12, 36, 24) found: this is densenet161",
            "num_classes 1000 expected, 10 found",
            "in_channels 3 expected, 1 found",
        ],
    ),
    "the same for other data": (
        spec.variant_config("densenet121"),
        spec.variant_config("densenet121", num_classes=10),
        ["num_classes 1000 expected, 10 found"],
    ),
    "another family": (
        spec.variant_config("densenet_d2l"),
        spec.variant_config("resnet18"),
        ["family densenet expected, resnet found: this is resnet18"],
    ),
    "gates": (
        spec.variant_config("densenet121"),
        spec.variant_config("se_densenet121"),
        [
            "squeeze_excitation none expected, { ratio = 16, placement = (final), bias = true } found: "
            "this is se_densenet121"
        ],
    ),
    "a stem, of which a part is seen": (
        spec.variant_config("densenet121"),
        spec.variant_config("densenet121", stem={"kernel_size": 3, "stride": 1, "padding": 1, "pool": False}),
        ["stem.kernel_size 7 expected, 3 found"],
    ),
    "a stem's width, which goes with the growth rate": (
        spec.variant_config("densenet121"),
        spec.variant_config("densenet121", growth_rate=16, stem={"channels": 64}),
        ["growth_rate 32 expected, 16 found"],
    ),
    "a share that rounds to the same channels": (
        spec.variant_config("densenet40_k12_bc"),
        spec.variant_config("densenet40_k12_bc", compression=0.501),
        [],
    ),
    "gates of a ratio that fewer channels have not": (
        small(**squeezed("layer", "final", ratio=4)).config,
        small(**squeezed("layer", "final", ratio=2), growth_rate=3).config,
        ["growth_rate 4 expected, 3 found", "squeeze_excitation.ratio 4 expected, 2 found"],
    ),
    "numbers": (
        spec.variant_config("densenet121"),
        spec.variant_config(
            "densenet121", eps=1e-3, dropout=0.2, decay=0.5, input_size=64, classifier_activation="softmax"
        ),
        [],
    ),
}


@pytest.mark.parametrize("case", VARIED)
def test_fields_are_told_that_shapes_show(case):
    expected, found, sentences = VARIED[case]
    assert differences(expected, found) == sentences


ROWS = rows_of(NETWORK)
BOTTLENECK, NORM, TRANSITION = f"{FIRST}.conv1", f"{FIRST}.norm2", "features.transition1.conv"


def own(path: str) -> str:
    return f"(its name in the model: {ROWS[path].name})"


def damaged(changes: dict[str, list[Row]]) -> tuple[Recording, Arrays]:
    """NETWORK with other operations in the place of some."""
    return recording_of(NETWORK, [row for path, right in ROWS.items() for row in changes.get(path, [right])])


def reshaped(path: str, *shape: int) -> dict[str, list[Row]]:
    """In place of a layer one of that shape."""
    return {path: [with_weight(ROWS[path], *shape)]}


def biased(path: str) -> dict[str, list[Row]]:
    return {path: [replace(ROWS[path], shapes={**ROWS[path].shapes, "bias": ROWS[path].output[1:2]})]}


def uncompressed() -> dict[str, list[Row]]:
    """The first transition keeps all 16 channels: 8 more in the second block, half of them in the third."""
    changes = reshaped(TRANSITION, 16, 16, 1, 1) | reshaped("features.transition2.conv", 12, 24, 1, 1)
    for block, more in ((2, 8), (3, 4)):
        for layer, width in ((1, 8), (2, 12)):
            path = f"features.denseblock{block}.denselayer{layer}"
            changes |= normed(f"{path}.norm1", width + more) | reshaped(f"{path}.conv1", 8, width + more, 1, 1)
    return (
        changes | normed("features.transition2.norm", 24) | normed("features.norm5", 20) | reshaped("classifier", 5, 20)
    )


def normed(path: str, channels: int) -> dict[str, list[Row]]:
    return {path: [replace(ROWS[path], output=(1, channels, *ROWS[path].output[2:]))]}


# Operations in place of some of NETWORK's, how the model departs, and the first that is a misfit.
DAMAGED: dict[str, tuple[dict[str, list[Row]], list[str], str]] = {
    "a convolution more": (
        {BOTTLENECK: [ROWS[BOTTLENECK], extra("more", 8, 8, 1, 1)]},
        [f"too many: a conv of (8, 8, 1, 1) behind {BOTTLENECK} (its name in the model: more)"],
        f"more is a conv of (8, 8, 1, 1), where a DenseNet has {NORM}, a batch_norm of (8,)",
    ),
    "one before all": (
        {"features.conv0": [extra("more", 3, 3, 1, 1), ROWS["features.conv0"]]},
        ["too many: a conv of (3, 3, 1, 1) behind the images (its name in the model: more)"],
        "",
    ),
    "one behind all": (
        {"classifier": [ROWS["classifier"], Row("linear", "more", (1, 5), {"weight": (5, 5)})]},
        ["too many: a linear of (5, 5) behind classifier (its name in the model: more)"],
        "more is a linear of (5, 5), where a DenseNet ends",
    ),
    "a norm less": (
        {NORM: []},
        [f"missing: {NORM}, a batch_norm of (8,)"],
        f"{ROWS[f'{FIRST}.conv2'].name} is a conv of (4, 8, 3, 3), where a DenseNet has {NORM}, a batch_norm of (8,)",
    ),
    "no classifier": (
        {"classifier": []},
        ["missing: classifier, a linear of (5, 16) with bias"],
        f"it ends behind {ROWS['features.norm5'].name}, "
        "where a DenseNet has classifier, a linear of (16, 16) with bias",
    ),
    "a narrower one in between": (
        {BOTTLENECK: [extra("more", 5, 8, 1, 1), with_weight(ROWS[BOTTLENECK], 8, 5, 1, 1)]},
        [
            f"too many: a conv of (5, 8, 1, 1) behind {FIRST}.norm1 (its name in the model: more)",
            "layers behind that take other channels because of that: 1",
        ],
        f"more is a conv of (5, 8, 1, 1), where a DenseNet has {BOTTLENECK}, a conv of (8, 8, 1, 1)",
    ),
    "a norm behind a dense layer": (
        {f"{FIRST}.conv2": [ROWS[f"{FIRST}.conv2"], Row("batch_norm", "more", (1, 4, 32, 32), {"weight": (4,)})]},
        [f"too many: a batch_norm of (4,) behind {FIRST}.conv2 (its name in the model: more)"],
        "more is a batch_norm of (4,), where a DenseNet has features.denseblock1.denselayer2.norm1, "
        "a batch_norm of (12,)",
    ),
    "a norm before all": (
        {"features.conv0": [Row("batch_norm", "more", (1, 3, 32, 32), {"weight": (3,)}), ROWS["features.conv0"]]},
        ["too many: a batch_norm of (3,) behind the images (its name in the model: more)"],
        "",
    ),
    "a convolution in place of a norm": (
        {NORM: [extra("other", 8, 8, 1, 1)]},
        [
            f"missing: {NORM}, a batch_norm of (8,)",
            f"too many: a conv of (8, 8, 1, 1) behind {BOTTLENECK} (its name in the model: other)",
        ],
        f"other is a conv of (8, 8, 1, 1), where a DenseNet has {NORM}, a batch_norm of (8,)",
    ),
    "a norm of other channels": (
        normed("features.transition1.norm", 24),
        [f"features.transition1.norm: weight (16,) expected, (24,) found {own('features.transition1.norm')}"],
        "is a batch_norm of (24,), where a DenseNet has features.transition1.norm, a batch_norm of (16,)",
    ),
    "a first layer of another width": (
        reshaped(f"{FIRST}.conv2", 5, 8, 3, 3),
        [f"{FIRST}.conv2: weight (4, 8, 3, 3) expected, (5, 8, 3, 3) found {own(f'{FIRST}.conv2')}"],
        f"is a conv of (5, 8, 3, 3), where a DenseNet has {FIRST}.conv2, a conv of (4, 8, 3, 3)",
    ),
    "a wider bottleneck": (
        reshaped("features.denseblock1.denselayer2.conv1", 12, 12, 1, 1),
        [
            "features.denseblock1.denselayer2.conv1: weight (8, 12, 1, 1) expected, (12, 12, 1, 1) found "
            f"{own('features.denseblock1.denselayer2.conv1')}"
        ],
        "where a DenseNet has features.denseblock1.denselayer2.conv1, a conv of (8, 12, 1, 1)",
    ),
    "a bias in the stem": (
        biased("features.conv0"),
        [f"bias: 1 more than expected, of features.conv0 {own('features.conv0')}"],
        "is a conv of (8, 3, 3, 3) with bias, where a DenseNet has features.conv0, a conv of (8, 3, 3, 3)",
    ),
    "a larger kernel": (
        reshaped(f"{FIRST}.conv2", 4, 8, 5, 5),
        [f"{FIRST}.conv2: weight (4, 8, 3, 3) expected, (4, 8, 5, 5) found {own(f'{FIRST}.conv2')}"],
        f"is a conv of (4, 8, 5, 5), where a DenseNet has {FIRST}.conv2, a conv of (4, 8, 3, 3)",
    ),
    "groups": (
        reshaped(f"{FIRST}.conv2", 4, 4, 3, 3),
        [f"{FIRST}.conv2: weight (4, 8, 3, 3) expected, (4, 4, 3, 3) found {own(f'{FIRST}.conv2')}"],
        f"is a conv of (4, 4, 3, 3), where a DenseNet has {FIRST}.conv2, a conv of (4, 8, 3, 3)",
    ),
    "a transition that keeps all": (
        uncompressed(),
        [
            f"{TRANSITION}: weight (8, 16, 1, 1) expected, (16, 16, 1, 1) found: no compression {own(TRANSITION)}",
            "features.transition2.conv: weight (8, 16, 1, 1) expected, (12, 24, 1, 1) found "
            f"{own('features.transition2.conv')}",
            "layers behind that take other channels because of that: 11",
        ],
        "is a conv of (12, 24, 1, 1), where a DenseNet has features.transition2.conv, a conv of (24, 24, 1, 1)",
    ),
    "a bias more": (
        biased(TRANSITION),
        [f"bias: 1 more than expected, of {TRANSITION} {own(TRANSITION)}"],
        f"is a conv of (8, 16, 1, 1) with bias, where a DenseNet has {TRANSITION}, a conv of (8, 16, 1, 1)",
    ),
    "biases more": (
        biased(BOTTLENECK) | biased(TRANSITION),
        [f"bias: 2 more than expected, the first of {BOTTLENECK} {own(BOTTLENECK)}"],
        f"is a conv of (8, 8, 1, 1) with bias, where a DenseNet has {BOTTLENECK}, a conv of (8, 8, 1, 1)",
    ),
    "a bias less": (
        {"classifier": [replace(ROWS["classifier"], shapes={"weight": (5, 16)})]},
        [f"bias: 1 missing, of classifier {own('classifier')}"],
        "is a linear of (5, 16), where a DenseNet has classifier, a linear of (5, 16) with bias",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_model_that_is_no_network_of_the_spec_is_aligned_with_one(case):
    changes, sentences, misfit = DAMAGED[case]
    recording = damaged(changes)
    assert closest(*recording, NETWORK) == sentences
    with pytest.raises(spec.SpecError) as error:
        recognize(*recording)
    assert str(error.value).startswith("no config describes the model: ")
    assert str(error.value).endswith(misfit)


# Those whose other layers follow in their own ways: only the first misfit is of interest.
MISFITS: dict[str, tuple[dict[str, list[Row]], str]] = {
    "narrow bottlenecks": (
        {
            path: [with_weight(ROWS[path], 3, *ROWS[path].shapes["weight"][1:])]
            for path in ROWS
            if path.endswith(".conv1")
        },
        f"is a conv of (3, 8, 1, 1), where a DenseNet has {BOTTLENECK}, a conv of (4, 8, 1, 1)",
    ),
    "two transitions on end": (
        {TRANSITION: [ROWS[TRANSITION], Row("batch_norm", "norm", (1, 8, 32, 32)), extra("more", 6, 8, 1, 1)]},
        "more is a conv of (6, 8, 1, 1), where a DenseNet has features.denseblock2.denselayer1.conv1, "
        "a conv of (8, 8, 1, 1)",
    ),
    "a transition that adds channels": (
        reshaped(TRANSITION, 32, 16, 1, 1) | reshaped("features.transition2.conv", 32, 16, 1, 1),
        f"is a conv of (32, 16, 1, 1), where a DenseNet has {TRANSITION}, a conv of (16, 16, 1, 1)",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_the_first_layer_that_fits_nothing_is_named(case):
    changes, misfit = MISFITS[case]
    with pytest.raises(spec.SpecError) as error:
        recognize(*damaged(changes))
    assert str(error.value).endswith(misfit)


def test_one_transition_of_another_share_is_the_misfit():
    """The first of three, so that the others tell which share is meant."""
    network = small(**FIELDS | {"block_config": [1, 1, 1, 1], "growth_rate": 8})
    rows = rows_of(network)
    rows[TRANSITION] = with_weight(rows[TRANSITION], 24, 24, 1, 1)
    with pytest.raises(
        spec.SpecError, match=rf"is a conv of \(24, 24, 1, 1\), where a DenseNet has {TRANSITION}, a conv of"
    ):
        recognize(*recording_of(network, list(rows.values())))


def test_what_is_the_same_departs_in_nothing():
    assert closest(*recording_of(NETWORK), NETWORK) == []


def test_ten_departures_are_spelled_out_and_the_model_has_the_specs_names():
    network = small(block_config=[12])
    rows = [
        replace(
            row, name=path, shapes=row.shapes if "conv1" not in path else {"weight": (4, row.shapes["weight"][1], 5, 5)}
        )
        for path, row in rows_of(network).items()
    ]
    found = closest(*recording_of(network, rows), network)
    assert found[0] == f"{FIRST}.conv1: weight (4, 6, 3, 3) expected, (4, 6, 5, 5) found"
    assert found[10:] == ["and 2 more"]


LINEAR = Row("linear", "matrix", (1, 5), {"weight": (5, 3)})
REFUSED: dict[str, tuple[list[Row], str]] = {
    "no layers": (
        [Row("other", "", (1, 5))],
        "the model has no convolution, batch norm or linear layer, by which networks are told",
    ),
    "a weight that is computed": (
        [replace(LINEAR, shapes={})],
        "matrix is a linear whose weight is no parameter of the model: nothing tells its shape",
    ),
    "a linear layer": ([LINEAR], "no config describes the model: matrix is a linear of (5, 3), where "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_network_at_all_is_refused_in_a_sentence(case):
    rows, sentence = REFUSED[case]
    with pytest.raises(spec.SpecError) as error:
        recognize(*recording_of(NETWORK, rows))
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)
