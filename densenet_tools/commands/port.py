"""`densenet port`."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from densenet_tools import images as photographs, porting
from densenet_tools.commands import arguments, files, tables
from densenet_tools.parity.report import to_json
from densenet_tools.porting import Format, Ported
from spec.shapes import by

CROPS = 2


def port(
    source: Annotated[Path, Parameter(help="A file with weights: .safetensors, .pth, .pt, .h5, .keras, .params.")],
    dest: Annotated[Path, Parameter(help="The file to write; .json takes the config alone.")],
    /,
    *,
    from_: Annotated[
        str | None, Parameter(name="--from", help="The source's format, where its name does not say it.")
    ] = None,
    to: Annotated[str | None, Parameter(help="The other's: keras.applications or mxnet.model_zoo, for those.")] = None,
    as_: Annotated[
        str | None, Parameter(name="--as", help="The variant or config file that the weights are of; default: told.")
    ] = None,
    set_: arguments.Set = None,
    num_classes: Annotated[int | None, Parameter(help="Another number of classes: the classifier is new.")] = None,
    in_channels: Annotated[int | None, Parameter(help="Another number of image channels: the stem is adapted.")] = None,
    images: arguments.Photographs = None,
    verify: Annotated[bool, Parameter(help="Run both files in their frameworks, and compare what they give.")] = True,
    json_file: arguments.JsonFile = None,
) -> int:
    """Port weights from one file to another, and check that both give the same.

    What the file holds is told from names and shapes. Afterwards each file is opened by the framework that such
    files are for, and its logits on photographs are held against the NumPy reference in float64.
    Exit 0 when both agree, 1 when one does not.

    Example: densenet port densenet121.pth densenet121.keras
    """
    files.check({"the destination": dest, "--json": json_file}, [source, *(images or [])])
    format, target = porting.format_of(source, from_, "--from"), porting.format_of(dest, to, "--to")
    overrides = arguments.overrides(set_ or [])
    ported = porting.convert(source, format, target, as_, overrides, num_classes, in_channels)
    porting.check_writable(dest, target, ported.result.network)
    _say(source, ported)
    network, verify = ported.source.network, verify and target is not Format.CONFIG
    paths = (images or photographs.samples()) if verify else []
    batch = photographs.load(paths, CROPS, network.input_shape, ported.source.preprocessing) if verify else None
    porting.write(dest, target, ported.result)
    print(f"written: {dest} ({target.value})")
    if batch is None:
        return 0
    compared = porting.compare(ported, source, dest, target, batch)
    title = f"{network.name}  {ported.source.dtype}  {CROPS} x {by(network.input_shape)}  each in its own framework"
    tables.show(tables.parity_table(title, compared.rows))
    if compared.apart is not None:
        print(f"apart from each other: {compared.apart:.1e} relative")
    if json_file:
        files.write(json_file, to_json(compared))
    for row in compared.rows:
        if row.problem:
            print(f"densenet: {row.problem}", file=sys.stderr)
    return 0 if all(row.agrees for row in compared.rows) else 1


def _say(source: Path, ported: Ported) -> None:
    """What was found, what it was taken for, and what was changed."""
    network, config = ported.result.network, ported.result.network.config
    assert config is not None
    print(f"{source}: {ported.format.value}, {ported.source.dtype}, {network.name}")
    shown = {name: value for name, value in config.model_dump().items() if value is not None}
    print(*(f"  {name} = {value}" for name, value in shown.items()), sep="\n")
    for name, what in ported.changes.items():
        print(f"  {name}: {what}")
