"""`densenet show`."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

import spec
from densenet_tools import backends, inspection, memory
from densenet_tools.commands import arguments, tables
from spec.analysis import BYTES
from spec.shapes import by


def show(
    network: Annotated[str, Parameter(help="A variant's name, or a .toml or .json config file.")],
    /,
    *,
    input: arguments.Input = None,
    depth: Annotated[int | None, Parameter(help="Fold what lies deeper than this many names.")] = None,
    backend: Annotated[str | None, Parameter(help="Show what this backend really makes; differences exit 1.")] = None,
    set_: arguments.Set = None,
    as_json: arguments.PrintJson = False,
) -> int:
    """Show every layer: name, kind, output shape, parameters, multiply-adds and activation memory.

    Figures are for one image. Multiply-adds are those of convolutions and linear layers; activation
    memory is that of every computed tensor in float32. A row that contains others sums them up.

    Example: densenet show densenet121 --input 3x224x224
    """
    net = spec.load(network, **arguments.overrides(set_ or []))
    shape = arguments.input_shape(input) if input else net.input_shape
    runner = backends.parse(backend) if backend else None
    rows = spec.analyze(net, shape)
    if runner:
        memory.check(net, shape, batch=1, each=BYTES, layers=True)
    observed = inspection.observe(net, runner, shape) if runner else None
    problems = inspection.differences(rows, observed, runner) if runner and observed else []
    shown = [row for row in rows if depth is None or row.depth <= depth or not row.path]
    if as_json:
        print(json.dumps({"layers": [asdict(row) for row in shown], "differences": problems}, indent=2))
    else:
        title = f"{net.name} at {by(shape)}" + (f", as {runner} builds it" if runner else "")
        tables.show(tables.layers_table(title, shown, observed))
    for problem in problems:
        print(f"densenet: {problem}", file=sys.stderr)
    return 1 if problems else 0
