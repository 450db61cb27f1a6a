"""Files that a command writes."""

from pathlib import Path

import spec


def check(path: Path | None) -> None:
    """Raises SpecError where a folder for the file that --json names is missing."""
    if path and not path.parent.is_dir():
        raise spec.SpecError(f"--json {path} cannot be written: {path.parent} is not a directory")


def write(path: Path, text: str) -> None:
    """The text, as UTF-8; raises SpecError where that is not possible."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise spec.SpecError(f"{path} cannot be written: {error.strerror}") from None
