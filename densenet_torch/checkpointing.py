"""Dense blocks that keep little in memory: what is inside of a layer is computed again in the backward pass.

Pleiss et al. 2017, Memory-Efficient Implementation of DenseNets; torchvision's `memory_efficient`.
"""

from collections.abc import Iterable
from functools import partial
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as hooks
from torch.utils.checkpoint import checkpoint

import spec
from densenet_torch.blocks import DenseBlock, DenseLayer
from densenet_torch.efficient import dense_features, normed_convs


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
        """One function where layers are as they were built; plain where what they do can be seen, or is their own.

        Plain, too, where no backward pass may follow, and for compilers, which choose themselves what to keep.
        """
        if torch.compiler.is_compiling() or torch.jit.is_tracing() or not torch.is_grad_enabled():
            return super().forward(x)
        layers = [layer for layer in self if type(layer) is DenseLayer and not _is_watched(layer)]
        if not layers or len(layers) < len(self):
            return super().forward(x)
        if _is_ordinary(x) and all(_is_as_built(layer) for layer in layers):
            return dense_features(layers, x)
        features = [x]
        for layer in layers:
            new = checkpoint(_new, layer, *features, use_reentrant=False, context_fn=partial(_contexts, layer))
            features.append(new)  # (N, k, H, W)
        return torch.cat(features, dim=1)


def set_checkpointing(model: nn.Module, enable: bool = True) -> None:
    """Makes each dense block of `model` one that keeps little, or one that is plain, with the same layers.

    Raises SpecError for a model without any.
    """
    blocks = [module for module in model.modules() if isinstance(module, DenseBlock)]
    if not blocks:
        raise spec.SpecError("memory_efficient is for dense blocks, and the model has none: leave it out")
    for block in blocks:
        block.__class__ = CheckpointedDenseBlock if enable else DenseBlock


def _is_watched(layer: DenseLayer) -> bool:
    """Whether calling the layer, or what is in it, does more than its class says."""
    return bool(hooks._has_any_global_hook()) or any(
        "forward" in vars(module)
        or module._forward_pre_hooks
        or module._forward_hooks
        or module._backward_pre_hooks
        or module._backward_hooks
        for module in layer.modules()
    )


def _is_ordinary(x: Tensor) -> bool:
    """Whether dense_features takes it: on the CPU, where it is measured, and outside of PyTorch's transforms."""
    return (
        type(x) in (Tensor, nn.Parameter)
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and x.ndim == 4
        and x.numel() > x.shape[1]  # one value a channel has no variance, as a norm itself says
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
        and forward_ad.unpack_dual(x).tangent is None
    )


def _is_as_built(layer: DenseLayer) -> bool:
    """Whether a layer has the parts that it was built with, and no squeeze-and-excitation."""
    pairs = normed_convs(layer)
    return (
        layer.se is None
        and type(layer.dropout) in (nn.Dropout, type(None))
        and all(type(relu) is nn.ReLU for relu in (layer.relu1, layer.relu2 if layer.bottleneck else layer.relu1))
        and all(type(norm) is nn.BatchNorm2d and type(conv) is nn.Conv2d for norm, conv in pairs)
        and all(conv.padding_mode == "zeros" and not isinstance(conv.padding, str) for _, conv in pairs)
        and all(type(p) in (Tensor, nn.Parameter) for p in layer.parameters())
    )


def _new(layer: nn.Module, *features: Tensor) -> Tensor:
    x = torch.cat(features, dim=1)
    return layer(x)[:, x.shape[1] :].clone()  # a view would keep all of it


def _contexts(layer: nn.Module) -> tuple["_Statistics", "_Statistics"]:
    """Of the first pass, and of the others, in which batch norms must not count the same images again."""
    return _Statistics([]), _Statistics(layer.modules())


class _Statistics:
    """Lets batch norms write to copies of their running statistics; again in each backward pass of the same maps."""

    def __init__(self, modules: Iterable[nn.Module]):
        self.norms = [norm for norm in modules if isinstance(norm, (nn.BatchNorm2d, nn.SyncBatchNorm))]

    def __enter__(self) -> None:
        self.before = [dict(norm.named_buffers()) for norm in self.norms]
        for norm in self.norms:
            for name, buffer in norm.named_buffers():
                setattr(norm, name, buffer.clone())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for norm, buffers in zip(self.norms, self.before):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)
