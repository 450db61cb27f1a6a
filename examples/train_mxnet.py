"""DenseNet-BC on Fashion-MNIST in MXNet Gluon: data loader, trainer, schedule, metrics, and a loop of one's own."""

import argparse
import time
from pathlib import Path

import densenet_mxnet  # isort: skip (before mxnet, which needs what it puts back into NumPy)
import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

import spec
from densenet_tools.data import fashion_mnist

BATCH_SIZE, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, SEED = 64, 0.1, 0.9, 1e-4, 0
MEAN, STD = 0.2860, 0.3530  # of the training images, in [0, 1]


def load(split, limit, shuffle=False):
    """Batches of images (N, 1, 28, 28) and labels (N,)."""
    images = (split.pixels[:limit, None].astype("float32") / 255 - MEAN) / STD
    dataset = gluon.data.ArrayDataset(images, split.labels[:limit])
    return gluon.data.DataLoader(dataset, BATCH_SIZE, shuffle=shuffle)


def build():
    """The network, with the weights from which all three frameworks start."""
    model = densenet_mxnet.densenet40_k12_bc(in_channels=1, classes=10)
    densenet_mxnet.load_weights(model, spec.initialize(model.network, SEED))
    model.hybridize()
    return model


def train(model, data, test_data, epochs):
    """Nesterov's gradient descent; with each step the learning rate falls along a cosine."""
    loss_function = gluon.loss.SoftmaxCrossEntropyLoss()
    schedule = mx.lr_scheduler.CosineScheduler(epochs * len(data), LEARNING_RATE)
    optimizer = mx.optimizer.NAG(MOMENTUM, wd=WEIGHT_DECAY, lr_scheduler=schedule)
    trainer = gluon.Trainer(model.collect_params(), optimizer)
    for epoch in range(1, epochs + 1):
        start, loss_metric, accuracy_metric = time.perf_counter(), mx.metric.Loss(), mx.metric.Accuracy()
        for images, labels in data:
            with autograd.record():
                logits = model(images)  # (N, 10)
                loss = loss_function(logits, labels)  # (N,): trainer.step divides by N
            loss.backward()
            trainer.step(len(labels))
            loss_metric.update(None, loss)
            accuracy_metric.update(labels, logits)
        speed = accuracy_metric.num_inst / (time.perf_counter() - start)
        report(epoch, loss_metric.get()[1], accuracy_metric.get()[1], evaluate(model, test_data), speed)


def evaluate(model, data):
    """The accuracy on images that the network was not trained on."""
    metric = mx.metric.Accuracy()
    for images, labels in data:
        metric.update(labels, model(images))
    return metric.get()[1]


def report(epoch, loss, accuracy, test_accuracy, speed):
    """An epoch's line; loss, accuracy and speed are those of training."""
    result = f"loss {loss:.3f}, accuracy {accuracy:.3f}, test accuracy {test_accuracy:.3f}"
    print(f"epoch {epoch}: {result}, {speed:.0f} images/s", flush=True)


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
    data, test_data = load(splits.train, options.limit, shuffle=True), load(splits.test, options.limit)
    np.random.seed(SEED)  # Gluon's loader shuffles by NumPy
    train(build(), data, test_data, options.epochs)


if __name__ == "__main__":
    main()
