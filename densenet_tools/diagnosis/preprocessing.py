"""What a model does to its images before the first layer: other channels first, another scale, mean and deviation."""

import numpy as np

from densenet_tools.parity.differences import difference

KNOWN = {
    (1 / 255, 0.0): "divided by 255",
    (255.0, 0.0): "multiplied by 255",
    (2.0, -1.0): "from 0 to 1 taken to -1 to 1",
    (1 / 127.5, -1.0): "from 0 to 255 taken to -1 to 1",
    (127.5, 127.5): "from -1 to 1 taken to 0 to 255",
}


def of_images(images: np.ndarray, x: np.ndarray, tolerance: float) -> tuple[str, float] | None:
    """In words, and what then remains: each channel of `x` (N, C, H, W) is one of the images' by scale and shift."""
    if images.shape != x.shape:
        return None
    for order in (range(images.shape[1]), range(images.shape[1] - 1, -1, -1)):
        taken = images[:, list(order)]
        scale, shift = np.transpose([np.polyfit(taken[:, c].ravel(), x[:, c].ravel(), 1) for c in range(x.shape[1])])
        after = difference(x, taken * scale[:, None, None] + shift[:, None, None])[1]
        if after <= tolerance:
            text = ", ".join([*(["channels reversed"] if order[0] else []), *_said(scale, shift)])
            return f"images {text}", after
    return None


def _said(scale: np.ndarray, shift: np.ndarray) -> list[str]:
    if np.allclose(scale, 1, rtol=1e-5) and np.allclose(shift, 0, atol=1e-5):
        return []
    for (a, b), text in KNOWN.items():
        if np.allclose(scale, a, rtol=1e-4) and np.allclose(shift, b, rtol=1e-4, atol=1e-6):
            return [text]
    mean, deviation = -shift / scale, 1 / scale
    return [f"normalized by mean {_numbers(mean)} and deviation {_numbers(deviation)}"]


def _numbers(values: np.ndarray) -> str:
    return f"({', '.join(f'{value:.4g}' for value in values)})"
