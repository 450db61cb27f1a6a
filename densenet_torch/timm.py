"""What timm's users call: the body and the head apart, classifiers that are replaced, maps at every size."""

from typing import Any

from torch import Tensor, nn

import spec
from densenet_torch.checkpointing import set_checkpointing
from densenet_torch.layers import build
from densenet_torch.surgery import at
from spec.layers import Flatten, GlobalAvgPool
from spec.tree import Node, output_shape

POOLS = {"avg": nn.AdaptiveAvgPool2d, "max": nn.AdaptiveMaxPool2d}


class FeatureInfo(list[dict[str, Any]]):
    """For each size of feature maps, the last layer that has it: `num_chs`, `reduction` and `module`, its path."""

    def channels(self) -> list[int]:
        return [level["num_chs"] for level in self]

    def reduction(self) -> list[int]:
        """How many times smaller the maps are than the images."""
        return [level["reduction"] for level in self]

    def module_name(self) -> list[str]:
        return [level["module"] for level in self]


class TimmMethods(nn.Sequential):
    """The methods and attributes of a timm model. `network` is what the model is now, `built` what it was made of."""

    network: spec.Network
    built: spec.Network

    @property
    def num_classes(self) -> int:
        """The outputs of the classifier, also of one that was replaced; 0 without."""
        return self.network.num_classes or 0

    @property
    def num_features(self) -> int:
        """The channels of what `forward_features` puts out."""
        return output_shape(self.built.body, self.built.input_shape)[0]

    @property
    def feature_info(self) -> FeatureInfo:
        """The maps that a model with features_only=True puts out."""
        return feature_info(self.built)

    @property
    def head_hidden_size(self) -> int:
        """How many features the classifier is given."""
        path = self.built.classifier_path
        return dict(spec.walk(self.built.root))[path].in_features if path else self.num_features  # type: ignore[attr-defined]

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """What timm's tools ask for: the size of images, the classes, and which layer is first, and which is last."""
        return {
            "input_size": self.network.input_shape,
            "num_classes": self.num_classes,
            "first_conv": self.built.first_path,
            "classifier": self.built.classifier_path,
        }

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """What comes after `forward_features`, with `pre_logits` without the classifier: pooled features."""
        head = [name for name, _ in self.built.root.children[len(self.built.body.children) :]]
        last = (self.built.classifier_path or "").partition(".")[0]
        for name in head[: head.index(last)] if pre_logits and last else head:
            x = self.get_submodule(name)(x)
        return x

    def get_classifier(self) -> nn.Module:
        """The last linear layer, or what was put in its place."""
        found = at(self, self._classifier())
        return nn.Identity() if found is None else found

    def reset_classifier(self, num_classes: int, global_pool: str = "avg") -> None:
        """A new last layer, for that many classes; with 0 the pooled features come out.

        Without classes they may be pooled by "max", too, or not at all, "". Raises SpecError for anything else.
        """
        path, _, name = self._classifier().rpartition(".")
        parent = at(self, path) if path else self
        if not isinstance(parent, nn.Sequential):
            raise spec.SpecError(f"{self.built.name}: {path} was replaced by hand: replace it by hand again")
        self._set_pool(num_classes, global_pool)
        last: nn.Module = nn.Identity()
        if num_classes:
            last = nn.Linear(self.head_hidden_size, num_classes)
            nn.init.zeros_(last.bias)  # as torchvision's DenseNet has it
        setattr(parent, name, last.to(next(self.parameters())))

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether training keeps little of dense layers in memory, and computes the rest again.

        Raises SpecError for a network without dense blocks.
        """
        set_checkpointing(self, enable)

    def _classifier(self) -> str:
        path = self.built.classifier_path
        if path is None:
            raise spec.SpecError(f"{self.built.name} has no linear layer for its classes: replace layers by hand")
        return path

    def _set_pool(self, num_classes: int, global_pool: str) -> None:
        pools = _named(self.built.root, GlobalAvgPool)
        if not isinstance(num_classes, int) or num_classes < 0:
            raise spec.SpecError(
                f"{self.built.name}: num_classes should be 0, for no classifier, or more, found {num_classes!r}"
            )
        if global_pool not in (("avg", "max", "") if pools and not num_classes else ("avg",)):
            raise spec.SpecError(
                f"{self.built.name}: global_pool should be 'avg', as its classifier takes averages, found "
                f"{global_pool!r}: 'max' and '' (none) are for num_classes=0 of networks with a global pool"
            )
        for name, _ in pools:
            setattr(self, name, POOLS[global_pool](1) if global_pool else nn.Identity())
        for name, node in _named(self.built.root, Flatten):
            setattr(self, name, build(node) if global_pool else nn.Identity())


def steps(network: spec.Network) -> list[str]:
    """The paths of the layers and blocks before the head that run one after the other."""
    found = []

    def add(node: Node, path: str) -> None:
        for name, child in spec.children(node):
            inner = spec.join(path, name)
            add(child, inner) if isinstance(child, spec.Sequential) else found.append(inner)

    add(network.body, "")
    return found


def feature_info(network: spec.Network) -> FeatureInfo:
    """The last of these steps for each size of its maps."""
    levels, nodes = {}, dict(spec.walk(network.body))
    shape: spec.Shape = network.input_shape
    for path in steps(network):
        shape = output_shape(nodes[path], shape)
        reduction = round(network.input_shape[1] / shape[1])
        levels[reduction] = {"num_chs": shape[0], "reduction": reduction, "module": path}
    return FeatureInfo(levels.values())


def _named(node: Node, kind: type[Node]) -> list[tuple[str, Node]]:
    return [(name, child) for name, child in spec.children(node) if isinstance(child, kind)]
