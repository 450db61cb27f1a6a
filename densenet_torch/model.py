"""A whole network as one PyTorch module."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

import spec
from densenet_torch import blocks, inception, residual  # noqa: F401 (they register what they build)

# Checkpoints older than PyTorch 0.4 call the layers of a dense layer norm.1, conv.2 and so on.
LEGACY_KEY = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")


class ConvNet(nn.Sequential):
    """The children of the network's root, under torchvision's names, so that its checkpoints load."""

    def __init__(self, network: spec.Network):
        super().__init__(blocks.named_children(network.root))
        self.network = network
        self.register_load_state_dict_pre_hook(rename_legacy_keys)
        _initialize(self)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        self.network.check_input_shape(tuple(x.shape[1:]))
        return super().forward(x)  # (N, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """What comes before the global pool or the flattening: (N, C, H, W) -> (N, out_channels, H', W')."""
        self.network.check_input_shape(tuple(x.shape[1:]))
        for name, _ in self.network.body.children:
            x = getattr(self, name)(x)
        return x


def build(network: spec.Network, dtype: str = "float32") -> ConvNet:
    """A native model of `network`, initialized as torchvision does; dtype "float32" or "float64"."""
    if not isinstance(network, spec.Network):
        raise TypeError(f"build takes a spec.Network, found {network!r}: see spec.variant and spec.load")
    return ConvNet(network).to(getattr(torch, dtype))


@contextmanager
def device(name: str) -> Iterator[None]:
    """Models built within are on that device: cpu, gpu or gpu:1, say. Raises SpecError where it is not there."""
    kind, index = spec.device_of(name)
    there = torch.cuda.device_count() if kind == "gpu" else 1
    if index >= there:
        raise spec.SpecError(f"device {name!r} is not there: PyTorch finds {there} of that kind; use cpu")
    with torch.device("cuda" if kind == "gpu" else kind, index):
        yield


def rename_legacy_keys(module: nn.Module, state_dict: dict[str, Any], *_: Any) -> None:
    """Gives the keys of an old checkpoint today's names, in place."""
    for key in list(state_dict):
        if LEGACY_KEY.search(key):
            state_dict[LEGACY_KEY.sub(r"\1\2.", key)] = state_dict.pop(key)


def _initialize(model: nn.Module) -> None:
    """Convolutions normal with variance 2 / fan-in, biases zero; batch norms and linear weights as torch has them."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            nn.init.zeros_(module.bias)
