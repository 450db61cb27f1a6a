"""A network: a tree of nodes with a name, and the inputs that it accepts."""

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod

import numpy as np

from spec.blocks import Sequential
from spec.config import NetworkConfig
from spec.errors import SpecError
from spec.layers import BatchNorm, Conv, Flatten, GlobalAvgPool, Linear, Sigmoid, Softmax
from spec.shapes import Misfit, Shape, TooLarge, TooSmall, by
from spec.tree import Node, output_shape, output_shapes, walk

LARGEST = 2**16  # pixels along a side, more than any image has
ACTIVATIONS = {"softmax": Softmax, "sigmoid": Sigmoid}


@dataclass(frozen=True)
class Network:
    """What every backend builds; one whose nodes do not fit together is refused.

    `input_shape` is the (C, H, W) the network was published for. Heights and widths from `min_size` to
    `max_size` work; `max_size` is None where any size does. `num_classes` is None where there is no
    classifier: then the output is the last feature map. `config` is what `build` made the network of, None
    for one that was made, or changed, by hand.
    """

    name: str
    root: Sequential
    input_shape: tuple[int, int, int]
    num_classes: int | None
    config: NetworkConfig | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            output = output_shape(self.root, self.input_shape)
        except Misfit as misfit:
            raise SpecError(f"{self.name} at {by(self.input_shape)}: {misfit}") from None
        if self.num_classes is not None and output != (self.num_classes,):
            raise SpecError(f"{self.name} puts out {by(output)}, expected {self.num_classes}, one for each class")

    @property
    def in_channels(self) -> int:
        return self.input_shape[0]

    @cached_property
    def min_size(self) -> int:
        """The smallest height and width that leave enough pixels everywhere."""
        return _first_size(self.root, self.in_channels, 0, max(self.input_shape[1:]))

    @cached_property
    def max_size(self) -> int | None:
        """The largest height and width that a classifier on a flattened map has weights for."""
        if _fit(self.root, self.in_channels, LARGEST) <= 0:
            return None
        return _first_size(self.root, self.in_channels, 1, LARGEST) - 1

    @property
    def body(self) -> Sequential:
        """What comes before the global pool or the flattening: images in, feature maps out."""
        kinds = [isinstance(node, (GlobalAvgPool, Flatten)) for _, node in self.root.children]
        return Sequential(self.root.children[: [*kinds, True].index(True)])

    @property
    def headless(self) -> "Network":
        """The body alone, as a network without classifier; its config is the whole network's."""
        return _with_config(replace(self, root=self.body, num_classes=None), self.config)

    @property
    def first_path(self) -> str | None:
        """The path of the convolution that takes the images; None where there is none."""
        return next((path for path, node in walk(self.root) if isinstance(node, Conv)), None)

    @property
    def classifier_path(self) -> str | None:
        """The path of the linear layer that puts out one value for each class; None where there is none."""
        linear = [path for path, node in walk(self.root) if isinstance(node, Linear)]
        return linear[-1] if linear and self.num_classes is not None else None

    @property
    def gives_logits(self) -> bool:
        return self.num_classes is not None and not isinstance(self.root.children[-1][1], (Softmax, Sigmoid))

    def check_input_shape(self, shape: Shape) -> None:
        """Raises SpecError unless `shape` is a (C, H, W) that this network accepts."""
        if len(shape) != 3:
            raise SpecError(f"{self.name} takes images of shape (C, H, W), found {by(shape)}")
        if shape[0] != self.in_channels:
            raise SpecError(
                f"{self.name} takes images of {self.in_channels} channel(s), found {by(shape)}: "
                f"convert the images, or build the network with in_channels={shape[0]}"
            )
        if min(shape[1:]) < self.min_size:
            raise SpecError(
                f"input {by(shape)} is too small for {self.name}: "
                f"the smallest that works is {by((self.in_channels, self.min_size, self.min_size))}"
            )
        if self.max_size is not None and max(shape[1:]) > self.max_size:
            raise SpecError(
                f"input {by(shape)} is too large for {self.name}, whose classifier was made for "
                f"{by(self.input_shape)}: the largest that works is "
                f"{by((self.in_channels, self.max_size, self.max_size))}; resize the images, "
                f"or build the network with another input_size"
            )

    def check_images(self, images: np.ndarray) -> None:
        """Raises SpecError unless `images` is an array (N, C, H, W) of finite floats that this network accepts."""
        if not isinstance(images, np.ndarray):
            raise SpecError(f"images must be a NumPy array, found {type(images).__name__}")
        if images.dtype.kind != "f":
            raise SpecError(
                f"images must be floats, found {images.dtype}: scale them first, "
                "for example (images / 255).astype(numpy.float32)"
            )
        if images.ndim != 4 or len(images) == 0:
            raise SpecError(f"images must have shape (N, C, H, W) with N at least 1, found {images.shape}")
        self.check_input_shape(images.shape[1:])
        largest = np.abs(images).max()
        if not largest <= np.finfo(np.float32).max:  # so that NaN is not
            raise SpecError(f"images must have finite values that float32 can hold, found {largest}")

    def check_batch(self, images: np.ndarray, labels: np.ndarray) -> None:
        """Raises SpecError unless `images` and `labels`, integers (N,), can give a cross-entropy loss."""
        self.check_images(images)
        if self.num_classes is None:
            raise SpecError(f"{self.name} has no classifier, a loss needs logits: build the whole network")
        if not self.gives_logits:
            last, _ = self.root.children[-1]
            raise SpecError(f"{self.name} ends in a {last}, a loss needs logits: set classifier_activation to none")
        if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
            found = getattr(labels, "dtype", type(labels).__name__)
            raise SpecError(f"labels must be a NumPy array of integers, found {found}")
        if labels.shape != (len(images),):
            raise SpecError(f"labels must have shape ({len(images)},), one for each image, found {labels.shape}")
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise SpecError(
                f"labels must lie between 0 and {self.num_classes - 1}, found {labels.min()} to {labels.max()}"
            )
        counts = self.values_per_channel(images.shape) if len(images) == 1 else {}
        for path in (path for path, count in counts.items() if count == 1):
            raise SpecError(
                f"one image of {by(images.shape[1:])} leaves {path} one value per channel, whose variance is 0 "
                "whatever the value: train on two images or more, or on larger ones"
            )

    def values_per_channel(self, shape: Shape) -> dict[str, int]:
        """{path of a batch norm: n}, the values of each channel whose mean and variance it takes.

        `shape` is that of a batch, (N, C, H, W).
        """
        return {
            path: shape[0] * prod(size)
            for path, node, (_, *size) in output_shapes(self.root, shape[1:])
            if isinstance(node, BatchNorm)
        }


def build(config: NetworkConfig, name: str | None = None) -> Network:
    """The network that a config of any family describes; its name is the family's unless given.

    Raises SpecError where no such network exists.
    """
    size, name = config.input_size, name or config.family
    try:
        nodes = config.nodes()
    except TooSmall:
        raise SpecError(f"input_size {size} is too small for {name}: no pixel would be left") from None
    if config.classifier_activation is not None:
        nodes += ((config.classifier_activation, ACTIVATIONS[config.classifier_activation]()),)
    root, in_channels = Sequential(nodes), config.in_channels
    if _fit(root, in_channels, size) < 0:
        smallest = _first_size(root, in_channels, 0, LARGEST)
        raise SpecError(f"input_size {size} is too small for {name}: the smallest that works is {smallest}")
    return _with_config(Network(name, root, (in_channels, size, size), config.num_classes), config)


def _with_config(network: Network, config: NetworkConfig | None) -> Network:
    """Not by __init__, so that a network changed with `replace` never keeps that of another."""
    object.__setattr__(network, "config", config)
    return network


def _first_size(root: Node, in_channels: int, fit: int, last: int) -> int:
    """The smallest height and width, `last` at the most, of images with at least that fit."""
    return bisect_left(range(last), fit, lo=1, key=lambda size: _fit(root, in_channels, size))


def _fit(root: Node, in_channels: int, size: int) -> int:
    """-1 where an image of that height and width is too small for a node, 1 where it is too large, else 0."""
    try:
        output_shape(root, (in_channels, size, size))
    except (TooSmall, TooLarge) as misfit:
        return 1 if isinstance(misfit, TooLarge) else -1
    return 0
