"""Holds back what is written to the process's stderr, and gives it back when something goes wrong."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Prints what it was given once there is no more: when its parent fails, or dies without a word of its own.
HOLDER = "import sys; held = sys.stdin.buffer.read(); sys.stderr.buffer.write(held)"


@contextmanager
def quiet() -> Iterator[None]:
    """Drops what is written to file descriptor 2, by C++ too, unless the body raises or the process dies in it."""
    holder = subprocess.Popen([sys.executable, "-I", "-S", "-c", HOLDER], stdin=subprocess.PIPE, start_new_session=True)
    assert holder.stdin is not None
    stderr = os.dup(2)
    os.dup2(holder.stdin.fileno(), 2)
    try:
        yield
        holder.kill()
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        holder.stdin.close()
        holder.wait()
