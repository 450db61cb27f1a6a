"""The layer tables that tutorials print for this network, row by row.

Both print the DenseNet of Dive into Deep Learning (d2l.ai, section 8.7), at 1x224x224 and 1x96x96.
"""

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
    assert spec.total(spec.densenet(config)).activation_bytes == 4 * values
