"""Engines side by side: all are started, compared with the first, and then take turns."""

import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.engines import Engine
from benchmarks.processes import COMMAND, Gone, Process

PATIENCE = 240.0  # seconds that building, a first call or a burst may take
MULTIPLYING = 0.25  # seconds of matrix products in each round
LARGE = 16  # images, for which a round takes many seconds, and varies little


@dataclass(frozen=True)
class Settings:
    """How all engines are measured: `burst` seconds each in every round."""

    rounds: int = 9  # short ones: what else the machine does comes and goes in seconds
    burst: float = 0.2
    threads: int = 2

    @property
    def fewer(self) -> int:
        """About half as many rounds."""
        return self.rounds // 2 + 1

    def rounds_of(self, batch: int) -> int:
        """Fewer for large batches."""
        return self.rounds if batch < LARGE else self.fewer


@dataclass(frozen=True)
class Case:
    """What they run: a network at each of several (images, size)."""

    network: str
    points: tuple[tuple[int, int], ...]
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass
class Findings:
    """{engine: figures}; {engine: reason} of those that are missing, and of those that failed.

    `rates` are how many operations a second matrix products do: of each round, at each point.
    """

    engines: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    rates: list[list[float]] = field(default_factory=list)


def side_by_side(engines: Sequence[Engine], case: Case, settings: Settings) -> Findings:
    """Seconds of each engine at each point, round by round: the median of each burst."""
    with TemporaryDirectory() as folder, ExitStack() as stack:

        def started() -> Process:
            return stack.enter_context(running(settings.threads, Path(folder)))

        turns = Turns(case, settings, {engine.name: (engine, started()) for engine in engines})
        turns.build(Path(folder))
        multiplier = started()
        for point in case.points:
            turns.prepare(point, Path(folder))
            rates = []
            for number in range(settings.rounds_of(point[0])):
                say(f"{case.network}, {point[0]} x {point[1]} px: round {number + 1}")
                turns.take(point)
                rates.append(multiplier.ask(PATIENCE, do="multiply", seconds=MULTIPLYING)["rate"])
            turns.found.rates.append(rates)
    return turns.found


class Turns:
    """The processes that are left, and what was found."""

    def __init__(self, case: Case, settings: Settings, processes: dict[str, tuple[Engine, Process]]):
        self.case, self.settings, self.processes = case, settings, processes
        self.found = Findings()

    def build(self, folder: Path) -> None:
        """Builds all models, one at a time: threads of two engines on the same cores wait for each other."""
        shared = {"network": self.case.network, "overrides": self.case.overrides, "size": self.case.points[0][1]}
        for name, (engine, process) in list(self.processes.items()):
            with self._unless_gone(name):
                say(f"{name}: building")
                request = {"task": engine.task, "name": name, "outputs": str(folder / f"{name}.npy")}
                built = process.ask(PATIENCE, do="build", **request, **shared)
                figures = {"ours": engine.ours, "beside": list(engine.beside), **built, "difference": 0.0}
                self.found.engines[name] = figures | {"points": []}
        self._compare(folder)

    def prepare(self, point: tuple[int, int], folder: Path) -> None:
        """The first calls of each for these images."""
        batch, size = point
        for name, (engine, process) in list(self.processes.items()):
            if engine.once and point != self.case.points[0]:
                process.close()
                del self.processes[name]
                continue
            with self._unless_gone(name):
                outputs = str(folder / f"{name}.npy")
                figures = process.ask(PATIENCE, do="prepare", batch=batch, size=size, outputs=outputs)
                self.found.engines[name]["points"].append({"batch": batch, "size": size, **figures, "seconds": []})
        if all(engine.task == "inference" for engine, _ in self.processes.values()):
            self._compare(folder)  # what training puts out drifts apart after some steps, as rounding grows

    def _compare(self, folder: Path) -> None:
        """Goes on without those that put out something else than the first of them."""
        expected = None
        for name, (engine, process) in list(self.processes.items()):
            with self._unless_gone(name):
                found = np.load(folder / f"{name}.npy")
                expected = found if expected is None else expected
                difference = far(found, expected)
                if not difference <= engine.bar:
                    process.close()
                    raise Gone(
                        f"what it puts out is off by {difference:.0e} of the largest, allowed is {engine.bar:.0e}"
                    )
                engine_figures = self.found.engines[name]
                engine_figures["difference"] = max(difference, engine_figures["difference"])

    def take(self, point: tuple[int, int]) -> None:
        """One round."""
        for name, (_, process) in list(self.processes.items()):
            with self._unless_gone(name):
                burst = process.ask(PATIENCE, do="burst", batch=point[0], size=point[1], seconds=self.settings.burst)
                self.found.engines[name]["points"][-1]["seconds"].append(statistics.median(burst["seconds"]))

    @contextmanager
    def _unless_gone(self, name: str) -> Iterator[None]:
        """Goes on without one that cannot."""
        try:
            yield
        except Gone as gone:
            say(f"{name}: {gone}")
            del self.processes[name]
            (self.found.missing if gone.missing else self.found.failed)[name] = str(gone)


def far(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest value; infinite for another shape."""
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@contextmanager
def running(threads: int, folder: Path, command: Sequence[str] = COMMAND) -> Iterator[Process]:
    """A worker that is gone afterwards."""
    process = Process(threads, folder, command)
    try:
        yield process
    finally:
        process.close()


def say(sentence: str) -> None:
    """Progress, on stderr."""
    print(sentence, file=sys.stderr, flush=True)
