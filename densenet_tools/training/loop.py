"""The one loop that trains in every backend."""

import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from math import isfinite
from pathlib import Path

import numpy as np

import spec
from densenet_tools.data import batches, epoch_order
from densenet_tools.evaluation import evaluate
from densenet_tools.training import log, state as states
from densenet_tools.training.causes import first_not_finite
from densenet_tools.training.log import Step
from densenet_tools.training.schedule import rate
from densenet_tools.training.state import Epoch, Saved, State
from densenet_tools.training.task import Task

BEST = "best.safetensors"


class Training:
    """A run under way: its model and optimizer, and how far they are."""

    def __init__(self, task: Task, run: Path, saved: Saved):
        self.task, self.run, self.state = task, run, saved.state
        settings, backend = task.settings, task.backend
        self.model = backend.build(task.network, settings.dtype)
        backend.load_weights(self.model, saved.checkpoint.weights)
        self.optimizer = backend.sgd(
            self.model, settings.learning_rate, settings.momentum, settings.nesterov, settings.weight_decay
        )
        if saved.velocities is not None:
            backend.load_velocities(self.model, self.optimizer, saved.velocities)
        self.unlogged: list[Step] = []

    def steps(self) -> Iterator[Step | Epoch]:
        """Trains to the end: what each step, and after its last one each epoch, gave; with checkpoints on the way.

        One may stop after any of them, and call `save`. Raises SpecError where a loss is not finite, and where a
        checkpoint cannot be written.
        """
        while len(self.state.history) < self.task.settings.epochs:
            saved = time.monotonic()
            for done in self._epoch():
                self.unlogged.append(done)
                yield done
                if time.monotonic() - saved >= self.task.settings.checkpoint_seconds:
                    self.save()
                    saved = time.monotonic()
            yield self._end_of_epoch()

    def save(self) -> None:
        """Writes a checkpoint of now, and the logs up to it."""
        log.append_steps(self.run, self.unlogged)
        self.unlogged = []
        velocities = self.task.backend.export_velocities(self.model, self.optimizer)
        states.save(self.run, self.state, self._checkpoint(), velocities)
        log.write_epochs(self.run, self.state.history)

    def _epoch(self) -> Iterator[Step]:
        """The steps that are left of an epoch: none where it is still to be validated."""
        task, settings = self.task, self.task.settings
        epoch = len(self.state.history)
        start = self.state.step - epoch * task.steps_per_epoch
        task.backend.freeze(self.model, task.frozen(epoch))
        ahead = batches(
            task.train,
            task.preprocessing,
            task.network.in_channels,
            settings.batch_size,
            settings.dtype,
            epoch_order(len(task.train), settings.seed, epoch),
            settings.augmentation,
            settings.seed,
            epoch,
            start,
            drop_last=True,
            workers=settings.workers,
        )
        before = time.perf_counter()
        with closing(ahead):
            for images, labels in ahead:
                done = self._step(images, labels, before)
                yield done
                before = time.perf_counter()

    def _step(self, images: np.ndarray, labels: np.ndarray, before: float) -> Step:
        task, settings, backend = self.task, self.task.settings, self.task.backend
        step, per_epoch = self.state.step, task.steps_per_epoch
        learning_rate = rate(settings, step, per_epoch)
        backend.set_learning_rate(self.optimizer, learning_rate)
        if task.drops:
            backend.seed_dropout(self.model, _seed(settings.seed, step))
        loss, logits = backend.step(
            self.model, self.optimizer, images, labels, settings.label_smoothing, settings.freeze_statistics
        )
        if not isfinite(loss):
            raise spec.SpecError(self._diverged(loss, images))
        correct = int((logits.argmax(axis=1) == labels).sum())
        self.state = self.state.after(loss, correct, time.perf_counter() - before)
        return Step(step + 1, (step + 1) / per_epoch, loss, correct / len(labels), learning_rate)

    def _end_of_epoch(self) -> Epoch:
        """Validates, logs and saves; the best weights first, as a run that is killed in between does it all again."""
        task, settings, state = self.task, self.task.settings, self.state
        found = None
        if task.validation:
            found = evaluate(
                task.backend.predict,
                self.model,
                self._checkpoint(),
                task.validation,
                settings.batch_size,
                settings.workers,
            )
        count = task.steps_per_epoch
        images = count * settings.batch_size
        epoch = Epoch(
            epoch=len(state.history) + 1,
            step=state.step,
            learning_rate=rate(settings, state.step - 1, count),
            loss=state.loss_sum / count,
            accuracy=state.correct / images,
            validation_loss=found.loss if found else None,
            validation_accuracy=found.accuracy if found else None,
            images_per_second=images / state.seconds,
            seconds=state.seconds,
        )
        best = state.best
        if found is None or best is None or found.accuracy > best:
            states.write_weights(self.run / BEST, self._checkpoint())
            best = found.accuracy if found else None
        self.state = State(state.step, history=(*state.history, epoch), best=best)
        self.save()
        return epoch

    def _checkpoint(self) -> spec.Checkpoint:
        start, weights = self.task.start, self.task.backend.export_weights(self.model)
        provenance = {**start.provenance, "step": str(self.state.step)}
        return spec.Checkpoint(start.network, weights, start.preprocessing, provenance, start.classes)

    def _diverged(self, loss: float, images: np.ndarray) -> str:
        """Which layer it was, with the weights that the step began with: the last checkpoint's, trained up to there."""
        again = Training(self.task, self.run, states.load(self.run))
        kept = again.state.step
        for _ in islice(again._epoch(), self.state.step - kept):
            pass
        weights, settings = self.task.backend.export_weights(again.model), self.task.settings
        layer = first_not_finite(self.task.network, weights, images, settings.freeze_statistics)
        where = f"the first output that is not finite is that of {layer}" if layer else "every layer's output is finite"
        return (
            f"the loss of step {self.state.step + 1} is {loss}, {where}: lower learning_rate, or give it a warmup; "
            f"the checkpoint of step {kept} is kept"
        )


def _seed(seed: int, step: int) -> int:
    """What a step's dropout draws by: a function of the run's seed and the step."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0] >> 1)
