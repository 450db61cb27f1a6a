"""NumPy in, NumPy out: weights, inference, every layer's output, and gradients."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import spec
from densenet_torch.model import ConvNet
from spec.threads import one_at_a_time

NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)
RUNNING_UPDATE = spec.RunningUpdate(unbiased=True)


@one_at_a_time
def load_weights(model: nn.Module, weights: spec.Weights) -> None:
    """Assigns {canonical name: array}; raises SpecError, and changes nothing, unless all fit."""
    check_fit(model, weights)
    with torch.no_grad():
        for name, tensor in _tensors(model).items():
            tensor.copy_(torch.from_numpy(weights[name].copy()))  # one that can be written, its strides positive


@one_at_a_time
def export_weights(model: nn.Module) -> spec.Weights:
    """{canonical name: array} of every parameter and buffer."""
    return {name: array_of(tensor) for name, tensor in _tensors(model).items()}


@one_at_a_time
def predict(model: ConvNet, images: np.ndarray) -> np.ndarray:
    """Inference: (N, C, H, W) floats -> (N, num_classes). Raises SpecError for images that do not fit."""
    with mode(model, training=False), torch.inference_mode():
        logits = model(to_input(model, images))
    if not isinstance(logits, Tensor):
        raise spec.SpecError(f"the model puts out a {type(logits).__name__}, expected logits: call it itself for maps")
    return array_of(logits)


@one_at_a_time
def trace(model: ConvNet, images: np.ndarray) -> dict[str, np.ndarray]:
    """{layer name: output} of every named layer in inference, in order; maps are (N, C, H, W)."""
    outputs: dict[str, np.ndarray] = {}

    def record(name: str):
        return lambda module, args, output: outputs.update({name: array_of(output)})

    hooks = [module.register_forward_hook(record(name)) for name, module in model.named_modules() if name]
    try:
        predict(model, images)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


@one_at_a_time
def loss_and_gradients(
    model: ConvNet, images: np.ndarray, labels: np.ndarray
) -> tuple[float, spec.Weights, spec.Weights]:
    """One training-mode pass with the mean cross-entropy of `labels`, integers (N,).

    Returns the loss, {name: gradient} of every parameter that is not frozen and of the "input", and
    {name: array} of the running statistics as the pass would leave them. The model itself is unchanged.
    """
    network_of(model).check_batch(images, labels)
    x = to_input(model, images).requires_grad_()
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad} | {"input": x}
    with mode(model, training=True), kept_buffers(model):
        loss = cross_entropy(model(x), labels)
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        statistics = {name: array for name, array in export_weights(model).items() if spec.is_buffer(name)}
    return loss.item(), dict(zip(parameters, map(array_of, gradients))), statistics


def to_input(model: ConvNet, images: np.ndarray) -> Tensor:
    """Images (N, C, H, W) as a tensor of the model's dtype and device; raises SpecError for ones that do not fit."""
    network_of(model).check_images(images)
    return torch.from_numpy(images.astype("float32" if images.itemsize <= 4 else "float64")).to(
        next(model.parameters())
    )


def network_of(model: nn.Module) -> spec.Network:
    """What the model is of, also one inside of a wrapper: DataParallel, an average of weights, torch.compile's.

    Raises SpecError for a model that does not know.
    """
    inner: Any = model
    while not hasattr(inner, "network") and isinstance(getattr(inner, "module", None), nn.Module):
        inner = inner.module
    if not isinstance(getattr(inner, "network", None), spec.Network):
        raise spec.SpecError(
            "the model does not say what network it is of: give the one that densenet_torch built, or set its `network`"
        )
    return inner.network


def check_fit(model: nn.Module, weights: spec.Weights) -> None:
    """Raises SpecError unless `weights` has just the names, shapes, dtype and values that the model can take."""
    shapes = {name: tuple(tensor.shape) for name, tensor in _tensors(model).items()}
    spec.check_weights(weights, shapes, dtype_of(model))


def cross_entropy(logits: Tensor, labels: np.ndarray, label_smoothing: float = 0.0) -> Tensor:
    """The mean loss of logits (N, num_classes) with labels (N,)."""
    expected = torch.from_numpy(labels.astype("int64")).to(logits.device)
    return F.cross_entropy(logits, expected, label_smoothing=label_smoothing)


@contextmanager
def mode(model: nn.Module, training: bool, frozen_statistics: bool = False) -> Iterator[None]:
    """Training or inference mode, the latter for batch norms with `frozen_statistics`; all get their own back."""
    modes = {module: module.training for module in model.modules()}
    model.train(training)
    for norm in (module for module in modes if frozen_statistics and isinstance(module, NORMS)):
        norm.eval()
    try:
        yield
    finally:
        for module, before in modes.items():
            module.training = before


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    state = model.state_dict()
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def dtype_of(model: nn.Module) -> str:
    """That of the parameters as arrays: "float64", or "float32", also of narrower ones."""
    return str(array_of(next(model.parameters()).new_empty(0)).dtype)


def array_of(tensor: Tensor) -> np.ndarray:
    """The tensor's values, copied, as in-place ReLUs come next; float16 and bfloat16 widened to float32, exactly."""
    narrow = tensor.is_floating_point() and tensor.itemsize < 4
    return tensor.detach().to(dtype=torch.float32 if narrow else None, device="cpu").numpy().copy()


@contextmanager
def kept_buffers(model: nn.Module) -> Iterator[None]:
    """Puts every buffer back as it was."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.copy_(value)
