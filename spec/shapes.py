"""Shapes per image, (C, H, W) for maps and (features,) for vectors, and what is said where one does not fit."""

Shape = tuple[int, ...]
Shapes = dict[str, Shape]  # of parameters and buffers, by name


class Misfit(ValueError):
    """What a node takes and what it gets; the path of the node comes before it as the sentence is passed up."""


class TooSmall(Misfit):
    """A larger image may fit."""


class TooLarge(Misfit):
    """A smaller image may fit."""


def by(shape: Shape) -> str:
    """3x224x224."""
    return "x".join(map(str, shape))


def map_of(shape: Shape, channels: int | None = None) -> tuple[int, int, int]:
    """`shape` as (C, H, W); raises Misfit unless it is a map, and of that many channels where they are given."""
    if len(shape) != 3:
        raise Misfit(f"takes maps (C, H, W), gets {by(shape)} features")
    if channels not in (None, shape[0]):
        raise Misfit(f"takes {channels} channels, gets {shape[0]}")
    C, height, width = shape
    return C, height, width


def windows(shape: Shape, kernel_size: int, stride: int, padding: int) -> tuple[int, int]:
    """How many windows fit along height and width of a map: floor((n + 2p - k) / s) + 1."""
    _, height, width = map_of(shape)
    if min(height, width) + 2 * padding < kernel_size:
        padded = f" padded by {padding}" if padding else ""
        raise TooSmall(f"a {kernel_size}x{kernel_size} window does not fit into {height}x{width}{padded}")
    return (height + 2 * padding - kernel_size) // stride + 1, (width + 2 * padding - kernel_size) // stride + 1
