"""Configs, weights files, photographs and settings at random: an answer or one sentence, in bounded time and memory."""

import io
import json
import os
import resource
import warnings
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

import spec
from densenet_tools import images as photographs
from densenet_tools.commands.app import main
from spec.families import CONFIGS
from tests.cases import small
from tests.porting.support import params
from tests.support import require

pytestmark = pytest.mark.slow
MORE = 4 * 2**30  # bytes that a test may take on top of what the process has
bounded = settings(
    max_examples=2000,
    deadline=20_000,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(autouse=True)
def _memory():
    """Whoever takes more gets a MemoryError, which is no sentence."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MORE, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


numbers = st.one_of(
    st.integers(-3, 70), st.integers(), st.sampled_from([0, 1, 2**31, 2**63, 10**400]), st.floats(), st.booleans()
)
values = st.recursive(
    st.none() | numbers | st.text(max_size=8) | st.sampled_from(["final", "layer", "block", "softmax", "densenet"]),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
plausible = {
    "growth_rate": st.integers(1, 40),
    "block_config": st.lists(st.integers(1, 5), min_size=1, max_size=5),
    "num_classes": st.integers(1, 20),
    "input_size": st.integers(1, 300),
    "compression": st.floats(0.01, 1),
    "eps": st.floats(1e-12, 1e3),
}
names = sorted({name for config in CONFIGS for name in config.model_fields} | {"extends", "published", "typo"})


@st.composite
def configs(draw):
    """Fields of any family, most of them as they may be, some of them anything."""
    fields = {name: draw(strategy) for name, strategy in plausible.items() if draw(st.booleans())}
    spoiled = draw(st.dictionaries(st.sampled_from(names), values, max_size=3))
    extends = {"extends": draw(st.sampled_from([*spec.names(), "densenet40_k12_bc"]))} if draw(st.booleans()) else {}
    return extends | fields | spoiled


def answers(argv: list[str], capsys) -> bool:
    """Whether the command succeeds; where not, it was one sentence about the input."""
    status = main(argv)
    found = capsys.readouterr()
    assert status in (0, 2), found.err
    assert (found.err == "") == (status == 0)
    assert found.err.count("\n") == status / 2
    return status == 0


@bounded
@given(fields=configs())
def test_a_config_is_shown_or_refused_in_one_sentence(folder, capsys, fields):
    Path("x.json").write_text(json.dumps(fields), encoding="utf-8")
    answers(["show", "x.json", "--depth", "1"], capsys)


@bounded
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".toml", ".json"]))
def test_a_config_of_bytes_is_shown_or_refused_in_one_sentence(folder, capsys, content, suffix):
    Path(f"x{suffix}").write_bytes(content)
    answers(["show", f"x{suffix}"], capsys)


@bounded
@given(setting=st.sampled_from(names) | st.text(max_size=10), value=st.text(max_size=20) | values.map(repr))
def test_a_setting_is_taken_or_refused_in_one_sentence(folder, capsys, setting, value):
    answers(["show", "densenet40_k12_bc", "--depth", "1", f"--set={setting}={value}"], capsys)


def damaged(content: bytes):
    """The file with some bytes exchanged, cut off, or put in."""
    place = st.integers(0, len(content))
    exchange = st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=8)
    return st.one_of(
        exchange.map(lambda changes: bytes(dict(changes).get(i, byte) for i, byte in enumerate(content))),
        place.map(lambda end: content[:end]),
        st.tuples(place, st.binary(max_size=40)).map(lambda put: content[: put[0]] + put[1] + content[put[0] :]),
        st.binary(max_size=100),
    )


def weights_file() -> bytes:
    from safetensors.numpy import save

    network = small(block_config=[1], growth_rate=1, stem={"channels": 1})
    return save(spec.initialize(network, 0))


@bounded
@given(content=damaged(weights_file()))
def test_a_file_of_weights_is_read_or_refused_in_one_sentence(folder, content):
    Path("x.safetensors").write_bytes(content)
    network = small(block_config=[1], growth_rate=1, stem={"channels": 1})
    try:
        weights = spec.read_weights("x.safetensors", network)
        spec.check_weights(weights, spec.parameter_shapes(network), "float32")
    except spec.SpecError as error:
        assert "\n" not in str(error)  # noqa: PT017


def photograph(kind: str, mode: str) -> bytes:
    gradient = np.linspace(0, 255, 12 * 12).reshape(12, 12).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(gradient).convert(mode).save(file, kind)
    return file.getvalue()


KINDS = [("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "L"), ("PPM", "RGB"), ("TIFF", "L"), ("GIF", "P"), ("BMP", "RGB")]
KINDS += [("PNG", "1"), ("TIFF", "F"), ("TIFF", "CMYK"), ("WEBP", "RGB"), ("TGA", "RGB"), ("ICO", "RGBA")]


@pytest.mark.parametrize(("kind", "mode"), KINDS)
def test_a_photograph_is_read_or_refused_in_one_sentence(folder, kind, mode):
    @bounded
    @given(content=damaged(photograph(kind, mode)))
    def fuzz(content):
        Path("x").write_bytes(content)
        try:
            found = photographs.load([Path("x")], 1, (3, 8, 8))
        except spec.SpecError as error:
            assert str(error).startswith("x cannot be read as an image: ")  # noqa: PT017
        else:
            assert found.shape == (1, 3, 8, 8)
            assert np.isfinite(found).all()

    fuzz()


def bytes_of(write) -> bytes:
    """What it writes to a path."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        write(path)
        return path.read_bytes()


def keras_3(path: Path) -> None:
    """A layer as Keras 3 writes it, and an attribute."""
    import h5py

    with h5py.File(path, "w") as file:
        variables = file.create_group("layers/conv2d/vars")
        variables.attrs["name"] = "features.conv0"
        variables["0"], variables["1"] = np.ones((3, 3, 3, 2), "f4"), np.ones(2, "f4")


def legacy_keras(path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv1/conv"]
        file.create_group("conv1/conv").attrs["weight_names"] = [b"conv1/conv/kernel:0"]
        file["conv1/conv/conv1/conv/kernel:0"] = np.ones((3, 3, 3, 2), "f4")


def archive_of_keras(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", bytes_of(keras_3))


TINY = small(block_config=[1], growth_rate=1, stem={"channels": 1})
FILES = {
    "neutral": (".safetensors", bytes_of(lambda path: spec.save(path, TINY, spec.initialize(TINY, 0)))),
    "plain": (".safetensors", weights_file()),
    "params": (".params", params(spec.initialize(TINY, 0))),
    "h5": (".weights.h5", bytes_of(keras_3)),
    "legacy h5": (".h5", bytes_of(legacy_keras)),
    "keras": (".keras", bytes_of(archive_of_keras)),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_of_any_kind_is_ported_or_refused_in_one_sentence(folder, capsys, kind):
    """No framework is needed for these, which is why they may be damaged in any way."""
    suffix, whole = FILES[kind]

    @bounded
    @given(content=damaged(whole))
    def fuzz(content):
        Path(f"x{suffix}").write_bytes(content)
        with warnings.catch_warnings(action="ignore"):  # that float16 was read as float32
            written = answers(["port", f"x{suffix}", "out.safetensors", "--no-verify"], capsys)
        assert sorted(os.listdir()) == (["out.safetensors"] if written else []) + [f"x{suffix}"]
        Path("out.safetensors").unlink(missing_ok=True)

    fuzz()


@bounded
@given(content=st.data())
def test_a_checkpoint_is_ported_or_refused_in_one_sentence(folder, capsys, content):
    torch = require("torch") and __import__("torch")
    file = io.BytesIO()
    state = {name: torch.from_numpy(array) for name, array in spec.initialize(TINY, 0).items()}
    torch.save({"state_dict": state}, file, _use_new_zipfile_serialization=content.draw(st.booleans()))
    Path("x.pt").write_bytes(content.draw(damaged(file.getvalue())))
    answers(["port", "x.pt", "out.safetensors", "--no-verify"], capsys)
