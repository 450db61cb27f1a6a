"""`densenet schema`."""

import json
from typing import Annotated

from cyclopts import Parameter

import spec
from densenet_tools.parity import report
from densenet_tools.training import Settings


def schema(
    kind: Annotated[
        str,
        Parameter(
            help="densenet, lenet, alexnet, vgg, nin, googlenet or resnet; train, for its settings; or parity, for its "
            "report."
        ),
    ] = "densenet",
    /,
) -> int:
    """Print the JSON schema of a config file, of the settings of `train`, or of the report that `parity --json` writes.

    Example: densenet schema resnet > resnet.schema.json
    """
    schemas = {"parity": report.schema, "train": Settings.model_json_schema}
    print(json.dumps(schemas[kind]() if kind in schemas else spec.schema(kind), indent=2))
    return 0
