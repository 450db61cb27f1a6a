"""What keras.applications has beside its models: images made ready, predictions with names, and its words."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import spec
from spec import checkpoint

Prediction = tuple[str, str, float]  # as keras.applications has it: the class's id, its name, and the score
OWN = (".keras", ".h5")  # the ends of Keras' files


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Images of 0 to 255, RGB, as the published DenseNets were trained: scaled to 1, mean and deviation of ImageNet.

    Takes one image or a batch, an array or a tensor, also a symbolic one; `data_format` defaults to Keras' global one.
    Of keras.applications.densenet, with its surprise: an array of floats is changed where it lies. Raises SpecError
    for images that have not 3 channels.
    """
    channels_last = (data_format or keras.config.image_data_format()) == "channels_last"
    if len(x.shape) not in (3, 4) or x.shape[-1 if channels_last else -3] != 3:
        order = "(..., height, width, 3)" if channels_last else "(..., 3, height, width)"
        raise spec.SpecError(f"preprocess_input takes images of shape {order}, found {tuple(x.shape)}")
    return keras.applications.densenet.preprocess_input(x, data_format)


def decode_predictions(
    preds: Any, top: int = 5, classes: str | Path | Sequence[str] | None = None
) -> list[list[Prediction]]:
    """The `top` classes of each row of (N, num_classes): (id, name, score), the best first.

    `classes` are their names, one for each, or a file with them: a .safetensors file as densenet train writes it, a
    .json file with a list or with keras.applications' index of ImageNet, or a text with one on each line. Without
    them Keras' own function takes ImageNet's, for which it downloads an index.
    """
    scores = np.asarray(keras.ops.convert_to_numpy(preds))
    if scores.ndim != 2:
        raise spec.SpecError(f"decode_predictions takes scores of shape (N, num_classes), found {scores.shape}")
    if classes is None:
        return _imagenet(scores, top)
    source = classes if isinstance(classes, (str, Path)) else "classes"
    names = _named(classes) if isinstance(classes, (str, Path)) else [(name, name) for name in classes]
    checkpoint.check_classes(source, [name for _, name in names], scores.shape[1])
    best = scores.argsort(axis=1)[:, ::-1][:, :top]
    return [[(*names[i], row[i]) for i in indices] for row, indices in zip(scores, best)]


def read_weights(weights: str | Path, network: spec.Network) -> spec.Weights:
    """spec.read_weights; raises SpecError, with the way to port them, for those of keras.applications and Keras."""
    port = "densenet port theirs.weights.h5 ported.safetensors, then weights='ported.safetensors'"
    if str(weights) == "imagenet":
        raise spec.SpecError(
            "weights must be the path of a .safetensors file, found 'imagenet': no weights are hosted or downloaded; "
            "port those of keras.applications, DenseNet121().save_weights('theirs.weights.h5'), "
            f"{port} and eps=1.001e-5, which is theirs"
        )
    if str(weights).endswith(OWN):
        raise spec.SpecError(
            f"weights must be the path of a .safetensors file, found {str(weights)!r}: model.load_weights opens one "
            f"that was saved of this very model, others are ported, {port} (and eps=1.001e-5 for keras.applications')"
        )
    return spec.read_weights(weights, network)


def activation_of(given: str | Callable[..., Any] | None) -> Any:
    """What the spec calls an activation: Keras takes its functions, too, and "linear" for none."""
    name = getattr(given, "__name__", given)
    return None if name == "linear" else name


def _imagenet(scores: np.ndarray, top: int) -> list[list[Prediction]]:
    if scores.shape[1] != 1000:
        raise spec.SpecError(
            f"decode_predictions knows ImageNet's 1000 classes, found scores of {scores.shape[1]}: give their names, "
            "decode_predictions(preds, classes=[...])"
        )
    try:
        return keras.applications.densenet.decode_predictions(scores, top)
    except Exception as error:  # what a failed download raises depends on how it fails
        raise spec.SpecError(
            f"decode_predictions needs ImageNet's index, which Keras could not download ({str(error)[:80]}): "
            "give its file, decode_predictions(preds, classes='imagenet_class_index.json')"
        ) from None


def _named(path: str | Path) -> list[tuple[str, str]]:
    """(id, name) of the classes that a file names, in their order; raises SpecError for a file that names none."""
    if Path(path).suffix == checkpoint.SUFFIX:
        classes = spec.open(path).classes
        if classes is None:
            raise spec.SpecError(
                f"{path} does not name its classes: give them, decode_predictions(preds, classes=[...])"
            )
        return [(name, name) for name in classes]
    try:
        text = Path(path).read_text(encoding="utf-8")
        if Path(path).suffix != ".json":
            return [(name, name) for name in text.splitlines() if name]
        read = json.loads(text)
        if isinstance(read, list):
            return [(name, name) for name in read]
        return [(read[str(i)][0], read[str(i)][1]) for i in range(len(read))]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise spec.SpecError(f"{path} has no names of classes, a list or keras.applications' index: {error}") from None
