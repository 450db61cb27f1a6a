"""Weights, images, batches and settings that are none, or lie oddly in memory: the same sentence in every backend."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import spec
from densenet_tools import images as photographs
from tests.cases import small
from tests.support import loaded, require

NETWORK = small(bn_size=2)
WEIGHTS = spec.randomize(spec.initialize(NETWORK, 0), 0)
IMAGES = np.random.default_rng(0).normal(size=(2, *NETWORK.input_shape)).astype(np.float32)
LABELS = np.array([0, 1])
KERNEL, VARIANCE = "features.conv0.weight", "features.norm0.running_var"
BACKENDS = ["numpy", "torch", "mxnet", "keras"]


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.setflags(write=False)
    return array


def reversed_in_memory(array: np.ndarray) -> np.ndarray:
    """The same values, with negative strides."""
    flipped = array[tuple(slice(None, None, -1) for _ in array.shape)].copy()
    return flipped[tuple(slice(None, None, -1) for _ in array.shape)]


def with_gaps(array: np.ndarray) -> np.ndarray:
    """The same values, every second number in memory."""
    return np.repeat(array, 2, axis=-1)[..., ::2]


LAYOUTS = {
    "read-only": read_only,
    "negative strides": reversed_in_memory,
    "columns first": np.asfortranarray,
    "gaps": with_gaps,
    "of a subclass": lambda array: array.view(np.memmap),
}


@pytest.fixture(params=BACKENDS)
def ready(request):
    """A backend, and a model of it with weights."""
    backend = require(request.param)
    return backend, loaded(backend, NETWORK, WEIGHTS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_may_lie_in_memory_as_they_like(ready, layout):
    backend, model = ready
    lie = LAYOUTS[layout]
    backend.load_weights(model, {name: lie(array) for name, array in WEIGHTS.items()})
    assert all((array == WEIGHTS[name]).all() for name, array in backend.export_weights(model).items())
    expected = backend.predict(model, IMAGES)
    assert (backend.predict(model, lie(IMAGES)) == expected).all()
    assert (
        backend.trace(model, lie(IMAGES))["classifier"].tobytes()
        == backend.trace(model, IMAGES)["classifier"].tobytes()
    )
    assert backend.loss_and_gradients(model, lie(IMAGES), lie(LABELS))[0] == pytest.approx(
        backend.loss_and_gradients(model, IMAGES, LABELS)[0], rel=1e-6
    )


BAD_WEIGHTS = {
    "negative variance": (VARIANCE, lambda a: -a, "features.norm0.running_var has a variance below 0"),
    "one negative variance": (VARIANCE, lambda a: a - a.min() - 1e-3, f"{VARIANCE} has a variance below 0"),
    "NaN": (KERNEL, lambda a: a * np.nan, f"{KERNEL} has values that are not finite"),
    "infinite variance": (VARIANCE, lambda a: a * np.inf, f"{VARIANCE} has values that are not finite"),
    "big-endian": (KERNEL, lambda a: a.astype(">f4"), f"{KERNEL} is >f4 and the model float32, convert it"),
    "float16": (KERNEL, lambda a: a.astype("f2"), f"{KERNEL} is float16 and the model float32, convert it"),
    "float64": (KERNEL, lambda a: a.astype("f8"), f"{KERNEL} is float64 and the model float32, convert it"),
    "complex": (KERNEL, lambda a: a.astype("c8"), f"{KERNEL} is complex64 and the model float32, convert it"),
    "integers": (KERNEL, lambda a: a.astype("i4"), f"{KERNEL} is int32 and the model float32, convert it"),
    "objects": (KERNEL, lambda a: a.astype(object), f"{KERNEL} is object and the model float32, convert it"),
    "text": (KERNEL, lambda a: a.astype(str), f"{KERNEL} is <U"),
    "nested lists": (KERNEL, lambda a: a.tolist(), f"{KERNEL} is a list, expected a NumPy array"),
    "ragged": (KERNEL, lambda a: [[1.0, 2.0], [3.0]], f"{KERNEL} is a list, expected a NumPy array"),
    "None": (KERNEL, lambda a: None, f"{KERNEL} is a NoneType, expected a NumPy array"),
    "a number": (KERNEL, lambda a: 1.0, f"{KERNEL} is a float, expected a NumPy array"),
    "no axes": (KERNEL, lambda a: a.sum(), f"{KERNEL} is a float32, expected a NumPy array"),
    "empty": (KERNEL, lambda a: a[:0], f"{KERNEL} has shape (0, 3, 7, 7), expected (6, 3, 7, 7)"),
    "transposed": (KERNEL, lambda a: a.T, f"{KERNEL} has shape (7, 7, 3, 6), expected (6, 3, 7, 7)"),
}


@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_weights_that_are_none_are_refused_in_one_sentence(ready, case):
    backend, model = ready
    name, spoil, sentence = BAD_WEIGHTS[case]
    others = {other: array * np.float32(2) for other, array in WEIGHTS.items()}
    with pytest.raises(spec.SpecError) as error:
        backend.load_weights(model, others | {name: spoil(WEIGHTS[name])})
    assert str(error.value).startswith(f"weights do not fit, nothing was loaded: {sentence}")
    assert all((array == WEIGHTS[other]).all() for other, array in backend.export_weights(model).items())


BAD_IMAGES = {
    "NaN": (lambda x: np.where(x > 3, np.nan, x), "images must have finite values that float32 can hold, found nan"),
    "infinite": (lambda x: np.where(x > 3, -np.inf, x), "images must have finite values that float32 can hold, found"),
    "too large": (lambda x: x.astype("f8") * 1e300, "images must have finite values that float32 can hold, found"),
    "bytes": (lambda x: x.astype("u1"), "images must be floats, found uint8"),
    "booleans": (lambda x: x > 0, "images must be floats, found bool"),
    "complex": (lambda x: x.astype("c8"), "images must be floats, found complex64"),
    "objects": (lambda x: x.astype(object), "images must be floats, found object"),
    "a list": (lambda x: x.tolist(), "images must be a NumPy array, found list"),
    "None": (lambda x: None, "images must be a NumPy array, found NoneType"),
    "one image": (lambda x: x[0], "images must have shape (N, C, H, W) with N at least 1, found (3, 40, 40)"),
    "no image": (lambda x: x[:0], "images must have shape (N, C, H, W) with N at least 1, found (0, 3, 40, 40)"),
    "channels last": (lambda x: x.transpose(0, 2, 3, 1), "small takes images of 3 channel(s), found 40x40x3"),
    "no pixels": (lambda x: x[..., :0], "input 3x40x0 is too small for small"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_images_that_are_none_are_refused_in_one_sentence(ready, case):
    backend, model = ready
    spoil, sentence = BAD_IMAGES[case]
    for call in (backend.predict, backend.trace, lambda m, x: backend.loss_and_gradients(m, x, LABELS)):
        with pytest.raises(spec.SpecError) as error:
            call(model, spoil(IMAGES))
        assert str(error.value).startswith(sentence)


@pytest.mark.parametrize("dtype", [">f4", ">f8", "f2", "f8", "g"])
def test_floats_of_every_size_and_byte_order_are_images(ready, dtype):
    backend, model = ready
    coarse = IMAGES.astype("f2").astype(dtype)
    expected = backend.predict(model, IMAGES.astype("f2").astype("f4"))
    assert (backend.predict(model, coarse) == expected).all()


BAD_LABELS = {
    "a list": ([0, 1], "labels must be a NumPy array of integers, found list"),
    "floats": (np.array([0.0, 1.0]), "labels must be a NumPy array of integers, found float64"),
    "booleans": (np.array([False, True]), "labels must be a NumPy array of integers, found bool"),
    "one-hot": (np.eye(5, dtype=int)[:2], "labels must have shape (2,), one for each image, found (2, 5)"),
    "too few": (np.array([0]), "labels must have shape (2,), one for each image, found (1,)"),
    "negative": (np.array([-1, 0]), "labels must lie between 0 and 4, found -1 to 0"),
    "too large": (np.array([0, 5]), "labels must lie between 0 and 4, found 0 to 5"),
    "huge": (
        np.array([0, 2**64 - 1], dtype=np.uint64),
        "labels must lie between 0 and 4, found 0 to 18446744073709551615",
    ),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_labels_that_are_none_are_refused_in_one_sentence(ready, case):
    backend, model = ready
    labels, sentence = BAD_LABELS[case]
    optimizer = backend.sgd(model, 0.1)
    for call in (
        lambda: backend.loss_and_gradients(model, IMAGES, labels),
        lambda: backend.step(model, optimizer, IMAGES, labels),
    ):
        with pytest.raises(spec.SpecError) as error:
            call()
        assert str(error.value) == sentence


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i8", "u8"])
def test_labels_may_be_integers_of_every_kind(ready, dtype):
    backend, model = ready
    expected = backend.loss_and_gradients(model, IMAGES, LABELS)[0]
    assert backend.loss_and_gradients(model, IMAGES, LABELS.astype(dtype))[0] == pytest.approx(expected, rel=1e-6)


def test_one_value_per_channel_is_no_training_pass(ready):
    """PyTorch raises, the others divide by the square root of epsilon alone."""
    backend, model = ready
    tiny = IMAGES[:1, :, : NETWORK.min_size, : NETWORK.min_size]
    optimizer = backend.sgd(model, 0.1)
    for call in (
        lambda: backend.loss_and_gradients(model, tiny, LABELS[:1]),
        lambda: backend.step(model, optimizer, tiny, LABELS[:1]),
    ):
        with pytest.raises(
            spec.SpecError, match=r"one image of 3x\dx\d leaves features\..*norm\d one value per channel"
        ):
            call()
    assert backend.predict(model, tiny).shape == (1, 5)
    two = IMAGES[:, :, : NETWORK.min_size, : NETWORK.min_size]
    assert np.isfinite(backend.loss_and_gradients(model, two, LABELS)[0])
    assert np.isfinite(backend.loss_and_gradients(model, IMAGES[:1], LABELS[:1])[0])


BAD_SETTINGS = [
    ({"learning_rate": True}, "learning_rate must be a number above 0, found True"),
    ({"learning_rate": 0}, "learning_rate must be a number above 0, found 0"),
    ({"learning_rate": -0.1}, "learning_rate must be a number above 0, found -0.1"),
    ({"learning_rate": float("nan")}, "learning_rate must be a number above 0, found nan"),
    ({"learning_rate": float("inf")}, "learning_rate must be a number above 0, found inf"),
    ({"learning_rate": "0.1"}, "learning_rate must be a number above 0, found '0.1'"),
    ({"learning_rate": None}, "learning_rate must be a number above 0, found None"),
    ({"learning_rate": 1j}, "learning_rate must be a number above 0, found 1j"),
    ({"momentum": True}, "momentum must be a number from 0 to less than 1, found True"),
    ({"momentum": 1}, "momentum must be a number from 0 to less than 1, found 1"),
    ({"momentum": -0.5}, "momentum must be a number from 0 to less than 1, found -0.5"),
    ({"weight_decay": False}, "weight_decay must be a number not below 0, found False"),
    ({"weight_decay": -1e-4}, "weight_decay must be a number not below 0, found -0.0001"),
    ({"momentum": 0.9, "nesterov": "no"}, "nesterov must be True or False, found 'no'"),
    ({"momentum": 0.9, "nesterov": 1}, "nesterov must be True or False, found 1"),
    ({"nesterov": True}, "nesterov needs a momentum above 0, found momentum 0.0"),
]


@pytest.mark.parametrize(("settings", "sentence"), BAD_SETTINGS, ids=[sentence[:60] for _, sentence in BAD_SETTINGS])
def test_settings_of_gradient_descent_that_are_none_are_refused(ready, settings, sentence):
    backend, model = ready
    with pytest.raises(spec.SpecError) as error:
        backend.sgd(model, **{"learning_rate": 0.1} | settings)
    assert str(error.value) == sentence


def saved(folder: Path, **changes) -> Path:
    from safetensors.numpy import save_file

    save_file(
        {name: np.ascontiguousarray(array) for name, array in (WEIGHTS | changes).items()}, folder / "w.safetensors"
    )
    return folder / "w.safetensors"


def header(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


BAD_FILES = {
    "float8": (header(b'{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}') + b"\0", "found a of F8_E4M3"),
    "integers": (header(b'{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}') + b"\0" * 8, "found a of I64"),
    "nothing": (b"", "is not a readable safetensors file"),
    "a pickle": (b"\x80\x04K\x01.", "is not a readable safetensors file"),
    "a huge header": (struct.pack("<Q", 2**62), "is not a readable safetensors file"),
    "no JSON": (header(b"not JSON"), "is not a readable safetensors file"),
    "a list": (header(b"[]"), "is not a readable safetensors file"),
    "cut off": (header(b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}') + b"\0", "is not a readable"),
    "overlapping": (
        header(
            b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        )
        + b"\0" * 4,
        "is not a readable safetensors file",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_of_weights_that_is_none_is_refused_in_one_sentence(tmp_path, case):
    content, sentence = BAD_FILES[case]
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(spec.SpecError) as error:
        spec.read_weights(path, NETWORK)
    assert str(error.value).startswith(str(path))
    assert sentence in str(error.value)


def test_a_file_of_weights_is_read_and_a_folder_is_none(tmp_path):
    found = spec.read_weights(saved(tmp_path), NETWORK)
    assert all((array == WEIGHTS[name]).all() for name, array in found.items())
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(spec.SpecError, match="cannot be read: it is not a file"):
        spec.read_weights(tmp_path / "folder.safetensors", NETWORK)


SMALLEST = {"growth_rate": 4, "block_config": [1, 1], "input_size": 16}
FLOATS = "must hold arrays of float32 or float64, found"


def checkpoint_faults(torch) -> dict:
    """{what a checkpoint holds: (how it comes about, what is said)}."""
    kernel = "features.conv0.weight"

    def floats(change):
        return lambda state: {name: change(t) if t.is_floating_point() else t for name, t in state.items()}

    return {
        "NaN": (lambda s: s | {kernel: s[kernel] * float("nan")}, f"{kernel} has values that are not finite"),
        "negative variances": (
            lambda s: {name: -t if name.endswith("running_var") else t for name, t in s.items()},
            "features.denseblock1.denselayer1.norm1.running_var has a variance below 0",
        ),
        "other keys": (lambda s: {f"x{name}": t for name, t in s.items()}, "missing features.conv0.weight"),
        "one key less": (lambda s: {name: t for name, t in s.items() if name != kernel}, f"missing {kernel}"),
        "one key more": (lambda s: s | {"extra": s[kernel]}, "unexpected extra"),
        "another shape": (lambda s: s | {kernel: s[kernel][:1]}, f"{kernel} has shape (1, 3, 3, 3)"),
        "a list inside": (lambda s: s | {kernel: s[kernel].tolist()}, f"{FLOATS} {kernel} is list"),
        "None inside": (lambda s: s | {kernel: None}, f"{FLOATS} {kernel} is NoneType"),
        "integers": (lambda s: s | {kernel: s[kernel].int()}, f"{FLOATS} {kernel} is int32"),
        "float64": (floats(lambda t: t.double()), f"{kernel} is float64 and the model float32, convert it"),
        "a training state": (lambda s: {"weights": s, "epoch": 3}, f"{FLOATS} weights is OrderedDict, epoch is int"),
        "a list": (lambda s: list(s.values()), "must hold tensors by name, found a list: save a state_dict()"),
        "a tensor": (lambda s: s[kernel], "must hold tensors by name, found a Tensor: save a state_dict()"),
        "numbers for names": (lambda s: dict(enumerate(s.values())), "must hold tensors by name, found a dict"),
        "a module": (lambda s: torch.nn.ReLU(), "is not a checkpoint of plain tensors, and nothing else is unpickled"),
    }


def test_a_checkpoint_that_is_none_is_refused_in_one_sentence(tmp_path):
    require("torch")
    import torch

    import densenet_torch

    state = densenet_torch.densenet40_k12_bc(**SMALLEST).state_dict()
    for case, (spoil, sentence) in checkpoint_faults(torch).items():
        torch.save(spoil(state), tmp_path / "w.pth")
        with pytest.raises(spec.SpecError) as error:
            densenet_torch.densenet40_k12_bc(weights=tmp_path / "w.pth", **SMALLEST)
        assert sentence in str(error.value), case
        assert "\n" not in str(error.value), case
    torch.save(
        {name: torch.nn.Parameter(t) if t.is_floating_point() else t for name, t in state.items()}, tmp_path / "w.pth"
    )
    model = densenet_torch.densenet40_k12_bc(weights=tmp_path / "w.pth", **SMALLEST)
    assert all((tensor == state[name]).all() for name, tensor in model.state_dict().items())


def png(mode_depth: tuple[int, int], rows: bytes, size: tuple[int, int], *more: bytes) -> bytes:
    """A PNG file by hand: (color type, bit depth), scan lines, (width, height), further chunks."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    color, depth = mode_depth
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def text_chunk(size: int) -> bytes:
    data = b"key\0\0" + zlib.compress(b"x" * size)
    return struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))


GRAY = bytes(64)
BAD_PHOTOGRAPHS = {
    "nothing.png": b"",
    "text.jpg": b"not a photograph",
    "damaged.ppm": b"P6\n4 four\n255\n" + GRAY,
    "values.ppm": b"P3\n2 2\n255\n1 2 3 x",
    "cut.ppm": b"P6\n9999 9999\n255\n" + GRAY,
    "minus.ppm": b"P6\n-4 4\n255\n" + GRAY,
    "text.png": png((0, 8), (b"\0" + bytes(8)) * 8, (8, 8), text_chunk(2**26)),
    "cut.png": png((0, 8), b"\0", (8, 8))[:60],
    "bomb.png": png((0, 8), b"\0", (60000, 60000)),
    "empty.gif": b"GIF89a\0\0\0\0\0\0\0",
    "cut.bmp": b"BM" + bytes(20),
}


@pytest.mark.parametrize("name", BAD_PHOTOGRAPHS)
def test_a_photograph_that_is_none_is_refused_in_one_sentence(tmp_path, name):
    (tmp_path / name).write_bytes(BAD_PHOTOGRAPHS[name])
    with pytest.raises(spec.SpecError) as error:
        photographs.load([tmp_path / name], 1, (3, 8, 8))
    assert str(error.value).startswith(f"{tmp_path / name} cannot be read as an image: ")


@pytest.mark.parametrize("mode", ["I", "F"])
def test_values_without_a_range_are_no_photograph(tmp_path, mode):
    Image.new(mode, (8, 8), 70000).save(tmp_path / "x.tiff")
    with pytest.raises(spec.SpecError, match=f"its mode {mode} is white, convert it to 8 or 16 bits"):
        photographs.load([tmp_path / "x.tiff"], 1, (1, 8, 8))


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path, kind):
    ramp = np.linspace(0, 255, 256).astype(np.uint8).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / f"8.{kind}")
    Image.fromarray(ramp.astype(np.uint16) * 257).save(tmp_path / f"16.{kind}")
    eight, sixteen = (photographs.load([tmp_path / f"{bits}.{kind}"], 1, (1, 14, 14)) for bits in (8, 16))
    assert (eight == sixteen).all()
    assert np.ptp(eight) > 2


def test_a_photograph_is_turned_as_its_camera_was_held(tmp_path):
    upright = np.zeros((32, 32, 3), np.uint8)
    upright[:16] = 255
    Image.fromarray(upright).save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    Image.fromarray(np.rot90(upright)).save(tmp_path / "turned.png", exif=exif)
    straight, turned = (photographs.load([tmp_path / f"{n}.png"], 1, (3, 28, 28)) for n in ("upright", "turned"))
    assert (straight == turned).all()
