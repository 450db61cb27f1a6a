"""DenseNet-BC on Fashion-MNIST in PyTorch: data loader, optimizer, schedule, and a loop of one's own."""

import argparse
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader, TensorDataset

import densenet_torch
import spec
from densenet_tools.data import fashion_mnist

BATCH_SIZE, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, SEED = 64, 0.1, 0.9, 1e-4, 0
MEAN, STD = 0.2860, 0.3530  # of the training images, in [0, 1]


def load(split, limit, shuffle=False):
    """Batches of images (N, 1, 28, 28) and labels (N,)."""
    images = (split.pixels[:limit, None].astype("float32") / 255 - MEAN) / STD
    dataset = TensorDataset(torch.tensor(images), torch.tensor(split.labels[:limit]))
    return DataLoader(dataset, BATCH_SIZE, shuffle=shuffle)


def build():
    """The network, with the weights from which all three frameworks start."""
    model = densenet_torch.densenet40_k12_bc(in_channels=1, num_classes=10)
    densenet_torch.load_weights(model, spec.initialize(model.network, SEED))
    return model


def train(model, data, test_data, epochs):
    """Nesterov's gradient descent; with each step the learning rate falls along a cosine."""
    loss_function = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(data))
    images_in_all = len(data.dataset)
    for epoch in range(1, epochs + 1):
        model.train()
        start, losses, hits = time.perf_counter(), 0.0, 0
        for images, labels in data:
            logits = model(images)  # (N, 10)
            loss = loss_function(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses += loss.item() * len(labels)
            hits += (logits.argmax(1) == labels).sum().item()
        speed = images_in_all / (time.perf_counter() - start)
        report(epoch, losses / images_in_all, hits / images_in_all, evaluate(model, test_data), speed)


@torch.no_grad()
def evaluate(model, data):
    """The accuracy on images that the network was not trained on."""
    model.eval()
    hits = sum((model(images).argmax(1) == labels).sum().item() for images, labels in data)
    return hits / len(data.dataset)


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
    torch.manual_seed(SEED)
    train(build(), data, test_data, options.epochs)


if __name__ == "__main__":
    main()
