"""What a file gives, however it is run, beside what the NumPy reference makes of the weights in it."""

import time
from collections.abc import Callable

import numpy as np

import spec
from densenet_tools.parity.differences import difference
from densenet_tools.parity.tolerance import OUTPUTS
from densenet_tools.parity.verdict import Check, Verdict, sentence
from spec import reference


def expected_of(checkpoint: spec.Checkpoint, images: np.ndarray, dtype: str) -> np.ndarray:
    """What the reference makes in float64 of the images as that dtype has them."""
    model = reference.build(checkpoint.network)
    reference.load_weights(model, {name: array.astype("float64") for name, array in checkpoint.weights.items()})
    return reference.predict(model, images.astype(dtype))


def beside(
    expected: np.ndarray,
    run: Callable[[], np.ndarray],
    *,
    network: str,
    backend: str,
    dtype: str,
    weights: spec.Weights,
    what: str = "logits",
    blamed: str,
) -> tuple[Verdict, np.ndarray]:
    """How what `run` puts out compares with what is expected, and that itself; `blamed` is who departs if it does."""
    start = time.perf_counter()
    found = run()
    seconds = time.perf_counter() - start
    absolute, relative = difference(found, expected)
    check = Check(what, relative, OUTPUTS[dtype], "logits")
    parameters, buffers = spec.counts(weights)
    verdict = Verdict(
        network=network,
        backend=backend,
        dtype=dtype,
        output_shape=found.shape,
        parameters=parameters,
        buffers=buffers,
        absolute=absolute,
        seconds=seconds,
        checks=(check,),
        problem=None if check.passes else sentence(blamed, check, None),
    )
    return verdict, found
