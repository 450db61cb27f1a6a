"""`densenet compare`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import spec
from densenet_tools import backends, figures, memory
from densenet_tools.commands import arguments, files, progress, tables
from densenet_tools.costs import cost
from densenet_tools.figures.costs import parameters_against_multiply_adds
from spec.analysis import BYTES


def compare(
    *networks: Annotated[str, Parameter(help="Variants' names, or config files.", json_list=False)],
    input: arguments.Input = None,
    backends_: arguments.Backends = None,
    runs: Annotated[int, Parameter(help="How many inferences are timed, after three to warm up.")] = 10,
    json_file: arguments.JsonFile = None,
    plot: Annotated[Path | None, Parameter(help="Plot parameters against multiply-adds into this file.")] = None,
) -> int:
    """Compare networks: parameters, multiply-adds, activation memory, milliseconds in each backend.

    Figures are for one image, as in `show`. With --input, each network is built for that shape; without,
    for its published one. Times are the median (fastest-slowest) of one call of predict in float32.

    Example: densenet compare densenet_d2l resnet18 googlenet --input 1x96x96 --plot costs.png
    """
    runners = arguments.runners(backends_)
    if not networks:
        raise spec.SpecError("compare needs the names of networks, such as densenet_d2l resnet18; see densenet list")
    if runs < 1:
        raise spec.SpecError(f"--runs must be at least 1, found {runs}")
    if plot:
        figures.check(plot)
    files.check({"--json": json_file, "--plot": plot}, map(Path, networks))
    nets = [_load_for(network, arguments.input_shape(input) if input else None) for network in networks]
    for net, shape in nets:
        memory.check(net, shape, batch=1, each=BYTES)
    costs = []
    for done, (net, shape) in enumerate(nets):
        with progress.bar(net.name, done, of=len(nets)):
            costs.append(cost(net, runners, shape, runs))
    title = f"at {input}, float32, median (fastest-slowest) of {runs} runs" if input else "at the published sizes"
    tables.show(tables.costs_table(title, costs))
    if json_file:
        measured = {"versions": backends.versions(runners), "costs": [asdict(c) for c in costs]}
        files.write(json_file, json.dumps(measured, indent=2) + "\n")
    if plot:
        files.write(plot, parameters_against_multiply_adds(costs, title.split(",")[0], plot.suffix[1:]))
    return 0


def _load_for(network: str, shape: tuple[int, int, int] | None) -> tuple[spec.Network, tuple[int, int, int]]:
    """A network built for images of that (C, H, W), and the shape; for its published one where that is None."""
    if shape is None:
        net = spec.load(network)
        return net, net.input_shape
    net = spec.load(network, in_channels=shape[0], input_size=max(shape[1:]))
    net.check_input_shape(shape)
    return net, shape
