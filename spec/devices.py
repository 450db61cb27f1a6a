"""What a device is called, in every backend."""

import re

from spec.errors import SpecError


def device_of(name: str) -> tuple[str, int]:
    """("cpu" or "gpu", its number) of a device's name: cpu, gpu, gpu:1; a GPU may be called cuda."""
    match = re.fullmatch(r"(cpu|gpu|cuda)(?::(\d{1,3}))?", name)
    if match is None:
        raise SpecError(f"device must be cpu, gpu or gpu:N, found {name!r}")
    return match[1].replace("cuda", "gpu"), int(match[2] or 0)
