"""The tables of porting.md and training.md, made of the code that they describe.

`python docs/tables.py` writes them into the pages; `python docs/tables.py --check` exits 1 where one is not current.
It needs all backends.
"""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np

import spec
from densenet_tools import backends
from densenet_tools.commands.options import ELSEWHERE
from densenet_tools.porting import check_writable, convert, names as naming
from densenet_tools.porting.formats import SUFFIXES, Format
from densenet_tools.porting.peers import BLOCKS, FIXED, check_peer
from densenet_tools.porting.port import PUBLISHED
from densenet_tools.porting.readers import FROM_KERAS, IMAGENET, OF_APPLICATIONS, READERS
from densenet_tools.porting.writers import TO_KERAS
from densenet_tools.training import Settings
from spec import layers, tensors
from spec.inference import infer
from spec.variants import config_of

DOCS = Path(__file__).parent
FRAMEWORKS = [name for name, entry in backends.BACKENDS.items() if name != "numpy" and entry.trains]
BEGIN, END = "<!-- generated: {} -->", "<!-- end -->"
NORM = layers.BatchNorm(
    64, eps=spec.DenseNetConfig.model_fields["eps"].default, decay=spec.DenseNetConfig.model_fields["decay"].default
)
CONVOLUTION, LINEAR = ("O", "I", "H", "W"), ("out", "in")  # the canonical axes of kernels


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows))


def code(values: object) -> str:
    """One value, or several with commas between them, each as code; a dash for none."""
    several = [values] if isinstance(values, str) or not isinstance(values, Iterable) else list(values)
    return ", ".join(f"`{value}`" for value in several) or "-"


def formats() -> str:
    """What each kind of file is read from and written as."""
    rows = []
    for format in Format:
        reader = READERS.get(format)
        read_from = [end for end, kind in SUFFIXES.items() if reader is not None and READERS.get(kind) is reader]
        written = [end for end in SUFFIXES if _writable(f"x{end}", format)]
        rows.append([code(format.value), code(read_from), code(written), backends.BACKENDS[format.backend].framework])
    return table(["format", "read from", "written as", "opened by"], rows)


def _writable(name: str, format: Format) -> bool:
    try:
        check_writable(Path(name), format, spec.variant("densenet121", eps=FIXED.get(format, {}).get("eps", 1e-5)))
    except spec.SpecError:
        return False
    return True


def layer_names() -> str:
    """The templates of all layers of a DenseNet, as they stand in the one table that both directions read."""
    return table(
        ["spec, torchvision, timm", "keras.applications", "model zoo by structure", "model zoo by prefix"],
        (
            [code(name) for name in (row.canonical, row.applications, row.zoo, row.zoo_prefixed)]
            for row in naming.LAYERS
        ),
    )


def first_block() -> str:
    """The same for the first layer of the first block of densenet121, and what surrounds it."""
    implementations = ("canonical", *naming.IMPLEMENTATIONS)
    blocks = len(spec.variant_config("densenet121").block_config)
    return table(
        ["spec, torchvision, timm", "keras.applications", "model zoo by structure", "model zoo by prefix"],
        ([code(naming.foreign_name(each, layer, 1, 1, blocks)) for each in implementations] for layer in naming.LAYERS),
    )


def arrays() -> str:
    """What each framework calls the arrays of a layer, and in which order their axes are."""
    rows = []
    nodes = {
        "convolution": layers.Conv(3, 64, kernel_size=7, stride=2, padding=3, bias=True),
        "linear": layers.Linear(1024, 1000, bias=True),
        "batch norm": NORM,
    }
    for kind, node in nodes.items():
        for name, shape in node.parameter_shapes().items():
            axes = {4: CONVOLUTION, 2: LINEAR}.get(len(shape), ("channels",) if kind != "linear" else ("out",))
            theirs = [axes[axis] for axis in TO_KERAS[len(shape)]]
            keras = _inverse(naming.KERAS, name, kind == "batch norm")
            gluon = _inverse(naming.GLUON, name, True) if kind == "batch norm" else name
            rows.append(
                [kind, f"{code(name)} ({', '.join(axes)})", code(gluon), f"{code(keras)} ({', '.join(theirs)})"]
            )
    return table(["layer", "spec and PyTorch", "Gluon, axes as in the spec", "Keras"], rows)


def _inverse(theirs: dict[str, str], name: str, of_norm: bool) -> str:
    """What a framework calls an array: a weight is the kernel of a layer and the scale of a batch norm."""
    found = [their for their, canonical in theirs.items() if canonical == name] or [name]
    return found[-1 if of_norm else 0]


def axes() -> str:
    """How arrays are transposed, each with the stem or the classifier of densenet121 as an example."""
    shapes = spec.parameter_shapes(spec.variant("densenet121"))
    rows = []
    for kind, name in (("convolution", "features.conv0.weight"), ("linear", "classifier.weight")):
        shape = shapes[name]
        to = TO_KERAS[len(shape)]
        turned = tuple(shape[axis] for axis in to)
        back = FROM_KERAS[len(shape)]
        assert tuple(turned[axis] for axis in back) == shape
        rows.append([kind, code(f"transpose{to}"), code(f"transpose{back}"), code(name), str(shape), str(turned)])
    return table(["kernel", "to Keras", "from Keras", "example", "spec, PyTorch, Gluon", "Keras"], rows)


def numerics() -> str:
    """The arguments that each backend gives its framework for one node of the spec, and the frameworks' defaults."""
    stem = layers.Conv(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
    inner = layers.Conv(128, 32, kernel_size=3, stride=1, padding=1, bias=False)
    pool = layers.MaxPool(kernel_size=3, stride=2, padding=1)
    torch, mxnet, keras = (backends.parse(name).load() for name in FRAMEWORKS)
    torch_norm, mxnet_norm = torch.layers.build(NORM), mxnet.layers.build(NORM)._kwargs
    (keras_norm,) = _keras_layers(keras, NORM, NORM.channels)
    from keras.layers import BatchNormalization
    from mxnet.gluon.nn import BatchNorm
    from torch.nn import BatchNorm2d

    defaults = BatchNorm2d(64), BatchNorm()._kwargs, BatchNormalization()
    updates = [module.RUNNING_UPDATE for module in (torch, mxnet, keras)]
    return table(
        ["", "spec", "PyTorch", "Gluon", "Keras"],
        [
            [
                "epsilon of a batch norm",
                f"`eps={NORM.eps}`",
                f"`eps={torch_norm.eps}`",
                f"`epsilon={mxnet_norm['eps']}`",
                f"`epsilon={keras_norm.epsilon}`",
            ],
            ["its default there", "", *(f"{x}" for x in (defaults[0].eps, defaults[1]["eps"], defaults[2].epsilon))],
            [
                "what stays of a running statistic",
                f"`decay={NORM.decay}`",
                f"`momentum={torch_norm.momentum}`, the share of the new one",
                f"`momentum={mxnet_norm['momentum']}`",
                f"`momentum={keras_norm.momentum}`",
            ],
            [
                "its default there",
                "",
                *(f"{x}" for x in (defaults[0].momentum, defaults[1]["momentum"], defaults[2].momentum)),
            ],
            ["it is held in", "float64", *(update.decay_dtype for update in updates)],
            [
                "the running variance is",
                "the biased one",
                *("the unbiased one, n/(n-1) times that" if u.unbiased else "the biased one" for u in updates),
            ],
            ["7x7, stride 2", "`padding=3`", *_windows(torch, mxnet, keras, stem, 3)],
            ["3x3, stride 1", "`padding=1`", *_windows(torch, mxnet, keras, inner, 128)],
            ["max pool 3x3, stride 2", "`padding=1`", *_windows(torch, mxnet, keras, pool, 64)],
            [
                "flattening",
                "(C, H, W)",
                code(type(torch.layers.build(layers.Flatten())).__name__),
                code(type(mxnet.layers.build(layers.Flatten())).__name__),
                code(_described(layer) for layer in _keras_layers(keras, layers.Flatten(), 16)),
            ],
        ],
    )


def _windows(torch: Any, mxnet: Any, keras: Any, node: Any, channels: int) -> list[str]:
    """How a node with a kernel is padded in each backend."""
    return [
        f"`padding={torch.layers.build(node).padding}`",
        f"`padding={mxnet.layers.build(node)._kwargs['pad']}`",
        code(_described(layer) for layer in _keras_layers(keras, node, channels)),
    ]


def _keras_layers(keras: Any, node: Any, channels: int) -> list[Any]:
    from keras import Input, Model

    with keras.model.settings("float32", "channels_last"):
        x = Input((32, 32, channels))
        return Model(x, keras.layers.build(node, x, "layer")).operations[1:]


def _described(layer: Any) -> str:
    """A Keras layer by its class and what it does at the border or with axes."""
    name = type(layer).__name__
    if name == "Pad":
        value = layer._inbound_nodes[0].arguments.kwargs["constant_values"]
        return f"pad({layer.pad_width[1:3]}, constant_values={value})"
    if name == "ZeroPadding2D":
        return f"{name}({layer.padding})"
    if name == "Permute":
        return f"{name}({layer.dims})"
    return f'{name}(padding="{layer.padding}")' if hasattr(layer, "padding") else name


# A value of each field that is not a variant's, to see whether the shapes of the weights tell it.
OTHER: dict[str, Any] = {
    "in_channels": 5,
    "num_classes": 7,
    "input_size": 256,
    "growth_rate": 24,
    "block_config": (2, 1, 3, 2, 1),
    "bn_size": 2,
    "compression": 0.4,
    "stem.channels": 48,
    "stem.kernel_size": 5,
    "stem.stride": 3,
    "stem.padding": 2,
    "stem.norm": False,
    "stem.pool": False,
    "squeeze_excitation": {"ratio": 8, "placement": ["block"], "bias": False},
    "conv_bias": True,
    "norm": True,
    "projection_norm": False,
    "eps": 1e-3,
    "decay": 0.99,
    "dropout": 0.25,
    "classifier_activation": "softmax",
}
ONE_OF_EACH = ("densenet121", "resnet18", "vgg11", "googlenet", "nin", "alexnet", "lenet")


def told() -> str:
    """Which fields of a config its weights' shapes tell, tried out: each is changed, and told again."""
    rows = []
    for name in ONE_OF_EACH:
        config = spec.variant_config(name)
        found: dict[str, list[str]] = {"told": [], "kept": [], "refused": []}
        for path, other in OTHER.items():
            before = _field(config, path)
            if before is MISSING:
                continue
            if before == other:
                other = not other
            kind = _outcome(config, path, other)
            if kind is not None:
                found[kind].append(path)
        rows.append([config.family, code(found["told"]), code(found["kept"]), code(found["refused"])])
    return table(["family", "told from names and shapes", "not told", "refused"], rows)


MISSING = object()


def _field(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = getattr(config, name, MISSING)
    return config


def _nested(path: str, value: Any) -> dict[str, Any]:
    """A field by its path, as overrides have it."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def _outcome(config: spec.NetworkConfig, path: str, other: Any) -> str | None:
    """What `infer` makes of the shapes with another value; None where the family cannot have it."""
    try:
        changed = config_of(config.model_dump(), _nested(path, other), "")
        shapes = spec.parameter_shapes(spec.build(changed, "x"))
    except spec.SpecError:
        return None
    try:
        return "told" if _field(infer(shapes), path) == _field(changed, path) else "kept"
    except spec.SpecError:
        return "refused"


def peers() -> str:
    """What the networks of the two peers cannot have differently."""
    rows = []
    for path, other in OTHER.items():
        if _field(spec.variant_config("densenet121"), path) is MISSING:
            continue
        cells = []
        for format, fixed in FIXED.items():
            base = spec.variant_config("densenet121", eps=fixed["eps"])
            if _accepts(format, base, path, other):
                cells.append("any")
            elif path == "block_config":
                cells.append(code(BLOCKS[format]))
            else:
                value = fixed.get(path, _field(base, path))
                cells.append(code("none" if value is None else value))
        rows.append([code(path), *cells])
    return table(["field", *(f"`{format.value}`" for format in FIXED)], rows)


def _accepts(format: Format, base: spec.NetworkConfig, path: str, other: Any) -> bool:
    try:
        check_peer(format, spec.build(config_of(base.model_dump(), _nested(path, other), ""), "x"))
    except spec.SpecError:
        return False
    return True


def refused() -> str:
    """Networks that are met, and the sentence that refuses their weights."""
    shapes = {
        "torchvision's AlexNet": _alexnet(),
        "torchvision's GoogLeNet": _googlenet(),
        "torchvision's ResNet-50": _resnet50(),
        "torchvision's VGG-16 with batch norms": _vgg16_bn(),
    }
    rows = [[name, _refusal(infer, each)] for name, each in shapes.items()]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "keras_hub.weights.h5"
        _keras_hub(path)
        rows.append(["keras-hub's DenseNets", _refusal(convert, path, Format.KERAS).replace(f"{path}: ", "")])
    return table(["weights of", "are refused with"], rows)


def _refusal(call: Callable[..., object], *arguments: Any) -> str:
    """What a call says where it refuses; raises AssertionError where it does not."""
    try:
        call(*arguments)
    except spec.SpecError as error:
        return str(error)
    raise AssertionError(f"{call.__name__} takes what the page says is refused: {arguments}")


def _norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{each}": (channels,) for each in ("weight", "bias", "running_mean", "running_var")}


def _alexnet() -> dict[str, tuple[int, ...]]:
    """torchvision/models/alexnet.py."""
    kernels = {
        "features.0": (64, 3, 11, 11),
        "features.3": (192, 64, 5, 5),
        "features.6": (384, 192, 3, 3),
        "features.8": (256, 384, 3, 3),
        "features.10": (256, 256, 3, 3),
        "classifier.1": (4096, 9216),
        "classifier.4": (4096, 4096),
        "classifier.6": (1000, 4096),
    }
    return {f"{k}.weight": shape for k, shape in kernels.items()} | {f"{k}.bias": s[:1] for k, s in kernels.items()}


def _googlenet() -> dict[str, tuple[int, ...]]:
    """torchvision/models/googlenet.py, up to its first inception module."""
    kernels = {
        "conv1": (64, 3, 7, 7),
        "conv2": (64, 64, 1, 1),
        "conv3": (192, 64, 3, 3),
        "inception3a.branch1": (64, 192, 1, 1),
    }
    found = {f"{name}.conv.weight": shape for name, shape in kernels.items()}
    return found | {k: v for name, shape in kernels.items() for k, v in _norm(f"{name}.bn", shape[0]).items()}


def _resnet50() -> dict[str, tuple[int, ...]]:
    """torchvision/models/resnet.py, whose bottleneck blocks have three convolutions."""
    found, channels = {"conv1.weight": (64, 3, 7, 7)} | _norm("bn1", 64), 64
    for stage, count in enumerate((3, 4, 6, 3), start=1):
        width = 64 * 2 ** (stage - 1)
        for block in range(count):
            path = f"layer{stage}.{block}"
            kernels = {
                "conv1": (width, channels, 1, 1),
                "conv2": (width, width, 3, 3),
                "conv3": (4 * width, width, 1, 1),
            }
            for i, (name, shape) in enumerate(kernels.items(), start=1):
                found |= {f"{path}.{name}.weight": shape} | _norm(f"{path}.bn{i}", shape[0])
            if block == 0:
                found |= {f"{path}.downsample.0.weight": (4 * width, channels, 1, 1)}
                found |= _norm(f"{path}.downsample.1", 4 * width)
            channels = 4 * width
    return found | {"fc.weight": (1000, channels), "fc.bias": (1000,)}


def _vgg16_bn() -> dict[str, tuple[int, ...]]:
    """torchvision/models/vgg.py, configuration D with batch_norm=True."""
    found: dict[str, tuple[int, ...]] = {}
    at, channels = 0, 3
    for block in ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3):
        for width in block:
            found |= {f"features.{at}.weight": (width, channels, 3, 3), f"features.{at}.bias": (width,)}
            found |= _norm(f"features.{at + 1}", width)
            at, channels = at + 3, width
        at += 1
    for i, shape in {0: (4096, 25088), 3: (4096, 4096), 6: (1000, 4096)}.items():
        found |= {f"classifier.{i}.weight": shape, f"classifier.{i}.bias": shape[:1]}
    return found


def _keras_hub(path: Path) -> None:
    """The first layers of keras_hub/src/models/densenet/densenet_backbone.py, as Keras 3 stores them."""
    stored = {
        "conv2d": ("conv1_conv", [(7, 7, 3, 64)]),
        "batch_normalization": ("conv1_bn", [(64,)] * 4),
        "batch_normalization_1": ("stack1_block1_1_bn", [(64,)] * 4),
    }
    with h5py.File(path, "w") as root:
        for key, (name, shapes) in stored.items():
            group = root.create_group(f"layers/{key}/vars")
            group.attrs["name"] = name
            for i, shape in enumerate(shapes):
                group.create_dataset(str(i), data=np.ones(shape, np.float32))


def metadata() -> str:
    """What the header of a neutral file has, with that of a small network as an example."""
    network, of_digits = spec.variant("lenet"), spec.Preprocessing(size=32, resize=None, mean=(0.5,), std=(0.5,))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "lenet.safetensors"
        spec.save(path, network, spec.initialize(network, 0), of_digits, {"source": "lenet.pth"}, list("0123456789"))
        found = tensors.read_header(path).metadata
    meanings = {
        "format": "what tells a neutral file from another .safetensors",
        "format_version": "another one is refused",
        "name": "the network's name",
        "config": "its whole config, as JSON",
        "preprocessing": "what is done to a photograph before, as JSON; left out where it is not known",
        "provenance": "where the weights come from: JSON, a table of texts, with the tool that wrote them",
        "classes": "the names of the classes, in the classifier's order, as JSON; left out where they are not known",
        "sha256": "of all values, little-endian, row by row, array after array in the network's order",
    }
    return table(["key", "what it is", "of a LeNet"], ([code(k), meanings[k], code(_cut(found[k]))] for k in meanings))


def _cut(text: str) -> str:
    if re.fullmatch("[0-9a-f]{64}", text):
        return "64 hexadecimal digits"
    return text if len(text) < 72 else f"{text[:64]} ..."


def preprocessing() -> str:
    """What the publishers of weights do to a photograph, as the spec has it."""
    columns = [IMAGENET, OF_APPLICATIONS]
    rows = [
        [code(name), field.description or "", *(_value(getattr(each, name)) for each in columns)]
        for name, field in spec.Preprocessing.model_fields.items()
    ]
    return table(["field", "", "torchvision, MXNet's model zoo", "keras.applications"], rows)


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "1/255" if value == 1 / 255 else "none" if value is None else str(value)


def published() -> str:
    """The networks whose weights torchvision publishes."""
    return ", ".join(f"`{name}`" for name in PUBLISHED)


def settings() -> str:
    """What `densenet train` takes, but for the network and its fields."""
    rows = [
        [code(f"--{name.replace('_', '-')}"), _default(field.default), field.description or ""]
        for name, field in Settings.model_fields.items()
        if name not in ELSEWHERE
    ]
    return table(["setting", "default", ""], rows)


def _default(value: object) -> str:
    return code([value] if isinstance(value, str) else _value(value)) if value is not None else "none"


PORTING: dict[str, Callable[[], str]] = {
    "formats": formats,
    "names": layer_names,
    "first block": first_block,
    "arrays": arrays,
    "axes": axes,
    "numerics": numerics,
    "told": told,
    "peers": peers,
    "refused": refused,
    "metadata": metadata,
    "preprocessing": preprocessing,
    "published": published,
}


PAGES = {"porting.md": PORTING, "training.md": {"settings": settings}}


def current(name: str, page: str) -> str:
    """A page with all of its tables made anew; raises ValueError where one is missing, or has no end."""
    for title, make in PAGES[name].items():
        begin = BEGIN.format(title)
        if page.count(begin) != 1:
            raise ValueError(f"{begin} stands {page.count(begin)} times in {name}, expected once")
        before, after = page.split(begin)
        if END not in after:
            raise ValueError(f"{begin} has no {END}")
        page = f"{before}{begin}\n{make()}\n{END}{after.partition(END)[2]}"
    return page


def main(arguments: Sequence[str]) -> int:
    """0 where all pages are current or were written, 1 where one is not."""
    stale = 0
    for name in PAGES:
        page = (DOCS / name).read_text(encoding="utf-8")
        made = current(name, page)
        if made != page and "--check" in arguments:
            print(f"{name} is not current: python docs/tables.py writes it", file=sys.stderr)
            stale = 1
        elif made != page:
            (DOCS / name).write_text(made, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
