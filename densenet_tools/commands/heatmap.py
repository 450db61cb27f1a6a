"""`densenet heatmap`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

import spec
from densenet_tools import figures
from densenet_tools.commands import files
from densenet_tools.commands.arguments import PrintJson
from densenet_tools.commands.models import Source
from densenet_tools.commands.text import printable
from densenet_tools.figures.heatmap import heatmap as draw
from densenet_tools.reuse import BlockReuse, feature_reuse
from densenet_tools.training import weights_of


def heatmap(
    source: Source,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="The picture: .png, .svg or .pdf; default: heatmap.png.")] = None,
    raw: Annotated[bool, Parameter(negative="", help="Mean absolute weights, not over each block's largest.")] = False,
    as_json: PrintJson = False,
    theme: Annotated[figures.Theme, Parameter(help="What is behind the picture.")] = "light",
) -> int:
    """Draw which features each layer of a DenseNet uses, as figure 5 of its paper does.

    For each dense block: the mean absolute weight with which a layer's first convolution reads the block's input and
    each layer before it, over the largest one of the block. The last column is the transition, or the classifier.
    With --json the numbers are printed, and a picture is drawn only where --out names one.

    Example: densenet heatmap runs/first --out reuse.png
    """
    picture = None if as_json and out is None else out or Path("heatmap.png")
    if picture:
        figures.check(picture)
    weights = weights_of(source)
    files.check({"--out": picture}, [weights])
    checkpoint = spec.open(weights)
    blocks = feature_reuse(checkpoint.network, checkpoint.weights)
    if picture:
        files.write(picture, draw(blocks, not raw, picture.suffix[1:], theme))
    if as_json:
        print(json.dumps(_listed(checkpoint.network.name, blocks, raw), indent=2))
    else:
        print(f"written: {printable(picture)}")
    return 0


def _listed(network: str, blocks: Sequence[BlockReuse], raw: bool) -> dict[str, Any]:
    """What is printed: `values` has a row for each source, and null where there is no connection."""
    return {
        "network": network,
        "rescaled": not raw,
        "blocks": [
            {
                "name": block.name,
                "sources": block.sources,
                "targets": block.targets,
                "values": _with_null(block.values if raw else block.rescaled),
            }
            for block in blocks
        ],
    }


def _with_null(values: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(value) else value for value in row] for row in values.tolist()]
