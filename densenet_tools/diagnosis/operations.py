"""What a model may have computed in a layer's place, in NumPy: any padding, dilation, rounding and statistics.

The reference computes what the spec says and nothing else. This is what is tried to explain a model that departs. Maps
are (N, C, H, W); what is for height and width comes in pairs, padding as ((top, bottom), (left, right)).
"""

from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Pair = tuple[int, int]
Sides = tuple[Pair, Pair]
Arrays = Mapping[str, np.ndarray]


def conv(
    x: np.ndarray, own: Arrays, *, stride: Pair, padding: Sides, dilation: Pair = (1, 1), groups: int = 1
) -> np.ndarray:
    """Cross-correlation with `weight` (O, C/groups, h, w), and `bias` where there is one."""
    weight = own["weight"]
    out = np.concatenate(
        [
            _correlated(part, kernels, stride, padding, dilation)
            for part, kernels in zip(np.split(x, groups, axis=1), np.split(weight, groups))
        ],
        axis=1,
    )
    return out + own["bias"][:, None, None] if "bias" in own else out


def linear(x: np.ndarray, own: Arrays) -> np.ndarray:
    """x (N, in) @ weight (out, in) transposed, and `bias` where there is one."""
    out = x.reshape(len(x), -1) @ own["weight"].reshape(len(own["weight"]), -1).T
    return out + own["bias"] if "bias" in own else out


def batch_norm(
    x: np.ndarray, own: Arrays, *, eps: float, statistics: str = "running", deviation: str = "sqrt(var + eps)"
) -> np.ndarray:
    """With `weight` and `bias` where there are any; by running statistics, or those of the batch."""
    mean, var = statistics_of(x, own, statistics)
    scaled = (x - _per_channel(mean)) / _per_channel(DEVIATIONS[deviation](var, eps))
    scaled = scaled * _per_channel(own["weight"]) if "weight" in own else scaled
    return scaled + _per_channel(own["bias"]) if "bias" in own else scaled


def statistics_of(x: np.ndarray, own: Arrays, statistics: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (C,): "running", "batch", or "unbiased", which is the batch's with 1 / (n - 1)."""
    if statistics == "running":
        return own["running_mean"], own["running_var"]
    return x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3), ddof=int(statistics == "unbiased"))


DEVIATIONS = {
    "sqrt(var + eps)": lambda var, eps: np.sqrt(var + eps),
    "sqrt(var) + eps": lambda var, eps: np.sqrt(var) + eps,
    "var + eps": lambda var, eps: var + eps,
}


def pool(
    x: np.ndarray,
    *,
    kind: str,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides = ((0, 0), (0, 0)),
    ceil_mode: bool = False,
    padded_with: str = "nothing",
) -> np.ndarray:
    """Largest value or mean of windows. Padding counts as "zeros", or as "nothing": then a mean is of what is inside.

    With `ceil_mode` windows may begin inside and end outside, over nothing.
    """
    sides = _with_last_windows(x, kernel_size, stride, padding) if ceil_mode else padding
    outside = np.pad(np.ones(x.shape[2:]), sides)
    if padded_with == "zeros":
        (top, _), (left, _) = padding
        (_, bottom), (_, right) = padding
        outside[: x.shape[2] + top + bottom, : x.shape[3] + left + right] = 1
    padded = _padded(x, sides)
    if kind == "max":
        return _windows(np.where(outside, padded, -np.inf), kernel_size, stride).max(axis=(4, 5))
    count = _windows(outside[None, None], kernel_size, stride).sum(axis=(4, 5))
    return _windows(padded, kernel_size, stride).sum(axis=(4, 5)) / count


def whole(x: np.ndarray, *, kind: str) -> np.ndarray:
    """What `kind` ("mean", "max" or "sum") makes of height and width: (N, C, 1, 1)."""
    return np.asarray(getattr(x, kind)(axis=(2, 3), keepdims=True))


def same(x: np.ndarray, kernel_size: Pair, stride: Pair) -> Sides:
    """The padding that TensorFlow calls SAME: as much as is needed, what is odd of it at the bottom and right."""
    total = [max(0, (-(-n // s) - 1) * s + k - n) for n, k, s in zip(x.shape[2:], kernel_size, stride)]
    (first, second) = ((n // 2, n - n // 2) for n in total)
    return first, second


def _with_last_windows(x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Sides) -> Sides:
    """The padding, and more behind where the last window begins inside and ends outside."""
    sides = []
    for n, k, s, (before, after) in zip(x.shape[2:], kernel_size, stride, padding):
        count = -(-(n + before + after - k) // s) + 1
        count -= (count - 1) * s >= n + before
        sides.append((before, max(after, (count - 1) * s + k - n - before)))
    return sides[0], sides[1]


def _correlated(x: np.ndarray, kernels: np.ndarray, stride: Pair, padding: Sides, dilation: Pair) -> np.ndarray:
    """One image at a time, to bound memory."""
    outside, _, height, width = kernels.shape
    reach = (height - 1) * dilation[0] + 1, (width - 1) * dilation[1] + 1
    matrix = kernels.reshape(outside, -1).T
    images = []
    for image in _padded(x, padding):
        windows = _windows(image[None], reach, stride)[0, ..., :: dilation[0], :: dilation[1]]  # (C, H', W', h, w)
        images.append(windows.transpose(1, 2, 0, 3, 4).reshape(*windows.shape[1:3], -1) @ matrix)
    return np.stack(images).transpose(0, 3, 1, 2)


def _windows(x: np.ndarray, size: Pair, stride: Pair) -> np.ndarray:
    return sliding_window_view(x, size, axis=(2, 3))[:, :, :: stride[0], :: stride[1]]  # type: ignore[call-overload]


def _padded(x: np.ndarray, padding: Sides) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, 0), *padding)) if np.any(padding) else x


def _per_channel(vector: np.ndarray) -> np.ndarray:
    return vector[:, None, None]
