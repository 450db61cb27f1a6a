"""What `step` and `predict` cost beside the framework's own best call for the same model, as ratios.

PyTorch's is a plain loop, Gluon's a model hybridized with static memory and a Trainer, Keras' train_on_batch and
predict_on_batch. MXNet, which goes on in the background, is waited for after each call. Both take turns in one
process, a backend has a process of its own; the first calls, which compile, are shown apart.

Run with `python -m benchmarks.steps [--network densenet40_k12_bc] [--shape 64x1x28x28] [--rounds 9]`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import spec
from benchmarks.engines.torch import MOMENTUM, RATE
from densenet_tools import backends

Call = Callable[[], Any]


def calls(backend: str, network: spec.Network, images: np.ndarray, labels: np.ndarray) -> dict[str, tuple[Call, Call]]:
    """{what: (ours, the framework's own)}, each with a model of its own."""
    package = backends.parse(backend).load()

    def made() -> Any:
        model = package.build(network, "float32")
        package.load_weights(model, spec.initialize(network, 0))
        return model

    model, other = made(), made()
    optimizer = package.sgd(model, RATE, MOMENTUM, False, 0.0)
    step, predict = NATIVE[backend](other, images, labels)
    return {
        "step": (lambda: package.step(model, optimizer, images, labels), step),
        "predict": (lambda: package.predict(model, images), predict),
    }


def wait() -> None:
    """Until MXNet, where it runs, has done all that it was given."""
    if "mxnet" in sys.modules:
        sys.modules["mxnet"].nd.waitall()


def with_torch(model: Any, images: np.ndarray, labels: np.ndarray) -> tuple[Call, Call]:
    """A training step and inference in a plain loop, in this order: each puts the model in its mode."""
    from benchmarks.engines.torch import predictor, stepper

    step = stepper(model)
    return lambda: step(images, labels), lambda: predictor(model)(images)


def with_mxnet(model: Any, images: np.ndarray, labels: np.ndarray) -> tuple[Call, Call]:
    """A training step and inference as a static graph."""
    from benchmarks.engines.mxnet import STATIC, hybridized, predictor, stepper

    step, predict = stepper(hybridized(model, **STATIC)), predictor(model)
    return lambda: step(images, labels), lambda: predict(images)


def with_keras(model: Any, images: np.ndarray, labels: np.ndarray) -> tuple[Call, Call]:
    """As fit and predict run them."""
    from benchmarks.engines.keras import stepper

    step, x = stepper(model), np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    return lambda: step(x, labels), lambda: model.predict_on_batch(x)


NATIVE = {"torch": with_torch, "mxnet": with_mxnet, "keras": with_keras}


def measured(backend: str, name: str, shape: tuple[int, ...], rounds: int) -> dict[str, dict[str, list[float]]]:
    """{what: {"ours", "native": seconds of each call, the first one included}}."""
    rng = np.random.default_rng(0)
    network = spec.load(name, in_channels=shape[1], input_size=shape[2], num_classes=10)
    images, labels = rng.normal(size=shape).astype(np.float32), rng.integers(0, 10, shape[0])
    found: dict[str, dict[str, list[float]]] = {}
    for what, both in calls(backend, network, images, labels).items():
        found[what] = {"ours": [], "native": []}
        for _ in range(rounds + 2):
            for name, call in zip(found[what], both):
                start = time.perf_counter()
                call()
                wait()
                found[what][name].append(time.perf_counter() - start)
    return found


def main() -> None:
    """Prints a row for each backend and function."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="densenet40_k12_bc")
    parser.add_argument("--shape", default="64x1x28x28")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--backends", default="torch,mxnet,keras")
    parser.add_argument("--of", help=argparse.SUPPRESS)  # one backend, in a process of its own
    options = parser.parse_args()
    shape = tuple(map(int, options.shape.split("x")))
    if options.of:
        print(json.dumps(measured(options.of, options.network, shape, options.rounds)))
        return
    table = Table(
        box=SIMPLE_HEAD, title=f"{options.network} at {options.shape}, milliseconds, median", title_style="bold"
    )
    for column in ("backend", "function", "first call", "ours", "native", "ratio", "images/s"):
        table.add_column(column, justify="left" if column in ("backend", "function") else "right")
    for backend in options.backends.split(","):
        command = [sys.executable, "-m", "benchmarks.steps", "--network", options.network, "--shape", options.shape]
        command += ["--rounds", str(options.rounds), "--of", backend]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for what, found in json.loads(done.stdout.splitlines()[-1]).items():
            ours, native = (statistics.median(found[each][2:]) for each in ("ours", "native"))
            ratio = statistics.median(a / b for a, b in zip(found["ours"][2:], found["native"][2:]))
            figures = (found["ours"][0] * 1e3, ours * 1e3, native * 1e3)
            table.add_row(
                backend, what, *(f"{each:,.1f}" for each in figures), f"{ratio:.2f}", f"{shape[0] / ours:,.0f}"
            )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
