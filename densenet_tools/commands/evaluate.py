"""`densenet evaluate`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from densenet_tools import figures
from densenet_tools.commands import arguments, evaluation_tables, files, progress, tables
from densenet_tools.commands.models import Device, RunBy, Source, dataset_for, opened
from densenet_tools.commands.text import printable
from densenet_tools.evaluation import evaluate as measured
from densenet_tools.figures.confusion import confusion
from densenet_tools.training import weights_of


def evaluate(
    source: Source,
    /,
    *,
    data: Annotated[str, Parameter(help="fashion-mnist, or a folder of images: its test part, where it has one.")],
    data_dir: Annotated[Path | None, Parameter(help="Folder of Fashion-MNIST's files, if not installed.")] = None,
    backend: RunBy = "torch",
    device: Device = "cpu",
    batch_size: Annotated[int, Parameter(help="Images in a batch.")] = 64,
    skip_unreadable: Annotated[bool, Parameter(negative="", help="Leave images out that cannot be read.")] = False,
    plot: Annotated[Path | None, Parameter(help="Also draw the confusion matrix into this file.")] = None,
    theme: Annotated[figures.Theme, Parameter(help="What is behind the picture.")] = "light",
    json_file: arguments.JsonFile = None,
) -> int:
    """Evaluate a network on test images: loss, accuracy, top-5, precision and recall of each class, confusions.

    Images are prepared as the file says. Weights of a run in any backend give the same in every other.

    Example: densenet evaluate runs/first --data fashion-mnist --backend keras --plot confusion.png
    """
    if plot:
        figures.check(plot)
    outputs = {"--json": json_file, "--plot": plot}
    files.check(outputs, [weights_of(source)])
    with opened(source, backend, device, data) as it:
        test = dataset_for(it, data, data_dir, outputs, skip_unreadable)
        with progress.steps(0, of=len(test), text="images") as bar:
            found = measured(it.runner.predict, it.model, it.checkpoint, test, batch_size, on_batch=bar.advance)
    name = it.checkpoint.network.name
    title = printable(f"{name} in {it.runner} on {test.name}")
    tables.show(evaluation_tables.metrics_table(title, found, test.classes))
    tables.show(evaluation_tables.confusion_table("confusions", found, test.classes))
    if json_file:
        what = {"network": name, "backend": str(it.runner), "data": test.name, "classes": test.classes}
        files.write(json_file, json.dumps(what | asdict(found), indent=2) + "\n")
    if plot:
        files.write(plot, confusion(found, test.classes, plot.suffix[1:], theme))
        print(f"written: {printable(plot)}")
    return 0
