"""Models by name, with torchvision's signatures: `densenet121(weights=None, progress=True, **overrides)`."""

import pickle
from pathlib import Path
from typing import Any, Protocol

import torch

import spec
from densenet_torch.interop import load_weights
from densenet_torch.model import DenseNet, build


def get_model(name: str, *, weights: str | Path | None = None, progress: bool = True, **overrides: Any) -> DenseNet:
    """A variant by name: `get_model("densenet121", num_classes=10)`.

    `weights` is a path: of a torchvision checkpoint (.pth, .pt) or of a .safetensors file with
    canonical names. `overrides` are fields of spec.DenseNetConfig. `progress` is torchvision's and
    has no effect: nothing is downloaded.
    """
    model = build(spec.variant(name, **overrides))
    if weights is None:
        return model
    if Path(weights).suffix in (".pth", ".pt"):
        model.load_state_dict(_checkpoint(Path(weights)))
    else:
        load_weights(model, spec.read_weights(weights))
    return model


def _checkpoint(path: Path) -> dict[str, torch.Tensor]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise spec.SpecError(f"weights file {path} does not exist") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise spec.SpecError(f"{path} is not a checkpoint of plain tensors, and nothing else is unpickled") from error


def list_models() -> list[str]:
    """The names that get_model knows."""
    return spec.names()


class Builder(Protocol):
    """The signature of every builder."""

    def __call__(self, *, weights: str | Path | None = None, progress: bool = True, **overrides: Any) -> DenseNet: ...


def _builder(name: str) -> Builder:
    def builder(*, weights: str | Path | None = None, progress: bool = True, **overrides: Any) -> DenseNet:
        return get_model(name, weights=weights, progress=progress, **overrides)

    builder.__name__ = builder.__qualname__ = name
    builder.__doc__ = f"The variant {name}; the arguments are those of get_model."
    return builder


densenet121 = _builder("densenet121")
densenet169 = _builder("densenet169")
densenet201 = _builder("densenet201")
densenet161 = _builder("densenet161")
densenet264 = _builder("densenet264")
densenet40_k12 = _builder("densenet40_k12")
densenet100_k12 = _builder("densenet100_k12")
densenet100_k24 = _builder("densenet100_k24")
densenet100_k12_bc = _builder("densenet100_k12_bc")
densenet190_k40_bc = _builder("densenet190_k40_bc")
densenet250_k24_bc = _builder("densenet250_k24_bc")
densenet40_k12_bc = _builder("densenet40_k12_bc")
densenet40_k24_bc = _builder("densenet40_k24_bc")
densenet40_k36_bc = _builder("densenet40_k36_bc")
densenet40_k48_bc = _builder("densenet40_k48_bc")
densenet40_k60_bc = _builder("densenet40_k60_bc")
densenet_d2l = _builder("densenet_d2l")
se_densenet121 = _builder("se_densenet121")
se_densenet161 = _builder("se_densenet161")
se_densenet169 = _builder("se_densenet169")
se_densenet201 = _builder("se_densenet201")

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
