"""A stranger's model, from the text that names it: `package.module:build`, or `path/to/file.py:build`."""

import importlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

import spec
from densenet_tools import backends

CLASSES = {("torch", "Module"): "torch", ("mxnet", "Block"): "mxnet", ("keras", "Model"): "keras"}


def load(text: str) -> Any:
    """What the function makes, or the model of that name itself; raises SpecError where there is none."""
    found = _named(text, "model")
    if framework_of(found) is None and callable(found):
        try:
            found = found()
        except Exception as error:  # whatever a stranger's code raises
            raise spec.SpecError(
                f"{text} cannot be called without arguments: {type(error).__name__}: {error}"
            ) from error
    if framework_of(found) is None:
        raise spec.SpecError(f"{text} gives a {type(found).__name__}, expected a model of PyTorch, Gluon or Keras")
    return found


def load_optimizer(text: str, model: Any) -> Any:
    """What the function makes, of the model where it takes one; or the optimizer of that name itself."""
    found = _named(text, "optimizer")
    if not callable(found):
        return found
    try:
        return found(model) if signature(found).parameters else found()
    except Exception as error:  # whatever a stranger's code raises
        raise spec.SpecError(f"{text} makes no optimizer of the model: {type(error).__name__}: {error}") from error


def framework_of(model: Any) -> str | None:
    """The framework whose model this is, told from its classes, so that none is imported; None for anything else."""
    bases = ((each.__module__.partition(".")[0], each.__name__) for each in type(model).__mro__)
    return next((CLASSES[base] for base in bases if base in CLASSES), None)


def _named(text: str, what: str) -> Any:
    """What a module or file has under a name."""
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise spec.SpecError(f"{text!r} names no {what}: write package.module:function or file.py:function")
    found: Any = _module(place)
    for part in name.split("."):
        if not hasattr(found, part):
            some = ", ".join(each for each in dir(found) if not each.startswith("_"))
            raise spec.SpecError(f"{place} has no {part!r}: it has {some or 'nothing'}")
        found = getattr(found, part)
    return found


def _module(place: str) -> ModuleType:
    """The module of that name, as Python run in this folder finds it, or that of a file."""
    try:
        if place.endswith(".py"):
            return _of_file(Path(place))
        if "" not in sys.path:
            sys.path.insert(0, "")
        return importlib.import_module(place)
    except AttributeError as error:
        if "module 'numpy' has no attribute" not in str(error) or "densenet_mxnet" in sys.modules:
            raise spec.SpecError(f"{place} cannot be imported: AttributeError: {error}") from error
        for name in [each for each in sys.modules if each.partition(".")[0] == "mxnet"]:
            del sys.modules[name]  # half of it
        backends.parse("mxnet").load()  # MXNet 1.9.1 cannot be imported with a NumPy of today, but by its backend
        return _module(place)
    except (spec.SpecError, KeyboardInterrupt):
        raise
    except BaseException as error:  # whatever a stranger's code raises, SystemExit too
        raise spec.SpecError(f"{place} cannot be imported: {type(error).__name__}: {error}") from error


def _of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise spec.SpecError(f"{path} is not there: give the path of a Python file, or a module's name")
    details = spec_from_file_location(path.stem, path)
    assert details is not None and details.loader is not None  # noqa: PT018
    module = module_from_spec(details)
    sys.modules.setdefault(path.stem, module)  # classes defined there look themselves up
    details.loader.exec_module(module)
    return module
