"""`densenet list`."""

import json
from dataclasses import asdict
from typing import Any

import spec
from densenet_tools.commands import tables
from densenet_tools.commands.arguments import PrintJson


def list_(*, as_json: PrintJson = False) -> int:
    """List the variants: parameters, buffers, multiply-adds, published error and source.

    Example: densenet list
    """
    if as_json:
        print(json.dumps({name: _listed(name) for name in spec.names()}, indent=2))
    else:
        tables.show(tables.variants_table(spec.names()))
    return 0


def _listed(name: str) -> dict[str, Any]:
    network = spec.variant(name)
    total = asdict(spec.total(network))
    figures = {key: total[key] for key in ("parameters", "buffers", "multiply_adds", "activation_bytes")}
    published = [asdict(entry) for entry in spec.published(name)]
    return {"input_shape": network.input_shape, "num_classes": network.num_classes, **figures, "published": published}
