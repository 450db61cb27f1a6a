"""The vocabulary of trees: what every node says of itself, and how a tree is walked and rewritten.

A network is a tree of nodes. A leaf is one layer. A container runs its children in order, a parallel node chains of
them side by side. A composite combines what its branches make of its input, and each backend writes it by hand. What a
node is stands with the node; how it is executed stands in the reference and in each backend.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, TypeVar

from spec.errors import SpecError
from spec.shapes import Misfit, Shape, Shapes

Chain = tuple[tuple[str, "Node"], ...]  # named nodes, one after the other; the empty one passes its input on
ZERO_ALLOWED = ("padding",)
LIMIT = 10**9  # of channels, features, pixels: more than any network has
Value = TypeVar("Value")


class Node(ABC):
    """A frozen dataclass. Its branches all start from its input; their outputs, its ends, it makes its own output of.

    `computes` says whether that output is a tensor of its own, rather than one of its ends, or a view of it.
    """

    computes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 0 if name in ZERO_ALLOWED else 1
            if type(value) is int and not least <= value <= LIMIT:
                limit = f"at least {least}, found {value}" if value < least else f"at most {LIMIT}"
                raise SpecError(f"{type(self).__name__}.{name}: should be {limit}")

    @property
    @abstractmethod
    def branches(self) -> tuple[Chain, ...]:
        """The chains that each start from the node's input."""

    @abstractmethod
    def output_shape(self, *ends: Any, **_: Any) -> Shape:
        """The shape of its output, given those of its ends; raises Misfit where it cannot take them."""

    @abstractmethod
    def parameter_shapes(self) -> Shapes:
        """Its own parameters and buffers, those of its children left out: {last part of the name: shape}."""


class Leaf(Node):
    """One layer. Its only end is its input."""

    branches: ClassVar[tuple[Chain, ...]] = ((),)


class Parent(Node):
    """A node that holds others: all parameters are theirs."""

    def parameter_shapes(self) -> Shapes:
        return {}


class Chained(Parent):
    """A parent whose one chain's output is its own."""

    computes = False

    def output_shape(self, end: Shape) -> Shape:
        return end


class Container(Chained):
    """Runs its children in order; what they are is all that it is."""

    children: Chain

    @property
    def branches(self) -> tuple[Chain, ...]:
        return (self.children,)


@dataclass(frozen=True)
class Parallel(Parent):
    """Runs its chains side by side and combines their ends; what they are is all that it is."""

    chains: tuple[Chain, ...]

    @property
    def branches(self) -> tuple[Chain, ...]:
        return self.chains


class Composite(Parent):
    """Combines what its branches make of its input; each backend writes it by hand."""


def join(path: str, name: str) -> str:
    """The dotted path of a child; the root's own path is empty."""
    return f"{path}.{name}" if path else name


def children(node: Node) -> Chain:
    """(name, node) of each child, branch after branch; a leaf has none."""
    return tuple(child for chain in node.branches for child in chain)


def walk(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Yields (dotted path, node) in the order in which outputs appear: children, then their parent.

    The root itself, whose path would be empty, is left out.
    """
    for name, child in children(node):
        yield from walk(child, join(path, name))
    if path:
        yield path, node


def rewrite(node: Node, change: Callable[[Node], Node]) -> Node:
    """The tree with `change` applied to every node that another holds in a field, inner ones first, then to `node`."""
    held = {field.name: getattr(node, field.name) for field in fields(node)}  # type: ignore[arg-type]
    return change(replace(node, **{name: _rewritten(value, change) for name, value in held.items()}))  # type: ignore[type-var]


def _rewritten(value: Any, change: Callable[[Node], Node]) -> Any:
    if isinstance(value, tuple):
        return tuple(_rewritten(item, change) for item in value)
    return rewrite(value, change) if isinstance(value, Node) else value


def through(node: Node, x: Value, combine: Callable[[str, Node, list[Value]], Value], path: str = "") -> Value:
    """Runs each of a node's branches on `x`; what `combine` makes of their ends is the node's output."""
    ends = []
    for chain in node.branches:
        end = x
        for name, child in chain:
            end = through(child, end, combine, join(path, name))
        ends.append(end)
    return combine(path, node, ends)


def output_shapes(node: Node, shape: Shape) -> list[tuple[str, Node, Shape]]:
    """(path, node, output shape) of all that `node` contains, and of itself last, for an input of `shape`.

    Raises Misfit, the path of the node before it, where one cannot take what arrives.
    """
    rows: list[tuple[str, Node, Shape]] = []

    def combine(path: str, node: Node, ends: list[Shape]) -> Shape:
        try:
            rows.append((path, node, node.output_shape(*ends)))
        except Misfit as misfit:
            raise type(misfit)(f"{path}: {misfit}") from None
        return rows[-1][-1]

    through(node, shape, combine)
    return rows


def output_shape(node: Node, shape: Shape) -> Shape:
    """The shape that `node` makes of an input of `shape`; raises Misfit as output_shapes does."""
    return output_shapes(node, shape)[-1][-1]
