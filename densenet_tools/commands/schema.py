"""`densenet schema`."""

import json
from typing import Annotated

from cyclopts import Parameter

import spec
from densenet_tools.parity import report


def schema(
    kind: Annotated[
        str, Parameter(help="densenet, lenet, alexnet, vgg, nin, googlenet or resnet; or parity, for its report.")
    ] = "densenet",
    /,
) -> int:
    """Print the JSON schema of a config file, or of the report that `parity --json` writes.

    Example: densenet schema resnet > resnet.schema.json
    """
    print(json.dumps(report.schema() if kind == "parity" else spec.schema(kind), indent=2))
    return 0
