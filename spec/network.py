"""A network: a tree of nodes with a name, and the inputs that it accepts."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spec.blocks import Node, Sequential
from spec.config import NetworkConfig
from spec.errors import SpecError
from spec.layers import Flatten, GlobalAvgPool, Softmax
from spec.shapes import Misfit, Shape, TooSmall, output_shape


@dataclass(frozen=True)
class Network:
    """What every backend builds.

    `input_shape` is the (C, H, W) the network was published for. Heights and widths from `min_size` to
    `max_size` work; `max_size` is None where a global pool takes any size.
    """

    name: str
    root: Sequential
    input_shape: tuple[int, int, int]
    num_classes: int

    @property
    def in_channels(self) -> int:
        return self.input_shape[0]

    @cached_property
    def min_size(self) -> int:
        """The smallest height and width that leave enough pixels everywhere."""
        return self._first_size(lambda outcome: outcome != TooSmall)

    @cached_property
    def max_size(self) -> int | None:
        """The largest height and width that a classifier on a flattened map has weights for."""
        flattened = any(isinstance(node, Flatten) and shape[1:] != (1, 1) for node, shape in self._head_inputs())
        return self._first_size(lambda outcome: outcome == Misfit) - 1 if flattened else None

    @property
    def body(self) -> Sequential:
        """What comes before the global pool or the flattening: images in, feature maps out."""
        head = next(i for i, (_, node) in enumerate(self.root.children) if isinstance(node, (GlobalAvgPool, Flatten)))
        return Sequential(self.root.children[:head])

    def _head_inputs(self) -> Iterator[tuple[Node, Shape]]:
        """Each of the root's children with the shape it gets."""
        shape: Shape = self.input_shape
        for _, node in self.root.children:
            yield node, shape
            shape = output_shape(node, shape)

    def _first_size(self, reached: Callable[[type[Exception] | None], bool]) -> int:
        """The smallest size whose outcome satisfies `reached`, as all larger ones do."""

        def outcome(size: int) -> bool:
            try:
                output_shape(self.root, (self.in_channels, size, size))
            except (TooSmall, Misfit) as error:
                return reached(type(error))
            return reached(None)

        enough = 1
        while not outcome(enough):
            enough *= 2
        return bisect_left(range(enough), True, lo=enough // 2 + 1, key=outcome)

    @property
    def gives_logits(self) -> bool:
        return not isinstance(self.root.children[-1][1], Softmax)

    def check_input_shape(self, shape: Shape) -> None:
        """Raises SpecError unless `shape` is a (C, H, W) that this network accepts."""
        if len(shape) != 3:
            raise SpecError(f"{self.name} takes images of shape (C, H, W), found {_by(shape)}")
        if shape[0] != self.in_channels:
            raise SpecError(
                f"{self.name} takes images of {self.in_channels} channel(s), found {_by(shape)}: "
                f"convert the images, or build the network with in_channels={shape[0]}"
            )
        if min(shape[1:]) < self.min_size:
            raise SpecError(
                f"input {_by(shape)} is too small for {self.name}: "
                f"the smallest that works is {_by((self.in_channels, self.min_size, self.min_size))}"
            )
        if self.max_size is not None and max(shape[1:]) > self.max_size:
            raise SpecError(
                f"input {_by(shape)} is too large for {self.name}, whose classifier was made for "
                f"{_by(self.input_shape)}: the largest that works is "
                f"{_by((self.in_channels, self.max_size, self.max_size))}; resize the images, "
                f"or build the network with another input_size"
            )

    def check_images(self, images: np.ndarray) -> None:
        """Raises SpecError unless `images` is a float array (N, C, H, W) that this network accepts."""
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

    def check_batch(self, images: np.ndarray, labels: np.ndarray) -> None:
        """Raises SpecError unless `images` and `labels`, integers (N,), can give a cross-entropy loss."""
        self.check_images(images)
        if not self.gives_logits:
            raise SpecError(f"{self.name} ends in a softmax, a loss needs logits: set classifier_activation to none")
        if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
            found = getattr(labels, "dtype", type(labels).__name__)
            raise SpecError(f"labels must be a NumPy array of integers, found {found}")
        if labels.shape != (len(images),):
            raise SpecError(f"labels must have shape ({len(images)},), one for each image, found {labels.shape}")
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise SpecError(
                f"labels must lie between 0 and {self.num_classes - 1}, found {labels.min()} to {labels.max()}"
            )


def assemble(name: str, config: NetworkConfig, nodes: Sequence[tuple[str, Node]]) -> Network:
    """The network of these nodes, with the softmax that the config asks for; raises SpecError for its input_size."""
    if config.classifier_activation == "softmax":
        nodes = [*nodes, ("softmax", Softmax())]
    size = config.input_size
    network = Network(name, Sequential(tuple(nodes)), (config.in_channels, size, size), config.num_classes)
    if size < network.min_size:
        raise SpecError(f"input_size {size} is too small for {name}: the smallest that works is {network.min_size}")
    return network


def _by(shape: Shape) -> str:
    return "x".join(map(str, shape))
