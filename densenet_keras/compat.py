"""What Keras 3.15 gets wrong on PyTorch and JAX, in one place; a test of each tells when it is no longer needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from types import SimpleNamespace
from typing import Any

try:
    import keras
except ImportError as error:
    raise ImportError(
        "densenet_keras needs Keras 3 and one of its backends, which are not installed: "
        "pip install 'densenet-reference[keras]'"
    ) from error


_counting = Lock()
_inside: dict[str, Any] = {"count": 0, "before": None}


@contextmanager
def float64_kept() -> Iterator[None]:
    """Lets Keras compute in float64 what is in float64; for models of any other dtype it changes nothing.

    On PyTorch and JAX Keras rounds float64 to float32 wherever it promotes dtypes, so in batch norms, means and
    losses, without saying so (github.com/keras-team/keras/issues/23704). The rule is one table for the whole
    process, so it is put back: by the last to leave, where several threads are in here.
    """
    from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE as rounded

    with _counting:
        _inside["before"] = _inside["before"] or rounded["float64"]
        _inside["count"] += 1
        rounded["float64"] = "float64"
    try:
        yield
    finally:
        with _counting:
            _inside["count"] -= 1
            if _inside["count"] == 0:
                rounded["float64"], _inside["before"] = _inside["before"], None


def allow_dotted_names() -> None:
    """Lets Keras on PyTorch build layers whose names have dots, as it does on TensorFlow and JAX.

    There it keeps each layer's variables as PyTorch parameters, too, under names that contain the layer's, and
    PyTorch allows no dots in those: they become colons. Layers without dots are as they were.
    """
    import torch

    def undotted(variable: Any) -> Any:
        return SimpleNamespace(path=variable.path.replace(".", ":"), value=variable.value)

    def track_all(layer: Any) -> None:
        variables = [undotted(variable) for variable in layer.variables]
        layer._torch_params = torch.nn.ParameterDict({variable.path: variable.value for variable in variables})

    track, untrack = keras.Layer._post_track_variable, keras.Layer._post_untrack_variable
    keras.Layer._track_variables = track_all
    keras.Layer._post_track_variable = lambda layer, variable: track(layer, undotted(variable))
    keras.Layer._post_untrack_variable = lambda layer, variable: untrack(layer, undotted(variable))


def count_devices(kind: str) -> int:
    """How many devices of a kind, "cpu" or "gpu", there are: on PyTorch Keras lists none, on JAX it raises for none."""
    if keras.config.backend() == "torch":
        import torch

        return torch.cuda.device_count() if kind == "gpu" else 1
    try:
        return len(keras.distribution.list_devices(kind))
    except RuntimeError:
        return 0


def seed_framework(seed: int) -> None:
    """Seeds the framework's own generator where layers draw by it: on PyTorch, those that were given no seed."""
    if keras.config.backend() == "torch":
        import torch

        torch.manual_seed(seed)


if keras.config.backend() == "torch":
    allow_dotted_names()
