"""Models by name, with torchvision's and timm's arguments: `densenet121(weights=None, progress=True, **overrides)`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Unpack

import spec
from densenet_torch.features import FeatureMaps
from densenet_torch.files import SUFFIXES, load_checkpoint
from densenet_torch.interop import load_weights
from densenet_torch.model import ConvNet, build
from spec.builders import Overrides, builder, network
from spec.checkpoint import SUFFIX, without_prefix

WORDS = {
    "drop_rate": "dropout",
    "proj_drop_rate": "dropout",
    "num_init_features": "stem.channels",
    "in_chans": "in_channels",
}


class Words(Overrides, total=False):
    """Fields in the words of torchvision, and of timm."""

    drop_rate: float
    num_init_features: int
    proj_drop_rate: float
    in_chans: int


def get_model(
    variant: str,
    /,
    weights: str | Path | None = None,
    progress: bool = True,
    *,
    pretrained: bool = False,
    memory_efficient: bool = False,
    features_only: bool = False,
    out_indices: Sequence[int] | None = None,
    global_pool: Literal["avg", "max", ""] = "avg",
    **overrides: Unpack[Words],
) -> ConvNet:
    """A variant by name: `get_model("densenet121", num_classes=10)`.

    An nn.Module on images (N, C, H, W) that puts out logits (N, num_classes), in training mode as all new modules
    are. Its state dict is torchvision's.

    weights: path of a torchvision checkpoint (.pth, .pt) or of a .safetensors file with the same names. Nothing is
        downloaded: `progress` has no effect, and `pretrained` is refused.
    memory_efficient: keeps the new channels and the bottleneck of each dense layer in training, and computes the rest
        again: less memory, the same result.
    num_classes: 0 leaves the classifier out, as in timm: pooled features (N, num_features), by `global_pool`.
    features_only: a list of maps instead, those at `out_indices` of the model's `feature_info`, as in timm.
    drop_rate, num_init_features: torchvision's words for `dropout`, in dense layers, and the stem's channels.
    in_chans, proj_drop_rate: timm's words for `in_channels` and `dropout`.

    The rest are fields of the config: growth_rate, block_config, bn_size, num_classes, in_channels, input_size,
    squeeze_excitation ...; `densenet schema` describes each. Raises spec.SpecError, in one sentence, for any that
    cannot be.
    """
    _check_weights(variant, weights, pretrained)
    num_classes = overrides.get("num_classes")
    fields = {name: value for name, value in overrides.items() if name != "num_classes" or num_classes != 0}
    model = build(network(variant, fields, WORDS))
    if weights:
        _load(model, weights)
    if num_classes == 0 or global_pool != "avg":
        model.reset_classifier(0 if num_classes == 0 else model.num_classes, global_pool)
    if memory_efficient:
        model.set_grad_checkpointing()
    return FeatureMaps(model, out_indices) if features_only else model


def _load(model: ConvNet, path: str | Path) -> None:
    if Path(path).suffix in SUFFIXES:
        load_checkpoint(model, path)
    else:
        load_weights(model, without_prefix(spec.read_weights(path, model.network)))


def _check_weights(variant: str, weights: object, pretrained: object) -> None:
    """Raises SpecError unless weights are asked for by a path, or not at all."""
    if pretrained:
        raise spec.SpecError(
            f"{variant}: pretrained={pretrained!r}: no weights are hosted or downloaded, give weights the path of "
            f"a checkpoint ({', '.join(SUFFIXES)}), such as torchvision's"
        )
    suffix = Path(weights).suffix if isinstance(weights, str | Path) else None
    if weights and suffix not in (*SUFFIXES, SUFFIX):
        raise spec.SpecError(
            f"{variant}: weights that are no {' or '.join(SUFFIXES)} file, such as torchvision's, must be the path of "
            f"a {SUFFIX} file with canonical names, found {str(weights)!r}: no weights are hosted or downloaded"
        )


def list_models() -> list[str]:
    """The names that get_model knows."""
    return spec.names()


densenet121 = builder(get_model, "densenet121")
densenet169 = builder(get_model, "densenet169")
densenet201 = builder(get_model, "densenet201")
densenet161 = builder(get_model, "densenet161")
densenet264 = builder(get_model, "densenet264")
densenet40_k12 = builder(get_model, "densenet40_k12")
densenet100_k12 = builder(get_model, "densenet100_k12")
densenet100_k24 = builder(get_model, "densenet100_k24")
densenet100_k12_bc = builder(get_model, "densenet100_k12_bc")
densenet190_k40_bc = builder(get_model, "densenet190_k40_bc")
densenet250_k24_bc = builder(get_model, "densenet250_k24_bc")
densenet40_k12_bc = builder(get_model, "densenet40_k12_bc")
densenet40_k24_bc = builder(get_model, "densenet40_k24_bc")
densenet40_k36_bc = builder(get_model, "densenet40_k36_bc")
densenet40_k48_bc = builder(get_model, "densenet40_k48_bc")
densenet40_k60_bc = builder(get_model, "densenet40_k60_bc")
densenet_d2l = builder(get_model, "densenet_d2l")
se_densenet121 = builder(get_model, "se_densenet121")
se_densenet161 = builder(get_model, "se_densenet161")
se_densenet169 = builder(get_model, "se_densenet169")
se_densenet201 = builder(get_model, "se_densenet201")
lenet = builder(get_model, "lenet")
alexnet = builder(get_model, "alexnet")
vgg11 = builder(get_model, "vgg11")
vgg13 = builder(get_model, "vgg13")
vgg16 = builder(get_model, "vgg16")
vgg19 = builder(get_model, "vgg19")
nin = builder(get_model, "nin")
googlenet = builder(get_model, "googlenet")
resnet18 = builder(get_model, "resnet18")
resnet34 = builder(get_model, "resnet34")
se_resnet18 = builder(get_model, "se_resnet18")
se_googlenet = builder(get_model, "se_googlenet")

__all__ = [
    "alexnet",
    "densenet40_k12",
    "densenet40_k12_bc",
    "densenet40_k24_bc",
    "densenet40_k36_bc",
    "densenet40_k48_bc",
    "densenet40_k60_bc",
    "densenet100_k12",
    "densenet100_k12_bc",
    "densenet100_k24",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet190_k40_bc",
    "densenet201",
    "densenet250_k24_bc",
    "densenet264",
    "densenet_d2l",
    "get_model",
    "googlenet",
    "lenet",
    "list_models",
    "nin",
    "resnet18",
    "resnet34",
    "se_densenet121",
    "se_densenet161",
    "se_densenet169",
    "se_densenet201",
    "se_googlenet",
    "se_resnet18",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
]
