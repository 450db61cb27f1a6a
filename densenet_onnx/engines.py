"""What runs a graph: each takes a ModelProto, and gives a function from images (N, C, H, W) to all outputs."""

import os

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import spec
from densenet_onnx.compat import OPERATORS
from densenet_onnx.model import INPUT, Run
from densenet_onnx.quantization import quantized


def runtime(proto: ModelProto) -> Run:
    """ONNX Runtime on the CPU, which rewrites the graph for itself."""
    return _runtime(proto, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)


def runtime_in_int8(proto: ModelProto, images: np.ndarray) -> Run:
    """ONNX Runtime on the CPU, in 8 bits, calibrated on images (N, C, H, W)."""
    return runtime(quantized(proto, images))


def runtime_as_written(proto: ModelProto) -> Run:
    """ONNX Runtime on the CPU, node by node."""
    return _runtime(proto, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)


def reference(proto: ModelProto) -> Run:
    """onnx.reference: the definition of ONNX's operators, in NumPy and in the dtype of the graph.

    Gives any tensors of the graph, where they are named.
    """
    evaluator = ReferenceEvaluator(proto, new_ops=OPERATORS)
    return lambda images, names=None: evaluator.run(names, {INPUT: images})


def reference_in_float64(proto: ModelProto) -> Run:
    """onnx.reference in float64, whatever the dtype of the graph."""
    run = reference(widened(proto))
    return lambda images: run(images.astype("float64"))


def openvino(proto: ModelProto) -> Run:
    """OpenVINO on the CPU in float32, where it would take bfloat16 if the processor has it."""
    return _openvino(proto, "f32")


def openvino_bfloat16(proto: ModelProto) -> Run:
    """OpenVINO on the CPU in bfloat16."""
    return _openvino(proto, "bf16")


def widened(proto: ModelProto) -> ModelProto:
    """The same graph in float64."""
    wide = ModelProto()
    wide.CopyFrom(proto)
    for tensor in wide.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float64"), tensor.name))
    for value in (*wide.graph.input, *wide.graph.output):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    return wide


def with_outputs(proto: ModelProto, names: list[str]) -> ModelProto:
    """The same graph with these tensors as its outputs."""
    other = ModelProto()
    other.CopyFrom(proto)
    kind = proto.graph.output[0].type.tensor_type.elem_type
    del other.graph.output[:]
    other.graph.output.extend(helper.make_tensor_value_info(name, kind, None) for name in names)
    return other


def _runtime(proto: ModelProto, level: onnxruntime.GraphOptimizationLevel) -> Run:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = _threads()
    options.log_severity_level = 3  # errors
    options.add_session_config_entry("session.force_spinning_stop", "1")  # between calls others need the processor
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {INPUT: images})


def _openvino(proto: ModelProto, precision: str) -> Run:
    """Raises SpecError where it is not installed."""
    try:
        from openvino import Core  # optional, and late, as it takes half a second
    except ImportError as error:
        raise spec.SpecError("OpenVINO is not installed: pip install 'densenet-reference[openvino]'") from error
    core = Core()
    threads = {"INFERENCE_NUM_THREADS": _threads()} if _threads() else {}
    model = core.compile_model(
        core.read_model(proto.SerializeToString()),
        "CPU",
        {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY", **threads},
    )
    return lambda images: list(model(images).to_tuple())


def _threads() -> int:
    """OMP_NUM_THREADS, which neither engine looks at; 0, for all cores, where it is no number."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() else 0
