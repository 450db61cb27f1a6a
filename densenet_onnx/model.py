"""A whole network as one ONNX model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto, helper

import spec
from densenet_onnx import blocks, inception, parallel, residual  # noqa: F401 (they register what they build)
from densenet_onnx.graph import Graph
from spec.checkpoint import FORMAT, tool
from spec.tree import output_shape
from spec.weights import KINDS

OPSET, IR_VERSION = 17, 8  # which ONNX Runtime, OpenVINO and TensorRT all take
INPUT = "images"

Run = Callable[..., list[np.ndarray]]  # of images (N, C, H, W): what densenet_onnx.engines gives


@dataclass(eq=False)
class ConvNet:
    """A network as an ONNX model: `proto`, the ModelProto itself, whose initializers are the weights.

    `engines` keeps what was compiled of it; clear it after changing the proto by hand.
    """

    network: spec.Network
    proto: ModelProto = field(repr=False)
    engines: dict[Callable[..., Any], Run] = field(default_factory=dict, repr=False)

    @property
    def dtype(self) -> str:
        """What it computes in: float32 or float64."""
        return str(helper.tensor_dtype_to_np_dtype(self.proto.graph.input[0].type.tensor_type.elem_type))

    def compiled(self, engine: Callable[..., Run], *given: Any) -> Run:
        """What `engine` makes of the model, and of what else it is given, once for each set of weights.

        Raises SpecError where it has none yet.
        """
        self.check_values()
        if engine not in self.engines:
            self.engines[engine] = engine(self.proto, *given)
        return self.engines[engine]

    def check_values(self) -> None:
        """Raises SpecError where the initializers have no values yet."""
        if not all(tensor.HasField("raw_data") for tensor in self.proto.graph.initializer):
            raise spec.SpecError(f"{self.network.name} has no values yet: call load_weights first")

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"engines": {}}  # which are neither copied nor pickled


def build(network: spec.Network, dtype: str = "float32") -> ConvNet:
    """A model of `network` for images of any size that it accepts, in float32 or float64, without weights yet."""
    if not isinstance(network, spec.Network):
        raise TypeError(f"build takes a spec.Network, found {network!r}: see spec.variant and spec.load")
    if dtype not in KINDS:
        raise spec.SpecError(f"dtype must be {' or '.join(KINDS)}, found {dtype!r}")
    graph = Graph(dtype)
    last = blocks.sequential(network.root, graph, INPUT, "")
    output = output_name(network)
    if last == INPUT:  # a network without any operator
        graph.add("Identity", output, INPUT)
    else:
        graph.rename(last, output)
    channels, *size = output_shape(network.root, network.input_shape)
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            network.name,
            [helper.make_tensor_value_info(INPUT, graph.kind, ["batch", network.in_channels, "height", "width"])],
            [helper.make_tensor_value_info(output, graph.kind, ["batch", channels, *("rows", "columns")[: len(size)]])],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name=FORMAT,
        producer_version=tool().removeprefix(f"{FORMAT} "),
    )
    helper.set_model_props(proto, metadata(network))
    return ConvNet(network, proto)


@contextmanager
def device(name: str) -> Iterator[None]:
    """Models run on "cpu"; raises SpecError for another."""
    if spec.device_of(name) != ("cpu", 0):
        raise spec.SpecError(f"device {name!r} is not there: densenet_onnx runs ONNX Runtime on the cpu; use cpu")
    yield


def output_name(network: spec.Network) -> str:
    """What the output of the graph is called: logits, probabilities, or, without a classifier, features."""
    if network.num_classes is None:
        return "features"
    return "logits" if network.gives_logits else "probabilities"


def metadata(network: spec.Network) -> dict[str, str]:
    """What a file says of a network: its name, and the config that rebuilds it, if it has one."""
    config = network.config
    return {"name": network.name} | ({"config": config.model_dump_json()} if config else {})
