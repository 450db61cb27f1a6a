"""Models by name, with the model zoo's signatures: `densenet121(classes=1000, ctx=mx.cpu(), weights=None)`."""

from pathlib import Path
from typing import Any, Unpack

import mxnet as mx

import spec
from densenet_mxnet import zoo
from densenet_mxnet.interop import load_weights
from densenet_mxnet.model import ConvNet, build
from spec.builders import Overrides, builder, network


class GluonOverrides(Overrides, total=False):
    """The fields, and what the model zoo calls some of them."""

    num_init_features: int


def get_model(
    variant: str,
    /,
    *,
    pretrained: bool = False,
    classes: int | None = None,
    ctx: Any = None,
    root: str | Path | None = None,
    weights: str | Path | None = None,
    prefix: str | None = None,
    **overrides: Unpack[GluonOverrides],
) -> ConvNet:
    """A variant by name, as the model zoo has it: `get_model("densenet121", classes=10)`.

    It is a HybridBlock without values, unless `weights` are given: call `initialize()`, or `load_parameters` with a
    file of save_parameters or of the model zoo. It hybridizes, exports, and takes nd arrays (N, C, H, W), np arrays
    where `npx.set_np()` is on; it puts out logits. `net.output` is the last linear layer: set it to an `nn.Dense` for
    other classes. `net.features` is all up to the last norm and puts out maps; `net[:-1]` is all but `net.output` and
    puts out (N, C), which in the zoo `features` does.

    `classes` is 1000 unless the variant says other. `weights` is the path of a .safetensors file with canonical
    names, loaded on `ctx`, a context or a list of them. `prefix` is what the names of its parameters begin with,
    densenet0_ if it is not given. `pretrained` may only be False, since nothing is downloaded, `root` is where the zoo
    would put its files. What else is given are fields of the variant, growth_rate=16, dropout=0.2, in_channels=1,
    also num_init_features, the zoo's word for the stem's channels: `densenet schema` describes them.
    Raises SpecError, in one sentence, for what cannot be built.
    """
    variant = variant.lower()
    given: dict[str, Any] = {**overrides} if classes is None else {"classes": classes, **overrides}
    zoo.refuse(variant, pretrained, given)
    model = build(network(variant, given, zoo.WORDS), prefix=prefix)
    if weights is not None:
        model.initialize(mx.init.Zero(), ctx)
        load_weights(model, spec.read_weights(weights, model.network))
    return model


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
