"""Which network a set of weights belongs to, told from the names and shapes of its tensors alone.

The config is inferred, not looked up: a stranger's DenseNet with another growth rate and five blocks has one, too.
What no shape shows keeps its default, or is what goes with the kernel of the stem: strides, paddings and pools,
the epsilon and decay of batch norms, dropout, and the input's size.
"""

import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from math import ceil
from typing import Any

from spec.config import NetworkConfig
from spec.errors import SpecError
from spec.families import config_type
from spec.network import build
from spec.parameters import parameter_shapes
from spec.shapes import Shapes
from spec.variants import names, variant_config

Fields = dict[str, Any]
FREE = ("in_channels", "num_classes", "input_size", "classifier_activation", "dropout", "eps", "decay")


def infer(shapes: Shapes) -> NetworkConfig:
    """The config whose network has parameters and buffers of just these canonical names and shapes.

    Raises SpecError, with the first tensor that does not fit, where there is none.
    """
    for pattern, reason in FOREIGN.items():
        if any(re.match(pattern, name) for name in shapes):
            raise SpecError(f"no network of the spec has these weights: {reason}")
    for family, (mark, read) in READERS.items():
        if mark in shapes:
            return _checked(family, read, shapes)
    some = ", ".join(list(shapes)[:3]) or "none"
    raise SpecError(f"no network of the spec has these weights: their names begin with {some}")


def variant_of(config: NetworkConfig) -> str | None:
    """The variant that has this config but for its input, classes, dropout and batch norm numbers; None if none has."""
    return next((name for name in names() if alike(config, variant_config(name))), None)


def alike(one: NetworkConfig, other: NetworkConfig) -> bool:
    """Whether they differ in nothing but their input, classes, dropout and batch norm numbers."""
    return one.model_dump(exclude=set(FREE)) == other.model_dump(exclude=set(FREE))


def _checked(family: str, read: Callable[[Shapes], Fields], shapes: Shapes) -> NetworkConfig:
    try:
        config = config_type(family)(family=family, **read(shapes))
        variant = variant_of(config)
        if variant is not None and family != "lenet":  # whose size its first linear layer shows
            config = variant_config(variant, num_classes=config.num_classes, in_channels=config.in_channels)
        expected = parameter_shapes(build(config, family))
    except KeyError as error:
        raise SpecError(f"the weights of a {family} need a tensor {error.args[0]}, found none") from None
    except SpecError as error:
        raise SpecError(f"no {family} has these weights: {error}") from None
    except (ArithmeticError, IndexError, ValueError):  # too few dimensions, none of something, endless digits
        raise SpecError(f"no {family} has these weights: some have names or shapes that no layer has") from None
    wrong = [name for name in (*expected, *shapes) if expected.get(name) != shapes.get(name)]
    if wrong:
        name = wrong[0]
        found, needed = (f"of shape {table[name]}" if name in table else "none" for table in (shapes, expected))
        raise SpecError(f"no {family} has these weights: {name} would be {needed}, found {found}")
    return config


def _densenet(shapes: Shapes) -> Fields:
    width, in_channels, kernel_size, _ = shapes["features.conv0.weight"]
    layers = _numbers(shapes, r"features\.denseblock(\d+)\.denselayer(\d+)\.")
    blocks = max(block for block, _ in layers)
    first = "features.denseblock1.denselayer1"
    bottleneck = f"{first}.conv2.weight" in shapes
    growth_rate = shapes[f"{first}.conv2.weight" if bottleneck else f"{first}.conv1.weight"][0]
    published = kernel_size == 7  # the stem of the ImageNet networks; that of the CIFAR ones halves nothing
    stem = {
        "channels": None if width == 2 * growth_rate else width,
        "kernel_size": kernel_size,
        "stride": 2 if published else 1,
        "padding": kernel_size // 2,
        "norm": "features.norm0.weight" in shapes,
        "pool": published,
    }
    kept = [shapes[f"features.transition{i}.conv.weight"] for i in range(1, blocks)]
    return {
        "growth_rate": growth_rate,
        "block_config": [max(layer for block, layer in layers if block == i) for i in range(1, blocks + 1)],
        "bn_size": shapes[f"{first}.conv1.weight"][0] // growth_rate if bottleneck else None,
        "compression": share([(inside, outside) for outside, inside, *_ in kept]),
        "stem": stem,
        "squeeze_excitation": _gates(
            shapes,
            layer=r"features\.denseblock\d+\.denselayer\d+\.se",
            block=r"features\.se_denseblock\d+",
            transition=r"features\.se_transition\d+",
            final=r"features\.se",
        ),
        "conv_bias": "features.conv0.bias" in shapes,
        "in_channels": in_channels,
        "num_classes": shapes["classifier.weight"][0],
        "input_size": 224 if published else 32,
    }


def _resnet(shapes: Shapes) -> Fields:
    blocks = _numbers(shapes, r"layer(\d+)\.(\d+)\.")
    stages = max(stage for stage, _ in blocks)
    return {
        "block_config": [1 + max(block for at, block in blocks if at == stage) for stage in range(1, stages + 1)],
        "conv_bias": "conv1.bias" in shapes,
        "projection_norm": "layer2.0.downsample.1.weight" in shapes,
        "squeeze_excitation": _gates(shapes, block=r"layer\d+\.\d+\.se", final="se"),
        "in_channels": shapes["conv1.weight"][1],
        "num_classes": shapes["fc.weight"][0],
    }


def _vgg(shapes: Shapes) -> Fields:
    """The index of a convolution in `features` tells the pools before it, as each other one has a ReLU behind it."""
    at = sorted(index for (index,) in _numbers(shapes, r"features\.(\d+)\.weight"))
    pools = [index - 2 * before for before, index in enumerate(at)]
    return {
        "block_config": [pools.count(block) for block in range(5)],
        "in_channels": shapes["features.0.weight"][1],
        "num_classes": shapes["classifier.6.weight"][0],
    }


def _alexnet(shapes: Shapes) -> Fields:
    return {
        "norm": "features.norm1.weight" in shapes,
        "in_channels": shapes["features.conv1.weight"][1],
        "num_classes": shapes["classifier.fc3.weight"][0],
    }


def _nin(shapes: Shapes) -> Fields:
    channels = shapes["features.block1.conv1.weight"][1]
    return {"in_channels": channels, "num_classes": shapes["features.block4.conv3.weight"][0]}


def _googlenet(shapes: Shapes) -> Fields:
    return {
        "squeeze_excitation": _gates(shapes, block=r"se_inception\w+", final="se"),
        "in_channels": shapes["conv1.weight"][1],
        "num_classes": shapes["fc.weight"][0],
    }


def _lenet(shapes: Shapes) -> Fields:
    """16 maps, 4 pixels smaller and halved twice, are flattened: at 32 pixels to 16 x 5 x 5."""
    side = round((shapes["classifier.fc1.weight"][1] / 16) ** 0.5)
    return {
        "in_channels": shapes["features.conv1.weight"][1],
        "num_classes": shapes["classifier.fc3.weight"][0],
        "input_size": (2 * side + 4) * 2 + 4,
    }


# Family: a tensor that it alone has, and what reads its fields.
READERS: dict[str, tuple[str, Callable[[Shapes], Fields]]] = {
    "densenet": ("features.denseblock1.denselayer1.norm1.weight", _densenet),
    "resnet": ("layer1.0.conv1.weight", _resnet),
    "googlenet": ("inception3a.reduce2.weight", _googlenet),
    "nin": ("features.block1.conv1.weight", _nin),
    "alexnet": ("features.conv5.weight", _alexnet),
    "lenet": ("features.conv2.weight", _lenet),
    "vgg": ("classifier.3.weight", _vgg),
}
# What else is met: a name that the spec has in none, and why the spec does not have that network.
FOREIGN = {
    r"inception3a\.branch\d\.": "torchvision's GoogLeNet has a batch norm after each convolution, the spec's has none",
    r"classifier\.1\.weight": "torchvision's AlexNet is the one of Krizhevsky 2014, with 64 channels in its first "
    "convolution, the spec's that of the 2012 paper, with 96",
    r"layer1\.0\.conv3\.": "it is a ResNet of bottleneck blocks, the spec's is of basic ones: ResNet-18 and ResNet-34",
    r"stack\d+_block\d+_": "keras-hub's DenseNet pads its stem SAME, by 2 and 3 pixels, the spec's by 3 on each side",
    r"features\.\d+\.running_mean": "it is a VGG with batch norms, the spec's VGG has none",
}


def _numbers(names: Iterable[str], pattern: str) -> set[tuple[int, ...]]:
    """The numbers that the pattern's groups have in the names that begin with it."""
    return {tuple(map(int, match.groups())) for match in (re.match(pattern, name) for name in names) if match}


def share(transitions: list[tuple[int, int]]) -> float:
    """The shortest decimal c for which each pair, channels in and out of a transition, has out = floor(c * in)."""
    least = max((Fraction(outside, inside) for inside, outside in transitions), default=Fraction(1))
    below = min((Fraction(outside + 1, inside) for inside, outside in transitions), default=Fraction(2))
    for digits in range(16):
        share = Fraction(ceil(least * 10**digits), 10**digits)
        if share < below:
            return float(share)
    raise SpecError("its transitions keep different shares of their channels, which one compression cannot say")


def _gates(shapes: Shapes, **patterns: str) -> Fields | None:
    """Where there is squeeze-and-excitation, and the ratio that all gates have: 16 if it may be, else the largest."""
    found = {
        placement: [
            (shapes[name][1], shapes[name][0]) for name in shapes if re.fullmatch(rf"{pattern}\.fc1\.weight", name)
        ]
        for placement, pattern in patterns.items()
    }
    gates = [gate for each in found.values() for gate in each]
    if not gates:
        return None
    least = max(channels // (hidden + 1) + 1 for channels, hidden in gates)
    most = min(channels // hidden for channels, hidden in gates)
    bias = any(re.search(r"\bse(_\w+)?\.fc1\.bias$", name) for name in shapes)
    ratio = 16 if least <= 16 <= most else most
    return {"ratio": ratio, "placement": [placement for placement in patterns if found[placement]], "bias": bias}
