"""How much two right implementations may differ, and why.

Outputs. Rounding that is seen is 1e-15 in float64 and 1e-6 in float32 (three units of the last place of
a value that a hundred layers made); the bars are 1e-12 and 1e-5. A wrong number in the fifth digit of an
epsilon moves logits by 1e-9, so float64 sees what float32 cannot.
An executor that computes in less is held to less, and says how far it is: bfloat16 keeps 8 binary digits (2**-8 is
4e-3 of a value), and 8 bits are as much of a tensor's whole range. Logits of 23 variants at small sizes are off by at
most 1.2e-2 and 4.7e-2 of the largest, however deep the network: the bars are twice that, rounded.

Gradients. In float64 1e-10, of the largest magnitude: a gradient adds up terms that largely cancel where a
batch norm makes the loss independent of a scale, which costs some digits. In float32 rounding alone does
not bound the difference, as a ReLU or a max pool whose input lies within rounding of its kink may pass a
gradient in one framework and block it in the other. With unit roundoff u = 2**-24, L layers and at most K
products in a sum, inputs of the kinks are off by about d = u * L * sqrt(K) of their size: the errors of
layers add up, those of a sum's terms walk at random. So each unit switches with a probability of about d,
and as a gradient's square is made up of what the units pass on, the square of its relative change is d on
average, in the Euclidean norm (a single entry may change wholly). By Markov's inequality the change
exceeds 10 * sqrt(d) at most once in a hundred networks: that is the bar. Where it is exceeded, as it will be
in some of three hundred networks, parity asks the reference how far its own gradient moves when the images
move by d, and allows that, too: a gradient in float32 is right if it is that of images within rounding.
In both, a difference below the unit roundoff of the largest gradient of all is none: where a huge epsilon
leaves a layer gradients of 1e-15, they are what is left of larger terms.

Running statistics. A batch's mean and variance over n values are sums of n terms. Added up one by one in float32,
as MXNet does, they are off by n * u of the sum of their magnitudes at the most (Higham 2002, section 4.2), and not
much less where terms are equal, as the zeros behind a ReLU make them: then errors do not cancel. PyTorch and Keras
add in blocks. Which order is taken depends on the processor, so the bound of the worst one is added to the bar,
times the share of a batch in the running statistic.
"""

from math import sqrt

import spec
from spec.layers import BatchNorm, Conv, Linear

OUTPUTS = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 2e-2, "int8": 1e-1}
GRADIENTS = {"float64": 1e-10}
UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24}


def rounding(network: spec.Network) -> float:
    """The relative error of what is computed in float32, from the network's depth and width alone: d above."""
    nodes = [node for _, node in spec.walk(network.root)]
    depth = sum(isinstance(node, (Conv, Linear, BatchNorm)) for node in nodes)
    widths = [node.in_channels * node.kernel_size**2 for node in nodes if isinstance(node, Conv)]
    widths += [node.in_features for node in nodes if isinstance(node, Linear)]
    return UNIT_ROUNDOFF["float32"] * depth * sqrt(max(widths))


def gradient_tolerance(network: spec.Network) -> float:
    """The bar for gradients in float32 in the Euclidean norm."""
    return 10 * sqrt(rounding(network))


def gradient_floor(dtype: str, network: spec.Network) -> float:
    """How small a group of gradients may be beside the largest of all before its differences are rounding."""
    return UNIT_ROUNDOFF[dtype] / (GRADIENTS[dtype] if dtype in GRADIENTS else gradient_tolerance(network))


def statistic_tolerance(dtype: str, node: BatchNorm, count: int) -> float:
    """The bar for the running statistics of a batch norm that takes its batch's over `count` values."""
    return OUTPUTS[dtype] + (1 - node.decay) * count * UNIT_ROUNDOFF[dtype]
