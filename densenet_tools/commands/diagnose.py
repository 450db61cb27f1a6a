"""`densenet diagnose`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import spec
from densenet_tools.commands import arguments, files, progress
from densenet_tools.commands.text import printable
from densenet_tools.diagnosis import diagnose as diagnosed, recognized, to_html, to_json, to_text
from densenet_tools.diagnosis.failing import write
from densenet_tools.diagnosis.loading import load, load_optimizer
from densenet_tools.diagnosis.report import mapping_text


def diagnose(
    model: Annotated[str, Parameter(help="package.module:function or file.py:function, which returns the model.")],
    *,
    as_: Annotated[
        str | None,
        Parameter(name="--as", help="What it should be: a variant, config file or .safetensors; left out: what is it?"),
    ] = None,
    weights: Annotated[
        Literal["probe", "own"],
        Parameter(help="probe: weights that show most are put into both; own: both have the model's."),
    ] = "probe",
    training: Annotated[
        bool, Parameter(negative="", help="Also compare a training pass: gradients and running statistics.")
    ] = False,
    optimizer: Annotated[
        str | None, Parameter(help="Also compare a step: function of the model that returns its optimizer.")
    ] = None,
    learning_rate: Annotated[float | None, Parameter(help="What the optimizer's should be.")] = None,
    momentum: Annotated[float | None, Parameter(help="What the optimizer's should be.")] = None,
    nesterov: Annotated[bool | None, Parameter(help="Whether the optimizer should look ahead by the momentum.")] = None,
    weight_decay: Annotated[float | None, Parameter(help="What the optimizer's should be.")] = None,
    mapping: Annotated[bool, Parameter(negative="", help="Also print which layer is which.")] = False,
    seed: Annotated[int, Parameter(help="Seed of the images and of what is put into both.")] = 0,
    set_: arguments.Set = None,
    json_file: arguments.JsonFile = None,
    html: Annotated[Path | None, Parameter(help="Also write a page with a plot and tables to this file.")] = None,
    failing: Annotated[
        Path, Parameter(help="Where to put the smallest part that nothing explains; a script goes beside it.")
    ] = Path("failing.npz"),
) -> int:
    """Say why a model of PyTorch, Gluon or Keras, whoever wrote it, is not the network that it should be.

    Each layer is replayed by the NumPy reference on what it is given in the model, so that each fault is seen where it
    sits; then known causes are tried until one gives the model's numbers. Of a .safetensors the weights are compared,
    too. Exit 0 when the model agrees, 1 when it departs.

    Example: densenet diagnose my_package.model:build --as densenet121
    """
    inputs = [Path(name) for name in (as_, model.rpartition(":")[0]) if name and Path(name).is_file()]
    if failing.suffix != ".npz":
        raise spec.SpecError(f"--failing takes a name that ends in .npz, found {str(failing)!r}")
    outputs = {"--json": json_file, "--html": html, "--failing": failing}
    files.check({**outputs, "the script of --failing": failing.with_suffix(".py")}, inputs)
    suspect = load(model)
    network, checkpoint = arguments.opened(as_, set_) if as_ else (recognized(suspect), None)
    settings = {
        "learning_rate": learning_rate,
        "momentum": momentum,
        "nesterov": nesterov,
        "weight_decay": weight_decay,
    }
    right = {name: value for name, value in settings.items() if value is not None}
    if right and not optimizer:
        raise spec.SpecError(f"--{next(iter(right)).replace('_', '-')} is of an optimizer: name one with --optimizer")
    descends = load_optimizer(optimizer, suspect) if optimizer else None
    with progress.bar(network.name, 0, of=1):
        held = checkpoint.weights if checkpoint else None
        found = diagnosed(suspect, network, held, weights, seed, training, descends, right)
    print(printable_lines(to_text(found)))
    if network.config and not as_:
        print(printable_lines(f"  {_described(network.config)}"))
    if mapping:
        print(printable_lines(mapping_text(found)))
    if json_file:
        files.write(json_file, to_json(found))
    if html:
        files.write(html, to_html(found))
    if found.case:
        print(f"written: {failing} and {write(failing, found.case)}, which shows it")
    return 0 if found.agrees else 1


def _described(config: spec.NetworkConfig) -> str:
    """A config in one line: its family, and what it does not leave at the default."""
    fields = config.model_dump(exclude={"family"}, exclude_defaults=True)
    return ", ".join([f"family {config.family}", *(f"{name} {value}" for name, value in fields.items())])


def printable_lines(text: str) -> str:
    """Each line as a terminal may get it, whatever names a model has."""
    return "\n".join(map(printable, text.splitlines()))
