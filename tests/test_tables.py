"""The layer tables that tutorials print for these networks, row by row.

They are the networks of Dive into Deep Learning (d2l.ai, chapters 7 and 8) in PyTorch, with one input
channel and ten classes; a softmax comes last where the tutorial has one.
"""

import pytest

import spec

# Every layer outside the dense blocks at 1x224x224, as a PyTorch port of the tutorial prints it.
AT_224 = [
    ("Conv", (64, 112, 112)),
    ("BatchNorm", (64, 112, 112)),
    ("ReLU", (64, 112, 112)),
    ("MaxPool", (64, 56, 56)),
    ("DenseBlock", (192, 56, 56)),
    ("BatchNorm", (192, 56, 56)),
    ("ReLU", (192, 56, 56)),
    ("Conv", (96, 56, 56)),
    ("AvgPool", (96, 28, 28)),
    ("DenseBlock", (224, 28, 28)),
    ("BatchNorm", (224, 28, 28)),
    ("ReLU", (224, 28, 28)),
    ("Conv", (112, 28, 28)),
    ("AvgPool", (112, 14, 14)),
    ("DenseBlock", (240, 14, 14)),
    ("BatchNorm", (240, 14, 14)),
    ("ReLU", (240, 14, 14)),
    ("Conv", (120, 14, 14)),
    ("AvgPool", (120, 7, 7)),
    ("DenseBlock", (248, 7, 7)),
    ("BatchNorm", (248, 7, 7)),
    ("ReLU", (248, 7, 7)),
    ("GlobalAvgPool", (248, 1, 1)),
    ("Flatten", (248,)),
    ("Linear", (10,)),
    ("Softmax", (10,)),
]

# Top-level modules at 1x96x96; the last one holds the flattening too.
AT_96 = [
    ("features.conv0", (64, 48, 48)),
    ("features.norm0", (64, 48, 48)),
    ("features.relu0", (64, 48, 48)),
    ("features.pool0", (64, 24, 24)),
    ("features.denseblock1", (192, 24, 24)),
    ("features.transition1", (96, 12, 12)),
    ("features.denseblock2", (224, 12, 12)),
    ("features.transition2", (112, 6, 6)),
    ("features.denseblock3", (240, 6, 6)),
    ("features.transition3", (120, 3, 3)),
    ("features.denseblock4", (248, 3, 3)),
    ("features.norm5", (248, 3, 3)),
    ("relu", (248, 3, 3)),
    ("pool", (248, 1, 1)),
    ("classifier", (10,)),
]


def test_the_table_at_224():
    network = spec.variant("densenet_d2l", classifier_activation="softmax")
    rows = spec.analyze(network, (1, 224, 224))
    printed = [
        (row.kind, row.output_shape)
        for row in rows
        if ".denselayer" not in row.path and row.kind not in ("Transition", "Sequential")
    ]
    assert printed == AT_224


def test_the_table_at_96():
    rows = spec.analyze(spec.variant("densenet_d2l"), (1, 96, 96))
    printed = [
        (row.path, row.output_shape)
        for row in rows
        if row.path and row.depth <= 2 and row.path not in ("features", "flatten")
    ]
    assert printed == AT_96


def test_a_stem_padded_by_1_makes_the_maps_of_the_tutorial_that_has_it():
    """One port pads the 7x7 stem by 1: 94 / 2 = 47 - 1 pixels instead of 48."""
    rows = spec.analyze(spec.variant("densenet_d2l", stem={"padding": 1}), (1, 96, 96))
    assert rows[0].output_shape == (64, 46, 46)


def test_lenet():
    assert table("lenet", 32) == [
        ("Conv", (6, 28, 28)),
        ("MaxPool", (6, 14, 14)),
        ("Conv", (16, 10, 10)),
        ("MaxPool", (16, 5, 5)),
        ("Flatten", (400,)),
        ("Linear", (120,)),
        ("ReLU", (120,)),
        ("Linear", (84,)),
        ("ReLU", (84,)),
        ("Linear", (10,)),
        ("Softmax", (10,)),
    ]


ALEXNET = [
    ("Conv", (96, 54, 54)),
    ("ReLU", (96, 54, 54)),
    ("BatchNorm", (96, 54, 54)),
    ("MaxPool", (96, 26, 26)),
    ("Conv", (256, 26, 26)),
    ("ReLU", (256, 26, 26)),
    ("BatchNorm", (256, 26, 26)),
    ("MaxPool", (256, 12, 12)),
    ("Conv", (384, 12, 12)),
    ("ReLU", (384, 12, 12)),
    ("Conv", (384, 12, 12)),
    ("ReLU", (384, 12, 12)),
    ("Conv", (256, 12, 12)),
    ("ReLU", (256, 12, 12)),
    ("MaxPool", (256, 5, 5)),
    ("Flatten", (6400,)),
    ("Linear", (4096,)),
    ("ReLU", (4096,)),
    ("Dropout", (4096,)),
    ("Linear", (4096,)),
    ("ReLU", (4096,)),
    ("Dropout", (4096,)),
    ("Linear", (10,)),
    ("Softmax", (10,)),
]


def test_alexnet():
    assert table("alexnet", 224) == ALEXNET


def test_alexnet_without_batch_norm():
    """It is printed twice: first, as an example of the printing function, without batch norm."""
    assert table("alexnet", 224, norm=False) == [row for row in ALEXNET if row[0] != "BatchNorm"]


@pytest.mark.parametrize(
    ("name", "convolutions"),
    [("vgg11", (1, 1, 2, 2, 2)), ("vgg13", (2, 2, 2, 2, 2)), ("vgg16", (2, 2, 3, 3, 3)), ("vgg19", (2, 2, 4, 4, 4))],
)
def test_vgg(name, convolutions):
    """From the tutorial's code for vgg11: what it prints under that heading is another network's table."""
    rows, size = [], 224
    for num_convs, channels in zip(convolutions, (64, 128, 256, 512, 512)):
        rows += [("Conv", (channels, size, size)), ("ReLU", (channels, size, size))] * num_convs
        size //= 2
        rows.append(("MaxPool", (channels, size, size)))
    rows.append(("Flatten", (512 * 7 * 7,)))
    rows += [("Linear", (4096,)), ("ReLU", (4096,)), ("Dropout", (4096,))] * 2
    assert table(name, 224) == [*rows, ("Linear", (10,)), ("Softmax", (10,))]


def test_nin():
    rows = []
    for channels, size, pooled in ((96, 54, 26), (256, 26, 12), (384, 12, 5), (10, 5, None)):
        rows += [("Conv", (channels, size, size)), ("ReLU", (channels, size, size))] * 3
        if pooled:
            rows.append(("MaxPool", (channels, pooled, pooled)))
    rows.insert(-6, ("Dropout", (384, 5, 5)))
    assert table("nin", 224) == [*rows, ("GlobalAvgPool", (10, 1, 1)), ("Flatten", (10,)), ("Softmax", (10,))]


def test_googlenet():
    inceptions = [
        *[(256, 28), (480, 28)],
        *[(512, 14), (512, 14), (512, 14), (528, 14), (832, 14)],
        *[(832, 7), (1024, 7)],
    ]
    rows = [("Inception", (channels, size, size)) for channels, size in inceptions]
    rows.insert(2, ("MaxPool", (480, 14, 14)))
    rows.insert(8, ("MaxPool", (832, 7, 7)))
    assert table("googlenet", 224) == [
        ("Conv", (64, 112, 112)),
        ("ReLU", (64, 112, 112)),
        ("MaxPool", (64, 56, 56)),
        ("Conv", (64, 56, 56)),
        ("ReLU", (64, 56, 56)),
        ("Conv", (192, 56, 56)),
        ("ReLU", (192, 56, 56)),
        ("MaxPool", (192, 28, 28)),
        *rows,
        ("GlobalAvgPool", (1024, 1, 1)),
        ("Flatten", (1024,)),
        ("Linear", (10,)),
        ("Softmax", (10,)),
    ]


def test_resnet18():
    """Top-level modules at 1x224x224; the last one holds the flattening too."""
    rows = spec.analyze(spec.variant("resnet18"), (1, 224, 224))
    printed = [(row.path, row.output_shape) for row in rows if row.depth == 1 and row.path not in ("", "flatten")]
    assert printed == [
        ("conv1", (64, 112, 112)),
        ("bn1", (64, 112, 112)),
        ("relu", (64, 112, 112)),
        ("maxpool", (64, 56, 56)),
        ("layer1", (64, 56, 56)),
        ("layer2", (128, 28, 28)),
        ("layer3", (256, 14, 14)),
        ("layer4", (512, 7, 7)),
        ("avgpool", (512, 1, 1)),
        ("fc", (10,)),
    ]


def table(name: str, size: int, **overrides) -> list[tuple[str, tuple[int, ...]]]:
    """(kind, shape) of every row outside Inceptions, containers left out, with the tutorial's softmax."""
    network = spec.variant(name, classifier_activation="softmax", **overrides)
    rows = spec.analyze(network, (1, size, size))
    inceptions = [row.path for row in rows if row.kind == "Inception"]
    return [
        (row.kind, row.output_shape)
        for row in rows
        if row.kind != "Sequential" and not any(row.path.startswith(f"{path}.") for path in inceptions)
    ]


def test_totals_are_the_sums_of_the_leaves():
    for name in spec.names():
        *rows, total = spec.analyze(spec.variant(name))
        leaves = [row for row in rows if not any(other.path.startswith(f"{row.path}.") for other in rows)]
        for figure in ("parameters", "buffers", "multiply_adds"):
            assert sum(getattr(row, figure) for row in leaves) == getattr(total, figure)
        assert total.path == ""
        assert total.output_shape == (spec.variant(name).num_classes,)


def test_activation_memory_of_a_hand_counted_network():
    """A 3x3 stem on 2x2 pixels, one dense layer, the head: each tensor counted by hand, four bytes a value."""
    stem = {"channels": 3, "kernel_size": 3, "stride": 1, "padding": 1, "norm": False, "pool": False}
    config = spec.DenseNetConfig(growth_rate=2, block_config=[1], stem=stem, num_classes=7, input_size=2)
    values = 12 + (12 + 12 + 8 + 20) + 20 + 20 + 5 + 0 + 7  # stem, dense layer, norm5, relu, pool, flatten, classifier
    assert spec.total(spec.build(config)).activation_bytes == 4 * values
