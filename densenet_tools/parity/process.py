"""The process of one backend, as the one that starts it sees it: see parity.worker for its own side."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import spec
from densenet_tools.backends import Runner

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


class ProcessError(RuntimeError):
    """A comparison without a verdict, through no fault of the user's."""


class Process:
    """A process that answers one request at a time."""

    def __init__(self, root: Path, environment: Mapping[str, str]):
        self.doing = ""
        self._popen = subprocess.Popen(
            [sys.executable, "-P", "-m", "densenet_tools.parity.worker", str(root)],
            env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that Ctrl-C is the parent's alone, and what it starts ends with it
        )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self.requests, self.answers = self._popen.stdin, self._popen.stdout

    def ask(self, folder: Path, runner: Runner | None, network: str) -> None:
        """Starts to work on a comparison: on a runner's part of it, or the reference's."""
        self.doing = f"{runner or 'the reference'} on {network}"
        request = {"folder": str(folder), "runner": runner and str(runner)}
        with suppress(BrokenPipeError):  # where it has ended, its answer says so
            print(json.dumps(request), file=self.requests, flush=True)

    def answer(self) -> dict[str, Any]:
        """What it found, which is waited for; raises SpecError as it did, and ProcessError where it failed."""
        line = self.answers.readline()
        if not line.endswith("\n"):
            raise ProcessError(f"the process that ran {self.doing} {_ending(self._popen.wait())}")
        answer = json.loads(line)
        if "refused" in answer:
            raise spec.SpecError(answer["refused"])
        if "failed" in answer:
            raise ProcessError(f"{self.doing}: {answer['failed']}")
        return answer

    def end(self) -> None:
        """Ends it, and all that it has started, at once."""
        with suppress(ProcessLookupError):  # where it has ended, and left nothing
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        self.requests.close()
        self.answers.close()


def environment(threads: int, dtype: str) -> dict[str, str]:
    """What frameworks read before they start: how many threads they may use, unless the user has said so."""
    found = {name: os.environ.get(name, str(threads)) for name in THREADS}
    if dtype == "float64":
        found["TF_ENABLE_ONEDNN_OPTS"] = "0"  # it computes nothing in float64, but never gives memory back
    return found


def _ending(status: int) -> str:
    if status == -signal.SIGKILL:
        return "was killed, as processes are where memory runs out: use fewer or smaller images"
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}: try it alone, with --backends"
    return f"ended with status {status} before it answered: try it alone, with --backends"
