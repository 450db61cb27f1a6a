"""`densenet export`, and the files that it writes."""

import json
from typing import Any

import numpy as np
import pytest

import spec
from densenet_tools.commands.app import main
from densenet_tools.parity.differences import difference
from densenet_tools.parity.tolerance import OUTPUTS
from spec import reference
from tests.cases import SMALL
from tests.support import loaded, photographs, require
from tests.test_docs import BLOCKS, follow

NETWORK = SMALL["bottleneck"]


@pytest.fixture(autouse=True)
def backend():
    return require("onnx")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """With the weights of a small network in it."""
    monkeypatch.chdir(tmp_path)
    save("small.safetensors", np.float32)
    return tmp_path


def save(name: str, dtype: type[np.floating]) -> None:
    weights = spec.randomize(spec.initialize(NETWORK, 0, dtype), 0)
    spec.save(name, NETWORK, weights, spec.Preprocessing(), {"source": "here"}, ["a", "b", "c", "d", "e"])


def run_with_runtime(path, batch: np.ndarray) -> np.ndarray:
    """As anybody runs such a file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": batch})
    return logits


@pytest.mark.parametrize("options", [[], ["--optimize"]], ids=["plain", "optimized"])
def test_the_file_computes_what_the_weights_do(folder, capsys, options):
    import onnx

    assert main(["export", "small.safetensors", "small.onnx", *options]) == 0
    onnx.checker.check_model(onnx.load("small.onnx"), full_check=True)
    checkpoint = spec.open("small.safetensors")
    batch = np.random.default_rng(0).normal(size=(3, 3, 41, 44)).astype(np.float32)
    exact = loaded(reference, checkpoint.network, checkpoint.weights)
    assert difference(run_with_runtime("small.onnx", batch), reference.predict(exact, batch))[1] <= OUTPUTS["float32"]
    printed = capsys.readouterr().out
    assert "written: small.onnx (ONNX, opset 17)" in printed
    for row in ("onnx ", "onnx:openvino", "onnx:reference"):
        assert f"  {row}" in printed
    assert ("batch norms folded: 6 of 13; transitions pooled first: 1" in printed) == bool(options)


def test_an_optimized_file_has_fewer_nodes(folder):
    import onnx

    nodes = []
    for options in ([], ["--optimize"]):
        assert main(["export", "small.safetensors", "small.onnx", "--no-verify", *options]) == 0
        nodes.append([node.op_type for node in onnx.load("small.onnx").graph.node])
    assert len(nodes[0]) - len(nodes[1]) == 6
    assert nodes[1].index("AveragePool") < nodes[1].index("Conv", nodes[1].index("AveragePool"))


@pytest.mark.parametrize("options", [[], ["--optimize"]], ids=["plain", "optimized"])
def test_the_file_says_what_it_is(folder, options):
    import onnx

    assert main(["export", "small.safetensors", "small.onnx", "--no-verify", *options]) == 0
    proto = onnx.load("small.onnx")
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert (proto.producer_name, proto.graph.name, metadata["name"]) == ("densenet-reference", "small", "small")
    assert spec.build(spec.DenseNetConfig(**json.loads(metadata["config"])), "small") == NETWORK
    assert spec.Preprocessing(**json.loads(metadata["preprocessing"])) == spec.Preprocessing()
    assert json.loads(metadata["classes"]) == ["a", "b", "c", "d", "e"]
    assert json.loads(metadata["provenance"])["source"] == "here"


def test_a_variant_has_fresh_weights_which_is_said(folder, capsys):
    assert main(["export", "densenet_d2l", "fresh.onnx", "--set", "num_classes=3", "input_size=32", "--no-verify"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "densenet_d2l: no weights in it, drawn with seed 0",
        "written: fresh.onnx (ONNX, opset 17)",
    ]
    network = spec.variant("densenet_d2l", num_classes=3, input_size=32)
    batch = photographs((1, 32, 32)).astype(np.float32)
    exact = loaded(reference, network, spec.initialize(network, 0))
    assert difference(run_with_runtime("fresh.onnx", batch), reference.predict(exact, batch))[1] <= OUTPUTS["float32"]


def test_float64_is_rounded_which_is_said(folder, capsys):
    save("double.safetensors", np.float64)
    assert main(["export", "double.safetensors", "double.onnx", "--optimize"]) == 0
    assert "float64 rounded to float32, which ONNX Runtime computes in" in capsys.readouterr().out


def test_a_file_that_computes_something_else_is_told(folder, capsys, monkeypatch, backend):
    """The last bias is another one by the time the file is written."""

    def save(path, model, right=backend.save):
        weights = backend.export_weights(model)
        backend.load_weights(model, weights | {"classifier.bias": weights["classifier.bias"] + 1})
        right(path, model)

    monkeypatch.setattr(backend, "save", save)
    assert main(["export", "small.safetensors", "small.onnx"]) == 1
    assert "densenet: onnx departs from the NumPy reference: relative difference" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["small.safetensors", "small.pb"], "the name of an ONNX file ends in .onnx, found 'small.pb'"),
        (["small.safetensors", "nowhere/small.onnx"], "nowhere is not a directory"),
        (["absent.safetensors", "small.onnx"], "absent.safetensors does not exist"),
        (["densenet404", "small.onnx"], "unknown variant 'densenet404'"),
        (["small.safetensors", "small.onnx", "--set", "eps=1"], "leave --set out"),
        (["small.safetensors", "small.onnx", "--images", "none.png"], "none.png does not exist"),
    ],
)
def test_bad_input_is_refused_in_one_sentence_and_nothing_is_written(folder, capsys, arguments, sentence):
    assert main(["export", *arguments]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert sentence in printed.err
    assert sorted(path.name for path in folder.iterdir()) == ["small.safetensors"]


def test_without_the_backend_the_extra_is_named(folder, capsys, monkeypatch):
    monkeypatch.setattr("densenet_tools.backends.find_spec", lambda name: None)
    assert main(["export", "small.safetensors", "small.onnx"]) == 2
    assert "backend 'onnx' is not installed: pip install 'densenet-reference[onnx]'" in capsys.readouterr().err


def test_a_file_is_whole_or_absent(folder, backend, monkeypatch):
    model = loaded(backend, NETWORK, spec.initialize(NETWORK, 0))
    backend.save("small.onnx", model)
    before = (folder / "small.onnx").read_bytes()
    monkeypatch.setattr(
        "spec.files.os.fsync", lambda file: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(spec.SpecError, match=r"^small\.onnx cannot be written: No space left on device$"):
        backend.save("small.onnx", model)
    assert (folder / "small.onnx").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["small.onnx", "small.safetensors"]


@pytest.mark.parametrize("content", [b"", b"no ONNX file"], ids=["empty", "text"])
def test_a_damaged_file_is_refused(folder, backend, content):
    (folder / "small.onnx").write_bytes(content)
    with pytest.raises(spec.SpecError, match=r"^small\.onnx is no ONNX file, or a damaged one$"):
        backend.files.reopened("small.onnx", NETWORK)


def test_commands_and_code_of_the_page_on_export_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = spec.variant("densenet40_k12_bc")
    spec.save("densenet40_k12_bc.safetensors", network, spec.randomize(spec.initialize(network, 0), 0))
    names: dict[str, Any] = {}
    follow(BLOCKS["export.md"], names)
    assert names["logits"].shape == (4, 10)


@pytest.mark.parametrize("command", [["train", "densenet_d2l", "--out", "run"], ["diagnose", "model.py:build"]])
def test_what_needs_training_or_code_is_refused_in_one_sentence(folder, capsys, command):
    (folder / "model.py").write_text("import densenet_onnx\nbuild = densenet_onnx.densenet_d2l\n")
    options = ["--backend", "onnx"] if command[0] == "train" else ["--as", "densenet_d2l"]
    assert main([*command, *options]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "torch" in printed.lower()
