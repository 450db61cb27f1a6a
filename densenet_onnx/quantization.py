"""A graph in 8 bits: weights by the range of each output channel, activations by the range that images give them."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from onnx import ModelProto, load_model

from densenet_onnx.model import INPUT

BATCH = 32  # images at a time, of which all activations are held


def quantized(proto: ModelProto, images: np.ndarray) -> ModelProto:
    """The graph with weights and activations in 8 bits, calibrated on `images` (N, C, H, W) in float32.

    Quantization is linear, symmetric for weights, between the least and the greatest value for activations (Jacob et
    al. 2018, section 2), and written as pairs of QuantizeLinear and DequantizeLinear, which engines take into their
    8-bit kernels. It is ONNX Runtime's own.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    class Batches(CalibrationDataReader):
        def __init__(self) -> None:
            self.parts = iter(np.array_split(images, -(-len(images) // BATCH)))

        def get_next(self) -> dict[str, np.ndarray] | None:
            part = next(self.parts, None)
            return None if part is None else {INPUT: part}

    whole = ModelProto()
    whole.CopyFrom(proto)
    add_pre_process_metadata(whole)  # or it advises to fold batch norms first, which is up to the caller
    with TemporaryDirectory() as folder:
        path = Path(folder, "quantized.onnx")
        quantize_static(
            whole,
            path,
            Batches(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return load_model(path)
