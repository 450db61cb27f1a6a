"""The engines: what runs one network, each a small function, in a file for each framework.

An engine takes a network and weights, (spec.Network, {canonical name: array}), and returns what is timed, a function
of NumPy arrays: for inference of images to logits, for training of images and labels to the loss of a step. One for a
profile returns a function of images to {operation: seconds}. To add one, write it in one of these files, its framework
imported inside, and decorate it. Where its packages are missing it raises ImportError, and the report says so.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import spec

FRAMEWORKS = ("torch", "mxnet", "keras", "onnx")  # the files, in the order of the report
Task = Literal["inference", "training", "profile"]
Layout = Literal["NCHW", "NHWC"]
Run = Callable[..., Any]
Build = Callable[[spec.Network, spec.Weights], Run]
ROUNDING = 1e-5  # how far float32 may be from another order of the same sums, relative to the largest
AFTER_STEPS = 1e-3  # and a loss after steps, in which rounding grows


@dataclass(frozen=True)
class Engine:
    """A way to run a network, named as in the report.

    `beside` are the engines that its times are divided by; `ours` tells this project's from other people's; images
    come in `layout`; `bar` is how far outputs may be from the first engine's, relative to its largest. One that is
    measured `once` gets the smallest batch alone: it is never the fastest of its framework, or compiles for a minute.
    """

    name: str
    task: Task
    framework: str
    build: Build
    beside: tuple[str, ...]
    ours: bool
    layout: Layout
    bar: float
    once: bool


_engines: dict[tuple[Task, str], Engine] = {}


def inference(
    name: str,
    *beside: str,
    ours: bool = True,
    layout: Layout = "NCHW",
    bar: float = ROUNDING,
    once: bool = False,
) -> Callable[[Build], Build]:
    """Registers a function that returns images -> logits."""
    return _registers("inference", name, beside, ours, layout, bar, once)


def training(
    name: str, *beside: str, ours: bool = True, layout: Layout = "NCHW", bar: float = AFTER_STEPS
) -> Callable[[Build], Build]:
    """Registers a function that returns (images, labels) -> the loss of one training step."""
    return _registers("training", name, beside, ours, layout, bar, False)


def profile(name: str, layout: Layout = "NCHW") -> Callable[[Build], Build]:
    """Registers a function that returns images -> {operation: seconds}, of the engine of that name."""
    return _registers("profile", name, (), True, layout, 0.0, True)


def engines(task: Task, frameworks: tuple[str, ...] = FRAMEWORKS) -> list[Engine]:
    """All engines for a task, in the order of the report, without importing a framework."""
    _read()
    found = [each for each in _engines.values() if each.task == task and each.framework in frameworks]
    return sorted(found, key=lambda each: FRAMEWORKS.index(each.framework))


def engine(task: Task, name: str) -> Engine:
    """One of them by its name."""
    _read()
    return _engines[task, name]


def threads() -> int:
    """How many each engine is given; most read the variable themselves."""
    return int(os.environ["OMP_NUM_THREADS"])


def folder() -> Path:
    """Where engines put files, until the run ends."""
    return Path(os.environ["BENCHMARKS_FOLDER"])


def by_layer(weights: spec.Weights) -> Iterator[list[Any]]:
    """The arrays of one layer after another, for peers whose layers have other names and the same order."""
    before = ""
    arrays: list[Any] = []
    for name, array in weights.items():
        layer = name.rpartition(".")[0]
        if arrays and layer != before:
            yield arrays
            arrays = []
        before = layer
        arrays.append(array)
    yield arrays


def _read() -> None:
    """Imports the files, each of which registers what is in it."""
    for framework in FRAMEWORKS:
        import_module(f"{__name__}.{framework}")


def _registers(task: Task, name: str, *fields: Any) -> Callable[[Build], Build]:
    def register(build: Build) -> Build:
        framework = build.__module__.rpartition(".")[2]
        _engines[task, name] = Engine(name, task, framework, build, *fields)
        return build

    return register
