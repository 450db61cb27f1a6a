"""`densenet parity`."""

import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from cyclopts import Parameter

import spec
from densenet_tools import backends, figures, images as photographs, memory
from densenet_tools.backends import Runner
from densenet_tools.commands import arguments, files, progress, tables
from densenet_tools.parity import Comparison, Verdict, verify
from densenet_tools.parity.page import to_html
from densenet_tools.parity.processes import verify_all
from densenet_tools.parity.report import Report, to_json
from densenet_tools.parity.tolerance import OUTPUTS
from spec.shapes import by


def parity(
    *networks: Annotated[
        str, Parameter(help="Variants, config files, or .safetensors files; default: densenet121.", json_list=False)
    ],
    dtype: Annotated[Literal["float32", "float64"], Parameter(help="What the backends compute in.")] = "float32",
    backends_: arguments.Backends = None,
    images: Annotated[arguments.Photographs, Parameter(json_list=False)] = None,
    batch: Annotated[int, Parameter(help="How many crops of them make a batch.")] = 2,
    input: arguments.Input = None,
    seed: Annotated[int, Parameter(help="Seed of the weights and running statistics.")] = 0,
    layers: Annotated[bool, Parameter(negative="", help="Also compare every layer's output.")] = False,
    gradients: Annotated[
        bool, Parameter(negative="", help="Also compare loss, gradients and running statistics of a training pass.")
    ] = False,
    executors: Annotated[
        bool, Parameter(negative="", help="Also run each backend's other executors: compiled, hybridized ...")
    ] = False,
    all_: Annotated[bool, Parameter(name="--all", negative="", help="Compare every variant.")] = False,
    set_: arguments.Set = None,
    json_file: arguments.JsonFile = None,
    html: Annotated[Path | None, Parameter(help="Also write a page with tables and plots to this file.")] = None,
) -> int:
    """Compare every backend's logits with those of the NumPy reference, on photographs.

    All get the same weights: those of a .safetensors file, else random ones, with random running statistics. The
    reference computes in float64.
    Exit 0 when all agree, 1 when one does not, naming the first layer that departs.

    Example: densenet parity densenet121 se_densenet121 --dtype float64
    """
    runners = arguments.runners(backends_)
    if executors:
        runners = [each for runner in runners for each in (runner, *runner.others(dtype))]
    checks = ["logits"] + ["layers"] * (layers or html is not None) + ["gradients"] * gradients
    if batch < 1:
        raise spec.SpecError(f"--batch must be at least 1, found {batch}")
    if html:
        figures.check(html, (".html",))
    paths = images or photographs.samples()
    chosen = spec.names() if all_ else networks or ("densenet121",)
    files.check({"--json": json_file, "--html": html}, [*paths, *map(Path, chosen)])
    opened = [arguments.opened(network, set_) for network in chosen]
    nets = [network for network, _ in opened]
    shapes = [arguments.input_shape(input) if input else net.input_shape for net in nets]
    for net, shape in zip(nets, shapes):
        net.check_input_shape(shape)
        memory.check(net, shape, batch, each=8 + np.dtype(dtype).itemsize, layers=len(checks) > 1)  # 8: the reference
    comparisons = []
    for (net, checkpoint), shape in zip(opened, shapes):
        preprocessing, weights = (checkpoint.preprocessing, checkpoint.weights) if checkpoint else (None, None)
        batch_of = photographs.load(paths, batch, shape, preprocessing)
        comparisons.append(Comparison(net, batch_of, dtype, seed, tuple(checks), weights))
    verdicts: list[Verdict] = []
    for net, shape, found in zip(nets, shapes, _in_order(comparisons, runners)):
        title = f"{net.name}  {dtype}  {batch} x {by(shape)}  tolerance {OUTPUTS[dtype]:.0e} relative"
        tables.show(tables.parity_table(title, found))
        verdicts += found
    versions = backends.versions(runners)
    report = Report(
        versions, dtype, seed, batch, tuple(path.name for path in paths) or ("a drawn picture",), tuple(verdicts)
    )
    if json_file:
        files.write(json_file, to_json(report))
    if html:
        files.write(html, to_html(report))
    for verdict in verdicts:
        if verdict.problem:
            print(f"densenet: {verdict.network}: {verdict.problem}", file=sys.stderr)
    return 0 if all(verdict.agrees for verdict in verdicts) else 1


def _in_order(comparisons: Sequence[Comparison], runners: Sequence[Runner]) -> Iterator[list[Verdict]]:
    """The verdicts on each network, which may be complete in another order; waits for them with a bar."""
    found: dict[int, list[Verdict]] = {}
    with closing(_as_complete(comparisons, runners)) as complete:
        for place, comparison in enumerate(comparisons):
            while place not in found:
                with progress.bar(comparison.network.name, len(found), of=len(comparisons)):
                    done, verdicts = next(complete)
                found[done] = verdicts
            yield found[place]


def _as_complete(
    comparisons: Sequence[Comparison], runners: Sequence[Runner]
) -> Generator[tuple[int, list[Verdict]], None, None]:
    """(place, verdicts): by processes side by side, where there are frameworks to load and more than one of them."""
    packages = {runner.entry.package for runner in runners if runner.backend != "numpy"}
    if len(packages - sys.modules.keys()) > 1:
        yield from verify_all(comparisons, runners)
    else:
        for place, each in enumerate(comparisons):
            yield place, verify(each.network, runners, each.images, each.dtype, each.seed, each.checks, each.weights)
