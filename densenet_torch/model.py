"""A whole network as one PyTorch module."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import spec
from densenet_torch import blocks, inception, parallel, residual  # noqa: F401 (they register what they build)
from densenet_torch.chain import Chain
from densenet_torch.hub import HubMethods
from densenet_torch.surgery import as_changed

# Checkpoints older than PyTorch 0.4 call the layers of a dense layer norm.1, conv.2 and so on.
LEGACY_KEY = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")


class ConvNet(Chain, HubMethods):
    """The children of the network's root, under torchvision's names, so that its checkpoints load."""

    __jit_unused_properties__: ClassVar = [
        *("network", "num_classes", "num_features", "head_hidden_size"),
        *("feature_info", "pretrained_cfg"),
    ]

    def __init__(self, network: spec.Network):
        super().__init__(blocks.named_children(network.root))
        self.built = network
        self.register_load_state_dict_pre_hook(rename_legacy_keys)
        _initialize(self)

    @property
    def network(self) -> spec.Network:
        """What the model is of: what it was built from, with the channels and the classes of layers replaced since."""
        return as_changed(self.built, self)

    @network.setter
    def network(self, network: spec.Network) -> None:
        self.built = network

    def __call__(self, x: Tensor) -> Tensor:
        return self._explained(super().__call__, x)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        for layer in self:
            x = layer(x)
        return x  # (N, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """What comes before the global pool or the flattening: (N, C, H, W) -> (N, out_channels, H', W')."""
        return self._explained(self._features, x)

    def _features(self, x: Tensor) -> Tensor:
        for name, _ in self.built.body.children:
            x = self.get_submodule(name)(x)
        return x

    def _explained(self, run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Looks at the shape only of what PyTorch could not take: before, that would stand in the way of tracing."""
        try:
            return run(x)
        except (RuntimeError, ValueError):
            self.network.check_input_shape(tuple(x.shape[1:]))
            raise


def build(network: spec.Network, dtype: str | None = None) -> ConvNet:
    """A native model of `network`, initialized as torchvision does; dtype "float64", say, or PyTorch's default."""
    if not isinstance(network, spec.Network):
        raise TypeError(f"build takes a spec.Network, found {network!r}: see spec.variant and spec.load")
    return ConvNet(network).to(getattr(torch, dtype) if dtype else torch.get_default_dtype())


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
