"""Other ways to run the same model: each takes a model and images (N, C, H, W), and returns the logits."""

import numpy as np

import spec
from densenet_onnx import engines
from densenet_onnx.interop import to_input
from densenet_onnx.model import ConvNet
from spec.threads import one_at_a_time


@one_at_a_time
def openvino(model: ConvNet, images: np.ndarray) -> np.ndarray:
    """OpenVINO on the CPU, in float32."""
    if model.dtype != "float32":
        raise spec.SpecError(f"OpenVINO computes in float32, and the model is {model.dtype}: build it in float32")
    return model.compiled(engines.openvino)(to_input(model, images))[0]


@one_at_a_time
def reference(model: ConvNet, images: np.ndarray) -> np.ndarray:
    """onnx.reference, the definition of ONNX's operators in NumPy; in float64, which the logits are, too."""
    return model.compiled(engines.reference_in_float64)(to_input(model, images))[0]


EXECUTORS = {"openvino": openvino, "reference": reference}
