"""Models by name, with the model zoo's signatures: `densenet121(classes=1000, ctx=mx.cpu(), weights=None)`."""

from pathlib import Path
from typing import Any

import mxnet as mx

import spec
from densenet_mxnet.interop import load_weights
from densenet_mxnet.model import DenseNet, build
from spec.builders import builder


def get_model(
    name: str, *, classes: int | None = None, ctx: Any = None, weights: str | Path | None = None, **overrides: Any
) -> DenseNet:
    """A variant by name: `get_model("densenet121", classes=10)`; not initialized unless `weights` are given.

    `weights` is the path of a .safetensors file with canonical names, loaded on `ctx`. `classes` is
    num_classes under Gluon's name; `overrides` are fields of spec.DenseNetConfig.
    """
    if classes is not None:
        overrides["num_classes"] = classes
    model = build(spec.variant(name, **overrides))
    if weights is not None:
        model.initialize(mx.init.Zero(), ctx)
        load_weights(model, spec.read_weights(weights))
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

__all__ = [
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
    "list_models",
    "se_densenet121",
    "se_densenet161",
    "se_densenet169",
    "se_densenet201",
]
