"""Dense blocks in training that keep each layer's bottleneck and new channels, and compute the rest again.

The mean and the variance of a channel are the same for all layers that take it. So the channels of a block lie side by
side in one tensor, once, and nothing is concatenated; a layer's first norm is a factor and a summand a channel. In the
backward pass, what goes through a channel's statistics is added up over all layers that take it, and passed on once.
What to keep, and what to compute again: Pleiss et al. 2017, Memory-Efficient Implementation of DenseNets, section 3.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

import spec
from densenet_torch.blocks import DenseLayer

aten = torch.ops.aten


def dense_features(layers: Sequence[DenseLayer], x: Tensor) -> Tensor:
    """What a block of layers puts out: (N, C, H, W) -> (N, C + k * layers, H, W), channels last in memory.

    The layers have the parts that they were built with, and no squeeze-and-excitation. Running statistics are updated.
    """
    pairs = [pair for layer in layers for pair in normed_convs(layer)]
    parameters = [p for norm, conv in pairs for p in (norm.weight, norm.bias, conv.weight, conv.bias)]
    return cast(Tensor, _DenseFeatures.apply(x, layers, *parameters))


def normed_convs(layer: DenseLayer) -> list[tuple[nn.BatchNorm2d, nn.Conv2d]]:
    """The convolutions of a layer, each with the norm before it."""
    return [(layer.norm1, layer.conv1)] + ([(layer.norm2, layer.conv2)] if layer.bottleneck else [])


class Step(NamedTuple):
    """A norm, a ReLU and a convolution: what is kept of them for the backward pass. The norm is x * scale + shift."""

    mean: Tensor  # (C,), as all of the norm's
    inverse: Tensor  # 1 / sqrt(var + eps)
    scale: Tensor
    shift: Tensor
    norm_weight: Tensor | None
    conv_weight: Tensor
    bottleneck: Tensor | None  # x where it is one, (N, bn_size * k, H, W); otherwise x is the block's first channels


class _DenseFeatures(torch.autograd.Function):
    """A dense block as one function of its input and of its layers' parameters."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: Sequence[DenseLayer], *parameters: Tensor | None) -> Tensor:
        (N, C, H, W), growth = x.shape, [normed_convs(layer)[-1][1].out_channels for layer in layers]
        features = torch.empty(N, C + sum(growth), H, W, dtype=x.dtype, memory_format=torch.channels_last)
        mean, var = x.new_empty(2, C + sum(growth))
        features[:, :C], (mean[:C], var[:C]) = x, _statistics(x)
        room, steps, masks = _Room(x, layers), [], []
        for layer, k in zip(layers, growth):
            steps.append(_step(layer.norm1, layer.conv1, mean[:C], var[:C], N * H * W))
            new = layer.conv1(room.rectified(features[:, :C], steps[-1]))  # (N, bn_size * k, H, W), or (N, k, H, W)
            if layer.bottleneck:
                steps.append(_step(layer.norm2, layer.conv2, *_statistics(new), N * H * W, bottleneck=new))
                new = layer.conv2(room.rectified(new, steps[-1]))  # (N, k, H, W)
            masks.append(_mask(layer, new))
            new = new if masks[-1] is None else new * masks[-1]
            features[:, C : C + k], (mean[C : C + k], var[C : C + k]) = new, _statistics(new)
            C += k
        ctx.layers, ctx.growth = layers, growth
        ctx.memory_format = torch.contiguous_format if x.is_contiguous() else torch.channels_last
        ctx.in_batch = [_is_of_batch(norm) for layer in layers for norm, _ in normed_convs(layer)]
        ctx.save_for_backward(features, mean, *masks, *(tensor for step in steps for tensor in step))
        return features

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise spec.SpecError(
                "memory_efficient has no gradients of gradients: call set_grad_checkpointing(False) on the model first"
            )
        features, mean, *kept = ctx.saved_tensors
        masks, kept = kept[: len(ctx.layers)], kept[len(ctx.layers) :]
        steps = [Step(*kept[i : i + len(Step._fields)]) for i in range(0, len(kept), len(Step._fields))]
        in_batch, room, copies = list(ctx.in_batch), _Room(features, ctx.layers), _Room(features, ctx.layers)
        block, C = _Gradient(grads[0], features, mean), features.shape[1]
        found: list[Tensor | None] = []
        for layer, k, mask in reversed(list(zip(ctx.layers, ctx.growth, masks))):
            C -= k
            grad = block.completed(C, C + k)
            grad = grad if mask is None else grad * mask
            if layer.bottleneck:
                step = steps.pop()
                x = cast(Tensor, step.bottleneck)
                grad, *of_conv = _through_conv(grad, room.rectified(x, step), step, layer.conv2)
                grad, *of_norm = _through_norm(grad, x, step, in_batch.pop())
                found = [*of_norm, *of_conv, *found]
            step = steps.pop()
            x = copies.like(features[:, :C]).copy_(features[:, :C])  # the sums of a norm are slow across gaps
            grad, *of_conv = _through_conv(grad, room.rectified(x, step), step, layer.conv1)
            _, *of_norm = _through_norm(grad, x, step, in_batch=True, wanted=(False, True, True))
            block.add(grad, of_norm, step, in_batch.pop())
            found = [*of_norm, *of_conv, *found]
        found = [block.completed(0, C).contiguous(memory_format=ctx.memory_format), None, *found]
        return tuple(grad if needed else None for grad, needed in zip(found, ctx.needs_input_grad))


class _Gradient:
    """That of a block's channels x, while its layers add to it.

    A batch norm passes on scale * (grad - (grad_bias + (x - mean) * inverse * grad_weight) / n), n values a channel
    (Ioffe and Szegedy 2015, section 3). The first part is added up here for each value, the rest for each channel.
    """

    def __init__(self, grad: Tensor, features: Tensor, mean: Tensor):
        self.values = torch.empty_like(features).copy_(grad)
        self.features, self.mean = features, mean
        self.through_mean, self.through_spread = torch.zeros_like(mean), torch.zeros_like(mean)

    def add(self, grad: Tensor, of_norm: Sequence[Tensor], step: Step, in_batch: bool) -> None:
        """What the norm of the first C channels passes on; nothing goes through statistics that are not the batch's."""
        (grad_weight, grad_bias), C = of_norm, grad.shape[1]
        self.values[:, :C].addcmul_(grad, _along_maps(step.scale))
        if in_batch:
            self.through_mean[:C].addcmul_(step.scale, grad_bias)
            self.through_spread[:C].addcmul_(step.scale * step.inverse, grad_weight)

    def completed(self, start: int, end: int) -> Tensor:
        """That of channels to which all layers that take them have added."""
        part, n = slice(start, end), self.features.numel() // self.features.shape[1]
        slope = self.through_spread[part] / -n
        level = (self.through_mean[part] / -n).addcmul_(self.mean[part], slope, value=-1)
        return torch.addcmul(self.values[:, part], self.features[:, part], _along_maps(slope)).add_(_along_maps(level))


class _Room:
    """Memory for one input of a convolution, used again for the next: what is new to the process costs it time."""

    def __init__(self, x: Tensor, layers: Sequence[DenseLayer]):
        widest = max(norm.num_features for layer in layers for norm, _ in normed_convs(layer))
        self.values = x.new_empty(x.numel() // x.shape[1] * widest)

    def like(self, x: Tensor) -> Tensor:
        """A tensor of the shape of x, channels last and without gaps."""
        N, C, H, W = x.shape
        return self.values[: x.numel()].view(N, H, W, C).permute(0, 3, 1, 2)

    def rectified(self, x: Tensor, step: Step) -> Tensor:
        """The norm and the ReLU of x."""
        return torch.addcmul(_along_maps(step.shift), x, _along_maps(step.scale), out=self.like(x)).relu_()


def _through_conv(grad: Tensor, y: Tensor, step: Step, conv: nn.Conv2d) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of what goes into the ReLU that puts out y, and of the weight and the bias of the convolution of y."""
    bias = None if conv.bias is None else [conv.out_channels]
    settings = conv.stride, conv.padding, conv.dilation, False, [0, 0], conv.groups  # not transposed
    wanted = True, step.conv_weight.requires_grad, bias is not None
    grad, *of_conv = aten.convolution_backward(grad, y, step.conv_weight, bias, *settings, wanted)
    return aten.threshold_backward.grad_input(grad, y, 0, grad_input=grad), *of_conv


def _through_norm(
    grad: Tensor, x: Tensor, step: Step, in_batch: bool, wanted: Sequence[bool] = (True, True, True)
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of what goes into a norm, and of its weight and bias."""
    running = (None, None) if in_batch else (step.mean, step.inverse**-2)  # with eps in it, so that it is 0 below
    return aten.native_batch_norm_backward(
        grad, x, step.norm_weight, *running, step.mean, step.inverse, in_batch, 0.0, wanted
    )


def _step(
    norm: nn.BatchNorm2d, conv: nn.Conv2d, mean: Tensor, var: Tensor, n: int, bottleneck: Tensor | None = None
) -> Step:
    """With the statistics that the norm uses: the batch's, of n values a channel, or its running ones."""
    if norm.training and norm.track_running_stats:
        _update(norm, mean, var * (n / (n - 1)))
    if not _is_of_batch(norm):
        mean, var = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    inverse = torch.rsqrt(var + norm.eps)
    scale = inverse if norm.weight is None else inverse * norm.weight
    shift = -mean * scale if norm.bias is None else torch.addcmul(norm.bias, mean, scale, value=-1)
    return Step(mean, inverse, scale, shift, norm.weight, conv.weight, bottleneck)


def _update(norm: nn.BatchNorm2d, mean: Tensor, var: Tensor) -> None:
    """Gives a batch its share of the running statistics: the momentum, or without one as much as each before it."""
    if (count := norm.num_batches_tracked) is None or norm.running_mean is None or norm.running_var is None:
        return
    count.add_(1)
    share = 1 / float(count) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, share)
    norm.running_var.lerp_(var, share)


def _is_of_batch(norm: nn.BatchNorm2d) -> bool:
    return norm.training or norm.running_mean is None


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the variance of each channel, as PyTorch's norms have them."""
    return torch.batch_norm_update_stats(x, None, None, 0.0)


def _mask(layer: DenseLayer, new: Tensor) -> Tensor | None:
    """What dropout multiplies with, drawn for values in the order that a plain layer has them in: NCHW."""
    if layer.dropout is None or not layer.dropout.training:
        return None
    return layer.dropout(torch.ones_like(new, memory_format=torch.contiguous_format))


def _along_maps(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1)  # (C, 1, 1), for (N, C, H, W)
