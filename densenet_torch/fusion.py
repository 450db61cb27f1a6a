"""A model for inference alone: the same logits, with fewer passes over memory.

The layers of a dense block write their channels into one map, so nothing is concatenated. A batch norm behind a
convolution is folded into it; any other is one multiply-add. Transitions pool before their 1x1 convolution. Maps are
channels_last. Whatever else a model has runs as it is.
"""

import copy
from collections import OrderedDict
from collections.abc import Sequence
from functools import singledispatch

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import spec
from densenet_torch.blocks import DenseBlock, DenseLayer, SqueezeExcitation, Transition
from densenet_torch.efficient import normed_convs
from densenet_torch.interop import NORMS, array_of, export_weights
from densenet_torch.model import ConvNet
from spec.rewrites import fold
from spec.threads import lock_of

# Of what a layer is made that is fused; one with another part runs as it is.
KINDS = (DenseLayer, Transition, *NORMS, nn.ReLU, nn.Conv2d, SqueezeExcitation, nn.Dropout, nn.AvgPool2d)

# Measured on a processor with 1 MB of cache a core; they change how long it takes, not what comes out.
AT_ONCE = 4096  # pixels, of all images together, that a stage works on
FEW = 1024  # pixels up to which a product of matrices is faster than a 1x1 convolution


def fused(model: ConvNet) -> "FusedNet":
    """A copy of a model for inference alone, which computes the same logits in less time.

    Raises SpecError for a model that densenet_torch did not build.
    """
    if type(model) is not ConvNet:
        raise spec.SpecError(f"fused takes a model that densenet_torch built, found a {type(model).__name__}")
    with lock_of(model):
        return FusedNet(model)


class FusedNet(nn.Module):
    """The fused layers of a model, and the network that it is of."""

    def __init__(self, model: ConvNet):
        super().__init__()
        self.network = model.network
        self.layers = fused_chain(model)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "FusedNet":
        """Inference mode; raises SpecError for the other one."""
        if mode:
            raise spec.SpecError("a fused model is for inference: train the model it was made of, and fuse that again")
        return super().train(mode)

    def __call__(self, x: Tensor) -> Tensor:
        try:
            return super().__call__(x)
        except (RuntimeError, ValueError):
            self.network.check_input_shape(tuple(x.shape[1:]))
            raise

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        if x.requires_grad and torch.is_grad_enabled():
            raise spec.SpecError("a fused model has no gradients: take those of the model it was made of")
        return self.layers(x.contiguous(memory_format=torch.channels_last))  # (N, num_classes)


@singledispatch
def fuse(module: nn.Module) -> nn.Module:
    """A module that computes the same in inference: a copy, unless there is something faster below."""
    return copy.deepcopy(module)


@fuse.register
def _(module: nn.Sequential) -> nn.Module:
    return fused_chain(module) if type(module).forward is nn.Sequential.forward else copy.deepcopy(module)


@fuse.register
def _(module: DenseBlock) -> nn.Module:
    layers = [layer for layer in module if isinstance(layer, DenseLayer) and is_as_built(layer)]
    if not layers or len(layers) < len(module):
        return copy.deepcopy(module)
    return Stage(OrderedDict(denseblock=FusedDenseBlock(layers)))


@fuse.register
def _(module: Transition) -> nn.Module:
    commutes = is_as_built(module) and is_pointwise(module.conv)
    return FusedTransition(module) if commutes else copy.deepcopy(module)


def fused_chain(modules: nn.Sequential) -> nn.Sequential:
    """The fused children of a container, batch norms folded into the convolution before them, stages whole."""
    chain: OrderedDict[str, nn.Module] = OrderedDict()
    for name, module in modules.named_children():
        last, before = next(reversed(chain.items()), ("", None))
        if isinstance(before, nn.Conv2d) and isinstance(module, NORMS) and is_as_built(before, module):
            chain[last] = folded(before, module)
        elif isinstance(before, Stage) and isinstance(module, (SqueezeExcitation, Transition)):
            before.add_module(name, fuse(module))
        else:
            chain[name] = fuse(module)
    return nn.Sequential(chain)


def is_as_built(*modules: nn.Module) -> bool:
    """Whether no module, and no part of one, was replaced by another kind or given another `forward`."""
    parts = [part for module in modules for part in (module, *module.children())]
    known = all(type(part) in KINDS and "forward" not in vars(part) for part in parts)
    return known and all(part.affine and part.track_running_stats for part in parts if isinstance(part, NORMS))


def is_pointwise(conv: nn.Conv2d) -> bool:
    """Whether each pixel is made of the one pixel at its place, of all its channels."""
    return conv.kernel_size == conv.stride == (1, 1) and conv.groups == 1 and not any(conv.padding)


class Stage(nn.Sequential):
    """A dense block with the gate and the transition behind it, on a few images at a time."""

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        return torch.cat(list(map(super().forward, x.split(images_at_once(x)))))


def images_at_once(x: Tensor) -> int:
    """As many as leave a layer's maps in a processor's cache; all of them on another device, or in a compiled graph."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return len(x)
    return max(1, AT_ONCE // (x.shape[2] * x.shape[3]))


class FusedDenseBlock(nn.Module):
    """Dense layers that write into one map; each reads all channels before its own k."""

    def __init__(self, layers: Sequence[DenseLayer]):
        super().__init__()
        self.layers = nn.ModuleList(map(FusedDenseLayer, layers))
        self.widths = [normed_convs(layer)[-1][1].out_channels for layer in layers]  # k of each

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        if torch.compiler.is_compiling():  # compilers lay out memory themselves
            for layer in self.layers:
                x = torch.cat([x, layer(x)], dim=1)
            return x
        N, C, H, W = x.shape
        features = x.new_empty(N, H, W, C + sum(self.widths)).permute(0, 3, 1, 2)  # channels_last
        features[:, :C] = x
        for layer, k in zip(self.layers, self.widths):
            features[:, C : C + k] = layer(features[:, :C])
            C += k
        return features  # (N, C + k * layers, H, W)


class FusedDenseLayer(nn.Module):
    """BN-ReLU-1x1, BN-ReLU-3x3, the second norm folded into the first convolution; returns its k channels alone.

    Without a bottleneck: BN-ReLU-3x3.
    """

    def __init__(self, layer: DenseLayer):
        super().__init__()
        conv1 = folded(layer.conv1, layer.norm2) if layer.bottleneck else copy.deepcopy(layer.conv1)
        self.norm1 = Affine(layer.norm1)
        self.conv1 = Pointwise(conv1) if is_pointwise(conv1) else conv1
        self.conv2 = copy.deepcopy(layer.conv2) if layer.bottleneck else None
        self.se = copy.deepcopy(layer.se)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        new = self.conv1(self.norm1(x).relu_())  # (N, bn_size * k, H, W), or (N, k, H, W)
        if self.conv2 is not None:
            new = self.conv2(new.relu_())  # (N, k, H, W)
        return new if self.se is None else self.se(new)


class FusedTransition(nn.Module):
    """BN-ReLU-2x2 average pool-1x1: the mean commutes with the convolution, which then sees a quarter of the pixels."""

    def __init__(self, transition: Transition):
        super().__init__()
        self.norm = Affine(transition.norm)
        self.pool = copy.deepcopy(transition.pool)
        self.conv = Pointwise(copy.deepcopy(transition.conv))

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        return self.conv(self.pool(self.norm(x).relu_()))  # (N, out_channels, H // 2, W // 2)


class Pointwise(nn.Module):
    """A 1x1 convolution, on few pixels as a product of matrices."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        N, _, H, W = x.shape
        if N * H * W > FEW:
            return self.conv(x)  # (N, out_channels, H, W)
        return F.linear(x.permute(0, 2, 3, 1), self.conv.weight.flatten(1), self.conv.bias).permute(0, 3, 1, 2)


class Affine(nn.Module):
    """What a batch norm is in inference: x * scale + shift."""

    def __init__(self, norm: nn.BatchNorm2d):
        super().__init__()
        ones = norm.weight.new_ones(norm.num_features, 1, 1, 1)
        scale, shift = with_norm(ones, None, norm)
        self.scale = nn.Parameter(scale[:, 0])  # (C, 1, 1)
        self.shift = nn.Parameter(shift[:, None, None])

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        return torch.addcmul(self.shift, x, self.scale)


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d | nn.SyncBatchNorm) -> nn.Conv2d:
    """A convolution that does what the batch norm behind it does, too."""
    conv = copy.deepcopy(conv)
    weight, bias = with_norm(conv.weight, conv.bias, norm)
    conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(bias)
    return conv


def with_norm(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d | nn.SyncBatchNorm) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution, (O, I, k, k) and (O,), after the batch norm behind it is folded in."""
    arrays = fold(array_of(weight), None if bias is None else array_of(bias), export_weights(norm), norm.eps)
    new_weight, new_bias = (torch.from_numpy(array).to(weight) for array in arrays)
    return new_weight, new_bias
