"""`densenet export`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

import spec
from densenet_tools import backends, images as photographs
from densenet_tools.commands import arguments, files, tables
from densenet_tools.parity import Verdict
from densenet_tools.parity.outputs import beside, expected_of
from spec.blocks import Transition
from spec.layers import BatchNorm
from spec.shapes import by

CROPS, SUFFIX = 2, ".onnx"
DTYPE = "float32"  # ONNX Runtime has no convolution in float64


def export(
    source: Annotated[str, Parameter(help="A .safetensors file; or a variant or config file, with fresh weights.")],
    dest: Annotated[Path, Parameter(help="The .onnx file to write.")],
    /,
    *,
    optimize: Annotated[
        bool, Parameter(negative="", help="Fold batch norms into convolutions, and pool before transitions' 1x1.")
    ] = False,
    set_: arguments.Set = None,
    images: arguments.Photographs = None,
    verify: Annotated[bool, Parameter(help="Run the file, and compare what it gives.")] = True,
) -> int:
    """Export a network to ONNX, for images of any size, in float32, and check that the file gives the same.

    Afterwards the file is run by ONNX Runtime, by onnx.reference in float64, and by OpenVINO where that is installed,
    and its logits on photographs are held against the NumPy reference. Exit 0 when all agree, 1 when one does not.

    Example: densenet export densenet121.safetensors densenet121.onnx --optimize
    """
    files.check({"the destination": dest}, [Path(source), *(images or [])])
    if dest.suffix != SUFFIX:
        raise spec.SpecError(f"the name of an ONNX file ends in {SUFFIX}, found {str(dest)!r}")
    runner = backends.parse("onnx")
    runner.check()
    network, checkpoint = arguments.opened(source, set_)
    preprocessing = checkpoint.preprocessing if checkpoint else None
    batch = photographs.load(images or photographs.samples(), CROPS, network.input_shape, preprocessing)
    if checkpoint is None:
        print(f"{source}: no weights in it, drawn with seed 0")
        checkpoint = spec.Checkpoint(network, spec.initialize(network, 0))
    package: Any = runner.load()
    model = _model(package, checkpoint, optimize)
    package.save(dest, model)
    print(f"written: {dest} (ONNX, opset {package.model.OPSET})")
    if not verify:
        return 0
    reopened = package.files.reopened(dest, model.network)
    expected = expected_of(checkpoint, batch, DTYPE)
    engines = [runner, *(each for each in runner.others() if each.precision(DTYPE) == DTYPE)]
    rows = [_row(each, reopened, batch, expected) for each in engines]
    tables.show(tables.parity_table(f"{network.name}  {DTYPE}  {CROPS} x {by(network.input_shape)}", rows))
    for row in rows:
        if row.problem:
            print(f"densenet: {row.problem}", file=sys.stderr)
    return 0 if all(row.agrees for row in rows) else 1


def _model(package: Any, checkpoint: spec.Checkpoint, optimize: bool) -> Any:
    """The checkpoint as an ONNX model in float32."""
    network, weights = checkpoint.network, checkpoint.weights
    if optimize:
        network, weights = spec.optimized(network, weights)
        before, after = (_count(each, BatchNorm) for each in (checkpoint.network, network))
        pooled = _count(checkpoint.network, Transition)
        print(f"  batch norms folded: {before - after} of {before}; transitions pooled first: {pooled}")
    if checkpoint.dtype != DTYPE:
        print(f"  {checkpoint.dtype} rounded to {DTYPE}, which ONNX Runtime computes in")
    model = package.build(network, DTYPE)
    package.load_weights(model, {name: array.astype(DTYPE) for name, array in weights.items()})
    package.files.describe(model, checkpoint)
    return model


def _count(network: spec.Network, kind: type) -> int:
    return sum(isinstance(node, kind) for _, node in spec.walk(network.root))


def _row(runner: backends.Runner, model: Any, images: np.ndarray, expected: np.ndarray) -> Verdict:
    """What one engine makes of the file, beside what is expected."""
    row, _ = beside(
        expected,
        lambda: runner.predict(model, images.astype(DTYPE)),
        network=model.network.name,
        backend=str(runner),
        dtype=DTYPE,
        weights=runner.load().export_weights(model),
        blamed=str(runner),
    )
    return row
