"""Files that a command writes: whole or not at all, and never over what it reads."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import spec
from spec.files import replacing


def check(outputs: Mapping[str, Path | None], inputs: Iterable[Path] = ()) -> None:
    """Raises SpecError unless each output, {option: path}, can be written, and is no input and no other output."""
    read = {path.resolve() for path in inputs}
    written: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        if not path.parent.is_dir():
            raise spec.SpecError(f"{option} {path} cannot be written: {path.parent} is not a directory")
        if path.is_dir():
            raise spec.SpecError(f"{option} {path} cannot be written: it is a directory, name a file in it")
        if path.resolve() in read:
            raise spec.SpecError(f"{option} {path} is a file that is read: name another one")
        if path.resolve() in written:
            raise spec.SpecError(f"{option} {path} is what {written[path.resolve()]} writes: name another file")
        written[path.resolve()] = option


def write(path: Path, content: str | bytes) -> None:
    """Puts `content`, text as UTF-8, in the place of the file in one step; raises SpecError where that is not possible.

    It is written beside it first. What was there stays as it is until then, and where anything fails.
    """
    content = content.encode() if isinstance(content, str) else content
    target = path.resolve()  # a link stays one
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(content)  # a pipe or a device is not replaced
        else:
            with replacing(path) as beside:
                beside.write_bytes(content)
    except OSError as error:
        raise spec.SpecError(f"{path} cannot be written: {error.strerror}") from None
