"""Files: the neutral one, and PyTorch's own checkpoints."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import spec
from densenet_torch.interop import check_fit, load_weights
from densenet_torch.model import ConvNet, build, rename_legacy_keys
from spec.checkpoint import COUNTED, without_prefix
from spec.files import check_readable, check_unpacked, replacing
from spec.weights import check_kinds

SUFFIXES = (".pth", ".pt")
NARROW = ("float16", "bfloat16")
INTEGERS = ("int32", "int64")
WRAPPERS = ("state_dict", "model_state_dict", "model")  # what training scripts put a state dict under


def from_file(path: str | Path, network: str | Path | None = None) -> ConvNet:
    """The model of a .safetensors file with its weights, in their dtype; see spec.open."""
    checkpoint = spec.open(path, network)
    model = build(checkpoint.network, dtype=checkpoint.dtype)
    load_weights(model, checkpoint.weights)
    return model


def save(path: str | Path, model: ConvNet) -> None:
    """Writes the model's state dict as a .pth or .pt file, in one step."""
    if Path(path).suffix not in SUFFIXES:
        raise spec.SpecError(f"a checkpoint's name ends in {' or '.join(SUFFIXES)}, found {str(path)!r}")
    _save(path, model.state_dict())


def save_weights(path: str | Path, weights: spec.Weights) -> None:
    """Writes {canonical name: array} as the state dict of a model that has seen no batch."""
    state = {}
    for name, array in weights.items():
        state[name] = torch.from_numpy(np.ascontiguousarray(array))
        if name.endswith("running_var"):  # the number of batches comes next
            state[f"{name.removesuffix('running_var')}{COUNTED}"] = torch.tensor(0)
    _save(path, state)


def reopened(path: str | Path, network: spec.Network, dtype: str = "float32") -> ConvNet:
    """A model with the weights of a .pth or .pt file, loaded as PyTorch itself does, strictly."""
    model = build(network, dtype)
    load_checkpoint(model, path)
    return model


def load_checkpoint(model: ConvNet, path: str | Path) -> None:
    """Checked as all weights are, and loaded natively, as they have the number of batches seen, too."""
    state, own = _state(path), model.state_dict()
    check_fit(model, _arrays(state))
    for name in (name for name in state if name.rpartition(".")[2] == COUNTED):
        if name not in own or _kind(state[name]) not in INTEGERS or state[name].numel() != 1:
            raise spec.SpecError(f"{path} must hold one whole number of batches for each batch norm, found {name}")
    model.load_state_dict(state)


def read_checkpoint(path: str | Path) -> dict[str, np.ndarray]:
    """{name: array} of a checkpoint's tensors, its wrappers taken off; float16 and bfloat16 are widened, exactly."""
    return _arrays(_state(path))


def _save(path: str | Path, state: dict[str, Tensor]) -> None:
    with replacing(path) as beside, beside.open("wb") as file:  # Python's own, which tells of a full disk
        torch.save(state, file)


def _arrays(state: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in state.items() if name.rpartition(".")[2] != COUNTED}


def _state(path: str | Path) -> dict[str, Tensor]:
    """A checkpoint's tensors under the names of a model of today."""
    state = _unwrapped(path, _opened(path))
    rename_legacy_keys(torch.nn.Module(), state)
    counted = {name for name in state if name.rpartition(".")[2] == COUNTED}
    check_kinds(path, {name: _kind(value) for name, value in state.items() if name not in counted}, NARROW)
    narrow = sorted({_kind(value) for value in state.values()} & set(NARROW))
    if narrow:
        kinds = " and ".join(narrow)
        warnings.warn(f"{path} holds {kinds}, read as float32: each value is the same", spec.SpecWarning, stacklevel=4)
    return {
        name: _widened(value.detach().resolve_neg()) if name not in counted else value for name, value in state.items()
    }


def _unwrapped(path: str | Path, state: Any) -> dict[str, Any]:
    """What lies under `state_dict` and the like, and, where all names begin with `module.` or so, the rest of them."""
    seen: list[int] = []  # a dict may hold itself
    while isinstance(state, dict) and id(state) not in seen:
        seen.append(id(state))
        state = next((state[name] for name in WRAPPERS if isinstance(state.get(name), dict)), state)
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise spec.SpecError(f"{path} must hold tensors by name, found a {type(state).__name__}: save a state_dict()")
    return without_prefix(state)


def _opened(path: str | Path) -> Any:
    check_readable(path)
    check_unpacked(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # of pickles that it then refuses
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle ends in any of a dozen kinds of them
        raise spec.SpecError(f"{path} is not a checkpoint of plain tensors, and nothing else is unpickled") from error


def _kind(value: object) -> str:
    """The dtype of a tensor that is there as a whole; what else it is, otherwise."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    if value.layout != torch.strided or value.is_meta:
        return "a tensor without values" if value.is_meta else f"a tensor of layout {value.layout}"
    if value.nbytes > value.untyped_storage().nbytes():
        return f"a view of shape {tuple(value.shape)} on fewer values"
    return str(value.dtype).removeprefix("torch.")


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if str(tensor.dtype).removeprefix("torch.") in NARROW else tensor
