"""The command line `densenet`: exit 0 when what it checks holds, 1 when it does not, 2 for bad usage."""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError

import spec
from densenet_tools.commands import compare, list as list_, parity, schema, show

app = App(
    name="densenet",
    help="DenseNet from one spec, in PyTorch, MXNet Gluon, Keras and NumPy.",
    version=version("densenet-reference"),
    help_format="plaintext",
)
app.command(list_.list_, name="list")
app.command(show.show)
app.command(parity.parity)
app.command(compare.compare)
app.command(schema.schema)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # warnings and errors only
    try:
        return app(argv, exit_on_error=False, print_error=False, result_action="return_value") or 0
    except (CycloptsError, spec.SpecError) as error:
        print(f"densenet: {error}", file=sys.stderr)
        return 2
