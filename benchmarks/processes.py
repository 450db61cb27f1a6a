"""Workers as their parent sees them: asked one at a time, and stopped in between.

A stopped process takes no time: threads of an engine that wait in a loop for their next call, as onnxruntime's do,
would else take it from the one that is measured.
"""

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (sys.executable, "-m", "benchmarks.worker")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
LIBC = ctypes.CDLL(None)
DEATH_OF_PARENT = 1  # prctl's PR_SET_PDEATHSIG


class Gone(Exception):
    """A worker that cannot go on, and why; `missing` where it is for a package that is not installed."""

    def __init__(self, reason: str, missing: bool = False):
        super().__init__(reason)
        self.missing = missing


class Process:
    """A worker, stopped but for the time that it is asked."""

    def __init__(self, threads: int, folder: Path, command: Sequence[str] = COMMAND):
        environment = os.environ | dict.fromkeys(THREADS, str(threads))
        environment |= {"TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "BENCHMARKS_FOLDER": str(folder)}
        self.said = TemporaryFile()  # noqa: SIM115 (open as long as the process is)
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            bufsize=0,
            preexec_fn=_die_with_parent,
        )
        self.process.send_signal(signal.SIGSTOP)

    def ask(self, timeout: float, **request: Any) -> dict[str, Any]:
        """What it answers; raises Gone where it cannot or dies, or is killed after `timeout` seconds."""
        assert self.process.stdin
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise Gone(self._last_words()) from None
        reply = json.loads(self._line(timeout))
        if "error" in reply:
            self.close()
            raise Gone(reply["error"], reply["missing"])
        self.process.send_signal(signal.SIGSTOP)
        return reply

    def close(self) -> None:
        """Ends it, whatever it does."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.said):
            file.close()

    def _line(self, timeout: float) -> bytes:
        assert self.process.stdout
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            self.close()
            raise Gone(f"took more than {timeout:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            raise Gone(self._last_words())
        return line

    def _last_words(self) -> str:
        """Why it died, as far as it said."""
        self.process.wait()
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
        self.close()
        return f"the process ended with {self.process.returncode}: {lines[-1]}"


def _die_with_parent() -> None:
    """A stopped process would not see that its input has ended."""
    LIBC.prctl(DEATH_OF_PARENT, signal.SIGKILL)
