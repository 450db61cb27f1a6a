"""Whether a network fits into this machine, said before it is built."""

import os
from math import prod

import spec
from spec.analysis import BYTES
from spec.shapes import by

UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def check(network: spec.Network, input_shape: tuple[int, ...], batch: int, each: int, layers: bool = False) -> None:
    """Raises SpecError where weights and activations alone need more memory than the machine has.

    `each` is how many bytes a number takes in all places that hold it at once; with `layers` every layer's output is
    held, else the largest.
    """
    needed, there = _needed(network, input_shape, batch, each, layers), _physical()
    if there is not None and needed > there:
        raise spec.SpecError(
            f"{network.name} at {batch} x {by(input_shape)} needs at least {readable(needed)} of memory, this machine "
            f"has {readable(there)}: use fewer or smaller images, or a smaller network"
        )


def readable(size: int) -> str:
    """Bytes in the unit that fits: 3.1 MiB."""
    power = max(0, min(len(UNITS) - 1, (size.bit_length() - 1) // 10))
    return f"{size / 2 ** (10 * power):,.1f} {UNITS[power]}" if power else f"{size} bytes"


def _needed(network: spec.Network, input_shape: tuple[int, ...], batch: int, each: int, layers: bool) -> int:
    *rows, total = spec.analyze(network, input_shape)
    largest = max(prod(row.output_shape) for row in rows)
    values = total.activation_bytes // BYTES if layers else largest
    return each * (total.parameters + total.buffers + batch * (prod(input_shape) + values))


def _physical() -> int | None:
    """The machine's memory in bytes; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
