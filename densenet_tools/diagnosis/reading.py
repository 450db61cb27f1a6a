"""The DenseNet that a model's layers look like: a config's fields, each read off most of the layers that have it.

Whether all layers are as the fields say is seen when a network is made of them, and not here: a layer too many, or one
of another width, does not keep the others from being read.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from statistics import mode

import numpy as np

import spec
from densenet_tools.diagnosis.sequence import Layer
from spec.families.squeeze_excitation import Placement
from spec.inference import share
from spec.recording import PARAMETRIC, POOLS, Recording

Part = tuple[str | None, Sequence[Layer]]  # what PATTERN calls it, and its layers
# Of letters, one a layer: n is a norm, p pointwise, c a convolution with a larger kernel. Behind a transition comes a
# dense layer, which begins with a norm and `next`; only a gate has p without n before it.
PATTERN = "(?P<gate>(?<!n)pp)|(?P<transition>n+p(?=p*n+{next}))|(?P<dense>n[np]*?c)"


def read(recording: Recording, found: Sequence[Layer]) -> spec.DenseNetConfig:
    """The config of the layers `found`, its stem as it was recorded; raises SpecError for what is no DenseNet."""
    letters = "".join("_npcc"[len(layer.dims)] for layer in found)
    norm = letters.startswith("nn", 1)
    bottleneck = re.match("n+p", letters[1:]) is not None
    tokens = re.compile(PATTERN.format(next="p" if bottleneck else "")).finditer(letters, 1 + norm)
    parts: list[Part] = [(token.lastgroup, found[slice(*token.span())]) for token in tokens]
    dense = [layers for name, layers in parts if name == "dense"]
    if len(found[0].shape) != 4 or not dense:
        raise spec.SpecError("a DenseNet has a convolution, and dense layers behind it")
    growth_rate, block_config = mode(layers[-1].shape[0] for layers in dense), _block_config(parts)
    return spec.DenseNetConfig(
        growth_rate=growth_rate,
        block_config=block_config,
        bn_size=max(1, mode(layers[1].shape[0] for layers in dense) // growth_rate) if bottleneck else None,
        compression=_compression([layers[-1] for name, layers in parts if name == "transition"]),
        stem=_stem(recording, found[0], norm, growth_rate),
        squeeze_excitation=_gates(parts, growth_rate, len(block_config)),
        conv_bias=mode(layers[-1].bias for layers in dense),
        in_channels=recording.images.shape[1],
        num_classes=found[-1].shape[0],
    )


def _block_config(parts: Sequence[Part]) -> tuple[int, ...]:
    counts = [0]
    for name, _ in parts:
        counts += [0] if name == "transition" else []
        counts[-1] += name == "dense"
    return tuple(count for count in counts if count)


def _compression(convs: Sequence[Layer]) -> float:
    """The share that the transitions keep; where they differ, that of most."""
    kept = [(conv.shape[1], conv.shape[0]) for conv in convs]
    try:
        return min(share(kept), 1.0)
    except spec.SpecError:
        return min(mode(share([each]) for each in kept), 1.0)


def _stem(recording: Recording, conv: Layer, norm: bool, growth_rate: int) -> spec.Stem:
    """As it was recorded; padding that differs from side to side counts as the widest."""
    at = [number for number, call in enumerate(recording.calls) if call.kind in PARAMETRIC]
    first, after = at[0], at[1 + norm]
    paddings = [call.settings["padding"] for call in recording.calls[: first + 1] if call.kind in ("pad", "conv")]
    width, _, kernel_size, _ = conv.shape
    return spec.Stem(
        channels=None if width == 2 * growth_rate else width,
        kernel_size=kernel_size,
        stride=recording.calls[first].settings["stride"][0],
        padding=min(sum(int(np.max(sides)) for sides in paddings), kernel_size - 1),
        norm=norm,
        pool=any(call.kind in POOLS for call in recording.calls[first:after]),
    )


def _gates(parts: Sequence[Part], growth_rate: int, blocks: int) -> spec.SqueezeExcitationConfig | None:
    """Where there are gates, which the part before each and its channels tell, and the ratio that all have."""
    gates = [(before, layers[0]) for (before, _), (name, layers) in pairwise(parts) if name == "gate"]
    if not gates:
        return None
    sizes = [(fc1.shape[1], fc1.shape[0]) for _, fc1 in gates]  # channels, and hidden ones
    transition = sum(before == "transition" for before, _ in gates)
    layer = sum(before == "dense" and fc1.shape[1] == growth_rate for before, fc1 in gates)
    block = len(gates) - transition - layer  # the final one is among them, or is all of them
    there: dict[Placement, bool] = {
        "layer": layer > 0,
        "block": block > 1,
        "transition": transition > 0,
        "final": block in (1, blocks + 1),
    }
    ratios = [r for r in range(1, sizes[0][0] + 1) if all(channels // r == hidden for channels, hidden in sizes)]
    published = spec.SqueezeExcitationConfig().ratio
    return spec.SqueezeExcitationConfig(
        ratio=published if published in ratios or not ratios else ratios[-1],
        placement=tuple(placement for placement, found in there.items() if found),
        bias=gates[0][1].bias,
    )
