"""ONNX: onnxruntime and OpenVINO, on PyTorch's own export of torchvision's DenseNet, and on ours."""

import json
import warnings
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import spec
from benchmarks.engines import Run, folder, inference, profile, threads
from benchmarks.engines.torch import theirs
from densenet_tools.parity.tolerance import OUTPUTS
from spec.files import replacing

PROFILED = 5  # runs, the first of which warms up


@inference("onnxruntime", ours=False)
def onnxruntime_export(network: spec.Network, weights: spec.Weights) -> Run:
    """onnxruntime on what PyTorch exports."""
    return in_onnxruntime(exported(network, weights))


@inference("openvino", ours=False)
def openvino_export(network: spec.Network, weights: spec.Weights) -> Run:
    """OpenVINO on the same file."""
    return in_openvino(exported(network, weights))


@inference("onnx", "onnxruntime")
def predicted(network: spec.Network, weights: spec.Weights) -> Run:
    """densenet_onnx.predict, which runs onnxruntime."""
    import densenet_onnx

    model = ours(network, weights)
    return lambda images: densenet_onnx.predict(model, images)


@inference("onnx:optimized", "onnxruntime")
def optimized(network: spec.Network, weights: spec.Weights) -> Run:
    """The same for a network that was rewritten for inference."""
    return predicted(*spec.optimized(network, weights))


@inference("onnx:openvino", "openvino")
def ours_openvino(network: spec.Network, weights: spec.Weights) -> Run:
    """The executor of that name."""
    return executed("openvino", network, weights)


@inference("onnx:openvino:optimized", "openvino")
def ours_openvino_optimized(network: spec.Network, weights: spec.Weights) -> Run:
    """The same for a network that was rewritten for inference."""
    return executed("openvino", *spec.optimized(network, weights))


@inference("onnx:openvino_bfloat16:optimized", "onnxruntime", bar=OUTPUTS["bfloat16"])
def ours_bfloat16_optimized(network: spec.Network, weights: spec.Weights) -> Run:
    """That in bfloat16."""
    return executed("openvino_bfloat16", *spec.optimized(network, weights))


@inference("onnx:int8:optimized", "onnxruntime", bar=OUTPUTS["int8"])
def ours_int8_optimized(network: spec.Network, weights: spec.Weights) -> Run:
    """onnxruntime in 8 bits."""
    return executed("int8", *spec.optimized(network, weights))


@profile("onnx")
def profile_predicted(network: spec.Network, weights: spec.Weights) -> Run:
    """onnxruntime on our graph."""
    return by_operation_of_onnxruntime(ours(network, weights).proto.SerializeToString())


@profile("onnx:optimized")
def profile_optimized(network: spec.Network, weights: spec.Weights) -> Run:
    """The same for a network that was rewritten for inference."""
    return profile_predicted(*spec.optimized(network, weights))


@profile("onnx:openvino:optimized")
def profile_openvino_optimized(network: spec.Network, weights: spec.Weights) -> Run:
    """OpenVINO on that."""
    return by_operation_of_openvino(ours(*spec.optimized(network, weights)).proto.SerializeToString())


def exported(network: spec.Network, weights: spec.Weights) -> Path:
    """torchvision's DenseNet as PyTorch exports it, any number of images; made once in a run."""
    import torch

    path = folder() / "torchvision.onnx"
    if not path.exists():
        model, images = theirs(network, weights).eval(), torch.zeros(2, *network.input_shape)
        with warnings.catch_warnings(), replacing(path) as beside:
            warnings.simplefilter("ignore")
            torch.onnx.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},)).save(beside)
    return path


def ours(network: spec.Network, weights: spec.Weights) -> Any:
    """densenet_onnx's model of a network."""
    import densenet_onnx

    model = densenet_onnx.build(network, "float32")
    densenet_onnx.load_weights(model, weights)
    return model


def executed(executor: str, network: spec.Network, weights: spec.Weights) -> Run:
    """images -> logits, by another executor of densenet_onnx."""
    import densenet_onnx

    model, run = ours(network, weights), densenet_onnx.EXECUTORS[executor]
    return lambda images: run(model, images)


def in_onnxruntime(path: Path) -> Run:
    """images -> logits, by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, session_options(), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda images: session.run(None, {given.name: images})[0]


def session_options() -> Any:
    """Its defaults, but for the number of threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    return options


def in_openvino(path: Path) -> Run:
    """images -> logits, by OpenVINO, in float32: its own choice is bfloat16 where the processor has it."""
    model = compiled_by_openvino(path)
    return lambda images: model([images])[0]


def compiled_by_openvino(model: Any, **settings: object) -> Any:
    """What OpenVINO makes of a file, or of a model that it read."""
    import openvino

    settings |= {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads(), "PERFORMANCE_HINT": "LATENCY"}
    return openvino.Core().compile_model(model, "CPU", settings)


def by_operation_of_onnxruntime(proto: bytes) -> Run:
    """images -> {operation: seconds}, by onnxruntime's profiler, from the file that it writes."""
    import onnxruntime

    def profiled(images: np.ndarray) -> dict[str, float]:
        found: Counter[str] = Counter()
        with TemporaryDirectory() as folder:
            options = session_options()
            options.enable_profiling, options.profile_file_prefix = True, f"{folder}/profile"
            session = onnxruntime.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
            (given,) = session.get_inputs()
            for _ in range(PROFILED):
                session.run(None, {given.name: images})
            events = json.loads(Path(session.end_profiling()).read_text())
        for event in events:
            if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
                found[event["args"]["op_name"]] += event["dur"] / 1e6 / PROFILED
        return dict(found)

    return profiled


def by_operation_of_openvino(proto: bytes) -> Run:
    """images -> {operation: seconds}, as OpenVINO counts them: kinds of layers, and how each is computed."""
    import openvino

    model = compiled_by_openvino(openvino.Core().read_model(proto), PERF_COUNT=True)

    def profiled(images: np.ndarray) -> dict[str, float]:
        found: Counter[str] = Counter()
        request = model.create_infer_request()
        request.infer([images])
        for event in request.get_profiling_info():
            found[f"{event.node_type} {event.exec_type}"] += event.real_time.total_seconds()
        return dict(found)

    return profiled
