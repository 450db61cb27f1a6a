"""Other ways to run the same model: each takes a model and images (N, C, H, W), and returns the logits."""

import copy

import numpy as np
import torch

import spec
from densenet_torch.fusion import fused
from densenet_torch.interop import array_of, dtype_of, predict, to_input
from densenet_torch.model import ConvNet
from spec.threads import one_at_a_time


@one_at_a_time
def compiled(model: ConvNet, images: np.ndarray) -> np.ndarray:
    """torch.compile, as one graph."""
    torch.compiler.reset()  # it compiles a function for at most eight models, and one forward serves all networks
    other = copy.deepcopy(model)
    other.compile(fullgraph=True)
    return predict(other, images)


@one_at_a_time
def exported(model: ConvNet, images: np.ndarray) -> np.ndarray:
    """torch.export: the captured program, without the module's own code."""
    x = to_input(model, images)
    with torch.no_grad():
        program = torch.export.export(copy.deepcopy(model).eval(), (x,))
        return program.module()(x).cpu().numpy()


@one_at_a_time
def bfloat16(model: ConvNet, images: np.ndarray) -> np.ndarray:
    """Under autocast: convolutions and linear layers in bfloat16, which newer processors multiply twice as fast."""
    if dtype_of(model) != "float32":
        raise spec.SpecError(
            f"bfloat16 is for models in float32, and this one is {dtype_of(model)}: build it in float32"
        )
    with torch.autocast(next(model.parameters()).device.type, dtype=torch.bfloat16):
        return predict(model, images)


@one_at_a_time
def fused_eagerly(model: ConvNet, images: np.ndarray) -> np.ndarray:
    """A fused copy of the model."""
    with torch.inference_mode():
        return array_of(fused(model)(to_input(model, images)))


@one_at_a_time
def fused_compiled(model: ConvNet, images: np.ndarray) -> np.ndarray:
    """A fused copy of the model under torch.compile, as one graph."""
    torch.compiler.reset()
    other = fused(model)
    other.compile(fullgraph=True)
    with torch.inference_mode():
        return array_of(other(to_input(model, images)))


EXECUTORS = {
    "compiled": compiled,
    "exported": exported,
    "fused": fused_eagerly,
    "fused_compiled": fused_compiled,
    "bfloat16": bfloat16,
}
