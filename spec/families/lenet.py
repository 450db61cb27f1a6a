"""LeNet, as it is taught today.

After LeCun, Bottou, Bengio & Haffner: Gradient-Based Learning Applied to Document Recognition. Proc. IEEE 1998,
section II.B. Departs from it: max pools without weights, no activation between the convolutions, full
connections everywhere, ReLU in place of tanh, and a linear last layer.
"""

from typing import Literal

from pydantic import Field

from spec.blocks import sequence
from spec.config import FAMILY, NetworkConfig
from spec.layers import Conv, Flatten, Linear, MaxPool, ReLU
from spec.tree import Chain


class LeNetConfig(NetworkConfig):
    """The images and the classes; all else is fixed."""

    family: Literal["lenet"] = Field("lenet", description=FAMILY)

    def nodes(self) -> Chain:
        """Two 5x5 convolutions, each with a pool, and three linear layers."""
        features = sequence(
            conv1=Conv(self.in_channels, 6, kernel_size=5, stride=1, padding=0, bias=True),
            pool1=MaxPool(kernel_size=2, stride=2, padding=0),
            conv2=Conv(6, 16, kernel_size=5, stride=1, padding=0, bias=True),
            pool2=MaxPool(kernel_size=2, stride=2, padding=0),
        )
        classifier = sequence(
            fc1=Linear(self.flattened(features), 120, bias=True),
            relu1=ReLU(),
            fc2=Linear(120, 84, bias=True),
            relu2=ReLU(),
            fc3=Linear(84, self.num_classes, bias=True),
        )
        return ("features", features), ("flatten", Flatten()), ("classifier", classifier)
