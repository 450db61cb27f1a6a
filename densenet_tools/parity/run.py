"""A backend's model with weights, and what it makes of a batch of images."""

import gc
import time
from functools import cached_property
from typing import Any

import numpy as np

import spec
from densenet_tools.backends import Runner
from densenet_tools.parity.differences import euclidean, gradient_differences
from densenet_tools.parity.tolerance import gradient_floor, rounding

REFERENCE = Runner("numpy")
Training = tuple[float, spec.Weights, spec.Weights]  # loss, gradients and running statistics of one training-mode pass


class Run:
    """What a runner makes of the images, each thing computed when it is first asked for.

    One model is in memory at a time, as VGG's take gigabytes: that of the network, or from the first training pass on
    that of the network without dropout.
    """

    def __init__(self, network: spec.Network, runner: Runner, dtype: str, weights: spec.Weights, images: np.ndarray):
        self.network, self.runner, self.dtype, self.weights, self.images = network, runner, dtype, weights, images
        self.backend = runner.load()
        self._model: tuple[spec.Network, Any] | None = None

    @cached_property
    def inference(self) -> tuple[np.ndarray, float]:
        """The logits, and the seconds that they took."""
        model = self._model_of(self.network)
        start = time.perf_counter()
        logits = self.runner.predict(model, self.images)
        return logits, time.perf_counter() - start

    @cached_property
    def counts(self) -> tuple[int, int]:
        """Parameters and buffers."""
        return spec.counts(self.backend.export_weights(self._model_of(self.network)))

    def trace(self) -> spec.Weights:
        """Every layer's output: gigabytes, which are not kept."""
        return self.backend.trace(self._model_of(self.network), self.images)

    @cached_property
    def training(self) -> Training:
        """Loss, gradients and running statistics of one training-mode pass."""
        return self._training(self.images)

    def _training(self, images: np.ndarray) -> Training:
        model = self._model_of(spec.without_dropout(self.network))
        labels = np.arange(len(images)) % (self.network.num_classes or 1)
        return self.backend.loss_and_gradients(model, images, labels)

    def _model_of(self, network: spec.Network) -> Any:
        if self._model is None or self._model[0] != network:
            if self._model is not None:
                self._model = None
                gc.collect()  # a model is a cycle
            model = self.backend.build(network, dtype=self.dtype)
            self.backend.load_weights(model, self.weights)
            self._model = network, model
        return self._model[1]


class Reference(Run):
    """The NumPy reference in float64: its layers are kept, as every other run is held against them."""

    def __init__(self, network: spec.Network, weights: spec.Weights, images: np.ndarray):
        super().__init__(network, REFERENCE, "float64", weights, images)
        self._trace: spec.Weights | None = None

    def trace(self) -> spec.Weights:
        if self._trace is None:
            self._trace = super().trace()
        return self._trace

    @cached_property
    def gradient_moves(self) -> dict[str, float]:
        """How far each gradient moves, at most of eight times, where the images move by float32's rounding."""
        largest: dict[str, float] = {}
        for probe in range(8):
            noise = np.random.default_rng(probe).normal(0, rounding(self.network), self.images.shape)
            _, moved, _ = self._training(self.images * (1 + noise))
            moves = gradient_differences(moved, self.training[1], euclidean, gradient_floor("float32", self.network))
            largest = {name: max(move, largest.get(name, 0.0)) for name, move in moves.items()}
        return largest
