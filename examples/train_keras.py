"""DenseNet-BC on Fashion-MNIST in Keras: optimizer, schedule, compile and fit, with a callback; the loop is Keras'."""

import argparse
import math
import time
from pathlib import Path

import keras

import densenet_keras
import spec
from densenet_tools.data import fashion_mnist

BATCH_SIZE, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, SEED = 64, 0.1, 0.9, 1e-4, 0
MEAN, STD = 0.2860, 0.3530  # of the training images, in [0, 1]


def load(split, limit):
    """Images (N, 28, 28, 1) and labels (N,), of which fit makes batches."""
    images = (split.pixels[:limit, ..., None].astype("float32") / 255 - MEAN) / STD
    return images, split.labels[:limit]


def build():
    """The network, with the weights from which all three frameworks start."""
    model = densenet_keras.densenet40_k12_bc(input_shape=(28, 28, 1), classes=10, classifier_activation=None)
    densenet_keras.load_weights(model, spec.initialize(model.network, SEED))
    return model


def train(model, data, test_data, epochs):
    """Nesterov's gradient descent; with each step the learning rate falls along a cosine."""
    images, labels = data
    loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, epochs * math.ceil(len(labels) / BATCH_SIZE))
    # Keras' decay bypasses the momentum, which multiplies it by 1 / (1 - MOMENTUM) in PyTorch and Gluon.
    optimizer = keras.optimizers.SGD(schedule, MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY / (1 - MOMENTUM))
    model.compile(optimizer, loss_function, metrics=["accuracy"])
    report = Report(len(labels))
    model.fit(images, labels, BATCH_SIZE, epochs, verbose=0, callbacks=[report], validation_data=test_data)


class Report(keras.callbacks.Callback):
    """An epoch's line; loss, accuracy and speed are those of training."""

    def __init__(self, images_in_all):
        super().__init__()
        self.images_in_all = images_in_all

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_test_begin(self, logs=None):
        self.speed = self.images_in_all / (time.perf_counter() - self.start)

    def on_epoch_end(self, epoch, logs=None):
        result = "loss {loss:.3f}, accuracy {accuracy:.3f}, test accuracy {val_accuracy:.3f}".format(**logs)
        print(f"epoch {epoch + 1}: {result}, {self.speed:.0f} images/s", flush=True)


def main():
    """Reads options and data, seeds the shuffling, trains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--limit", type=int, help="take no more than this many images, to train and to test")
    parser.add_argument("--data-dir", type=Path, help="where the four files of Fashion-MNIST are")
    options = parser.parse_args()
    try:
        splits = fashion_mnist(options.data_dir)
    except spec.SpecError as error:
        parser.error(str(error))
    data, test_data = load(splits.train, options.limit), load(splits.test, options.limit)
    keras.utils.set_random_seed(SEED)
    train(build(), data, test_data, options.epochs)


if __name__ == "__main__":
    main()
