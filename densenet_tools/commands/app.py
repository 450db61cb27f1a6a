"""The command line `densenet`: exit 0 when what it checks holds, 1 when it does not, 2 for bad usage or bad input,
3 for anything unforeseen."""

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from cyclopts import App, CycloptsError

import spec
from densenet_tools.commands import (
    arguments,
    compare,
    diagnose,
    evaluate,
    export,
    heatmap,
    list as list_,
    parity,
    plot,
    port,
    predict,
    schema,
    show,
    tables,
    train,
)
from densenet_tools.commands.text import printable

app = App(
    name="densenet",
    help="DenseNet from one spec, in PyTorch, MXNet Gluon, Keras, ONNX and NumPy.",
    version=version("densenet-reference"),
    help_format="plaintext",
    console=tables.Terminal(),
    suppress_keyboard_interrupt=False,
)
app.command(list_.list_, name="list")
app.command(show.show)
app.command(parity.parity)
app.command(compare.compare)
app.command(diagnose.diagnose)
app.command(port.port)
app.command(export.export)
app.command(train.train)
app.command(evaluate.evaluate)
app.command(predict.predict)
app.command(plot.plot)
app.command(heatmap.heatmap)
app.command(schema.schema)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # warnings and errors only
    shown = warnings.showwarning
    try:
        warnings.showwarning = _warned(shown)
        argv = arguments.spread(sys.argv[1:] if argv is None else argv)
        status = app(argv, exit_on_error=False, print_error=False, result_action="return_value") or 0
        sys.stdout.flush()
        return status
    except (CycloptsError, spec.SpecError) as error:
        print(f"densenet: {_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("densenet: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:  # who reads the output has seen enough, as head has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:  # never to be taken for "does not agree", which is 1
        if os.environ.get("DENSENET_TRACEBACK"):
            traceback.print_exc()
        what = f"{type(error).__name__}: {_line(error)}"
        print(f"densenet: internal error: {what}; set DENSENET_TRACEBACK=1 for the traceback", file=sys.stderr)
        return 3
    finally:
        warnings.showwarning = shown


def _warned(shown: Callable[..., None]) -> Callable[..., None]:
    """Says ours as errors are said, others as before."""

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, spec.SpecWarning):
            print(f"densenet: {printable(message)}", file=sys.stderr)
        else:
            shown(message, category, *where)

    return show


def _line(error: Exception) -> str:
    """What an error says, in one line, whatever names it repeats."""
    return printable(str(error).replace("\n", " "))
