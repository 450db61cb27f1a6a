"""The kinds of files that weights are read from and written to."""

from enum import Enum
from pathlib import Path

import spec


class Format(Enum):
    """Its value is what the command line calls it."""

    NEUTRAL = "neutral"
    TORCH = "torch"
    KERAS = "keras"
    APPLICATIONS = "keras.applications"
    GLUON = "gluon"
    ZOO = "mxnet.model_zoo"
    CONFIG = "config"

    @property
    def backend(self) -> str:
        """The backend whose framework opens such files: NumPy alone opens neutral ones."""
        return {"torch": "torch", "keras": "keras", "gluon": "mxnet", "mxnet": "mxnet"}.get(
            self.value.partition(".")[0], "numpy"
        )

    @property
    def is_peer(self) -> bool:
        """Whether another implementation than this project's opens them."""
        return self in (Format.APPLICATIONS, Format.ZOO)


SUFFIXES = {
    ".safetensors": Format.NEUTRAL,
    ".pth": Format.TORCH,
    ".pt": Format.TORCH,
    ".keras": Format.KERAS,
    ".weights.h5": Format.KERAS,
    ".h5": Format.KERAS,
    ".hdf5": Format.KERAS,
    ".params": Format.GLUON,
    ".json": Format.CONFIG,
}

# How the name of a file ends that is written, the first of them for choice.
ENDINGS = {
    Format.NEUTRAL: (".safetensors",),
    Format.TORCH: (".pth", ".pt"),
    Format.KERAS: (".keras", ".weights.h5"),
    Format.APPLICATIONS: (".weights.h5",),
    Format.GLUON: (".params",),
    Format.ZOO: (".params",),
    Format.CONFIG: (".json",),
}


def format_of(path: Path, named: str | None, option: str) -> Format:
    """The format of that name, or the one that the path ends in; raises SpecError where there is none."""
    known = ", ".join(each.value for each in Format)
    if named is not None:
        if named not in [each.value for each in Format]:
            raise spec.SpecError(f"{option} {named!r} is no format, known: {known}")
        return Format(named)
    for suffix, found in SUFFIXES.items():
        if path.name.endswith(suffix):
            return found
    raise spec.SpecError(
        f"{path} does not end in {', '.join(SUFFIXES)}: say with {option} which format it is ({known})"
    )
