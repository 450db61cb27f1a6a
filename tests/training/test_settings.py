"""Settings: fields that are checked, files that give back what was written, options that say what they are."""

import io
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings as limits, strategies as st
from rich.console import Console

import spec
from densenet_tools.commands.app import app, main
from densenet_tools.commands.options import ELSEWHERE
from densenet_tools.training import Settings, read
from densenet_tools.training.settings import write

REAL = {"allow_nan": False, "allow_infinity": False}
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "network": NAMES,
    "overrides": st.recursive(
        st.dictionaries(NAMES, st.none() | st.integers() | st.floats(**REAL) | st.lists(st.integers())),
        lambda table: st.dictionaries(NAMES, table, max_size=3),
        max_leaves=5,
    ),
    "backend": st.sampled_from(["torch", "mxnet", "keras", "numpy"]),
    "data": NAMES,
    "data_dir": st.none() | NAMES,
    "epochs": st.integers(10, 10**9),
    "batch_size": st.integers(1, 10**9),
    "learning_rate": st.floats(1e-12, 1e9),
    "schedule": st.sampled_from(["constant", "step", "cosine", "one-cycle"]),
    "milestones": st.lists(st.floats(0, 1, exclude_min=True, exclude_max=True)).map(sorted).map(tuple),
    "warmup": st.floats(0, 10),
    "momentum": st.floats(0, 1, exclude_min=True, exclude_max=True),
    "nesterov": st.booleans(),
    "weight_decay": st.floats(0, **REAL),
    "label_smoothing": st.floats(0, 1, exclude_max=True),
    "padding": st.integers(0, 10**12),
    "flip": st.booleans(),
    "image_size": st.none() | st.integers(1, 10**9),
    "resize": st.none() | st.integers(1, 10**9),
    "validation": st.floats(0, 1, exclude_max=True),
    "skip_unreadable": st.booleans(),
    "freeze_epochs": st.integers(0),
    "freeze_statistics": st.booleans(),
    "seed": st.integers(0, 2**31 - 1),
    "dtype": st.sampled_from(["float32", "float64"]),
    "device": st.sampled_from(["cpu", "gpu", "gpu:1", "cuda:0"]),
    "workers": st.integers(0),
    "checkpoint_seconds": st.floats(0, **REAL),
}


@pytest.fixture
def file(tmp_path):
    """A file of settings, not written yet."""
    return tmp_path / "settings.toml"


@given(st.fixed_dictionaries({}, optional=VALUES))
@limits(max_examples=100, deadline=None)
def test_what_is_written_is_read_as_it_was(tmp_path_factory, fields):
    file = tmp_path_factory.getbasetemp() / "any.toml"
    write(file, Settings(**fields))
    assert read(file) == Settings(**fields)


def test_every_field_is_among_those_that_are_written_and_read():
    assert list(VALUES) == list(Settings.model_fields)


def test_none_has_a_word_in_a_file(file):
    file.write_text('[overrides]\nbn_size = "none"\n[overrides.stem]\nchannels = "none"\n')
    assert read(file).overrides == {"bn_size": None, "stem": {"channels": None}}
    write(file, Settings(overrides={"bn_size": None}))
    assert tomllib.loads(file.read_text())["overrides"] == {"bn_size": "none"}


def test_what_is_given_besides_a_file_comes_first_and_leaves_the_rest(file):
    file.write_text("epochs = 3\nseed = 5\n[overrides]\ngrowth_rate = 4\nstem = {channels = 6, padding = 1}\n")
    found = read(file, {"epochs": 7, "overrides": {"bn_size": 2, "stem": {"padding": 0}}})
    assert (found.epochs, found.seed, found.batch_size) == (7, 5, 64)
    assert found.overrides == {"growth_rate": 4, "bn_size": 2, "stem": {"channels": 6, "padding": 0}}


FAULTS = [
    ({"epoch": 3}, "epoch: unknown field, did you mean 'epochs'"),
    ({"network": 3}, "network: should be a valid string, found 3"),
    ({"network": "a\udcff"}, r"network: should be a name in UTF-8, found 'a\udcff'"),
    ({"overrides": [1]}, "overrides: should be a valid dictionary, found [1]"),
    ({"backend": "jax"}, "backend: should be 'torch', 'mxnet', 'keras' or 'numpy', found 'jax'"),
    ({"data": None}, "data: should be a valid string, found None"),
    ({"data_dir": 3}, "data_dir: should be a valid string, found 3"),
    ({"epochs": 0}, "epochs: should be greater than 0, found 0"),
    ({"epochs": 1.0}, "epochs: should be a valid integer, found 1.0"),
    ({"epochs": 10**10}, "epochs: should be less than or equal to 1000000000, found 10000000000"),
    ({"batch_size": "64"}, "batch_size: should be a valid integer, found '64'"),
    ({"learning_rate": 0}, "learning_rate must be a number above 0, found 0.0"),
    ({"learning_rate": 1e300}, "learning_rate: should be less than or equal to 1000000000, found 1e+300"),
    ({"learning_rate": float("nan")}, "learning_rate: should be less than or equal to 1000000000, found nan"),
    ({"learning_rate": True}, "learning_rate: should be a valid number, found True"),
    ({"schedule": "linear"}, "schedule: should be 'constant', 'step', 'cosine' or 'one-cycle', found 'linear'"),
    ({"milestones": 0.5}, "milestones: should be a list, found 0.5"),
    ({"milestones": ["0.5"]}, "milestones.0: should be a valid number, found '0.5'"),
    ({"milestones": [0.5, 0.2]}, "milestones should rise between 0 and 1, found [0.5, 0.2]"),
    ({"milestones": [0.5, 1]}, "milestones should rise between 0 and 1, found [0.5, 1.0]"),
    ({"milestones": [float("nan")]}, "milestones should rise between 0 and 1, found [nan]"),
    ({"warmup": -1.0}, "warmup: should be greater than or equal to 0, found -1.0"),
    ({"warmup": float("inf")}, "warmup: should be a finite number, found inf"),
    ({"warmup": 10.5}, "warmup should be at most epochs (10), found 10.5"),
    ({"momentum": 1}, "momentum must be a number from 0 to less than 1, found 1.0"),
    ({"momentum": 0}, "nesterov needs a momentum above 0, found momentum 0.0"),
    ({"nesterov": 1}, "nesterov: should be a valid boolean, found 1"),
    ({"weight_decay": -1e-4}, "weight_decay must be a number not below 0, found -0.0001"),
    ({"label_smoothing": 1}, "label_smoothing: should be less than 1, found 1"),
    ({"padding": -1}, "padding: should be greater than or equal to 0, found -1"),
    ({"flip": "yes"}, "flip: should be a valid boolean, found 'yes'"),
    ({"image_size": 0}, "image_size: should be greater than 0, found 0"),
    ({"resize": 0}, "resize: should be greater than 0, found 0"),
    ({"validation": 1}, "validation: should be less than 1, found 1"),
    ({"validation": float("nan")}, "validation: should be less than 1, found nan"),
    ({"skip_unreadable": None}, "skip_unreadable: should be a valid boolean, found None"),
    ({"freeze_epochs": -1}, "freeze_epochs: should be greater than or equal to 0, found -1"),
    ({"freeze_statistics": 0}, "freeze_statistics: should be a valid boolean, found 0"),
    ({"seed": -1}, "seed: should be greater than or equal to 0, found -1"),
    ({"seed": 2**31}, "seed: should be less than 2147483648, found 2147483648"),
    ({"dtype": "float16"}, "dtype: should be 'float32' or 'float64', found 'float16'"),
    ({"device": "tpu"}, "device must be cpu, gpu or gpu:N, found 'tpu'"),
    ({"workers": -1}, "workers: should be greater than or equal to 0, found -1"),
    ({"checkpoint_seconds": float("inf")}, "checkpoint_seconds: should be a finite number, found inf"),
]


def refusal(function, *arguments: Any, **fields: Any) -> str:
    with pytest.raises(spec.SpecError) as error:
        function(*arguments, **fields)
    return str(error.value)


@pytest.mark.parametrize(("fields", "sentence"), FAULTS, ids=[sentence[:40] for _, sentence in FAULTS])
def test_a_wrong_value_is_refused_in_a_sentence_that_names_the_field(fields, sentence):
    assert refusal(Settings, **fields).startswith(sentence)


def test_every_field_is_refused_some_value():
    assert {name for fields, _ in FAULTS for name in fields if name != "epoch"} == set(Settings.model_fields)


def test_the_file_is_named_where_the_fault_is_its_own(file):
    file.write_text("epochs = 0\n")
    assert refusal(read, file) == f"{file}: epochs: should be greater than 0, found 0"
    assert refusal(read, file, {"seed": -1}) == f"{file}: epochs: should be greater than 0, found 0"
    assert read(file, {"epochs": 1}).epochs == 1
    file.write_text("warmup = 12\n")
    assert refusal(read, file) == f"{file}: warmup should be at most epochs (10), found 12.0"
    assert read(file, {"epochs": 12}).warmup == 12
    file.write_text("seed = 1\n")
    assert refusal(read, file, {"epochs": 0}) == "epochs: should be greater than 0, found 0"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"epochs 3\n", "is not valid TOML: Expected '='"),
        (b"\xff\xfe", "is not valid TOML: 'utf-8' codec can't decode"),
        (b"epochs = " + b"9" * 5000, "is not valid TOML: Exceeds the limit"),
        (b"x = " + b"[" * 5000 + b"]" * 5000, "is not valid TOML: "),
    ],
)
def test_a_file_that_is_no_toml_is_refused(file, content, sentence):
    file.write_bytes(content)
    assert refusal(read, file).startswith(f"{file} {sentence}")


def test_a_file_that_is_none_is_refused(file):
    assert refusal(read, file) == f"{file} does not exist"
    assert refusal(read, file.parent) == f"{file.parent} cannot be read: it is not a file"


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        Settings().epochs = 3  # type: ignore[misc]


def test_every_field_says_what_it_is():
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert not field.description.endswith("."), name


def test_the_help_of_train_has_every_field_with_its_default():
    console = Console(width=300, file=io.StringIO())  # so wide that no line is broken
    app.help_print(["train"], console=console)
    said = console.file.getvalue().splitlines()
    for name, field in Settings.model_fields.items():
        option = f"--{name.replace('_', '-')} "
        lines = [line for line in said if line.startswith(f"│ {option}")]
        if name in ELSEWHERE:
            assert not lines
            continue
        default = {"milestones": "0.5 0.75"}.get(name, str(field.default).lower())
        (line,) = lines
        assert f"{field.description[1:]}; default: {default}." in line


def test_settings_have_a_schema(capsys):
    assert main(["schema", "train"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert list(schema["properties"]) == list(Settings.model_fields)
    assert schema["properties"]["backend"]["enum"] == ["torch", "mxnet", "keras", "numpy"]
    assert all(field["description"] for field in schema["properties"].values())
    assert schema["additionalProperties"] is False


def test_defaults_are_those_of_the_paper():
    """Huang et al. 2017, section 4.2, for CIFAR; its batch size is 64 there, its epochs are 300."""
    found = Settings()
    assert (found.batch_size, found.learning_rate, found.momentum, found.nesterov) == (64, 0.1, 0.9, True)
    assert (found.weight_decay, found.schedule, found.milestones) == (1e-4, "step", (0.5, 0.75))
    assert Path(found.data).name == "fashion-mnist"
