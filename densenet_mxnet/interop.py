"""NumPy in, NumPy out: weights, inference, every layer's output, and gradients."""

from collections.abc import Iterator
from contextlib import contextmanager

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon import Block, Parameter
from mxnet.gluon.loss import SoftmaxCrossEntropyLoss
from mxnet.gluon.nn import BatchNorm

import spec
from densenet_mxnet import graph
from densenet_mxnet.arrays import follow, holds_np, in_kind, is_np, kind, legacy_arrays
from densenet_mxnet.model import ConvNet, check_place
from spec.threads import one_at_a_time

RUNNING_UPDATE = spec.RunningUpdate(decay_dtype="float32")
CANONICAL = {"gamma": "weight", "beta": "bias"}


@one_at_a_time
def load_weights(model: ConvNet, weights: spec.Weights) -> None:
    """Assigns {canonical name: array}; raises SpecError, and changes nothing, unless all fit."""
    parameters = _parameters(model)
    spec.check_weights(weights, {name: parameter.shape for name, parameter in parameters.items()}, dtype_of(parameters))
    for name, parameter in parameters.items():
        if parameter._data is None:
            parameter.initialize(mx.init.Zero())
        array = mx.nd.array(weights[name], dtype=weights[name].dtype)
        parameter.set_data(in_kind(array, is_np(parameter._data[0])))
    for _, block in named_blocks(model):
        block._clear_cached_op()  # a graph optimized for inference keeps the old values folded in


@one_at_a_time
def export_weights(model: ConvNet) -> spec.Weights:
    """{canonical name: array} of every parameter and buffer."""
    parameters = with_values(model)
    mx.nd.waitall()  # a static graph's first backward updates statistics without the arrays knowing that it will
    place = place_of(parameters)
    return {name: parameter.data(place).asnumpy() for name, parameter in parameters.items()}


@one_at_a_time
def predict(model: ConvNet, images: np.ndarray) -> np.ndarray:
    """Inference: (N, C, H, W) floats -> (N, num_classes). Raises SpecError for images that do not fit."""
    return graph.run(model, to_input(model, images)).asnumpy()


@one_at_a_time
def trace(model: ConvNet, images: np.ndarray) -> dict[str, np.ndarray]:
    """{layer name: output} of every named layer in inference, in order; maps are (N, C, H, W)."""
    outputs: dict[str, np.ndarray] = {}

    def record(name: str):
        return lambda block, args, output: outputs.update({name: output.asnumpy()})

    hooks = [block.register_forward_hook(record(name)) for name, block in named_blocks(model) if name]
    try:
        with eager(model):
            predict(model, images)
    finally:
        for hook in hooks:
            hook.detach()
    return outputs


@one_at_a_time
def loss_and_gradients(
    model: ConvNet, images: np.ndarray, labels: np.ndarray
) -> tuple[float, spec.Weights, spec.Weights]:
    """One training-mode pass with the mean cross-entropy of `labels`, integers (N,).

    Returns the loss, {name: gradient} of every parameter that is not frozen and of the "input", and
    {name: array} of the running statistics as the pass would leave them. The model itself is unchanged.
    """
    model.network.check_batch(images, labels)
    x = to_input(model, images)
    parameters = {name: parameter for name, parameter in trained(model).items() if parameter.grad_req != "null"}
    values = [parameter.data(x.context) for parameter in parameters.values()] + [x]
    x.attach_grad()
    with kind(is_np(x)), _kept_buffers(model):
        with autograd.record():
            loss = cross_entropy(model(x), labels)
        gradients = autograd.grad(loss, values)
        statistics = {name: array for name, array in export_weights(model).items() if spec.is_buffer(name)}
    arrays = [gradients.pop(0).asnumpy() for _ in values]  # one by one, as VGG's take gigabytes
    return loss.asscalar().item(), dict(zip([*parameters, "input"], arrays)), statistics


def to_input(model: ConvNet, images: np.ndarray) -> mx.nd.NDArray:
    """Images (N, C, H, W) in the model's dtype, where the model is; raises SpecError for ones that do not fit."""
    model.network.check_images(images)
    parameters = with_values(model)
    check_place(dtype_of(parameters), place_of(parameters))
    array = mx.nd.array(images, place_of(parameters), dtype_of(parameters))
    return in_kind(array, holds_np(parameters))


def cross_entropy(logits: mx.nd.NDArray, labels: np.ndarray, label_smoothing: float = 0.0) -> mx.nd.NDArray:
    """The mean loss of logits (N, num_classes) with labels (N,)."""
    with legacy_arrays():
        logits, expected = in_kind(logits, numpy=False), mx.nd.array(labels, logits.context)
        if not label_smoothing:
            return SoftmaxCrossEntropyLoss()(logits, expected).mean()
        classes = logits.shape[1]
        expected = mx.nd.one_hot(expected, classes, dtype=logits.dtype)
        expected = (1 - label_smoothing) * expected + label_smoothing / classes
        return SoftmaxCrossEntropyLoss(sparse_label=False)(logits, expected).mean()


@contextmanager
def mode(model: ConvNet, frozen_statistics: bool) -> Iterator[None]:
    """Batch norms with their running statistics in training, where `frozen_statistics`; all get their own mode back."""
    norms = [block for block in graph.all_blocks(model) if frozen_statistics and isinstance(block, BatchNorm)]
    before = [block._kwargs["use_global_stats"] for block in norms]
    try:
        for block in norms:
            block._kwargs["use_global_stats"] = True
        yield
    finally:
        for block, own in zip(norms, before):
            block._kwargs["use_global_stats"] = own


def with_values(model: ConvNet) -> dict[str, Parameter]:
    """The parameters, all in one kind of arrays.

    Raises SpecError where one has no values, or where they are not in the same place, which Gluon would say in many.
    """
    parameters = _parameters(model)
    if any(parameter._deferred_init for parameter in parameters.values()):
        _complete(model, parameters)
    if any(parameter._data is None for parameter in parameters.values()):
        raise spec.SpecError(f"{model.network.name} has no values yet: call initialize() or load_weights first")
    (first, one), *_ = parameters.items()
    numpy, place = holds_np(parameters), one._ctx_list
    for name, parameter in parameters.items():
        if parameter._ctx_list != place:
            raise spec.SpecError(
                f"{first} is on {_listed(one)}, {name} on {_listed(parameter)}: "
                "put all in one place with model.collect_params().reset_ctx(context)"
            )
    if any(is_np(parameter._data[0]) is not numpy for parameter in parameters.values()):
        with kind(numpy):
            follow(model)
    return parameters


def trained(model: ConvNet) -> dict[str, Parameter]:
    """The parameters without the running statistics."""
    return {name: parameter for name, parameter in with_values(model).items() if not spec.is_buffer(name)}


def place_of(parameters: dict[str, Parameter]) -> mx.Context:
    """The context that has the values, the first where several have."""
    return next(iter(parameters.values())).list_ctx()[0]


def _listed(parameter: Parameter) -> str:
    return ", ".join(map(str, parameter.list_ctx()))


def _complete(model: ConvNet, parameters: dict[str, Parameter]) -> None:
    """A pass that gives values to layers of the user's which find out their shapes in the first one."""
    filled = {name: parameter for name, parameter in parameters.items() if parameter._data is not None}
    if filled:
        C, H, W = model.network.input_shape
        x = in_kind(mx.nd.zeros((1, C, H, W), place_of(filled), dtype_of(filled)), holds_np(filled))
        with autograd.pause():
            model(x)


def _parameters(model: Block) -> dict[str, Parameter]:
    """Gluon's structural names with gamma and beta renamed, in the spec's order."""
    named = {}
    for name, parameter in model._collect_params_with_prefix().items():
        layer, _, last = name.rpartition(".")
        named[f"{layer}.{CANONICAL.get(last, last)}"] = parameter
    return named


def dtype_of(parameters: dict[str, Parameter]) -> str:
    """That of the values: "float32"."""
    return np.dtype(next(iter(parameters.values())).dtype).name


def named_blocks(block: Block, path: str = "") -> Iterator[tuple[str, Block]]:
    """(structural name, block), children before their parent: the order in which outputs appear."""
    for name, child in block._children.items():
        yield from named_blocks(child, spec.join(path, name))
    yield path, block


@contextmanager
def eager(model: ConvNet) -> Iterator[None]:
    """Runs every block by itself, as hooks inside a hybridized one are not called."""
    active = [block for _, block in named_blocks(model) if getattr(block, "_active", False)]
    for block in active:
        block._active = False
    try:
        yield
    finally:
        for block in active:
            block._active = True


@contextmanager
def _kept_buffers(model: ConvNet) -> Iterator[None]:
    """Puts every running statistic back as it was."""
    parameters = _parameters(model)
    buffers = {name: parameter for name, parameter in parameters.items() if spec.is_buffer(name)}
    before = {name: parameter.data(place_of(parameters)).copy() for name, parameter in buffers.items()}
    try:
        yield
    finally:
        for name, value in before.items():
            buffers[name].set_data(value)
