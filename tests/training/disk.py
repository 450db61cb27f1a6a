"""A disk on which calls fail: all that change a folder are counted, and from one of them on they raise."""

import builtins
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy

CALLS = [
    (os, "open"),
    (io, "open"),
    (builtins, "open"),
    (safetensors.numpy, "save_file"),
    (os, "fsync"),
    (os, "chmod"),
    (os, "mkdir"),
    (os, "rename"),
    (os, "replace"),
    (os, "unlink"),
    (os, "rmdir"),
]
REMOVING = ("unlink", "rmdir")
PART = '{"step": 1, "ep'


class Killed(BaseException):
    """What ends a run as SIGKILL does: no `except` in it knows this."""


@contextmanager
def failing(folder: Path, error: BaseException, at: int | None = None, torn: bool = False) -> Iterator[list[str]]:
    """The names of the calls that change `folder`, which grow; number `at`, from 0 on, and later ones raise `error`.

    They do so before their work, but with `torn` the first leaves a part of what it was to write. What an OSError
    stands for, such as a full disk, still lets files be removed.
    """
    calls: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if not _changes(folder, name, *arguments, **named):
                return real(*arguments, **named)
            if at is not None and len(calls) >= at and not (isinstance(error, OSError) and name in REMOVING):
                if torn and len(calls) == at:
                    _tear(name, real, *arguments, **named)
                calls.append(name)
                raise error
            calls.append(name)
            return None if name == "fsync" else real(*arguments, **named)  # which would only take time

        return call

    with pytest.MonkeyPatch.context() as patch:
        for module, name in CALLS:
            patch.setattr(module, name, counted(name, getattr(module, name)))
        yield calls


def _changes(folder: Path, name: str, *arguments: Any, **named: Any) -> bool:
    if name == "fsync" or (name in REMOVING and named.get("dir_fd") is not None):
        return True
    if name == "open":
        how = (*arguments, "r")[1]
        if not (how & os.O_CREAT if isinstance(how, int) else set(how) & set("wa")):
            return False
    path = arguments[1 if name in ("save_file", "rename", "replace") else 0]
    return not isinstance(path, int) and Path(path).is_relative_to(folder)


def _tear(name: str, real: Callable[..., Any], *arguments: Any, **named: Any) -> None:
    if name == "save_file":
        real(*arguments, **named)
        os.truncate(arguments[1], os.path.getsize(arguments[1]) // 2)
    elif name == "open" and isinstance(arguments[1], str):
        with real(*arguments, **named) as file:
            file.write(PART.encode() if "b" in arguments[1] else PART)
