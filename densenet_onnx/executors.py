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
    _check_float32(model, "OpenVINO")
    return model.compiled(engines.openvino)(to_input(model, images))[0]


@one_at_a_time
def openvino_bfloat16(model: ConvNet, images: np.ndarray) -> np.ndarray:
    """OpenVINO on the CPU, in bfloat16, which newer processors multiply twice as fast."""
    _check_float32(model, "bfloat16")
    return model.compiled(engines.openvino_bfloat16)(to_input(model, images))[0]


@one_at_a_time
def int8(model: ConvNet, images: np.ndarray) -> np.ndarray:
    """ONNX Runtime in 8 bits, calibrated on the first images that come for these weights: give it many."""
    _check_float32(model, "int8")
    x = to_input(model, images)
    return model.compiled(engines.runtime_in_int8, x)(x)[0]


@one_at_a_time
def reference(model: ConvNet, images: np.ndarray) -> np.ndarray:
    """onnx.reference, the definition of ONNX's operators in NumPy; in float64, which the logits are, too."""
    return model.compiled(engines.reference_in_float64)(to_input(model, images))[0]


EXECUTORS = {"openvino": openvino, "openvino_bfloat16": openvino_bfloat16, "int8": int8, "reference": reference}


def _check_float32(model: ConvNet, name: str) -> None:
    if model.dtype != "float32":
        raise spec.SpecError(f"{name} is for models in float32, and this one is {model.dtype}: build it in float32")
