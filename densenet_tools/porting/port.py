"""From one file to another: read, told what it is, converted; then both files are run, and compared."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import spec
from densenet_tools.parity import Verdict
from densenet_tools.parity.differences import difference
from densenet_tools.parity.outputs import beside, expected_of
from densenet_tools.porting.adapt import adapted, with_eps
from densenet_tools.porting.formats import Format
from densenet_tools.porting.peers import FIXED
from densenet_tools.porting.readers import IMAGENET, Found, read
from densenet_tools.porting.writers import opened
from spec.inference import alike, infer, variant_of
from spec.variants import config_of, variant_config

# Whose weights torchvision publishes, and the fields in which its networks are not the variants of that name.
RESNET = {"conv_bias": False, "projection_norm": True}
VARIANTS = ("densenet121", "densenet161", "densenet169", "densenet201", "vgg11", "vgg13", "vgg16", "vgg19")
PUBLISHED: dict[str, dict[str, bool]] = {name: {} for name in VARIANTS} | {"resnet18": RESNET, "resnet34": RESNET}
CLASSES = 1000  # of ImageNet


@dataclass(frozen=True)
class Ported:
    """What became of a file: `source` as it was found, in which format, and `result` as it is to be written.

    `changes` are {name: what was done} of tensors that other classes or channels, or another epsilon, needed.
    """

    format: Format
    source: spec.Checkpoint
    result: spec.Checkpoint
    changes: Mapping[str, str] = field(default_factory=dict)


def convert(
    path: Path,
    format: Format,
    to: Format = Format.NEUTRAL,
    network: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
) -> Ported:
    """What a file holds, as a network with its weights, adapted where other classes or channels are asked for.

    `network` names it where its shapes leave more than one answer; `overrides` are fields that no shape shows.
    Raises SpecError for a file that is none, or of no network of the spec.
    """
    found = read(path, format)
    source, config = _recognized(path, found, network, overrides or {}, num_classes)
    asked = {"num_classes": num_classes, "in_channels": in_channels}
    fields = config.model_dump() | {name: value for name, value in asked.items() if value is not None}
    target = spec.build(type(config)(**fields), source.network.name)
    weights, changes = adapted(target, source.weights)
    eps = FIXED[to]["eps"] if to.is_peer else None
    if eps is not None and getattr(target.config, "eps", eps) != eps:
        target, weights, moved = with_eps(target, weights, eps)
        changes |= moved
    preprocessing = _published(found, target) if found.checkpoint is None else source.preprocessing
    if preprocessing is not None and len(preprocessing.mean) != target.in_channels:
        preprocessing = None  # it is of other channels
    classes = source.classes if num_classes in (None, source.network.num_classes) else None
    result = spec.Checkpoint(target, weights, preprocessing, _provenance(path, source), classes)
    return Ported(found.format, replace(source, preprocessing=preprocessing), result, changes)


@dataclass(frozen=True)
class Comparison:
    """What the two files give, each opened by its own framework: a row for each beside the NumPy reference.

    `apart` is how far they are from each other, relative; None where other classes or channels are asked for.
    """

    rows: tuple[Verdict, ...]
    apart: float | None = None


def compare(ported: Ported, source: Path, dest: Path, to: Format, images: np.ndarray) -> Comparison:
    """Runs both on `images` (N, C, H, W), which are the source's; a result of other channels gets those in turn."""
    before, after = ported.source, ported.result
    expected = expected_of(before, images, before.dtype)
    row, found = _run(source, ported.format, before, images, expected)
    if to is Format.CONFIG:
        return Comparison((row,))
    if ported.changes:
        images = images[:, np.arange(after.network.in_channels) % images.shape[1]]
        expected = expected_of(after, images, after.dtype)
    other, outputs = _run(dest, to, after, images, expected)
    same = outputs.shape == found.shape and after.network.in_channels == before.network.in_channels
    return Comparison((row, other), difference(outputs, found)[1] if same else None)


def _recognized(
    path: Path, found: Found, named: str | None, overrides: Mapping[str, Any], num_classes: int | None
) -> tuple[spec.Checkpoint, spec.NetworkConfig]:
    """The network of a file's weights, without its classifier where they have none, and the config of the whole."""
    if found.checkpoint is not None:
        if named or overrides:
            raise spec.SpecError(f"{path} says itself which network it is of: leave --as and --set out")
        assert found.checkpoint.network.config is not None
        return found.checkpoint, found.checkpoint.network.config
    shapes = {name: array.shape for name, array in found.weights.items()}
    headless = "features.norm5.weight" in shapes and "classifier.weight" not in shapes
    if headless:
        if num_classes is None:
            raise spec.SpecError(f"{path} has no classifier: add a new one with --num-classes")
        width = shapes["features.norm5.weight"]
        shapes |= {"classifier.weight": (num_classes, *width), "classifier.bias": (num_classes,)}
    try:
        config = spec.load_config(named) if named else infer(shapes)
        config = config_of(config.model_dump(), {**found.fields, **overrides}, str(path))
    except spec.SpecError as error:
        raise spec.SpecError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
    whole = spec.build(config, variant_of(config) or path.name.partition(".")[0])
    network = whole.headless if headless else whole
    dtype = str(next(iter(found.weights.values())).dtype)
    try:
        spec.check_weights(found.weights, spec.parameter_shapes(network), dtype)
    except spec.SpecError as error:
        raise spec.SpecError(f"{path}: {error}") from None
    weights = {name: found.weights[name] for name in spec.parameter_shapes(network)}
    return spec.Checkpoint(network, weights), config


def _published(found: Found, network: spec.Network) -> spec.Preprocessing | None:
    """What the one who published the weights does to a photograph; None where that is not known."""
    config = network.config
    if found.format is not Format.TORCH or config is None:
        return found.preprocessing
    theirs = any(alike(config, variant_config(name, **fields)) for name, fields in PUBLISHED.items())
    return IMAGENET if theirs and (network.in_channels, network.num_classes) == (3, CLASSES) else None


def _provenance(path: Path, source: spec.Checkpoint) -> dict[str, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    before = {"before": source.provenance["source"]} if "source" in source.provenance else {}
    return before | {"source": path.name, "sha256": digest}


def _run(
    path: Path, format: Format, checkpoint: spec.Checkpoint, images: np.ndarray, expected: np.ndarray
) -> tuple[Verdict, np.ndarray]:
    """A file, as its framework opens it: how it compares with what is expected, and what it puts out."""
    network, dtype = checkpoint.network, checkpoint.dtype
    predict = opened(path, format, network, dtype)
    return beside(
        expected,
        lambda: predict(images.astype(dtype)),
        network=network.name,
        backend=format.value,
        dtype=dtype,
        weights=checkpoint.weights,
        what="logits" if network.num_classes else "features",
        blamed=str(path),
    )
