"""The one loop that trains in every backend."""

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from math import isfinite
from pathlib import Path

import numpy as np

import spec
from densenet_tools.data import Batch, batches, epoch_order
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

    @property
    def complete(self) -> bool:
        """Whether all epochs are done, and validated."""
        return len(self.state.history) == self.task.settings.epochs

    def steps(self) -> Iterator[Step | Epoch]:
        """Trains to the end: what each step, and after its last one each epoch, gave; with checkpoints on the way.

        One may stop after any of them, and call `save`. Raises SpecError where a loss is not finite, and where a
        checkpoint cannot be written.
        """
        while not self.complete:
            saved = time.monotonic()
            for done in self._epoch():
                self.unlogged.append(done)
                yield done
                if time.monotonic() - saved >= self.task.settings.checkpoint_seconds:
                    self.save()
                    saved = time.monotonic()
            yield self._end_of_epoch()

    def save(self) -> None:
        """Writes the logs up to now, and then a checkpoint; raises SpecError where that is not possible."""
        checkpoint = self._checkpoint()
        velocities = self.task.backend.export_velocities(self.model, self.optimizer)
        with states.saving(self.run, self.state.step):
            log.append_steps(self.run, self.unlogged)
            self.unlogged = []
            log.write_epochs(self.run, self.state.history)
            states.save(self.run, self.state, checkpoint, velocities)

    def _epoch(self) -> Iterator[Step]:
        """The steps that are left of an epoch: none where it is still to be validated."""
        before = time.perf_counter()
        with closing(self._begin_epoch()) as ahead:
            for images, labels in ahead:
                done = self._step(images, labels, before)
                yield done
                before = time.perf_counter()

    def _begin_epoch(self) -> Generator[Batch, None, None]:
        """Freezes what is frozen in it; returns the batches that are left of it."""
        task, settings = self.task, self.task.settings
        epoch = len(self.state.history)
        task.backend.freeze(self.model, task.frozen(epoch))
        return batches(
            task.train,
            task.preprocessing,
            task.network.in_channels,
            settings.batch_size,
            settings.dtype,
            epoch_order(len(task.train), settings.seed, epoch),
            settings.augmentation,
            settings.seed,
            epoch,
            start=self.state.step - epoch * task.steps_per_epoch,
            drop_last=True,
            workers=settings.workers,
        )

    def _step(self, images: np.ndarray, labels: np.ndarray, before: float) -> Step:
        task, settings, backend = self.task, self.task.settings, self.task.backend
        step, per_epoch = self.state.step, task.steps_per_epoch
        learning_rate = rate(settings, step, per_epoch)
        backend.set_learning_rate(self.optimizer, learning_rate)
        if task.drops:
            backend.seed_dropout(self.model, _seed(settings.seed, step))
        with np.errstate(all="ignore"):  # the reference's own warnings: what is not finite is said below
            loss, logits = backend.step(
                self.model, self.optimizer, images, labels, settings.label_smoothing, settings.freeze_statistics
            )
        if not isfinite(loss):
            raise self._diverged(f"the loss of step {step + 1} is {loss}")
        correct = int((logits.argmax(axis=1) == labels).sum())
        self.state = self.state.after(loss, correct, time.perf_counter() - before)
        return Step(step + 1, (step + 1) / per_epoch, loss, correct / len(labels), learning_rate)

    def _end_of_epoch(self) -> Epoch:
        """Validates, logs and saves; the best weights first, as a run that is killed in between does it all again."""
        task, settings, state = self.task, self.task.settings, self.state
        checkpoint, found = self._checkpoint(), None
        if task.validation:
            predict = task.backend.predict
            found = evaluate(predict, self.model, checkpoint, task.validation, settings.batch_size, settings.workers)
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
            with states.saving(self.run, state.step):
                checkpoint.save(self.run / BEST)
            best = found.accuracy if found else None
        self.state = State(state.step, history=(*state.history, epoch), best=best, images=state.images)
        self.save()
        return epoch

    def _checkpoint(self) -> spec.Checkpoint:
        """What the network is now; raises SpecError where it is not finite, though the loss of each step was."""
        start, weights = self.task.start, self.task.backend.export_weights(self.model)
        if bad := _not_finite(weights):
            raise self._diverged(f"after step {self.state.step} {bad} is not finite")
        provenance = {**start.provenance, "step": str(self.state.step)}
        return spec.Checkpoint(start.network, weights, start.preprocessing, provenance, start.classes)

    def _diverged(self, what: str) -> spec.SpecError:
        """Says where it began: the steps since the last checkpoint are made again, up to the first that shows it."""
        again = Training(self.task, self.run, states.load(self.run))
        backend, settings = self.task.backend, self.task.settings
        with closing(again._begin_epoch()) as ahead:
            for images, labels in ahead:
                step, weights = again.state.step + 1, backend.export_weights(again.model)
                if step > self.state.step:  # the one whose loss is not finite
                    break
                again._step(images, labels, time.perf_counter())
                if _not_finite(backend.export_weights(again.model)):
                    break
        layer = first_not_finite(self.task.network, weights, images, settings.freeze_statistics)
        first = f"the first output that is not finite is that of {layer}" if layer else "each layer's output is finite"
        return spec.SpecError(
            f"{what}, {first} in step {step}: begin another run with a lower learning_rate, or with a warmup; "
            f"{states.kept(self.run)}"
        )


def _not_finite(weights: spec.Weights) -> str | None:
    """The first array that is not finite."""
    return next((name for name, array in weights.items() if not np.isfinite(array).all()), None)


def _seed(seed: int, step: int) -> int:
    """What a step's dropout draws by: a function of the run's seed and the step."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0] >> 1)
