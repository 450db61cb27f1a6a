"""PyTorch: torchvision's DenseNet, and ours in each of its executors."""

from types import ModuleType
from typing import Any

import numpy as np

import spec
from benchmarks.engines import Run, inference, profile, training
from densenet_tools.parity.tolerance import OUTPUTS

RATE, MOMENTUM = 0.01, 0.9


@inference("torchvision", ours=False)
def torchvision_eager(network: spec.Network, weights: spec.Weights) -> Run:
    """As it comes."""
    return predictor(theirs(network, weights))


@inference("torchvision:channels_last", ours=False)
def torchvision_channels_last(network: spec.Network, weights: spec.Weights) -> Run:
    """In the memory format that oneDNN prefers."""
    return predictor(channels_last(theirs(network, weights)))


@inference("torchvision:compiled", ours=False, once=True)
def torchvision_compiled(network: spec.Network, weights: spec.Weights) -> Run:
    """torch.compile."""
    return predictor(compiled(theirs(network, weights)))


@inference("torch", "torchvision")
def eager(network: spec.Network, weights: spec.Weights) -> Run:
    """As it comes."""
    return predictor(ours(network, weights))


@inference("torch:channels_last", "torchvision:channels_last")
def ours_channels_last(network: spec.Network, weights: spec.Weights) -> Run:
    """In the memory format that oneDNN prefers."""
    return predictor(channels_last(ours(network, weights)))


@inference("torch:compiled", "torchvision:compiled", once=True)
def ours_compiled(network: spec.Network, weights: spec.Weights) -> Run:
    """torch.compile."""
    return predictor(compiled(ours(network, weights)))


@inference("torch:fused", "torchvision", "torchvision:channels_last")
def ours_fused(network: spec.Network, weights: spec.Weights) -> Run:
    """One buffer for each block, norms folded."""
    from densenet_torch.fusion import fused

    return predictor(fused(ours(network, weights)))


@inference("torch:fused_compiled", "torchvision:compiled", once=True)
def ours_fused_compiled(network: spec.Network, weights: spec.Weights) -> Run:
    """The same by torch.compile."""
    from densenet_torch.fusion import fused

    return predictor(compiled(fused(ours(network, weights))))


@inference("torch:bfloat16", "torchvision:channels_last", bar=OUTPUTS["bfloat16"])
def ours_bfloat16(network: spec.Network, weights: spec.Weights) -> Run:
    """Under autocast, in channels_last."""
    import torch

    run = ours_channels_last(network, weights)

    def predict(images: np.ndarray) -> np.ndarray:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return run(images)

    return predict


@training("torchvision", ours=False)
def torchvision_step(network: spec.Network, weights: spec.Weights) -> Run:
    """A plain loop."""
    return stepper(theirs(network, weights))


@training("torchvision:channels_last", ours=False)
def torchvision_step_channels_last(network: spec.Network, weights: spec.Weights) -> Run:
    """The same in channels_last."""
    return stepper(channels_last(theirs(network, weights)))


@training("torchvision:memory_efficient", ours=False)
def torchvision_step_memory_efficient(network: spec.Network, weights: spec.Weights) -> Run:
    """Its argument: checkpointed layers."""
    return stepper(theirs(network, weights, memory_efficient=True))


@training("torch", "torchvision")
def step(network: spec.Network, weights: spec.Weights) -> Run:
    """A plain loop."""
    return stepper(ours(network, weights))


@training("torch:channels_last", "torchvision:channels_last")
def step_channels_last(network: spec.Network, weights: spec.Weights) -> Run:
    """The same in channels_last."""
    return stepper(channels_last(ours(network, weights)))


@training("torch:memory_efficient", "torchvision", "torchvision:memory_efficient")
def step_memory_efficient(network: spec.Network, weights: spec.Weights) -> Run:
    """The argument of the same name."""
    return stepper(memory_efficient(network, weights))


@training("torch:memory_efficient:channels_last", "torchvision", "torchvision:channels_last")
def step_memory_efficient_channels_last(network: spec.Network, weights: spec.Weights) -> Run:
    """The same in channels_last."""
    return stepper(channels_last(memory_efficient(network, weights)))


@profile("torch")
def profile_eager(network: spec.Network, weights: spec.Weights) -> Run:
    """As it comes."""
    return by_operation(eager(network, weights))


@profile("torch:channels_last")
def profile_channels_last(network: spec.Network, weights: spec.Weights) -> Run:
    """In the memory format that oneDNN prefers."""
    return by_operation(ours_channels_last(network, weights))


@profile("torch:fused")
def profile_fused(network: spec.Network, weights: spec.Weights) -> Run:
    """One buffer for each block."""
    return by_operation(ours_fused(network, weights))


@profile("torch:memory_efficient")
def profile_memory_efficient(network: spec.Network, weights: spec.Weights) -> Run:
    """A training step."""
    step = step_memory_efficient(network, weights)
    return by_operation(lambda images: step(images, np.zeros(len(images), np.int64)))


def theirs(network: spec.Network, weights: spec.Weights, **options: Any) -> Any:
    """torchvision's DenseNet of a network, which has its names."""
    import torch

    config = network.config
    assert isinstance(config, spec.DenseNetConfig)
    model = torchvision().models.DenseNet(
        config.growth_rate,
        config.block_config,
        config.stem.channels or 2 * config.growth_rate,
        config.bn_size,
        num_classes=config.num_classes,
        **options,
    )
    model.load_state_dict(model.state_dict() | {name: torch.from_numpy(array) for name, array in weights.items()})
    return model


def torchvision() -> ModuleType:
    """The module, also where its compiled library cannot be loaded: the one on PyPI needs CUDA's.

    What it then misses on import are two operators for detection, which no DenseNet calls: they are declared.
    """
    import torch

    try:
        import torchvision
    except RuntimeError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    return torchvision


def ours(network: spec.Network, weights: spec.Weights) -> Any:
    """densenet_torch's model of a network."""
    import densenet_torch

    model = densenet_torch.build(network, "float32")
    densenet_torch.load_weights(model, weights)
    return model


def memory_efficient(network: spec.Network, weights: spec.Weights) -> Any:
    """The same, whose dense blocks keep little for the backward pass."""
    from densenet_torch.checkpointing import set_checkpointing

    model = ours(network, weights)
    set_checkpointing(model)
    return model


def channels_last(model: Any) -> Any:
    """The model, its kernels NHWC; convolutions hand the format on."""
    import torch

    return model.to(memory_format=torch.channels_last)


def compiled(model: Any) -> Any:
    """The model by torch.compile, for the shape of the first images alone."""
    import torch

    torch.compiler.config.force_disable_caches = True  # else the first call finds what another run compiled
    return torch.compile(model.eval(), dynamic=False)


def predictor(model: Any) -> Run:
    """images -> logits."""
    import torch

    model.eval()

    def predict(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(images)).float().numpy()

    return predict


def stepper(model: Any) -> Run:
    """(images, labels) -> loss, a plain loop's step."""
    import torch

    optimizer, loss_of = torch.optim.SGD(model.parameters(), RATE, MOMENTUM), torch.nn.CrossEntropyLoss()
    model.train()

    def step(images: np.ndarray, labels: np.ndarray) -> float:
        loss = loss_of(model(torch.from_numpy(images)), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def by_operation(run: Run) -> Run:
    """images -> {operation: seconds}, by PyTorch's profiler, each without what it calls."""
    from torch.profiler import ProfilerActivity, profile as profiler

    def profiled(images: np.ndarray) -> dict[str, float]:
        with profiler(activities=[ProfilerActivity.CPU]) as found:
            run(images)
        return {event.key: event.self_cpu_time_total / 1e6 for event in found.key_averages()}

    return profiled
