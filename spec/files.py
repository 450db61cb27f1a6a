"""Files that are whole or absent: written beside their place, synced, and put there in one step."""

import errno
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from spec.errors import SpecError

PER_ARRAY = 2**12  # bytes of an HDF5 file besides an array's values, roughly


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """The path of a new file beside `path`, which takes its place, and its mode, once the block has ended.

    What was there stays as it is until then, and where anything fails. Raises SpecError where that is not possible.
    """
    target = Path(path).resolve()  # a link stays one
    if target.exists() and not target.is_file():
        raise SpecError(f"{path} cannot be written: it is not a file")
    beside = target.with_name(f".{uuid4().hex}.{target.name[-180:]}")  # some writers go by its end
    try:
        beside.touch()  # where that fails, the system says why, and not the writer in its own words
        mode = (target if target.exists() else beside).stat().st_mode  # some writers let nobody else read theirs
        yield beside
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(beside, mode)
        os.replace(beside, target)
    except OSError as error:
        raise SpecError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        beside.unlink(missing_ok=True)


def check_space(path: Path, sizes: Iterable[int]) -> None:
    """Raises OSError where arrays of so many bytes do not fit beside `path`: on a full disk HDF5 ends the process."""
    if shutil.disk_usage(path.parent).free < sum(size + PER_ARRAY for size in sizes):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def check_unpacked(path: str | Path, most: int = 4) -> None:
    """Raises SpecError where a ZIP archive would unpack to more than `most` times its size: weights hardly shrink."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked, there = sum(info.file_size for info in archive.infolist()), Path(path).stat().st_size
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise SpecError(f"{path} is a damaged archive: {error}") from None
    if unpacked > most * there:
        raise SpecError(f"{path} would unpack to {unpacked} bytes from {there}, which no weights do")


def check_readable(path: str | Path) -> None:
    """Raises SpecError unless there is a file, and not a folder or a pipe, which would be waited for."""
    if not Path(path).exists():
        raise SpecError(f"{path} does not exist")
    if not Path(path).is_file():
        raise SpecError(f"{path} cannot be read: it is not a file")
