"""What a model's network is after layers were replaced by hand, as people do with the first one and the last."""

from functools import lru_cache

from torch import nn

import spec


def as_changed(network: spec.Network, model: nn.Module) -> spec.Network:
    """`network` with as many channels as the model's first convolution takes now, and classes as its last layer has.

    It has no classifier where that has become an nn.Identity, or is gone.
    """
    if network.config is None:
        return network
    first = network.first_path
    in_channels = (_number(at(model, first), "in_channels", 0) if first else None) or network.in_channels
    num_classes = _classes(network, model)
    if (in_channels, num_classes) == (network.in_channels, network.num_classes):
        return network
    return _rebuilt(network.config, network.name, in_channels, num_classes)


def at(model: nn.Module, path: str) -> nn.Module | None:
    """The module of that path, or the last one on the way to it; None where even the first is gone."""
    found = None
    for name in path.split("."):
        child = getattr(model if found is None else found, name, None)
        if not isinstance(child, nn.Module):
            break
        found = child
    return found


def _number(module: nn.Module | None, name: str, place: int) -> int | None:
    """What the first or the last layer inside a module has under that name."""
    numbers = [getattr(each, name) for each in module.modules() if hasattr(each, name)] if module is not None else []
    return numbers[place] if numbers else None


def _classes(network: spec.Network, model: nn.Module) -> int | None:
    path = network.classifier_path
    if path is None:
        return network.num_classes
    classifier = at(model, path)
    found = _number(classifier, "out_features", -1)
    unknown = found is None and classifier is not None and next(classifier.parameters(), None) is not None
    return network.num_classes if unknown else found


@lru_cache(maxsize=64)  # a training step asks each time
def _rebuilt(config: spec.NetworkConfig, name: str, in_channels: int, num_classes: int | None) -> spec.Network:
    """The network of a config with other numbers; None leaves the classifier out."""
    fields = config.model_dump() | {"in_channels": in_channels}
    whole = spec.build(type(config)(**fields | ({"num_classes": num_classes} if num_classes else {})), name)
    return whole if num_classes else whole.headless
