"""Dense blocks that keep little in memory: what is inside of a layer is computed again in the backward pass.

Pleiss et al. 2017, Memory-Efficient Implementation of DenseNets; torchvision's `memory_efficient`.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import spec
from densenet_torch.blocks import DenseBlock


class CheckpointedDenseBlock(DenseBlock):
    """The same layers under the same names; keeps the channels that each appends, and their concatenations not."""

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        if not torch.jit.is_scripting():
            return self.checkpointed(x)
        for layer in self:
            x = layer(x)
        return x

    @torch.jit.unused
    def checkpointed(self, x: Tensor) -> Tensor:
        """Calls each layer twice where a backward pass may follow; compilers choose themselves what to keep."""
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return super().forward(x)
        features = [x]
        for layer in self:
            new = checkpoint(_new, layer, *features, use_reentrant=False, context_fn=partial(_contexts, layer))
            features.append(new)  # (N, k, H, W)
        return torch.cat(features, dim=1)


def set_checkpointing(model: nn.Module, enable: bool = True) -> None:
    """Makes each dense block of `model` one that is checkpointed, or one that is not, with the same layers.

    Raises SpecError for a model without any.
    """
    blocks = [module for module in model.modules() if isinstance(module, DenseBlock)]
    if not blocks:
        raise spec.SpecError("memory_efficient is for dense blocks, and the model has none: leave it out")
    for block in blocks:
        block.__class__ = CheckpointedDenseBlock if enable else DenseBlock


def _new(layer: nn.Module, *features: Tensor) -> Tensor:
    x = torch.cat(features, dim=1)
    return layer(x)[:, x.shape[1] :].clone()  # a view would keep all of it


def _contexts(layer: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Of the first pass, and of the second, in which batch norms must not count the same images again."""
    return nullcontext(), _statistics_kept(layer)


@contextmanager
def _statistics_kept(layer: nn.Module) -> Iterator[None]:
    """Lets batch norms write to copies of their running statistics."""
    norms = [norm for norm in layer.modules() if isinstance(norm, (nn.BatchNorm2d, nn.SyncBatchNorm))]
    before = [dict(norm.named_buffers()) for norm in norms]
    try:
        for norm in norms:
            for name, buffer in norm.named_buffers():
                setattr(norm, name, buffer.clone())
        yield
    finally:
        for norm, buffers in zip(norms, before):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)
