"""What a run trains, on what: all that stays the same from its first step to its last."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import spec
from densenet_tools import backends, memory
from densenet_tools.backends import Backend
from densenet_tools.data import (
    Dataset,
    Splits,
    check_padding,
    count_batches,
    held_out,
    open_data,
    preprocessing_for,
)
from densenet_tools.data.fashion import NAME as FASHION_MNIST
from densenet_tools.porting.adapt import adapted
from densenet_tools.training.settings import Settings
from spec.layers import Dropout

FASHION_MNIST_CHANNELS = 1


@dataclass(frozen=True)
class Task:
    """`start` has the network, its first weights, the preprocessing and the classes."""

    settings: Settings
    backend: Backend
    start: spec.Checkpoint
    train: Dataset
    validation: Dataset | None

    @property
    def network(self) -> spec.Network:
        return self.start.network

    @property
    def preprocessing(self) -> spec.Preprocessing:
        assert self.start.preprocessing is not None
        return self.start.preprocessing

    @property
    def steps_per_epoch(self) -> int:
        return count_batches(len(self.train), self.settings.batch_size, drop_last=True)

    @property
    def steps(self) -> int:
        return self.settings.epochs * self.steps_per_epoch

    @property
    def images(self) -> tuple[int, int]:
        """How many are trained on, and how many validated on."""
        return len(self.train), len(self.validation or ())

    @property
    def drops(self) -> bool:
        """Whether the network has dropout, and a step so depends on random numbers."""
        return any(isinstance(node, Dropout) and node.rate for _, node in spec.walk(self.network.root))

    def frozen(self, epoch: int) -> list[str]:
        """The parameters that are not trained in an epoch, counted from 0: at first all but the classifier's."""
        parameters = [name for name in spec.parameter_shapes(self.network) if not spec.is_buffer(name)]
        early = epoch < self.settings.freeze_epochs
        return [name for name in parameters if name not in _classifier(parameters) and early]


def new_task(settings: Settings) -> tuple[Task, dict[str, str]]:
    """The task of a run's first start, and {name: what was done to it} of weights that had to be adapted."""
    settings.check()
    splits = _splits(settings)
    start, changes = _start(settings, splits)
    return _task(settings, start, splits), changes


def resumed_task(settings: Settings, saved: spec.Checkpoint) -> Task:
    """The task of a run that goes on from a checkpoint, maybe in another backend."""
    settings.check()
    assert saved.classes is not None
    return _task(settings, saved, _splits(settings))


def _splits(settings: Settings) -> Splits:
    folder = Path(settings.data_dir) if settings.data_dir else None
    splits = open_data(settings.data, folder, settings.skip_unreadable)
    if splits.train is None:
        raise spec.SpecError(f"{settings.data} has no images to train on: a folder train, or one for each class")
    return splits


def _task(settings: Settings, start: spec.Checkpoint, splits: Splits) -> Task:
    backend = backends.parse(settings.backend).load()
    assert splits.train is not None
    assert start.classes is not None
    train, validation = (
        splits.train.with_classes(start.classes),
        splits.test and splits.test.with_classes(start.classes),
    )
    if settings.validation:
        train, validation = held_out(train, settings.validation, settings.seed)
    task = Task(settings, backend, start, train, validation)
    count_batches(len(train), settings.batch_size, drop_last=True)  # refuses a batch size that is too large
    check_padding(settings.augmentation, task.preprocessing)
    shape = (task.network.in_channels, task.preprocessing.size, task.preprocessing.size)
    memory.check(task.network, shape, settings.batch_size, each=np.dtype(settings.dtype).itemsize, layers=True)
    return task


def _start(settings: Settings, splits: Splits) -> tuple[spec.Checkpoint, dict[str, str]]:
    """The network for these classes, with weights drawn from the seed, or with those of a file."""
    train = splits.train
    assert train is not None
    fields = {"num_classes": len(train.classes)} | settings.overrides
    if settings.image_size is not None:
        fields["input_size"] = settings.image_size
    classes, given = train.classes, None
    if not spec.holds_weights(settings.network):
        if settings.data == FASHION_MNIST:
            fields = {"in_channels": FASHION_MNIST_CHANNELS} | fields
        network = spec.load(settings.network, **fields)
        weights = spec.initialize(network, settings.seed, np.dtype(settings.dtype).type)
        changes: dict[str, str] = {}
    else:
        given = spec.open(settings.network)
        network = spec.load(settings.network, **fields)
        weights, changes = _taken_over(given, network, classes, settings)
        if given.classes and sorted(given.classes) == sorted(classes):
            classes = given.classes  # the classifier's order
    _check_classes(network, train)
    size = settings.image_size or network.input_shape[1]
    own = {"resize": settings.resize} if settings.resize else {}
    preprocessing = preprocessing_for(train, size, network.in_channels, **own)
    if given and given.preprocessing and len(given.preprocessing.mean) == network.in_channels:
        resize = given.preprocessing.resize and round(given.preprocessing.resize * size / given.preprocessing.size)
        preprocessing = spec.Preprocessing(**given.preprocessing.model_dump() | {"size": size, "resize": resize} | own)
    provenance = {"trained": f"{settings.network} on {train.name}, seed {settings.seed}"}
    return spec.Checkpoint(network, weights, preprocessing, provenance, classes), changes


def _taken_over(
    given: spec.Checkpoint, network: spec.Network, classes: tuple[str, ...], settings: Settings
) -> tuple[spec.Weights, dict[str, str]]:
    """The weights of a file, with a new classifier unless it told the same classes apart, in whatever order.

    A file that does not name its classes is taken to tell apart these, where it has as many.
    """
    own = given.weights
    if given.classes and sorted(given.classes) != sorted(classes):
        own = {name: array for name, array in own.items() if name not in _classifier(own)}
    weights, changes = adapted(network, own, settings.seed)
    return {name: array.astype(settings.dtype) for name, array in weights.items()}, changes


def _classifier(names: Collection[str]) -> set[str]:
    """Those of a network's last layer."""
    last = list(names)[-1].rpartition(".")[0]
    return {name for name in names if name.rpartition(".")[0] == last}


def _check_classes(network: spec.Network, train: Dataset) -> None:
    if network.num_classes != len(train.classes):
        raise spec.SpecError(
            f"{train.name} has {len(train.classes)} classes, num_classes is set to {network.num_classes}: leave it out"
        )
    if not network.gives_logits:
        raise spec.SpecError(
            f"{network.name} ends in a {network.root.children[-1][0]}, a loss needs logits: "
            "set classifier_activation to none"
        )
