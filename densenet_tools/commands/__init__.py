"""The command line `densenet`: exit 0 when what it checks holds, 1 when it does not, 2 for bad usage."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

import spec
from densenet_tools import backends
from densenet_tools.commands import arguments

app = App(
    name="densenet",
    help="DenseNet from one spec, in PyTorch, MXNet Gluon, Keras and NumPy.",
    version=version("densenet-reference"),
    help_format="plaintext",
)

Set = Annotated[
    list[str] | None,
    Parameter(
        name="--set", negative="", help="Override a field: FIELD=VALUE, such as num_classes=10 or stem.padding=1."
    ),
]
Input = Annotated[str | None, Parameter(help="Input shape CxHxW, such as 3x224x224; default: the published one.")]

Backends = Annotated[
    list[str] | None,
    Parameter(name="--backends", negative="", consume_multiple=True, help="Which; default: all that are installed."),
]
JsonFile = Annotated[Path | None, Parameter(name="--json", help="Also write the results to this file.")]


@app.command(name="list")
def list_(*, as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")] = False) -> int:
    """List the variants: parameters, buffers, multiply-adds, published error and source.

    Example: densenet list
    """
    from densenet_tools.commands import tables

    if as_json:
        print(json.dumps({name: _listed(name) for name in spec.names()}, indent=2))
    else:
        tables.show(tables.variants_table(spec.names()))
    return 0


@app.command
def show(
    network: Annotated[str, Parameter(help="A variant's name, or a .toml or .json config file.")],
    /,
    *,
    input: Input = None,
    depth: Annotated[int | None, Parameter(help="Fold what lies deeper than this many names.")] = None,
    backend: Annotated[str | None, Parameter(help="Show what this backend really makes; differences exit 1.")] = None,
    set_: Set = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")] = False,
) -> int:
    """Show every layer: name, kind, output shape, parameters, multiply-adds and activation memory.

    Figures are for one image. Multiply-adds are those of convolutions and linear layers; activation
    memory is that of every computed tensor in float32. A row that contains others sums them up.

    Example: densenet show densenet121 --input 3x224x224
    """
    from densenet_tools import inspection
    from densenet_tools.commands import tables

    net = spec.load(network, **arguments.overrides(set_ or []))
    shape = arguments.input_shape(input) if input else net.input_shape
    rows = spec.analyze(net, shape)
    observed = inspection.observe(net, backend, shape) if backend else None
    problems = inspection.differences(rows, observed, backend or "") if observed else []
    shown = [row for row in rows if depth is None or row.depth <= depth or not row.path]
    if as_json:
        print(json.dumps({"layers": [asdict(row) for row in shown], "differences": problems}, indent=2))
    else:
        title = f"{net.name} at {tables.by(shape)}" + (f", as {backend} builds it" if backend else "")
        tables.show(tables.layers_table(title, shown, observed))
    for problem in problems:
        print(f"densenet: {problem}", file=sys.stderr)
    return 1 if problems else 0


@app.command
def parity(
    *networks: Annotated[str, Parameter(help="Variants' names, or config files; default: densenet121.")],
    dtype: Annotated[Literal["float32", "float64"], Parameter(help="What the backends compute in.")] = "float32",
    backends_: Annotated[
        list[str] | None,
        Parameter(
            name="--backends",
            negative="",
            consume_multiple=True,
            help="Which of them; default: all that are installed.",
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        Parameter(negative="", consume_multiple=True, help="Photographs; default: one that matplotlib ships."),
    ] = None,
    batch: Annotated[int, Parameter(help="How many crops of them make a batch.")] = 2,
    input: Input = None,
    seed: Annotated[int, Parameter(help="Seed of the weights and running statistics.")] = 0,
    layers: Annotated[bool, Parameter(negative="", help="Also compare every layer's output.")] = False,
    gradients: Annotated[
        bool, Parameter(negative="", help="Also compare loss, gradients and running statistics of a training pass.")
    ] = False,
    executors: Annotated[
        bool, Parameter(negative="", help="Also run each backend's other executors: compiled, hybridized ...")
    ] = False,
    all_: Annotated[bool, Parameter(name="--all", negative="", help="Compare every variant.")] = False,
    set_: Set = None,
    json_file: JsonFile = None,
    html: Annotated[Path | None, Parameter(help="Also write a page with tables and plots to this file.")] = None,
) -> int:
    """Compare every backend's logits with those of the NumPy reference, on photographs.

    All get the same weights, with random running statistics. The reference computes in float64.
    Exit 0 when all agree, 1 when one does not, naming the first layer that departs.

    Example: densenet parity densenet121 se_densenet121 --dtype float64
    """
    from densenet_tools import images as photographs
    from densenet_tools import plots
    from densenet_tools.commands import tables
    from densenet_tools.parity.page import to_html
    from densenet_tools.parity.report import Report, to_json
    from densenet_tools.parity.tolerance import OUTPUTS
    from densenet_tools.parity.verdict import Comparison, compare

    names = _backends(backends_)
    if executors:
        names = [each for name in names for each in (name, *backends.executors(name))]
    checks = ["logits"] + ["layers"] * (layers or html is not None) + ["gradients"] * gradients
    if batch < 1:
        raise spec.SpecError(f"--batch must be at least 1, found {batch}")
    _check_writable(json_file)
    if html:
        plots.check(html, (".html",))
    paths = images or [photographs.sample()]
    chosen = spec.names() if all_ else networks or ("densenet121",)
    nets = [spec.load(network, **arguments.overrides(set_ or [])) for network in chosen]
    shapes = [arguments.input_shape(input) if input else net.input_shape for net in nets]
    for net, shape in zip(nets, shapes):
        net.check_input_shape(shape)
    results: list[Comparison] = []
    for net, shape in zip(nets, shapes):
        comparisons = compare(net, names, photographs.load(paths, batch, shape), dtype, seed, checks)
        title = f"{net.name}  {dtype}  {batch} x {tables.by(shape)}  tolerance {OUTPUTS[dtype]:.0e} relative"
        tables.show(tables.parity_table(title, comparisons))
        results += comparisons
    versions = backends.versions(names)
    report = Report(versions, dtype, seed, batch, tuple(path.name for path in paths), tuple(results))
    if json_file:
        _write(json_file, to_json(report))
    if html:
        _write(html, to_html(report))
    for result in results:
        if result.problem:
            print(f"densenet: {result.network}: {result.problem}", file=sys.stderr)
    return 0 if all(result.agrees for result in results) else 1


@app.command
def compare(
    *networks: Annotated[str, Parameter(help="Variants' names, or config files.")],
    input: Input = None,
    backends_: Backends = None,
    runs: Annotated[int, Parameter(help="How many inferences are timed, after three to warm up.")] = 10,
    json_file: JsonFile = None,
    plot: Annotated[Path | None, Parameter(help="Plot parameters against multiply-adds into this file.")] = None,
) -> int:
    """Compare networks: parameters, multiply-adds, activation memory, milliseconds in each backend.

    Figures are for one image, as in `show`. With --input, each network is built for that shape; without,
    for its published one. Times are the median (fastest-slowest) of one call of predict in float32.

    Example: densenet compare densenet_d2l resnet18 googlenet --input 1x96x96 --plot costs.png
    """
    from densenet_tools import plots
    from densenet_tools.commands import tables
    from densenet_tools.costs import cost

    names = _backends(backends_)
    if not networks:
        raise spec.SpecError("compare needs the names of networks, such as densenet_d2l resnet18; see densenet list")
    if runs < 1:
        raise spec.SpecError(f"--runs must be at least 1, found {runs}")
    _check_writable(json_file)
    if plot:
        plots.check(plot)
    nets = [_load_for(network, arguments.input_shape(input) if input else None) for network in networks]
    costs = [cost(net, names, shape, runs) for net, shape in nets]
    title = f"at {input}, float32, median (fastest-slowest) of {runs} runs" if input else "at the published sizes"
    tables.show(tables.costs_table(title, costs))
    if json_file:
        measured = {"versions": backends.versions(names), "costs": [asdict(c) for c in costs]}
        _write(json_file, json.dumps(measured, indent=2) + "\n")
    if plot:
        plots.parameters_against_multiply_adds(costs, title.split(",")[0], plot)
    return 0


@app.command
def schema(
    kind: Annotated[
        str, Parameter(help="densenet, lenet, alexnet, vgg, nin, googlenet or resnet; or parity, for its report.")
    ] = "densenet",
    /,
) -> int:
    """Print the JSON schema of a config file, or of the report that `parity --json` writes.

    Example: densenet schema resnet > resnet.schema.json
    """
    from densenet_tools.parity import report

    print(json.dumps(report.schema() if kind == "parity" else spec.schema(kind), indent=2))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # warnings and errors only
    try:
        return app(argv, exit_on_error=False, print_error=False, result_action="return_value") or 0
    except (CycloptsError, spec.SpecError) as error:
        print(f"densenet: {error}", file=sys.stderr)
        return 2


def _backends(texts: list[str] | None) -> list[str]:
    """The backends asked for, or all that are installed."""
    names = arguments.words(texts) if texts else backends.installed()
    for name in names:
        backends.check(name)
    return names


def _load_for(network: str, shape: tuple[int, int, int] | None) -> tuple[spec.Network, tuple[int, int, int]]:
    """A network built for images of that (C, H, W), and the shape; for its published one where that is None."""
    if shape is None:
        net = spec.load(network)
        return net, net.input_shape
    net = spec.load(network, in_channels=shape[0], input_size=max(shape[1:]))
    net.check_input_shape(shape)
    return net, shape


def _listed(name: str) -> dict[str, Any]:
    network = spec.variant(name)
    total = asdict(spec.total(network))
    figures = {key: total[key] for key in ("parameters", "buffers", "multiply_adds", "activation_bytes")}
    published = [asdict(entry) for entry in spec.published(name)]
    return {"input_shape": network.input_shape, "num_classes": network.num_classes, **figures, "published": published}


def _check_writable(path: Path | None) -> None:
    if path and not path.parent.is_dir():
        raise spec.SpecError(f"--json {path} cannot be written: {path.parent} is not a directory")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise spec.SpecError(f"{path} cannot be written: {error.strerror}") from None
