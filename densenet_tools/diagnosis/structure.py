"""Which network a stranger's model is, and where its layers are others than expected: told before any number.

What no shape shows (strides, paddings, pools, epsilons, dropout) makes no other network: numbers tell that.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

import spec
from densenet_tools.diagnosis.matching import aligned
from densenet_tools.diagnosis.reading import read
from densenet_tools.diagnosis.sequence import Layer, agreeing, layers_of, recorded, same, specified
from spec.config import Config
from spec.inference import variant_of
from spec.recording import Recording
from spec.shapes import Misfit

USE = ("num_classes", "in_channels")  # fields that say what a network is used for, not which one it is
ALIKE, MEANT = 100, 30  # points for two layers that put out the same, and for two of one kind
MOST = 10  # sentences before it is said how many more there are


def recognize(recording: Recording, arrays: Mapping[str, np.ndarray]) -> spec.NetworkConfig:
    """The config whose network has the model's layers: a variant's where one fits, else a DenseNet's that is inferred.

    Raises SpecError where there is none, naming the first layer that fits nothing.
    """
    found, size = recorded(recording, arrays), recording.images.shape[2]
    candidates = list(_candidates(recording, found))
    for _, config, layers in candidates:
        if _fit(found, layers, config):
            return _at_size(config, size)
    name, _, layers = max(reversed(candidates), key=lambda candidate: agreeing(found, candidate[-1]))
    raise spec.SpecError(f"no config describes the model: {_misfit(found, name, layers)}")


def numbers_of_norms(recording: Recording) -> dict[str, float]:
    """Epsilon and decay, as fields of a config, where all batch norms of the model say the same."""
    norms = [call.settings for call in recording.calls if call.kind == "batch_norm"]
    said = {name: {round(float(settings[name]), 12) for settings in norms} for name in ("eps", "decay")}
    return {name: values.pop() for name, values in said.items() if len(values) == 1}


def differences(expected: spec.NetworkConfig, found: spec.NetworkConfig) -> list[str]:
    """A sentence for each field that departs, as far as shapes show it, and which variant this is instead."""
    departures = {name: f"{name} {_text(a)} expected, {_text(b)} found" for name, a, b in _departures(expected, found)}
    own = [sentence for name, sentence in departures.items() if name not in USE]
    variant = variant_of(found)
    if own and variant:
        own[-1] += f": this is {variant}"
    return own + [departures[name] for name in USE if name in departures]


def closest(recording: Recording, arrays: Mapping[str, np.ndarray], network: spec.Network) -> list[str]:
    """How the model's layers depart from the network's, if they do: those too many, missing, and of other shapes.

    A layer that merely takes other channels is counted, not named, where a departure before it explains that.
    """
    layers, expected_layers = recorded(recording, arrays), specified(network.root)
    if _fit(layers, expected_layers, network.config):
        return []
    sentences: list[str] = []
    follow, behind = 0, "the images"
    rows = _rows(expected_layers, layers)
    for expected, found in rows:
        if expected is None:
            sentences += [f"too many: {found} behind {behind}{_own_name(found)}"] if found else []
        elif found is None:
            sentences.append(f"missing: {expected.path}, {expected}")
        else:
            behind = expected.path
            if expected.dims != found.dims and expected.outside == found.outside and sentences:
                follow += 1
            elif expected.dims != found.dims:
                sentences.append(_reshaped(expected, found))
    pairs = [(expected, found) for expected, found in rows if expected and found]
    if norms := [call for call in recording.calls if call.kind == "other" and "norm" in call.text.lower()]:
        sentences.insert(0, f"normalized by {norms[0].text}, {len(norms)} times, first in {norms[0].layer}")
    sentences += _biases("more than expected", [(one, other) for one, other in pairs if other.bias > one.bias])
    sentences += _biases("missing", [(one, other) for one, other in pairs if other.bias < one.bias])
    more = [f"and {len(sentences) - MOST} more"] if len(sentences) > MOST else []
    more += [f"layers behind that take other channels because of that: {follow}"] if follow else []
    return sentences[:MOST] + more


def _candidates(
    recording: Recording, found: Sequence[Layer]
) -> Iterator[tuple[str, spec.NetworkConfig, Sequence[Layer]]]:
    """What it may be, by name, config and layers: each variant, then the DenseNet that it looks like.

    At their published sizes and at the recorded one, which some have a linear layer for.
    """
    use = {"num_classes": found[-1].shape[0], "in_channels": recording.images.shape[1]}
    configs = [(name, spec.variant_config(name, **use)) for name in spec.names()]
    with suppress(spec.SpecError):
        configs.append(("a DenseNet", read(recording, found)))
    for name, config in configs:
        for size in {config.input_size: 0, recording.images.shape[2]: 0}:
            sized = config.model_copy(update={"input_size": size})
            with suppress(spec.SpecError, Misfit):  # too small, or a DenseNet that cannot be
                yield name, sized, layers_of(sized)


def _fit(found: Sequence[Layer], expected: Sequence[Layer], config: spec.NetworkConfig | None) -> bool:
    """Whether they are the same; those of a network that branches run in any order."""
    return same(found, expected, in_order=isinstance(config, spec.DenseNetConfig))


def _at_size(config: spec.NetworkConfig, size: int) -> spec.NetworkConfig:
    """For images of that size, where they are large enough and make no other network of it."""
    sized = config.model_copy(update={"input_size": size})
    try:
        spec.build(sized)
    except spec.SpecError:
        return config
    return sized if _alike(config, sized) else config


def _misfit(found: Sequence[Layer], name: str, expected: Sequence[Layer]) -> str:
    """The first layer that is none of that network."""
    at = agreeing(found, expected)
    here = f"{found[at].path} is {found[at]}" if at < len(found) else f"it ends behind {found[-1].path}"
    there = f"has {expected[at].path}, {expected[at]}" if at < len(expected) else "ends"
    return f"{here}, where {name} {there}"


def _departures(expected: spec.NetworkConfig, found: spec.NetworkConfig) -> Iterator[tuple[str, Any, Any]]:
    """(field, expected, found) where the found config would have other layers if it had the expected value."""
    alike = expected.family == found.family
    if not alike:
        yield "family", expected.family, found.family
    expected, found = _comparable(expected, found), _comparable(found, expected)
    for name in type(expected).model_fields if alike else USE:
        one, other = getattr(expected, name), getattr(found, name)
        fields = [(name, one, other, one)]
        if isinstance(one, Config) and isinstance(other, Config):
            parts = [(part, value, getattr(other, part)) for part, value in one]
            fields = [(f"{name}.{part}", a, b, other.model_copy(update={part: a})) for part, a, b in parts]
        for field, a, b, instead in fields:
            if a != b and not _alike(found, found.model_copy(update={name: instead})):
                yield field, a, b


def _comparable(config: spec.NetworkConfig, other: spec.NetworkConfig) -> spec.NetworkConfig:
    """With the stem's width as a number, unless both leave it to the growth rate."""
    if not isinstance(config, spec.DenseNetConfig) or not isinstance(other, spec.DenseNetConfig):
        return config
    if config.stem.channels == other.stem.channels:
        return config
    width = config.stem.channels or 2 * config.growth_rate
    return config.model_copy(update={"stem": config.stem.model_copy(update={"channels": width})})


def _alike(one: spec.NetworkConfig, other: spec.NetworkConfig) -> bool:
    """Whether they have the same layers; not where one has a field that its others do not allow."""
    try:
        return same(layers_of(one), layers_of(other))
    except (spec.SpecError, Misfit):
        return False


def _text(value: Any) -> str:
    """A field's value, much as a config file has it."""
    if isinstance(value, Config):
        return f"{{ {', '.join(f'{name} = {_text(each)}' for name, each in value)} }}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))})"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _rows(expected: Sequence[Layer], found: Sequence[Layer]) -> list[tuple[Layer | None, Layer | None]]:
    """Both side by side, as much alike as their orders allow; None where one has no such layer."""
    points = np.array([[_points(one, other) for other in found] for one in expected])
    rows: list[tuple[Layer | None, Layer | None]] = []
    i = j = 0
    for a, b in [*aligned(points), (len(expected), len(found))]:
        rows += [(layer, None) for layer in expected[i:a]] + [(None, layer) for layer in found[j:b]]
        rows += zip(expected[a : a + 1], found[b : b + 1])
        i, j = a + 1, b + 1
    return rows


def _points(expected: Layer, found: Layer) -> int:
    """For a pair: what they put out counts most, then what they take and whether they have a bias."""
    if (expected.kind == "batch_norm") != (found.kind == "batch_norm"):
        return -ALIKE
    points = ALIKE if expected.outside == found.outside else MEANT
    return points + (expected.dims == found.dims) + (expected.bias == found.bias)


def _reshaped(expected: Layer, found: Layer) -> str:
    compressed, kept = expected.dims[0] < expected.dims[-1], found.dims[0] == found.dims[-1]
    why = ": no compression" if "transition" in expected.path and compressed and kept else ""
    return f"{expected.path}: weight {expected.shape} expected, {found.shape} found{why}{_own_name(found, expected)}"


def _biases(what: str, pairs: Sequence[tuple[Layer, Layer]]) -> list[str]:
    if not pairs:
        return []
    first = f"{pairs[0][0].path}{_own_name(pairs[0][1], pairs[0][0])}"
    return [f"bias: {len(pairs)} {what}, {'of' if len(pairs) == 1 else 'the first of'} {first}"]


def _own_name(found: Layer, expected: Layer | None = None) -> str:
    """What the model calls it, if that is not what the spec does."""
    same_name = expected is not None and found.path == expected.path
    return "" if same_name else f" (its name in the model: {found.path})"
