"""One backend in a process of its own: `python -m densenet_tools.parity.worker ROOT`, as parity.processes starts it.

Each line on stdin is a request: a folder with a comparison, and a runner to hold against the reference, or null for the
reference itself. Each gets one line of answer on stdout. The process ends when stdin does.
"""

import ctypes
import gc
import json
import os
import shutil
import signal
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import spec
from densenet_tools import backends
from densenet_tools.parity.checks import judge
from densenet_tools.parity.stored import WEIGHTS, StoredReference, read_arrays, read_comparison, write_reference
from densenet_tools.parity.verdict import Verdict


def main(root: str) -> None:
    """Answers requests one after another."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a framework prints is no answer
    requests: SimpleQueue[str] = SimpleQueue()
    Thread(target=_listen, args=(requests, root), daemon=True).start()
    while True:
        answer = _answer(**json.loads(requests.get()))
        _give_back_memory()
        print(json.dumps(answer | {"resident": _resident()}), file=answers, flush=True)


def _listen(requests: "SimpleQueue[str]", root: str) -> None:
    """Passes requests on. Where they end, the parent is gone: so are then its files, and all that was started here."""
    for line in sys.stdin:
        requests.put(line)
    shutil.rmtree(root, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def _answer(folder: str, runner: str | None) -> dict[str, Any]:
    """What was found, or why nothing was: `refused` is a user's mistake, `failed` anything unforeseen."""
    try:
        if runner is None:
            write_reference(Path(folder))
            return {}
        return {"verdict": asdict(_compare(Path(folder), backends.parse(runner)))}
    except spec.SpecError as error:
        return {"refused": str(error)}
    except Exception as error:
        if os.environ.get("DENSENET_TRACEBACK"):
            traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}"}


def _compare(folder: Path, runner: backends.Runner) -> Verdict:
    comparison = read_comparison(folder)
    reference = StoredReference(folder, comparison)
    return judge(comparison.run(runner, read_arrays(folder / WEIGHTS), reference), reference, comparison.checks)


def _give_back_memory() -> None:
    """To the system, what is free: models are cycles, and glibc keeps what once was in use."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def _resident() -> int:
    """Bytes of memory that this process has; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


if __name__ == "__main__":
    main(sys.argv[1])
