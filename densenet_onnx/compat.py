"""What onnx.reference needs to be exact in float64, and to take seconds where it takes minutes."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from onnx.reference.ops.op_average_pool import AveragePool_19
from onnx.reference.ops.op_batch_normalization import BatchNormalization_14
from onnx.reference.ops.op_max_pool import MaxPool as LoopedMaxPool


class BatchNormalization(BatchNormalization_14):
    """With the epsilon that was meant: an attribute is a float32, and that of 1e-5 is 9.99999974e-06 in float64.

    Its shortest decimal is 1e-05 again.
    """

    def _run(self, *inputs: np.ndarray, epsilon: float, **others: Any) -> tuple[np.ndarray, ...]:
        return super()._run(*inputs, epsilon=float(str(np.float32(epsilon))), **others)


class MaxPool(LoopedMaxPool):
    """All windows at once; onnx.reference takes one after the other, each in 20 microseconds."""

    def _run(self, x: np.ndarray, **attributes: Any) -> tuple[np.ndarray, ...]:
        windows = _windows(x, -np.inf, **attributes)
        return super()._run(x, **attributes) if windows is None else (windows.max(axis=(4, 5)),)


class AveragePool(AveragePool_19):
    """All windows at once, as for the maximum."""

    def _run(self, x: np.ndarray, **attributes: Any) -> tuple[np.ndarray, ...]:
        windows = None if any(attributes["pads"] or ()) else _windows(x, 0, **attributes)
        return super()._run(x, **attributes) if windows is None else (windows.mean(axis=(4, 5)),)


OPERATORS = [BatchNormalization, MaxPool, AveragePool]


def _windows(
    x: np.ndarray,
    outside: float,
    *,
    kernel_shape: list[int],
    strides: list[int],
    pads: list[int] | None = None,
    auto_pad: str,
    ceil_mode: int,
    **others: Any,
) -> np.ndarray | None:
    """(N, C, H, W) -> (N, C, H', W', k, k), a view; None for what graphs of the spec do not have."""
    if auto_pad != "NOTSET" or ceil_mode or any(others.values()):
        return None
    top, left, bottom, right = pads or (0, 0, 0, 0)
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=outside)
    windows = sliding_window_view(padded, tuple(kernel_shape), axis=(2, 3))  # type: ignore[call-overload]
    return windows[:, :, :: strides[0], :: strides[1]]
