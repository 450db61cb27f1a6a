"""The parts of a run: what each measures, as it is written to its file of results."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import spec
from benchmarks.engines import FRAMEWORKS, Engine, Task, engines
from benchmarks.processes import Gone
from benchmarks.rounds import PATIENCE, Case, Findings, Settings, running, say, side_by_side

NETWORK = "densenet121"
BATCHES = (1, 8, 32)
SIZE = 224
TRAINED = (16, 128)  # images, and their size
GROWING_BATCHES = tuple((batch, 128) for batch in (1, 2, 4, 8, 16, 32))
GROWING_SIZES = tuple((1, size) for size in (64, 96, 128, 192, 256, 320))
FAMILY = "densenet40_k12_bc"  # which is made deeper
LAYERS = (6, 12, 18, 24)  # in each of its three blocks
GROWING_DEPTHS = (16, 32)  # images, and their size
GROWN = {
    "batch": ("torch:fused", "torch:channels_last", "mxnet", "keras", "onnx:optimized"),
    "size": ("torch:fused", "torch:channels_last", "mxnet", "onnx:optimized"),  # a Keras model has one size
    "depth": ("torch", "torch:memory_efficient", "mxnet"),
}


@dataclass(frozen=True)
class Options:
    """What is measured, and how."""

    settings: Settings = field(default_factory=Settings)
    frameworks: tuple[str, ...] = FRAMEWORKS
    batches: tuple[int, ...] = BATCHES
    skipped: tuple[str, ...] = ()  # words in the names of engines

    def engines(self, task: Task) -> list[Engine]:
        """Those that are chosen."""
        found = engines(task, self.frameworks)
        return [each for each in found if not any(word in each.name for word in self.skipped)]

    def side_by_side(self, task: Task, case: Case, names: Sequence[str] | None = None) -> dict[str, Any]:
        """The figures of all engines, or of those that are named, and the multiply-adds of an image at each point."""
        chosen = [each for each in self.engines(task) if names is None or each.name in names]
        network = spec.load(case.network, **case.overrides)
        counts = [spec.total(network, (network.in_channels, size, size)).multiply_adds for _, size in case.points]
        found = side_by_side(chosen, case, self.settings)
        return {"network": case.network, "points": case.points, "multiply_adds": counts} | asdict(found)


def inference(options: Options) -> dict[str, Any]:
    """All engines at each batch."""
    return options.side_by_side("inference", Case(NETWORK, tuple((batch, SIZE) for batch in options.batches)))


def training(options: Options) -> dict[str, Any]:
    """A step of each, and its memory."""
    return options.side_by_side("training", Case(NETWORK, (TRAINED,), {"input_size": TRAINED[1]}))


def growth(options: Options) -> dict[str, Any]:
    """Inference with more and with larger images, and training of deeper networks, by a few of ours.

    In half as many rounds: a slope is of many points.
    """
    options = replace(options, settings=replace(options.settings, rounds=options.settings.fewer))
    batch = Case(NETWORK, GROWING_BATCHES, {"input_size": GROWING_BATCHES[0][1]})
    return {
        "batch": options.side_by_side("inference", batch, GROWN["batch"]),
        "size": options.side_by_side("inference", Case(NETWORK, GROWING_SIZES), GROWN["size"]),
        "depth": [
            {"layers": 3 * layers}
            | options.side_by_side(
                "training", Case(FAMILY, (GROWING_DEPTHS,), {"block_config": [layers] * 3}), GROWN["depth"]
            )
            for layers in LAYERS
        ],
    }


def profiles(options: Options) -> dict[str, Any]:
    """{engine: {operation: seconds}} for one image, one process after the other."""
    found = Findings()
    for engine in options.engines("profile"):
        say(f"{engine.name}: profile")
        with TemporaryDirectory() as folder, running(options.settings.threads, Path(folder)) as process:
            request = {"task": engine.task, "name": engine.name, "network": NETWORK, "overrides": {}, "size": SIZE}
            try:
                process.ask(PATIENCE, do="build", **request)
                found.engines[engine.name] = process.ask(PATIENCE, do="profile", batch=1, size=SIZE)["seconds"]
            except Gone as gone:
                say(f"{engine.name}: {gone}")
                (found.missing if gone.missing else found.failed)[engine.name] = str(gone)
    return asdict(found)


PARTS = {"inference": inference, "training": training, "growth": growth, "profiles": profiles}
