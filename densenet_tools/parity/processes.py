"""Backends compared side by side: one process for each, on what the reference's process has written into files.

Networks that are large are compared one backend at a time, on all processors; the others two at a time, while the
reference runs ahead. A process gives its memory back between networks, or ends, and another one takes its place.
"""

import os
import select
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import TypeAdapter

import spec
from densenet_tools.backends import Runner
from densenet_tools.parity.checks import Comparison
from densenet_tools.parity.process import Process, environment
from densenet_tools.parity.run import REFERENCE
from densenet_tools.parity.stored import write_comparison
from densenet_tools.parity.verdict import Verdict
from spec.analysis import BYTES

AT_ONCE = 2  # processes that compute: more of them need more memory, and the reference is not done sooner
AHEAD = 3  # networks whose files are there
LARGE = 3_200_000_000  # bytes that a network may need where another one is compared at the same time
KEPT = 1_000_000_000  # bytes that a process may have when its work is done, and stay


def verify_all(comparisons: Sequence[Comparison], runners: Sequence[Runner]) -> Iterator[tuple[int, list[Verdict]]]:
    """(place, verdicts) of each comparison, as it is complete: large networks first.

    Raises SpecError as `verify` does, and ProcessError where a process fails. However it ends, no process and no file
    stays behind.
    """
    large = {place: each for place, each in enumerate(comparisons) if needed(each) > LARGE}
    others = {place: each for place, each in enumerate(comparisons) if place not in large}
    with TemporaryDirectory(prefix="densenet-parity-") as root:
        for group, at_once in ((large, 1), (others, AT_ONCE)):
            with _Pool(Path(root), group, runners, at_once) as pool:
                yield from pool.verdicts()


def needed(comparison: Comparison) -> int:
    """Bytes that a backend, or the reference, needs for a comparison in float64, roughly, as measured.

    Four times the parameters, as there are gradients, in NumPy's arrays, too, and what frameworks copy meanwhile; and
    what a training pass keeps of its activations.
    """
    total = spec.total(comparison.network, comparison.images.shape[1:])
    activations = len(comparison.images) * total.activation_bytes // BYTES
    return 8 * (4 * total.parameters + 3 * activations // 2)


@dataclass(frozen=True)
class _Step:
    """What one process is asked for: a runner's verdict on a network; or the reference, which comes before those."""

    place: int
    runner: Runner | None

    @property
    def backend(self) -> str:
        return (self.runner or REFERENCE).backend


class _Pool:
    """A process for each backend, started when it is first needed, of which `at_once` compute."""

    def __init__(self, root: Path, comparisons: Mapping[int, Comparison], runners: Sequence[Runner], at_once: int):
        self.root, self.comparisons, self.runners, self.at_once = root, comparisons, runners, at_once
        self.threads = max(1, len(os.sched_getaffinity(0)) // at_once)
        self.waiting = [_Step(place, runner) for place in comparisons for runner in (None, *dict.fromkeys(runners))]
        self.found: dict[int, dict[Runner, Verdict]] = {}  # of the comparisons whose files are there
        self.referenced: set[int] = set()  # those whose reference is, too
        self.busy: dict[str, _Step] = {}
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> "_Pool":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.end()

    def verdicts(self) -> Iterator[tuple[int, list[Verdict]]]:
        """(place, verdicts) of each comparison, as it is complete."""
        while self.waiting or self.busy:
            for step in self._ready():
                self._start(step)
            step, answer = self._next_answer()
            found = self.found[step.place]
            if step.runner is None:
                self.referenced.add(step.place)
            else:
                found[step.runner] = TypeAdapter(Verdict).validate_python(answer["verdict"])
            if found.keys() == set(self.runners):
                rmtree(self._folder(step.place))
                del self.found[step.place]
                yield step.place, [found[runner] for runner in self.runners]

    def _ready(self) -> Iterator[_Step]:
        """The steps to start now, the oldest first, one at a time."""
        for step in list(self.waiting):
            if len(self.busy) == self.at_once:
                return
            ready = len(self.found) < AHEAD if step.runner is None else step.place in self.referenced
            if ready and step.backend not in self.busy:
                yield step

    def _start(self, step: _Step) -> None:
        comparison, folder = self.comparisons[step.place], self._folder(step.place)
        if step.runner is None:
            write_comparison(folder, comparison)
            self.found[step.place] = {}
        if step.backend not in self.processes:
            self.processes[step.backend] = Process(self.root, environment(self.threads, comparison.dtype))
        self.processes[step.backend].ask(folder, step.runner, comparison.network.name)
        self.waiting.remove(step)
        self.busy[step.backend] = step

    def _next_answer(self) -> tuple[_Step, dict[str, Any]]:
        """The step that is done first, and what came of it."""
        answers = {self.processes[backend].answers: backend for backend in self.busy}
        (first, *_), _, _ = select.select(list(answers), [], [])
        backend = answers[first]
        answer = self.processes[backend].answer()
        if answer["resident"] > KEPT:
            self.processes.pop(backend).end()
        return self.busy.pop(backend), answer

    def _folder(self, place: int) -> Path:
        return self.root / str(place)
