"""`densenet train`."""

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

import spec
from densenet_tools import training
from densenet_tools.commands import arguments, progress
from densenet_tools.commands.options import NOTHING, Options, given
from densenet_tools.commands.stopping import stopping
from densenet_tools.commands.text import printable
from densenet_tools.data.fashion import NAME as FASHION_MNIST
from densenet_tools.training import BEST, Epoch, Settings, Step, Training
from spec.shapes import by


def train(
    network: Annotated[str | None, Parameter(help="A variant, a config file, or a .safetensors to go on from.")] = None,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="The run's folder, a new one.")] = None,
    config: Annotated[
        Path | None, Parameter(help="A TOML file of settings; what is given besides comes first.")
    ] = None,
    resume: Annotated[Path | None, Parameter(help="Go on with the run in this folder.")] = None,
    set_: arguments.Set = None,
    options: Annotated[Options, Parameter(name="*")] = NOTHING,
) -> int:
    """Train a network: the same start, batches and steps in every backend.

    The folder gets the settings, a line of log.jsonl for each epoch, checkpoints, and best.safetensors. Ctrl-C stops
    after the step and saves; --resume goes on, on the CPU to the bit, also after a crash, and in another backend
    within rounding. From a .safetensors it fine-tunes: a classifier for other classes is drawn anew.

    Example: densenet train densenet40_k12_bc --data fashion-mnist --image-size 28 --epochs 4 --out runs/first
    """
    options_given = given(options)
    if resume is not None:
        if network or out or config or set_:
            raise spec.SpecError(
                "--resume goes on with a run as it was begun: leave the network, --out, --config and --set out"
            )
        with training.resumed(resume, options_given) as run:
            return _trained(run)
    if out is None:
        raise spec.SpecError("train needs a folder for the run, such as --out runs/first, or --resume with one")
    settings = _settings(network, config, set_, options_given)
    if settings.data != FASHION_MNIST and Path(settings.data).resolve() in out.resolve().parents:
        raise spec.SpecError(f"--out {out} lies in the folder of images, whose folders are classes: name another one")
    with training.begun(settings, out) as (run, changes):
        for name, what in changes.items():
            print(f"  {name}: {what}")
        return _trained(run)


def _settings(network: str | None, config: Path | None, set_: list[str] | None, settings: dict[str, Any]) -> Settings:
    if network:
        settings["network"] = network
    if set_:
        settings["overrides"] = arguments.overrides(set_)
    if config is not None:
        return training.read(config, settings)
    if network is None:
        raise spec.SpecError("train needs a network, such as densenet40_k12_bc, or a --config that names one")
    return Settings(**settings)


def _trained(run: Training) -> int:
    """Trains to the end or to a signal, and says how it goes: a line an epoch, and at a terminal a bar."""
    steps, epochs = run.task.steps, run.task.settings.epochs
    print(printable(_title(run)), flush=True)
    with (
        stopping() as stop,
        training.board(run.run, run.state.step) as add,
        progress.steps(run.state.step, of=steps) as bar,
    ):
        for done in run.steps():
            add(done)
            if isinstance(done, Step):
                bar.update(done.step, _figures(done, run))
            else:
                bar.print(_line(done, epochs))
            if stop.signal is not None:
                run.save()
                break
    if stop.signal is not None and len(run.state.history) < epochs:
        where = f"stopped after step {run.state.step} of {steps}"
        print(f"densenet: {where}: go on with densenet train --resume {printable(run.run)}", file=sys.stderr)
        return 128 + stop.signal
    print(f"written: {printable(run.run / BEST)}")
    return 0


def _title(run: Training) -> str:
    task, settings = run.task, run.task.settings
    shape = by((task.network.in_channels, task.preprocessing.size, task.preprocessing.size))
    validated = f", {len(task.validation):,} to validate" if task.validation else ""
    done = f", from step {run.state.step} on" if run.state.step else ""
    return (
        f"{task.network.name} at {shape}, {settings.backend}, {settings.dtype}: {len(task.train):,} images of "
        f"{len(task.train.classes)} classes{validated}; {task.steps:,} steps of {settings.batch_size}{done}"
    )


def _figures(done: Step, run: Training) -> str:
    """What the epoch gave until now."""
    task, state = run.task, run.state
    steps = (done.step - 1) % task.steps_per_epoch + 1
    images = steps * task.settings.batch_size
    if steps == task.steps_per_epoch and task.validation:
        doing = "validating"
    else:
        doing = f"{images / state.seconds:,.0f} images/s"
    return f"loss {state.loss_sum / steps:.3f} accuracy {state.correct / images:.3f} {doing}"


def _line(done: Epoch, epochs: int) -> str:
    validation = ""
    if done.validation_loss is not None:
        validation = f"  validation loss {done.validation_loss:.3f} accuracy {done.validation_accuracy:.4f}"
    return (
        f"epoch {done.epoch}/{epochs}  loss {done.loss:.3f}  accuracy {done.accuracy:.4f}{validation}  "
        f"{done.images_per_second:,.0f} images/s  {done.seconds:.0f} s"
    )
