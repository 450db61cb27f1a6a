"""One engine in a process of its own, which does what it is asked: a line of JSON in, a line of JSON out.

`python -m benchmarks.worker` is started by benchmarks.processes. It answers {"error": sentence} where something fails,
with "missing" where a package, or a part of one, is not there. What frameworks print goes to stderr.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import spec
from benchmarks import machine, memory
from benchmarks.engines import Task, engine

SETTLING = 0.5  # seconds: where a call takes less, one that is not counted comes before, as others emptied the caches


class Worker:
    """What a process holds: the function that is timed, and what it is given for each number and size of images."""

    def __init__(self) -> None:
        self.inputs: dict[tuple[int, int], tuple[np.ndarray, ...]] = {}
        self.takes: dict[tuple[int, int], float] = {}
        self.resident = 0

    def build(
        self, task: Task, name: str, network: str, overrides: dict[str, Any], size: int, outputs: str | None = None
    ) -> dict[str, float]:
        """Imports, builds, and calls for the first time, with as few images as there can be: seconds of each."""
        start = time.perf_counter()
        self.network = spec.load(network, **overrides)
        weights = spec.initialize(self.network, 0)
        self.task, self.engine = task, engine(task, name)
        self.run = self.engine.build(self.network, weights if task == "training" else spec.randomize(weights, 0))
        built = time.perf_counter()
        found = self.prepare(2 if task == "training" else 1, size, outputs)  # a batch norm needs two values
        self.resident = memory.resident()
        return {"build": built - start, "first": found["first"]}

    def prepare(self, batch: int, size: int, outputs: str | None = None) -> dict[str, float]:
        """Two calls for so many images: seconds of the first, memory of the second over what it was once built.

        What they put out is written to the file `outputs`: logits, or the losses of two steps.
        """
        key = batch, size
        self.inputs[key] = self._drawn(batch, size)
        first, found = self._timed(key)
        memory.forget_peak()  # that of compilation
        self.takes[key], again = self._timed(key)
        if outputs:
            np.save(outputs, [found, again] if self.task == "training" else found)
        return {"first": first, "memory": memory.peak() - self.resident}

    def burst(self, batch: int, size: int, seconds: float) -> dict[str, list[float]]:
        """Calls until so many seconds have passed, at least one: seconds of each."""
        key = batch, size
        if self.takes[key] < SETTLING:
            self._timed(key)
        times = [self._timed(key)[0]]
        while sum(times) < seconds:
            times.append(self._timed(key)[0])
        return {"seconds": times}

    def profile(self, batch: int, size: int) -> dict[str, dict[str, float]]:
        """{operation: seconds}, as the framework itself finds them."""
        return {"seconds": self._timed((batch, size))[1]}

    def multiply(self, seconds: float) -> dict[str, float]:
        """How many floating-point operations a second the machine does in matrix products."""
        return {"rate": machine.multiplication(seconds)}

    def _drawn(self, batch: int, size: int) -> tuple[np.ndarray, ...]:
        """The same images and labels for every engine, in its layout."""
        random = np.random.default_rng(0)
        images = random.normal(size=(batch, self.network.input_shape[0], size, size)).astype(np.float32)
        labels = random.integers(0, self.network.num_classes, batch)
        if self.engine.layout == "NHWC":
            images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        return (images, labels) if self.task == "training" else (images,)

    def _timed(self, key: tuple[int, int]) -> tuple[float, Any]:
        start = time.perf_counter()
        found = self.run(*self.inputs[key])
        return time.perf_counter() - start, found


def answer(do: Callable[..., dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
    """What a request returns, or why it cannot."""
    try:
        return do(**request)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return {"error": f"{type(error).__name__}: {lines[0]}", "missing": isinstance(error, ImportError)}


def serve(worker: Any) -> None:
    """Answers until there are no more requests."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(answer(getattr(worker, request.pop("do")), request)), file=replies, flush=True)


if __name__ == "__main__":
    serve(Worker())
