"""Files that are none, and places where none can be written: one sentence, exit 2, and nothing left behind.

A row is a file, and the sentence that refuses it. None is unpickled, followed to elsewhere, or given memory that it
does not itself have.
"""

import io
import json
import os
import pickle
import resource
import shutil
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import save

import spec
from densenet_tools import porting
from densenet_tools.commands.app import main
from densenet_tools.porting import Format
from tests.porting.support import (
    NETWORK,
    entries_of,
    listing,
    params,
    params_array,
    params_name,
    safetensors,
    tiny,
    weights_of,
    with_header,
    with_metadata,
)
from tests.support import require

WEIGHTS = weights_of()
ENTRIES = entries_of(WEIGHTS)
KERNEL, BIAS, VARIANCE = "features.conv0.weight", "classifier.bias", "features.norm5.running_var"
Write = Callable[[Path], None]


def content(made: bytes) -> Write:
    return lambda path: path.write_bytes(made)


def neutral(path: Path) -> None:
    spec.save(path, NETWORK, WEIGHTS, spec.Preprocessing(), {"source": "a test"})


def cut(write: Write, share: float) -> Write:
    def change(path: Path) -> None:
        write(path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return change


def metadata(**changes: str) -> Write:
    def change(path: Path) -> None:
        neutral(path)
        with_metadata(path, **changes)

    return change


def plain(**changes: np.ndarray) -> Write:
    return content(save({**WEIGHTS, **changes}))


def one(dtype: str, shape: tuple[int, ...], bits: bytes) -> Write:
    """The bias of the classifier as that."""
    return content(safetensors(ENTRIES | {BIAS: (dtype, shape, bits)}))


def longer(path: Path) -> None:
    neutral(path)
    path.write_bytes(path.read_bytes() + b"more")


def flipped(path: Path) -> None:
    neutral(path)
    made = bytearray(path.read_bytes())
    made[-4] ^= 1
    path.write_bytes(made)


F32 = '{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}'
UNREADABLE = "is not a readable safetensors file"
NEUTRAL: dict[str, tuple[Write, str]] = {
    "empty": (content(b""), UNREADABLE),
    "seven bytes": (content(bytes(7)), UNREADABLE),
    "cut off in the header": (cut(neutral, 0.1), UNREADABLE),
    "cut off in the data": (cut(neutral, 0.9), UNREADABLE),
    "bytes after the data": (longer, UNREADABLE),
    "a header longer than the file": (content(struct.pack("<Q", 10**6) + b"{}"), UNREADABLE),
    "a header of 2**63 bytes": (content(struct.pack("<Q", 2**63) + b"{}"), UNREADABLE),
    "a header of 17 MB": (content(with_header(b"{}" + b" " * 2**24)), "has a header of 16777218 bytes, more than any"),
    "a header that is no JSON": (content(with_header(b"{'a': 1}")), UNREADABLE),
    "a header that is a list": (content(with_header(b"[]")), UNREADABLE),
    "a header that is not UTF-8": (content(with_header(b'{"\xff": 1}')), UNREADABLE),
    "a header nested deeply": (content(with_header(b'{"a":' * 5000 + b"}" * 5000)), UNREADABLE),
    "overlapping arrays": (
        content(with_header(f'{{"a":{F32 % (0, 4)},"b":{F32 % (0, 4)}}}'.encode()) + bytes(4)),
        UNREADABLE,
    ),
    "a hole between arrays": (
        content(with_header(f'{{"a":{F32 % (0, 4)},"b":{F32 % (8, 12)}}}'.encode()) + bytes(12)),
        UNREADABLE,
    ),
    "a name that stands twice": (
        content(with_header(f'{{"b":{F32 % (0, 4)},"a":{F32 % (4, 8)},"a":{F32 % (4, 8)}}}'.encode()) + bytes(8)),
        "the name a stands twice in its header",
    ),
    "a name of data that stands twice": (
        content(with_header(b'{"__metadata__":{"format":"a","format":"b"}}')),
        "the name format stands twice in its header",
    ),
    "a shape of 2**60": (
        content(with_header(b'{"a":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,4]}}') + bytes(4)),
        UNREADABLE,
    ),
    "a shape that overflows": (
        content(with_header(b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}')),
        UNREADABLE,
    ),
    "a shape below 0": (
        content(with_header(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}') + bytes(4)),
        UNREADABLE,
    ),
    "an unknown dtype": (
        content(with_header(b'{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}') + bytes(4)),
        UNREADABLE,
    ),
    "integers": (one("I64", (5,), bytes(40)), f"must hold floats, found {BIAS} of I64: convert it"),
    "float8": (one("F8_E4M3", (5,), bytes(5)), f"must hold floats, found {BIAS} of F8_E4M3: convert it"),
    "booleans": (one("BOOL", (5,), bytes(5)), f"must hold floats, found {BIAS} of BOOL: convert it"),
    "NaN": (plain(**{BIAS: np.full(5, np.nan, "f4")}), f"{BIAS} has values that are not finite"),
    "infinity": (plain(**{KERNEL: WEIGHTS[KERNEL] * np.float32(np.inf)}), f"{KERNEL} has values that are not finite"),
    "a negative variance": (plain(**{VARIANCE: -WEIGHTS[VARIANCE]}), f"{VARIANCE} has a variance below 0"),
    "two dtypes": (plain(**{BIAS: np.zeros(5)}), "is float32 and the model float64, convert it"),
    "a tensor less": (
        content(safetensors({name: entry for name, entry in ENTRIES.items() if name != BIAS})),
        f"{BIAS} would be of shape (5,), found none",
    ),
    "a tensor more": (plain(more=np.ones(1, "f4")), "more would be none, found of shape (1,)"),
    "another shape": (
        plain(**{VARIANCE: np.ones(3, "f4")}),
        f"{VARIANCE} would be of shape (12,), found of shape (3,)",
    ),
    "a scalar": (one("F32", (), bytes(4)), f"{BIAS} would be of shape (5,), found of shape ()"),
    "a stem of two dimensions": (
        content(safetensors(ENTRIES | {KERNEL: ("F32", (8, 27), bytes(864))})),
        "no densenet has these weights: some have names or shapes that no layer has",
    ),
    "another's network": (
        plain(**{"layer1.0.conv3.weight": np.ones((1, 1, 1, 1), "f4")}),
        "it is a ResNet of bottleneck blocks",
    ),
    "nothing inside": (content(with_header(b"{}")), "no network of the spec has these weights"),
    "a flipped bit": (flipped, "is damaged: its values are not those that its digest was taken of"),
    "another digest": (metadata(sha256="0" * 64), "is damaged"),
    "a newer version": (metadata(format_version="2"), "is of format version 2, this is densenet-reference"),
    "no number for a version": (metadata(format_version="one"), "is of format version one, this is"),
    "a field that does not exist": (
        metadata(config=json.dumps(NETWORK.config.model_dump() | {"depth": 3})),
        "config: depth: unknown field",
    ),
    "a config that is no JSON": (metadata(config="growth_rate = 4"), "the config in its header is not valid JSON"),
    "a config nested deeply": (metadata(config="[" * 100_000), "the config in its header is not valid JSON"),
    "a number of endless digits": (
        metadata(config='{"family": "densenet", "growth_rate": %s}' % ("9" * 5000)),
        "the config in its header is not valid JSON",
    ),
    "the config of another network": (
        metadata(config=tiny(growth_rate=5).config.model_dump_json()),
        f"weights do not fit, nothing was loaded: {KERNEL} has shape (8, 3, 3, 3), expected (10, 3, 3, 3)",
    ),
    "the config of a network of a million layers": (
        metadata(config=json.dumps(NETWORK.config.model_dump() | {"block_config": [10**6]})),
        "config: block_config: should have at most 10000 layers in all, found",
    ),
    "the config of a huge network": (
        metadata(config=json.dumps(NETWORK.config.model_dump() | {"growth_rate": 10**8, "block_config": [1]})),
        "weights do not fit, nothing was loaded",
    ),
    "a name that colors the terminal": (
        metadata(name="\x1b[31mred"),
        "the name in its header should be a line of at most 200 letters",
    ),
    "a preprocessing that is none": (
        metadata(preprocessing='{"scale": -1}'),
        "preprocessing: scale: should be greater than 0, found -1",
    ),
    "a pickle": (content(pickle.dumps({"a": 1})), UNREADABLE),
}


class Evil:
    """What runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, (f"touch {os.environ['EVIL_MARK']}",)


def torch_file(make: Callable) -> Write:
    def write(path: Path) -> None:
        require("torch")
        import torch

        state = {name: torch.from_numpy(array.copy()) for name, array in WEIGHTS.items()}
        torch.save(make(state, torch), path)

    return write


def old_torch_file(path: Path) -> None:
    require("torch")
    import torch

    state = {name: torch.from_numpy(array.copy()) for name, array in WEIGHTS.items()}
    torch.save(state, path, _use_new_zipfile_serialization=False)


def in_itself(state, torch):
    state["state_dict"] = state
    return state


def repacked(write: Write, compression: int, extra: dict[str, bytes] | None = None) -> Write:
    """The same ZIP archive with other compression, and some members more."""

    def change(path: Path) -> None:
        write(path)
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, made in (members | (extra or {})).items():
                archive.writestr(name, made)

    return change


def zipped(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, made in members:
            archive.writestr(name, made)
    return file.getvalue()


BOMB = zipped([("x/data.pkl", bytes(2**27)), ("x/version", b"3\n")], zipfile.ZIP_DEFLATED)
NO_TENSORS = "is not a checkpoint of plain tensors, and nothing else is unpickled"
FLOATS = "must hold arrays of float32 or float64, found"
BOTTOM = "a view of shape (1099511627776,) on fewer values"
TORCH: dict[str, tuple[Write, str]] = {
    "empty": (content(b""), NO_TENSORS),
    "no checkpoint": (content(b"not a checkpoint"), NO_TENSORS),
    "cut off": (cut(torch_file(lambda s, torch: s), 0.9), NO_TENSORS),
    "an old one, cut off": (cut(old_torch_file, 0.9), NO_TENSORS),
    "an old one, cut off in its first bytes": (cut(old_torch_file, 0.01), NO_TENSORS),
    "a pickle that runs a command": (lambda path: path.write_bytes(pickle.dumps(Evil())), NO_TENSORS),
    "a checkpoint that runs a command": (torch_file(lambda s, torch: s | {"more": Evil()}), NO_TENSORS),
    "a pickle of numbers": (content(pickle.dumps([1, 2])), NO_TENSORS),
    "a pickle that goes nowhere": (content(b"\x80\x02}q\x00h\x07."), NO_TENSORS),
    "a model": (torch_file(lambda s, torch: torch.nn.Linear(2, 2)), NO_TENSORS),
    "a list": (torch_file(lambda s, torch: list(s.values())), "must hold tensors by name, found a list: save a state_"),
    "a tensor": (torch_file(lambda s, torch: s[BIAS]), "must hold tensors by name, found a Tensor"),
    "numbers for names": (torch_file(lambda s, torch: dict(enumerate(s.values()))), "must hold tensors by name"),
    "a dict in itself": (torch_file(in_itself), f"{FLOATS} state_dict is dict"),
    "nothing inside": (torch_file(lambda s, torch: {}), "no network of the spec has these weights"),
    "integers": (torch_file(lambda s, torch: s | {BIAS: s[BIAS].int()}), f"{FLOATS} {BIAS} is int32"),
    "complex numbers": (torch_file(lambda s, torch: s | {BIAS: s[BIAS] * 1j}), f"{FLOATS} {BIAS} is complex64"),
    "a sparse tensor": (
        torch_file(lambda s, torch: s | {BIAS: s[BIAS].to_sparse()}),
        f"{FLOATS} {BIAS} is a tensor of",
    ),
    "an expanded view": (torch_file(lambda s, torch: s | {BIAS: s[BIAS][:1].expand(2**40)}), f"{BIAS} is {BOTTOM}"),
    "no values": (
        torch_file(lambda s, torch: s | {BIAS: s[BIAS].to("meta")}),
        f"{FLOATS} {BIAS} is a tensor without values",
    ),
    "float8": (
        torch_file(lambda s, torch: s | {BIAS: s[BIAS].to(torch.float8_e5m2)}),
        f"{FLOATS} {BIAS} is float8_e5m2",
    ),
    "a number": (torch_file(lambda s, torch: s | {BIAS: 1.0}), f"{FLOATS} {BIAS} is float: convert them"),
    "a tensor less": (
        torch_file(lambda s, torch: {name: t for name, t in s.items() if name != BIAS}),
        f"{BIAS} would be of shape (5,), found none",
    ),
    "a norm of no dimensions": (
        torch_file(lambda s, torch: {"features.norm5.weight": torch.tensor(1.0)}),
        "has no classifier: add a new one with --num-classes",
    ),
    "a bomb": (content(BOMB), "would unpack to 134217730 bytes from "),
    "an archive of something else": (content(zipped([("a.txt", b"hello")])), NO_TENSORS),
}


def layer(group: h5py.Group, name: str, **arrays: np.ndarray) -> h5py.Group:
    """A layer as Keras 3 writes it."""
    variables = group.create_group(f"{name}/vars")
    variables.attrs["name"] = name
    for key, array in arrays.items():
        variables.create_dataset(key.removeprefix("_"), data=array)
    return variables


def keras3(change: Callable[[h5py.Group], None]) -> Write:
    """A file in the layout of Keras 3, in which `change` puts what is wrong under `layers`."""

    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            layers = file.create_group("layers")
            layer(layers, "features.conv0", _0=np.ones((3, 3, 3, 8), "f4"))
            change(layers)

    return write


def legacy(change: Callable[[h5py.Group], None]) -> Write:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file.attrs["layer_names"] = [b"conv1"]
            group = file.create_group("conv1")
            group.attrs["weight_names"] = [b"conv1/kernel:0"]
            group.create_dataset("conv1/kernel:0", data=np.ones((3, 3, 3, 8), "f4"))
            change(file)

    return write


def elsewhere(layers: h5py.Group) -> None:
    """A link to a dataset that is there, in another file."""
    other = Path(layers.file.filename).with_name("other.h5")
    with h5py.File(other, "w") as file:
        file["x"] = np.ones(5, "f4")
    layer(layers, "classifier")["0"] = h5py.ExternalLink(other.name, "/x")


def outside(layers: h5py.Group) -> None:
    secret = Path(layers.file.filename).with_name("secret")
    secret.write_bytes(bytes(20))
    layer(layers, "classifier").create_dataset("0", (5,), "f4", external=[(str(secret), 0, 20)])


def virtual(layers: h5py.Group) -> None:
    elsewhere(layers)
    del layers["classifier"]
    layout = h5py.VirtualLayout((5,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (5,))
    layer(layers, "classifier").create_virtual_dataset("0", layout)


HDF5 = "is not a readable HDF5 file of Keras"
KERAS: dict[str, tuple[Write, str]] = {
    "empty": (content(b""), HDF5),
    "not HDF5": (content(b"not HDF5" * 100), HDF5),
    "cut off": (cut(keras3(lambda g: layer(g, "classifier", _0=np.ones((12, 5), "f4"))), 0.6), HDF5),
    "no layers": (lambda path: h5py.File(path, "w").close(), f"{HDF5}: it has neither layers nor layer_names"),
    "a layer without a name": (
        keras3(lambda g: layer(g, "classifier", _0=np.ones((12, 5), "f4")).attrs.clear()),
        f"{HDF5}: classifier in it has no name: save the weights with Keras 3.10 or newer",
    ),
    "a layer without variables": (
        keras3(lambda g: g.create_group("classifier")),
        f"{HDF5}: it has no vars in /layers/classifier",
    ),
    "an unknown layer": (
        keras3(lambda g: layer(g, "attention", _0=np.ones((12, 5), "f4"))),
        "no network of the spec has these weights: their names begin with attention.weight",
    ),
    "layers that are an array": (
        lambda path: h5py.File(path, "w").create_dataset("layers", data=np.ones(3)).file.close(),
        f"{HDF5}: layers in it should be a group",
    ),
    "a group for an array": (
        keras3(lambda g: layer(g, "classifier").create_group("0")),
        f"{HDF5}: 0 in /layers/classifier/vars should be an array of floats",
    ),
    "integers": (
        keras3(lambda g: layer(g, "classifier", _0=np.ones((12, 5), "i4"))),
        f"{HDF5}: 0 in /layers/classifier/vars should be an array of floats",
    ),
    "text": (
        keras3(lambda g: layer(g, "classifier", _0=np.array([b"a"]))),
        "should be an array of floats",
    ),
    "an array without values": (
        keras3(lambda g: layer(g, "classifier").create_dataset("0", data=h5py.Empty("f4"))),
        "should be an array of floats",
    ),
    "variables that are not counted": (
        keras3(lambda g: layer(g, "classifier", _1=np.ones(5, "f4"))),
        f"{HDF5}: it has no 0 in /layers/classifier/vars",
    ),
    "three variables": (
        keras3(lambda g: layer(g, "classifier", _0=np.ones((12, 5), "f4"), _1=np.ones(5, "f4"), _2=np.ones(5, "f4"))),
        f"{HDF5}: classifier in it has 3 arrays",
    ),
    "a link to another file": (keras3(elsewhere), f"{HDF5}: 0 in /layers/classifier/vars is a link to elsewhere"),
    "a link inside the file": (
        keras3(lambda g: layer(g, "classifier").__setitem__("0", h5py.SoftLink("/layers/features.conv0/vars/0"))),
        f"{HDF5}: 0 in /layers/classifier/vars is a link to elsewhere",
    ),
    "a link to nowhere": (
        keras3(lambda g: layer(g, "classifier").__setitem__("0", h5py.SoftLink("/nowhere"))),
        f"{HDF5}: 0 in /layers/classifier/vars is a link to elsewhere",
    ),
    "a layer that links to itself": (
        keras3(lambda g: g.__setitem__("classifier", h5py.SoftLink("/layers/classifier"))),
        f"{HDF5}: classifier in /layers is a link to elsewhere",
    ),
    "values in another file": (keras3(outside), f"{HDF5}: 0 in /layers/classifier/vars lies in another file"),
    "a virtual array": (keras3(virtual), f"{HDF5}: 0 in /layers/classifier/vars lies in another file"),
    "2**60 values": (
        keras3(lambda g: layer(g, "classifier").create_dataset("0", (2**60,), "f4", chunks=(2**20,))),
        f"{HDF5}: 0 in /layers/classifier/vars is compressed, or not all of it is there: save it anew",
    ),
    "2**30 values without chunks": (
        keras3(lambda g: layer(g, "classifier").create_dataset("0", (2**30,), "f4")),
        "is compressed, or not all of it is there",
    ),
    "a compressed array": (
        keras3(lambda g: layer(g, "classifier").create_dataset("0", data=np.ones((999, 99), "f4"), compression="gzip")),
        f"{HDF5}: 0 in /layers/classifier/vars is compressed, or not all of it is there: save it anew",
    ),
    "the same array a hundred times": (
        keras3(
            lambda g: (
                [
                    layer(g, f"layer{i}").__setitem__(
                        "0", g.require_dataset("large", (9999,), "f4", data=np.ones(9999, "f4"))
                    )
                    for i in range(100)
                ]
                and g.__delitem__("large")
            )
        ),
        f"{HDF5}: it has more values than its size can hold",
    ),
    "a kernel of three dimensions": (
        keras3(lambda g: layer(g, "classifier", _0=np.ones((12, 5, 1), "f4"))),
        "classifier has an array kernel of 3 dimensions",
    ),
    "a scalar": (
        keras3(lambda g: layer(g, "classifier", _0=np.float32(1))),
        "classifier has an array kernel of 0 dimensions",
    ),
    "float128": (
        keras3(lambda g: layer(g, "classifier", _0=np.ones((12, 5), "g"))),
        f"{FLOATS} classifier.weight is float128: convert them",
    ),
    "a list of layers that is a number": (legacy(lambda g: g.attrs.__setitem__("layer_names", 3)), HDF5),
    "a layer that is not there": (
        legacy(lambda g: g.attrs.__setitem__("layer_names", [b"conv1", b"dense"])),
        f"{HDF5}: it has no dense in /",
    ),
    "an array that is not there": (
        legacy(lambda g: g["conv1"].attrs.__setitem__("weight_names", [b"conv1/bias:0"])),
        f"{HDF5}: it has no conv1/bias:0 in /conv1",
    ),
    "an array that no layer has": (
        legacy(
            lambda g: [
                g["conv1"].move("conv1/kernel:0", "conv1/alpha:0"),
                g["conv1"].attrs.__setitem__("weight_names", [b"conv1/alpha:0"]),
            ]
        ),
        "conv1 has an array alpha, which no layer of these networks has",
    ),
    "names that are not UTF-8": (legacy(lambda g: g.attrs.__setitem__("layer_names", [b"\xff\xfe"])), HDF5),
}


def keras_file(path: Path) -> None:
    """What is inside a .keras file: the weights, and what would build the model."""
    inner = path.with_suffix(".h5")
    keras3(lambda g: layer(g, "classifier", _0=np.ones((12, 5), "f4")))(inner)
    members = [("config.json", b"{}"), ("model.weights.h5", inner.read_bytes())]
    inner.unlink()
    path.write_bytes(zipped(members))


ARCHIVES: dict[str, tuple[Write, str]] = {
    "empty": (content(b""), "is not a readable .keras file"),
    "no archive": (content(b"not a ZIP archive"), "is not a readable .keras file"),
    "cut off": (cut(keras_file, 0.9), "is not a readable .keras file"),
    "HDF5": (
        keras3(lambda g: layer(g, "classifier", _0=np.ones((12, 5), "f4"))),
        "is not a readable .keras file",
    ),
    "no weights": (content(zipped([("config.json", b"{}")])), "it has 0 members model.weights.h5, expected 1"),
    "a member outside": (
        content(zipped([("model.weights.h5", b"x"), ("../../evil", b"x")])),
        "is no .keras file: it has a member '../../evil', which lies outside of it",
    ),
    "a member at the root": (content(zipped([("/etc/evil", b"x")])), "it has a member '/etc/evil', which lies outside"),
    "a member outside on Windows": (content(zipped([("a\\..\\..\\evil", b"x")])), "which lies outside of it"),
    "weights that are no HDF5": (content(zipped([("model.weights.h5", b"not HDF5" * 99)])), "is not a readable .keras"),
    "a bomb": (
        content(zipped([("model.weights.h5", bytes(2**27))], zipfile.ZIP_DEFLATED)),
        "would unpack to 134217728 bytes from ",
    ),
    "a bomb of bzip2": (
        content(zipped([("model.weights.h5", bytes(2**27))], zipfile.ZIP_BZIP2)),
        "would unpack to 134217728 bytes from ",
    ),
}


def twice(path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path.write_bytes(zipped([("model.weights.h5", b"a"), ("model.weights.h5", b"b")]))


def forged(compression: int, declared: int | None) -> Write:
    """An archive whose member says another size than it has, or whose compressed bytes are damaged."""

    def write(path: Path) -> None:
        made = bytearray(zipped([("model.weights.h5", np.random.default_rng(0).bytes(9999))], compression))
        central = made.rindex(b"PK\x01\x02")
        if declared is not None:
            made[central + 24 : central + 28] = struct.pack("<I", declared)
            made[22:26] = struct.pack("<I", declared)
        else:
            made[60:900] = bytes(840)
        path.write_bytes(made)

    return write


ARCHIVES |= {
    "two weights": (twice, "it has 2 members model.weights.h5, expected 1"),
    "a member of a smaller size than it has": (forged(zipfile.ZIP_DEFLATED, 10), "is not a readable .keras file"),
    "damaged deflate": (forged(zipfile.ZIP_DEFLATED, None), "is not a readable .keras file"),
    "damaged bzip2": (forged(zipfile.ZIP_BZIP2, None), "is not a readable .keras file"),
    "damaged lzma": (forged(zipfile.ZIP_LZMA, None), "is not a readable .keras file"),
}

SMALL = {"a": np.ones((2, 3), "f4"), "b": np.zeros(4, "f4")}
LIST = struct.pack("<QQ", 0x112, 0)
PARAMS_NAMES = struct.pack("<Q", 1) + params_name(b"a")


def raw_array(magic: int, storage: int, shape: tuple[int, ...], kind: int, bits: bytes = b"") -> bytes:
    dimensions = struct.pack(f"<I{len(shape)}q", len(shape), *shape)
    return struct.pack("<Ii", magic, storage) + dimensions + struct.pack("<iii", 1, 0, kind) + bits


def single(array: bytes) -> Write:
    """A list of that array alone, named a."""
    return content(LIST + struct.pack("<Q", 1) + array + PARAMS_NAMES)


GLUON = "is not a readable .params file"
PARAMS: dict[str, tuple[Write, str]] = {
    "empty": (content(b""), f"{GLUON}: it is cut off: 8 bytes are to follow, 0 do"),
    "another magic": (content(struct.pack("<QQ", 0x113, 0) + bytes(40)), f"{GLUON}: it does not begin as one"),
    "text": (content(b"not parameters at all"), f"{GLUON}: it does not begin as one"),
    "cut off in an array": (cut(content(params(SMALL)), 0.4), f"{GLUON}: it is cut off"),
    "cut off in the names": (content(params(SMALL)[:-1]), f"{GLUON}: it is cut off: 1 bytes are to follow, 0 do"),
    "2**62 arrays": (
        content(LIST + struct.pack("<Q", 2**62) + bytes(40)),
        f"{GLUON}: it is cut off: 4611686018427387904",
    ),
    "2**62 names": (content(LIST + struct.pack("<QQ", 0, 2**62)), f"{GLUON}: it is cut off: 4611686018427387904 items"),
    "a name of 2**62 bytes": (
        content(LIST + struct.pack("<Q", 1) + params_array(np.ones(1, "f4")) + struct.pack("<QQ", 1, 2**62)),
        f"{GLUON}: it is cut off: 4611686018427387904 bytes are to follow, 0 do",
    ),
    "a shape of 2**60": (single(raw_array(0xF993FAC9, 0, (2**60,), 0)), f"{GLUON}: it is cut off"),
    "a shape that overflows": (single(raw_array(0xF993FAC9, 0, (2**32, 2**32), 0)), f"{GLUON}: it is cut off"),
    "a shape of none and many": (single(raw_array(0xF993FAC9, 0, (0, 2**62, 2**62), 0)), GLUON),
    "a shape below 0": (single(raw_array(0xF993FAC9, 0, (-1, 3), 0)), f"{GLUON}: it has an array of shape (-1, 3)"),
    "two dimensions below 0": (single(raw_array(0xF993FAC9, 0, (-1, -3), 0)), "it has an array of shape (-1, -3)"),
    "a million dimensions": (
        single(struct.pack("<IiI", 0xF993FAC9, 0, 10**6) + bytes(40)),
        f"{GLUON}: it has an array of 1000000 dimensions",
    ),
    "a sparse array": (single(raw_array(0xF993FAC9, 1, (2,), 0, bytes(8))), f"{GLUON}: it has a sparse array"),
    "an unknown dtype": (
        single(raw_array(0xF993FAC9, 0, (2,), 99, bytes(8))),
        f"{GLUON}: it has an array of type 99, expected float32, float64 or float16",
    ),
    "integers": (single(raw_array(0xF993FAC9, 0, (2,), 4, bytes(8))), f"{GLUON}: it has an array of type 4, expected"),
    "fewer names than arrays": (
        content(LIST + struct.pack("<Q", 2) + params_array(SMALL["a"]) + params_array(SMALL["b"]) + PARAMS_NAMES),
        f"{GLUON}: it has 2 arrays and 1 names",
    ),
    "no names": (
        content(LIST + struct.pack("<Q", 1) + params_array(SMALL["a"]) + struct.pack("<Q", 0)),
        f"{GLUON}: it has 1 arrays and 0 names",
    ),
    "a name that stands twice": (
        content(
            LIST + struct.pack("<Q", 2) + params_array(SMALL["a"]) * 2 + struct.pack("<Q", 2) + params_name(b"a") * 2
        ),
        f"{GLUON}: the name a stands twice in it",
    ),
    "bytes after the names": (content(params(SMALL) + b"\0"), f"{GLUON}: 1 bytes follow its last name"),
    "a name that is not UTF-8": (
        content(LIST + struct.pack("<Q", 1) + params_array(SMALL["a"]) + struct.pack("<Q", 1) + params_name(b"\xff")),
        f"{GLUON}: a name in it is not UTF-8",
    ),
    "names of nothing": (content(params(SMALL)), "a is no name of a parameter: its weights cannot be placed"),
    "no arrays": (content(params({})), "no network of the spec has these weights"),
    "an unknown layer": (
        content(params({"stage1_batchnorm0_gamma": np.ones(4, "f4"), "densenet0_lstm0_weight": np.ones((2, 2), "f4")})),
        "a DenseNet has no layer lstm0: its weights cannot be placed",
    ),
    "a layer of two networks": (
        content(
            params(
                {
                    "densenet0_stage1_batchnorm0_gamma": np.ones(4, "f4"),
                    "densenet1_stage1_batchnorm0_gamma": np.ones(4, "f4"),
                }
            )
        ),
        "features.denseblock1.denselayer1.norm1.weight stands twice in it",
    ),
    "NaN": (content(params(WEIGHTS | {BIAS: np.full(5, np.nan, "f4")})), f"{BIAS} has values that are not finite"),
}

ALL = {
    (suffix, case): row
    for suffix, table in {
        ".safetensors": NEUTRAL,
        ".pt": TORCH,
        ".weights.h5": KERAS,
        ".keras": ARCHIVES,
        ".params": PARAMS,
    }.items()
    for case, row in table.items()
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVIL_MARK", str(tmp_path / "evil"))
    return tmp_path


def refused(capsys, *arguments: str) -> str:
    """What the command says, which is one line."""
    assert main(["port", *arguments]) == 2
    found = capsys.readouterr().err
    assert found.startswith("densenet: ")
    assert found.count("\n") == 1
    return found


@pytest.mark.parametrize(("suffix", "case"), ALL, ids=[f"{suffix[1:]}: {case}" for suffix, case in ALL])
def test_a_file_that_is_none_is_refused_in_one_sentence(folder, capsys, suffix, case):
    write, sentence = ALL[suffix, case]
    write(folder / f"bad{suffix}")
    before = listing(folder)
    found = refused(capsys, f"bad{suffix}", "out.safetensors", "--no-verify")
    assert f"bad{suffix}" in found
    assert sentence in found
    assert listing(folder) == before


def test_the_pickles_of_the_table_run_a_command_where_they_are_unpickled(folder):
    """The control: what the table shows not to have happened, happens."""
    TORCH["a pickle that runs a command"][0](folder / "bad.pt")
    pickle.loads((folder / "bad.pt").read_bytes())
    assert "evil" in listing(folder)


SUFFIXES = [".safetensors", ".pth", ".pt", ".keras", ".weights.h5", ".h5", ".hdf5", ".params"]


def test_every_row_has_its_sentence():
    assert all(sentence for _, sentence in ALL.values())
    assert len(ALL) >= 45


def test_a_norm_of_no_dimensions_has_no_classifier_either(folder, capsys):
    TORCH["a norm of no dimensions"][0](folder / "bad.pt")
    found = refused(capsys, "bad.pt", "out.safetensors", "--num-classes", "3")
    assert "bad.pt: no network of the spec has these weights" in found


ARGUMENTS = {
    "a folder that is not there": (
        ["none/out.safetensors"],
        "none/out.safetensors cannot be written: none is not a",
    ),
    "a folder": (
        ["folder.safetensors"],
        "folder.safetensors cannot be written: it is a directory, name a file in it",
    ),
    "the source": (["in.safetensors"], "in.safetensors is a file that is read: name another one"),
    "the source by another name": (["./folder.safetensors/../in.safetensors"], "is a file that is read"),
    "a link to the source": (["link.safetensors"], "link.safetensors is a file that is read: name another one"),
    "a pipe": (["pipe.safetensors"], "pipe.safetensors cannot be written: it is not a file"),
    "a device": (["/dev/full", "--to", "neutral"], "a neutral file is written under a name in .safetensors"),
    "an unknown ending": (["out.bin"], "out.bin does not end in .safetensors, .pth"),
    "no ending": (["out"], "out does not end in .safetensors, .pth"),
    "an unknown format to read": (
        ["out.safetensors", "--from", "onnx"],
        "--from 'onnx' is no format, known: neutral, torch, keras, keras.applications, gluon, mxnet.model_zoo",
    ),
    "an unknown format to write": (["out.safetensors", "--to", "onnx"], "--to 'onnx' is no format, known: neutral"),
    "a config to read": (["out.safetensors", "--from", "config"], "in.safetensors has no weights"),
    "another format than it is": (
        ["out.safetensors", "--from", "keras"],
        "in.safetensors is not a readable HDF5 file of Keras",
    ),
    "the report for the destination": (
        ["out.safetensors", "--json", "out.safetensors"],
        "--json out.safetensors is what the destination writes",
    ),
}


OUTPUTS = {
    "out.safetensors": "numpy",
    "out.pth": "torch",
    "out.keras": "keras",
    "out.weights.h5": "keras",
    "out.params": "mxnet",
    "out.json": "numpy",
}


class TestPlaces:
    """Sources that are no files, and destinations where nothing can be."""

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_a_file_that_is_not_there(self, folder, capsys, suffix):
        if suffix in (".pth", ".pt"):
            require("torch")
        assert f"bad{suffix} does not exist" in refused(capsys, f"bad{suffix}", "out.safetensors")
        assert listing(folder) == []

    @pytest.mark.parametrize("suffix", SUFFIXES)
    @pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
    def test_what_is_no_file_is_not_waited_for(self, folder, capsys, suffix, kind):
        if suffix in (".pth", ".pt"):
            require("torch")
        path = folder / f"bad{suffix}"
        {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "device": lambda: path.symlink_to("/dev/zero")}[kind]()
        assert f"bad{suffix} cannot be read: it is not a file" in refused(capsys, path.name, "out.safetensors")
        assert listing(folder) == [path.name]

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_an_empty_file(self, folder, capsys, suffix):
        if suffix in (".pth", ".pt"):
            require("torch")
        (folder / f"bad{suffix}").touch()
        assert f"bad{suffix} is not a " in refused(capsys, f"bad{suffix}", "out.safetensors")
        assert listing(folder) == [f"bad{suffix}"]

    @pytest.mark.parametrize("case", ARGUMENTS)
    def test_a_destination_or_a_setting_that_is_none(self, folder, capsys, case):
        arguments, sentence = ARGUMENTS[case]
        neutral(folder / "in.safetensors")
        (folder / "folder.safetensors").mkdir()
        (folder / "link.safetensors").symlink_to("in.safetensors")
        os.mkfifo(folder / "pipe.safetensors")
        before, made = listing(folder), (folder / "in.safetensors").read_bytes()
        assert sentence in refused(capsys, "in.safetensors", *arguments)
        assert listing(folder) == before
        assert (folder / "in.safetensors").read_bytes() == made

    def test_a_config_has_no_weights(self, folder, capsys):
        (folder / "x.json").write_text(NETWORK.config.model_dump_json())
        assert "x.json has no weights" in refused(capsys, "x.json", "out.safetensors")

    @pytest.mark.parametrize("name", OUTPUTS)
    @pytest.mark.parametrize("function", ["fsync", "replace"])
    def test_a_full_disk_leaves_the_old_file_and_nothing_else(self, folder, capsys, monkeypatch, name, function):
        def fail(*_):
            raise OSError(28, "No space left on device")

        require(OUTPUTS[name])
        neutral(folder / "in.safetensors")
        (folder / name).write_text("old")
        monkeypatch.setattr(os, function, fail)
        found = refused(capsys, "in.safetensors", name, "--no-verify")
        assert f"{name} cannot be written: No space left on device" in found
        assert (folder / name).read_text() == "old"
        assert listing(folder) == sorted(["in.safetensors", name])

    @pytest.mark.parametrize("name", OUTPUTS)
    def test_a_folder_that_takes_no_files(self, folder, capsys, name):
        """/proc takes none of anybody's."""
        require(OUTPUTS[name])
        neutral(folder / "in.safetensors")
        found = refused(capsys, "in.safetensors", f"/proc/{name}", "--no-verify")
        assert f"/proc/{name} cannot be written: No such file or directory" in found

    @pytest.mark.parametrize("name", ["out.safetensors", "out.pth", "out.keras", "out.params"])
    @pytest.mark.parametrize("most", [0, 4096, -1], ids=["none of it", "a part", "all but the last byte"])
    def test_a_file_that_may_grow_no_further_leaves_nothing(self, folder, name, most):
        """What each framework makes of an error in the middle, as a full disk is one."""
        require(OUTPUTS[name])
        checkpoint = spec.Checkpoint(NETWORK, WEIGHTS)
        target = porting.format_of(Path(name), None, "--to")
        porting.write(folder / f"first.{name}", target, checkpoint)  # so that all is imported
        size = (folder / f"first.{name}").stat().st_size
        before = listing(folder)
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + most if most < 0 else most, limit[1]))
        try:
            with pytest.raises(spec.SpecError, match=f"{name} cannot be written: ") as error:
                porting.write(folder / name, target, checkpoint)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert "\n" not in str(error.value)
        assert listing(folder) == before

    def test_on_a_full_disk_hdf5_is_not_let_near_it(self, folder, capsys, monkeypatch):
        """It would end the process."""
        require("keras")
        neutral(folder / "in.safetensors")
        assert main(["port", "in.safetensors", "first.weights.h5", "--no-verify"]) == 0
        size = (folder / "first.weights.h5").stat().st_size
        free = shutil.disk_usage(folder)._replace(free=size)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
        found = refused(capsys, "in.safetensors", "out.weights.h5", "--no-verify")
        assert "out.weights.h5 cannot be written: No space left on device" in found
        assert listing(folder) == ["first.weights.h5", "in.safetensors"]


# What asks for memory or time: in a process that may have no more than it takes to read a good file.
GREEDY = {
    "a shape of 2**60": ("bad.safetensors", NEUTRAL["a shape of 2**60"][0]),
    "a header of 2**63 bytes": ("bad.safetensors", NEUTRAL["a header of 2**63 bytes"][0]),
    "a huge network": ("bad.safetensors", NEUTRAL["the config of a huge network"][0]),
    "2**60 values": ("bad.h5", KERAS["2**60 values"][0]),
    "2**30 values": ("bad.h5", KERAS["2**30 values without chunks"][0]),
    "a hundred times the same": ("bad.h5", KERAS["the same array a hundred times"][0]),
    "a bomb": ("bad.keras", ARCHIVES["a bomb"][0]),
    "a bomb of bzip2": ("bad.keras", ARCHIVES["a bomb of bzip2"][0]),
    "2**62 arrays": ("bad.params", PARAMS["2**62 arrays"][0]),
    "2**62 names": ("bad.params", PARAMS["2**62 names"][0]),
    "a shape of 2**60 in a list": ("bad.params", PARAMS["a shape of 2**60"][0]),
}
RESIDENT = """
import resource, sys
from densenet_tools import porting
from densenet_tools.commands.app import main
assert main(["port", "good.safetensors", "good.json"]) == 0
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
for name in sys.argv[1:]:
    assert main(["port", name, "out.safetensors", "--no-verify"]) == 2, name
    assert peak() - before < 50, (name, peak() - before)
"""


def test_no_file_is_given_memory_that_it_does_not_have_itself(folder):
    """Peak memory in MB, of one process that refuses one after the other."""
    neutral(folder / "good.safetensors")
    for i, (name, write) in enumerate(GREEDY.values()):
        (folder / str(i)).mkdir()
        write(folder / str(i) / name)
    names = [f"{i}/{name}" for i, (name, _) in enumerate(GREEDY.values())]
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT, *names], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == len(GREEDY)


def test_a_bomb_in_a_checkpoint_is_not_unpacked(folder, monkeypatch):
    require("torch")
    import torch

    TORCH["a bomb"][0](folder / "bad.pt")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(spec.SpecError, match="would unpack to"):
        porting.convert(folder / "bad.pt", Format.TORCH)


def test_an_array_of_few_values_that_seems_to_have_many_is_not_copied(folder):
    """2**40 views of one value."""
    require("torch")
    TORCH["an expanded view"][0](folder / "bad.pt")
    done = threading.Event()

    def run():
        with pytest.raises(spec.SpecError, match="on fewer values"):
            porting.convert(folder / "bad.pt", Format.TORCH)
        done.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout=20)
    assert done.is_set()


class TestModelsStayAsTheyWere:
    """A file that does not fit, loaded into a model that has weights: none of them changes."""

    def test_a_checkpoint_whose_numbers_of_batches_are_none(self, folder):
        backend = require("torch")
        import torch

        model = backend.build(NETWORK)
        backend.load_weights(model, WEIGHTS)
        state = {name: tensor + 1 for name, tensor in model.state_dict().items()}
        for case, value in {"text": "many", "three": torch.ones(3, dtype=torch.int64), "floats": torch.ones(1)}.items():
            torch.save(state | {"features.norm5.num_batches_tracked": value}, folder / "bad.pth")
            with pytest.raises(
                spec.SpecError,
                match=r"bad\.pth must hold one whole number of batches for each batch norm, found features",
            ) as error:
                backend.files.load_checkpoint(model, folder / "bad.pth")
            assert "\n" not in str(error.value), case
        torch.save(state | {"extra.num_batches_tracked": torch.tensor(1)}, folder / "bad.pth")
        with pytest.raises(spec.SpecError, match="for each batch norm, found extra"):
            backend.files.load_checkpoint(model, folder / "bad.pth")
        assert all((array == WEIGHTS[name]).all() for name, array in backend.export_weights(model).items())

    def test_a_neutral_file_that_is_damaged(self, folder, backend):
        flipped(folder / "bad.safetensors")
        with pytest.raises(spec.SpecError, match="is damaged"):
            backend.from_file(folder / "bad.safetensors")
