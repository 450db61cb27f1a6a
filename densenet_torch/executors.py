"""Other ways to run the same model: each takes a model and images (N, C, H, W), and returns the logits."""

import copy

import numpy as np
import torch

from densenet_torch.interop import predict, to_input
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


EXECUTORS = {"compiled": compiled, "exported": exported}
