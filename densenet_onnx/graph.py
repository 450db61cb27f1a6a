"""A graph under construction: nodes in the order in which they run, and the initializers that they read.

A node and its one output have the same name, the path of the spec's node; an initializer has a canonical name.
"""

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from spec.shapes import Shape


class Graph:
    """Operators with parameters have a method each, all others come by `add`; each returns the name of its output.

    Initializers are declared with their shape and have no values yet.
    """

    def __init__(self, dtype: str):
        self.kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []

    def add(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        """One node, which reads the outputs and initializers of these names."""
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def rename(self, output: str, name: str) -> None:
        """Gives the last output another name than its node's."""
        next(node for node in reversed(self.nodes) if node.output[0] == output).output[0] = name

    def parameter(self, name: str, *shape: int) -> str:
        """One initializer."""
        self.initializers.append(TensorProto(name=name, data_type=self.kind, dims=shape))
        return name

    def conv(
        self,
        name: str,
        x: str,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool,
    ) -> str:
        """Conv, padded by the same on all sides: `auto_pad` would pad even sizes on one side more."""
        parameters = [self.parameter(f"{name}.weight", out_channels, in_channels, kernel_size, kernel_size)]
        if bias:
            parameters.append(self.parameter(f"{name}.bias", out_channels))
        return self.add("Conv", name, x, *parameters, **window(kernel_size, stride), pads=[padding] * 4)

    def batch_norm(self, name: str, x: str, channels: int, *, eps: float, decay: float) -> str:
        """BatchNormalization by running statistics; `decay` has no part in inference, and is there for the reader."""
        names = ("weight", "bias", "running_mean", "running_var")
        parameters = [self.parameter(f"{name}.{each}", channels) for each in names]
        return self.add("BatchNormalization", name, x, *parameters, epsilon=eps, momentum=decay)

    def gemm(self, name: str, x: str, in_features: int, out_features: int, *, bias: bool) -> str:
        """Gemm with a weight (out, in), as in the spec: x @ weight.T + bias."""
        parameters = [self.parameter(f"{name}.weight", out_features, in_features)]
        if bias:
            parameters.append(self.parameter(f"{name}.bias", out_features))
        return self.add("Gemm", name, x, *parameters, transB=1)


def window(kernel_size: int, stride: int) -> dict[str, Shape]:
    """A square window as attributes."""
    return {"kernel_shape": (kernel_size, kernel_size), "strides": (stride, stride)}
