"""Weights that let faults be seen: the same are put into the model and into the reference.

With trained weights a wrong epsilon can hide in rounding: 1.001e-5 for 1e-5 moves a channel of variance 1 by 5e-9. So
what a batch norm gets is made small: kernels are scaled until each channel's deviation is about the epsilon's root,
where that same fault moves it by 2.5e-4. Running statistics are near those of the images that are used, no two arrays
are alike, and some channels are so wide that an activation that ends at 6 is seen as well.
"""

from dataclasses import replace

import numpy as np

import spec
from densenet_tools.diagnosis.steps import Step, unrolled
from spec.layers import BatchNorm, Conv, Linear
from spec.recording import INPUT
from spec.reference.forward import Pass, apply

WIDE = 8  # every so many channels is wide


def images_for(network: spec.Network, count: int, seed: int) -> np.ndarray:
    """Normal images (count, C, H, W) in float32, each channel with a mean and a deviation of its own."""
    rng = np.random.default_rng([seed, 1])
    channels = network.in_channels
    mean, deviation = np.linspace(-0.5, 0.5, channels), np.linspace(0.8, 1.2, channels)
    images = rng.normal(size=(count, *network.input_shape)) * deviation[:, None, None] + mean[:, None, None]
    return images.astype("float32")


def weights_for(network: spec.Network, images: np.ndarray, seed: int, dtype: str) -> spec.Weights:
    """{canonical name: array}, found in one pass of these images through the reference."""
    steps = unrolled(network)
    run = Pass({name: array.astype("float64") for name, array in spec.initialize(network, seed).items()})
    values: dict[int, np.ndarray] = {INPUT: images.astype("float64")}
    last = {source: number for number, step in enumerate(steps) for source in step.sources}
    for number, step in enumerate(steps):
        ends = [values[source] for source in step.sources]
        rng = np.random.default_rng([seed, 2, number])
        if isinstance(step.node, Conv | Linear):
            _scale(step, ends[0], run, rng, _normalized(steps, number))
        elif isinstance(step.node, BatchNorm):
            _set_norm(step, ends[0], run, rng, _normalized(steps, number))
        values[number] = apply(step.node, *ends, run=run, path=step.path).astype(dtype).astype("float64")
        for source in step.sources:
            if last[source] == number:
                del values[source]
    return {name: array.astype(dtype) for name, array in run.weights.items()}


def _scale(step: Step, x: np.ndarray, run: Pass, rng: np.random.Generator, small: float | None) -> None:
    """Gives each output channel a size of about `small`, or about 2 where no batch norm comes next; none is dead."""
    node, kernel, bias = step.node, f"{step.path}.weight", f"{step.path}.bias"
    assert isinstance(node, Conv | Linear)
    out = apply(replace(node, bias=False), x, run=run, path=step.path)
    pixels = (0, *range(2, out.ndim))
    deviation, size = out.std(axis=pixels), float(np.sqrt(np.mean(out * out)))
    wanted = (small or 2.0) * rng.uniform(0.5, 2.0, len(deviation))
    factor = wanted / (np.maximum(deviation, 0.1 * size) if isinstance(node, Conv) else size)
    shift = rng.normal(0, 0.5, len(wanted)) * wanted if node.bias else np.zeros(len(wanted))
    sign = np.where(out.max(axis=pixels) * factor + shift > 0, 1, -1)  # a ReLU would hide what is never positive
    run.weights[kernel] = run.weights[kernel] * (sign * factor).reshape(-1, *[1] * (run.weights[kernel].ndim - 1))
    if node.bias:
        run.weights[bias] = sign * shift


def _set_norm(step: Step, x: np.ndarray, run: Pass, rng: np.random.Generator, small: float | None) -> None:
    """Statistics near the batch's own, shifts, and scales: some wide, some negative, so that a ReLU hides no side.

    Where another batch norm comes before any kernel, what is not wide is of about the size `small`.
    """
    mean, deviation = x.mean(axis=(0, 2, 3)), x.std(axis=(0, 2, 3))
    n = len(mean)
    wide = np.arange(n) % WIDE == 0
    size = np.where(wide, 1.0, small or 1.0)
    arrays = {
        "weight": size * rng.uniform(0.5, 1.5, n) * np.where(wide, 6.0, 1.0) * rng.choice([1, 1, -1], n),
        "bias": size * rng.normal(0, 0.5, n),
        "running_mean": mean + deviation * rng.normal(0, 0.3, n),
        "running_var": deviation**2 * rng.uniform(0.5, 2.0, n),
    }
    run.weights |= {f"{step.path}.{name}": array for name, array in arrays.items()}


def _normalized(steps: tuple[Step, ...], number: int) -> float | None:
    """The root of the epsilon of the batch norm that comes next behind a convolution; None where none does."""
    if isinstance(steps[number].node, Linear):  # it may be that of a gate, which scales what a batch norm gets
        return None
    for user in (later for later, step in enumerate(steps) if number in step.sources):
        node = steps[user].node
        if isinstance(node, BatchNorm):
            return float(np.sqrt(max(node.eps, 1e-12)))
        if not isinstance(node, Conv | Linear) and (found := _normalized(steps, user)):
            return found
    return None
