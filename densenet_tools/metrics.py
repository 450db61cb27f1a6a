"""How good a classifier is: loss, accuracy, top-5, precision and recall, and which classes it takes for which."""

from dataclasses import dataclass

import numpy as np

import spec

SLACK = 0.01  # by which an image's probabilities may miss their sum of 1: more than rounding does


@dataclass(frozen=True)
class Metrics:
    """What is found on a test set of `count` images and K classes.

    `loss` is the mean cross-entropy, `accuracy` the share of images whose largest logit is that of their class; of
    equal ones the first counts. `top5`, the same of the five largest, is None where there are no more than five
    classes. `confusion[i][j]` counts the images of class i taken for class j. A class's `recall` is the share of its
    `support` images that were found, None where it has none; its `precision` is the share of the images taken for it
    that are its own, None where none was.
    """

    loss: float
    accuracy: float
    top5: float | None
    count: int
    confusion: tuple[tuple[int, ...], ...]
    precision: tuple[float | None, ...]
    recall: tuple[float | None, ...]
    support: tuple[int, ...]


class Measured:
    """Counts a test set batch by batch, so that its logits need not be held at once.

    `probabilities` says that the network ends in a softmax. One that has been rounded to 0 counts as the smallest
    normal number of its dtype, so that the loss stays finite.
    """

    def __init__(self, num_classes: int, probabilities: bool = False) -> None:
        self.num_classes = num_classes
        self.probabilities = probabilities
        self._loss = 0.0
        self._in_top5 = 0
        self._confusion = np.zeros((num_classes, num_classes), np.int64)

    def add(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """Counts a batch: logits (N, K), labels (N,); raises SpecError, and counts nothing, where they do not fit."""
        self._check(logits, labels)
        self._loss += float(_losses(logits, labels, self.probabilities).sum())
        self._in_top5 += int((_ranks(logits, labels) < 5).sum())
        np.add.at(self._confusion, (labels, logits.argmax(axis=1)), 1)

    def metrics(self) -> Metrics:
        """What was found until now; raises SpecError where that is nothing."""
        count = int(self._confusion.sum())
        if count == 0:
            raise spec.SpecError("no image was measured: metrics need at least one")
        right, support, taken = self._confusion.diagonal(), self._confusion.sum(axis=1), self._confusion.sum(axis=0)
        return Metrics(
            loss=self._loss / count,
            accuracy=int(right.sum()) / count,
            top5=self._in_top5 / count if self.num_classes > 5 else None,
            count=count,
            confusion=tuple(map(tuple, self._confusion.tolist())),
            precision=_shares(right, taken),
            recall=_shares(right, support),
            support=tuple(support.tolist()),
        )

    def _check(self, logits: np.ndarray, labels: np.ndarray) -> None:
        K = self.num_classes
        if not isinstance(logits, np.ndarray) or logits.dtype.kind != "f":
            found = getattr(logits, "dtype", type(logits).__name__)
            raise spec.SpecError(f"logits must be a NumPy array of floats, found {found}")
        if logits.ndim != 2 or logits.shape[1] != K or len(logits) == 0:
            raise spec.SpecError(f"logits must have shape (N, {K}) with N at least 1, found {logits.shape}")
        if not np.isfinite(logits).all():
            row = int(np.isfinite(logits).all(axis=1).argmin())
            raise spec.SpecError(f"logits must be finite, found others at image {row} of the batch: check the weights")
        if self.probabilities and (logits.min() < 0 or (abs(logits.sum(axis=1, dtype=float) - 1) > SLACK).any()):
            raise spec.SpecError("probabilities must be at least 0 and sum up to 1 for each image: these are logits")
        if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
            found = getattr(labels, "dtype", type(labels).__name__)
            raise spec.SpecError(f"labels must be a NumPy array of integers, found {found}")
        if labels.shape != (len(logits),):
            raise spec.SpecError(f"labels must have shape ({len(logits)},), one for each image, found {labels.shape}")
        if labels.min() < 0 or labels.max() >= K:
            raise spec.SpecError(f"labels must lie between 0 and {K - 1}, found {labels.min()} to {labels.max()}")


def measure(logits: np.ndarray, labels: np.ndarray, probabilities: bool = False) -> Metrics:
    """The metrics of logits (N, K) and labels (N,) at hand; raises SpecError where they do not fit."""
    measured = Measured(logits.shape[-1] if getattr(logits, "ndim", 0) else 0, probabilities)
    measured.add(logits, labels)
    return measured.metrics()


def _losses(outputs: np.ndarray, labels: np.ndarray, probabilities: bool) -> np.ndarray:
    """The cross-entropy of each image, (N,) in float64."""
    own = np.arange(len(labels)), labels
    if probabilities:
        return -np.log(np.maximum(outputs[own], np.finfo(outputs.dtype).tiny).astype(np.float64))
    logits = outputs.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)  # so that no exponential overflows
    return np.log(np.exp(logits).sum(axis=1)) - logits[own]


def _ranks(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes come before each image's own, (N,): with larger logits, or equal ones and lower numbers."""
    own = logits[np.arange(len(labels)), labels][:, None]
    first = np.arange(logits.shape[1]) < labels[:, None]
    return ((logits > own) | ((logits == own) & first)).sum(axis=1)


def _shares(parts: np.ndarray, wholes: np.ndarray) -> tuple[float | None, ...]:
    return tuple(part / whole if whole else None for part, whole in zip(parts.tolist(), wholes.tolist()))
