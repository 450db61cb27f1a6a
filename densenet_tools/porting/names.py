"""What each implementation calls the layers of a DenseNet and their arrays: one table, read in both directions.

In a name `{b}` stands for the number of a dense block or of the transition behind it, `{l}` for that of a dense layer
in its block, `{B}` for how many blocks there are; all count from 1, and `{2b+2}` is reckoned.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

IMPLEMENTATIONS = ("applications", "zoo", "zoo_prefixed")
DENSE_LAYER = "features.denseblock{b}.denselayer{l}"


@dataclass(frozen=True)
class Layer:
    """A layer's canonical name, which is torchvision's and timm's too, and its names elsewhere.

    `applications` is keras.applications, `zoo` MXNet's model zoo by structure, as save_parameters writes it, and
    `zoo_prefixed` the same by prefix, as export and older files have it.
    """

    canonical: str
    applications: str
    zoo: str
    zoo_prefixed: str


LAYERS = (
    Layer("features.conv0", "conv1_conv", "features.0", "conv0"),
    Layer("features.norm0", "conv1_bn", "features.1", "batchnorm0"),
    Layer(f"{DENSE_LAYER}.norm1", "conv{b+1}_block{l}_0_bn", "features.{2b+2}.{l-1}.1.0", "stage{b}_batchnorm{2l-2}"),
    Layer(f"{DENSE_LAYER}.conv1", "conv{b+1}_block{l}_1_conv", "features.{2b+2}.{l-1}.1.2", "stage{b}_conv{2l-2}"),
    Layer(f"{DENSE_LAYER}.norm2", "conv{b+1}_block{l}_1_bn", "features.{2b+2}.{l-1}.1.3", "stage{b}_batchnorm{2l-1}"),
    Layer(f"{DENSE_LAYER}.conv2", "conv{b+1}_block{l}_2_conv", "features.{2b+2}.{l-1}.1.5", "stage{b}_conv{2l-1}"),
    Layer("features.transition{b}.norm", "pool{b+1}_bn", "features.{2b+3}.0", "batchnorm{b}"),
    Layer("features.transition{b}.conv", "pool{b+1}_conv", "features.{2b+3}.2", "conv{b}"),
    Layer("features.norm5", "bn", "features.{2B+3}", "batchnorm{B}"),
    Layer("classifier", "predictions", "output", "dense0"),
)
OLDER = {"conv1/conv": "conv1_conv", "conv1/bn": "conv1_bn", "fc1000": "predictions"}  # in the published files of Keras
# An array's canonical name, and its names elsewhere. A batch norm's scale is a weight, as in PyTorch.
KERAS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
GLUON = {"gamma": "weight", "beta": "bias"}  # the others are the same
EXPRESSION = re.compile(r"\{(\d*)([blB])([+-]\d+)?\}")


def canonical_layers(implementation: str, layers: Iterable[str]) -> dict[str, str]:
    """{a layer's name: its canonical one} of those layers that have one."""
    names = {name: OLDER.get(name, name) for name in layers}
    dense = [_numbers(getattr(LAYERS[2], implementation), name) for name in names.values()]
    blocks = max((numbers["b"] for numbers in dense if numbers), default=0)
    found = {}
    for given, name in names.items():
        for layer in LAYERS:
            numbers = _numbers(getattr(layer, implementation), name)
            if numbers is not None and _exists(layer, numbers, blocks):
                found[given] = _filled(layer.canonical, numbers)
    return found


def foreign_name(implementation: str, layer: Layer, block: int = 1, dense_layer: int = 1, blocks: int = 4) -> str:
    """What an implementation calls the layer with these numbers."""
    return _filled(getattr(layer, implementation), {"b": block, "l": dense_layer, "B": blocks})


def _exists(layer: Layer, numbers: dict[str, int], blocks: int) -> bool:
    """No transition is behind the last block, whose number the last norm may have."""
    last = numbers.get("B", blocks) == blocks
    return last and not ("transition" in layer.canonical and numbers["b"] >= blocks)


def _filled(template: str, numbers: dict[str, int]) -> str:
    def reckoned(match: re.Match) -> str:
        times, letter, plus = match.groups()
        return str(int(times or 1) * numbers[letter] + int(plus or 0))

    return EXPRESSION.sub(reckoned, template)


def _numbers(template: str, name: str) -> dict[str, int] | None:
    """The numbers with which the template makes this name; None where there are none."""
    pattern, expressions = _compiled(template)
    match = pattern.fullmatch(name)
    if match is None:
        return None
    found = {}
    for text, (times, letter, plus) in zip(match.groups(), expressions):
        number, rest = divmod(int(text) - plus, times)
        if rest or number < 1:
            return None
        found[letter] = number
    return found


@cache
def _compiled(template: str) -> tuple[re.Pattern, list[tuple[int, str, int]]]:
    """The pattern of the names that a template makes, and its expressions: times, letter, plus."""
    texts = [re.escape(text) for text in re.split(r"\{[^}]*\}", template)]
    expressions = [(int(m[1] or 1), m[2], int(m[3] or 0)) for m in EXPRESSION.finditer(template)]
    return re.compile(r"(\d{1,9})".join(texts)), expressions
