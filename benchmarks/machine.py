"""What a run was made on, and the most that this machine can do: products of large matrices."""

import os
import platform
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

DISTRIBUTIONS = (
    *("numpy", "torch", "torchvision", "mxnet", "tensorflow", "tensorflow-cpu", "keras"),
    *("onnx", "onnxruntime", "openvino", "onnxscript"),
)
SIDE = 2048  # of the matrices: 16 MiB each


def described() -> dict[str, object]:
    """Processor, cores, memory, system, versions and date."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": dict(filter(None, map(_version, DISTRIBUTIONS))),
        "date": date.today().isoformat(),
    }


def multiplication(seconds: float) -> float:
    """Floating-point operations a second in float32 matrix products: NumPy's or PyTorch's, what is faster here."""
    a, b = np.random.default_rng(0).normal(size=(2, SIDE, SIDE)).astype(np.float32)
    out = np.empty_like(a)
    ways = [lambda: np.matmul(a, b, out=out)]
    if find_spec("torch"):
        import torch

        tensors = [torch.from_numpy(array) for array in (a, b, out)]
        ways.append(lambda: torch.mm(*tensors[:2], out=tensors[2]).numpy())
    return 2 * SIDE**3 / min(_fastest(way, seconds / len(ways)) for way in ways)


def _fastest(way: Callable[[], object], seconds: float) -> float:
    """Seconds of the fastest of its calls."""
    way()
    times: list[float] = []
    while sum(times) < seconds:
        start = time.perf_counter()
        way()
        times.append(time.perf_counter() - start)
    return min(times)


def _processor() -> str:
    """As /proc/cpuinfo has it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _version(distribution: str) -> tuple[str, str] | None:
    try:
        return distribution, version(distribution)
    except PackageNotFoundError:
        return None
