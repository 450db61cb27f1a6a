"""How good a network is on a set of images."""

from collections.abc import Callable
from typing import Any

import numpy as np

import spec
from densenet_tools.data import Dataset, batches
from densenet_tools.metrics import Measured, Metrics


def evaluate(
    predict: Callable[[Any, np.ndarray], np.ndarray],
    model: Any,
    checkpoint: spec.Checkpoint,
    dataset: Dataset,
    batch_size: int,
    workers: int = 2,
    on_batch: Callable[[int], None] = lambda count: None,
) -> Metrics:
    """The metrics of a backend's model on a data set whose classes are the network's.

    The images are prepared as `checkpoint`, whose network and dtype the model has, says. `on_batch` gets the number
    of images of each batch once it is done.
    """
    network, preprocessing = checkpoint.network, checkpoint.preprocessing
    assert preprocessing is not None
    assert network.num_classes is not None
    measured = Measured(network.num_classes, probabilities=not network.gives_logits)
    for images, labels in batches(
        dataset, preprocessing, network.in_channels, batch_size, checkpoint.dtype, workers=workers
    ):
        measured.add(predict(model, images), labels)
        on_batch(len(labels))
    return measured.metrics()
