"""AlexNet on one device.

After Krizhevsky, Sutskever & Hinton: ImageNet Classification with Deep Convolutional Neural Networks.
NIPS 2012, section 3. Departs from it: no groups, batch norm after the first two ReLUs in place of local
response normalization, no padding in the first convolution.
"""

from typing import Literal

from pydantic import Field

from spec.blocks import Sequential, sequence
from spec.config import FAMILY, NormedConfig
from spec.layers import Conv, Dropout, Flatten, Linear, MaxPool, ReLU
from spec.tree import Chain

# Output channels, kernel, stride and padding of the five convolutions.
CONVOLUTIONS = [(96, 11, 4, 0), (256, 5, 1, 2), (384, 3, 1, 1), (384, 3, 1, 1), (256, 3, 1, 1)]


class AlexNetConfig(NormedConfig):
    """The images, the classes and the regularization."""

    family: Literal["alexnet"] = Field("alexnet", description=FAMILY)
    norm: bool = Field(True, description="whether batch norm follows the first two ReLUs")
    dropout: float = Field(0.5, ge=0, lt=1, description="rate of dropout after the first two linear layers")

    def nodes(self) -> Chain:
        """Five convolutions, three overlapping pools and three linear layers."""
        chain: Chain = ()
        channels = self.in_channels
        for i, (out, kernel, stride, padding) in enumerate(CONVOLUTIONS, start=1):
            conv = Conv(channels, out, kernel_size=kernel, stride=stride, padding=padding, bias=True)
            chain += ((f"conv{i}", conv), (f"relu{i}", ReLU()))
            if self.norm and i in (1, 2):
                chain += ((f"norm{i}", self.batch_norm(out)),)
            if i in (1, 2, 5):
                chain += ((f"pool{i}", MaxPool(kernel_size=3, stride=2, padding=0)),)
            channels = out
        features = Sequential(chain)
        classifier = sequence(
            fc1=Linear(self.flattened(features), 4096, bias=True),
            relu1=ReLU(),
            dropout1=Dropout(rate=self.dropout),
            fc2=Linear(4096, 4096, bias=True),
            relu2=ReLU(),
            dropout2=Dropout(rate=self.dropout),
            fc3=Linear(4096, self.num_classes, bias=True),
        )
        return ("features", features), ("flatten", Flatten()), ("classifier", classifier)
