"""What a model did in one forward pass, whoever wrote it: its operations, one after the other, in neutral words.

Each backend records models of its framework, those of strangers, too (`densenet_torch.recording` and so on), and says
here what it saw. Feature maps are (N, C, H, W) whatever the framework has them in, vectors (N, features); kernels are
OIHW, linear weights (out, in), and the arrays of a batch norm weight, bias, running_mean and running_var.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

INPUT, UNKNOWN = -1, -2  # values that no call computed: the images, and what is not a tensor of this pass
# Operations with parameters; those that look at windows; those that take away height and width; one value by another.
PARAMETRIC = ("conv", "batch_norm", "linear")
POOLS = ("max_pool", "avg_pool")
GLOBAL = ("mean", "max", "sum")
LAYERS = (*PARAMETRIC, *POOLS, *GLOBAL)
ACTIVATIONS = (
    "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh", "softplus", "sigmoid", "hard_sigmoid",
    "hard_silu", "softmax", "log_softmax",
)  # fmt: skip
SHAPING = ("flatten", "reshape", "permute", "pad", "identity")
COMBINING = ("concat", "add", "subtract", "multiply", "divide")
KINDS = (*PARAMETRIC, *POOLS, *GLOBAL, *ACTIVATIONS, *SHAPING, *COMBINING, "dropout", "other")


@dataclass(frozen=True, eq=False)
class Call:
    """One operation of a forward pass.

    `kind` is one of KINDS; `layer` is the model's own name of the layer that called it, "" where none did; `text` what
    its framework calls the operation. `inputs` are values: the numbers of the calls that computed them, INPUT or
    UNKNOWN. `settings` are what it was called with:

    conv: stride, padding, dilation, groups; max_pool and avg_pool: kernel_size, stride, padding, and ceil_mode or
    count_include_pad where the framework has them; all but groups for height and width, padding as ((top, bottom),
    (left, right)). batch_norm: eps, decay (the share of the old running statistic that is kept), training (whether it
    used the batch's statistics). mean, max, sum: axes, as of (N, C, H, W), keepdims. concat: axis, likewise. permute:
    axes, as the framework counts. pad: padding, value. leaky_relu, elu: slope. dropout: rate, training. add, subtract,
    multiply, divide by what is no tensor of the pass: constant, an array that broadcasts over (N, C, H, W).

    `parameters` has the model's own name of each, {"weight": "stem.0.weight"}.
    """

    kind: str
    layer: str
    text: str
    inputs: tuple[int, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Recording:
    """A pass of `images` (N, C, H, W) through a model: its calls in order, and what each of them put out."""

    framework: str
    dtype: str
    images: np.ndarray
    calls: tuple[Call, ...]
    outputs: tuple[np.ndarray, ...]
    output: int  # the value that the model returned

    def value(self, number: int) -> np.ndarray:
        """A call's output, or the images."""
        return self.images if number == INPUT else self.outputs[number]

    def inputs(self, number: int) -> tuple[np.ndarray, ...]:
        """What the call was given, as far as it is a tensor of this pass."""
        return tuple(self.value(value) for value in self.calls[number].inputs if value != UNKNOWN)


@dataclass(frozen=True, eq=False)
class Training:
    """A pass in training mode, and the backward pass of the mean cross-entropy of `labels`, integers (N,).

    `gradients` has the loss's by what calls of LAYERS put out, {number of the call: array}: zeros where none arrives;
    values that cannot be seen, as where the framework computes them anew for the backward pass, are left out.
    `parameters` has those by parameters and `buffers` what the pass makes of buffers, both {the model's own name: array
    in canonical layout}; a parameter that gets no gradient is left out.
    """

    recording: Recording
    labels: np.ndarray
    gradients: Mapping[int, np.ndarray]
    parameters: Mapping[str, np.ndarray]
    buffers: Mapping[str, np.ndarray]
