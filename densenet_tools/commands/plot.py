"""`densenet plot`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import spec
from densenet_tools import figures
from densenet_tools.commands import files
from densenet_tools.commands.text import printable
from densenet_tools.figures.curves import curves
from densenet_tools.figures.logs import read_run
from densenet_tools.training.log import EPOCHS, STEPS


def plot(
    *runs: Annotated[Path, Parameter(help="Folders of runs, as train --out was given them.", json_list=False)],
    out: Annotated[Path, Parameter(help="The picture: .png, .svg or .pdf.")] = Path("curves.png"),
    theme: Annotated[figures.Theme, Parameter(help="What is behind it.")] = "light",
) -> int:
    """Plot loss and accuracy of training runs, all in one picture.

    Thin lines are the training's running mean, over what each step found; markers are what validation found after
    each epoch. Axes leave the first steps out, where the loss is far from all later ones.

    Example: densenet plot runs/torch runs/mxnet runs/keras --out curves.svg
    """
    if not runs:
        raise spec.SpecError("plot needs the folders of runs, such as densenet plot runs/torch runs/mxnet")
    figures.check(out)
    files.check({"--out": out}, [run / log for run in runs for log in (EPOCHS, STEPS)])
    read = {name: read_run(run) for name, run in _named(runs).items()}
    files.write(out, curves(read, out.suffix[1:], theme))
    print(f"written: {printable(out)}")
    return 0


def _named(runs: Sequence[Path]) -> Mapping[str, Path]:
    """The runs by the names of their folders; by their whole paths where two folders have one name."""
    if len({run.resolve() for run in runs}) < len(runs):
        raise spec.SpecError("plot was given one run twice: name each once")
    named = {run.resolve().name: run for run in runs}
    return named if len(named) == len(runs) else {str(run): run for run in runs}
