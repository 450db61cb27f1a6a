"""Feature maps at every size, as detectors and segmenters take them from a backbone, in timm's words."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

import spec
from densenet_torch.model import ConvNet
from densenet_torch.timm import FeatureInfo, steps


class FeatureMaps(ConvNet):
    """A model's layers without its classifier, which put out a list of maps, the largest first.

    `out_indices` says which of the model's `feature_info`, counted from either end; all unless given.
    """

    def __init__(self, model: ConvNet, out_indices: Sequence[int] | None = None):
        super().__init__(model.network.headless)
        for name in list(self._modules):
            setattr(self, name, model.get_submodule(name))  # with its weights
        self._steps = steps(self.built)
        levels = model.feature_info
        indices = range(len(levels)) if out_indices is None else out_indices
        for index in indices:
            if not -len(levels) <= index < len(levels):
                raise spec.SpecError(
                    f"{self.built.name}: out_indices: there are maps of {len(levels)} sizes, found {index}: "
                    f"name some of 0 to {len(levels) - 1}"
                )
        self._levels = FeatureInfo(levels[i] for i in sorted({index % len(levels) for index in indices}))

    @property
    def feature_info(self) -> FeatureInfo:
        """The maps that it puts out."""
        return self._levels

    def __call__(self, x: Tensor) -> Any:
        return super().__call__(x)

    def forward(self, x: Tensor) -> Any:  # (N, C, H, W)
        maps: list[Tensor] = []
        for path in self._steps:
            x = self.get_submodule(path)(x)
            if path in self._levels.module_name():
                maps.append(x)
        return maps  # each (N, num_chs, H / reduction, W / reduction)
