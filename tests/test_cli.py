"""The command line as a user meets it: output, exit status, and one plain sentence for each mistake."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import spec
from densenet_tools import backends
from densenet_tools.commands.app import app, main
from densenet_tools.parity import Check, Verdict
from densenet_tools.parity.page import to_html
from densenet_tools.parity.report import Report
from tests.support import require


@pytest.fixture
def run(capsys):
    """Runs a command; returns (exit status, stdout, stderr)."""

    def run(*argv: str) -> tuple[int, str, str]:
        status = main(argv)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def config(tmp_path):
    """A config file of a network that is built in no time."""
    path = tmp_path / "tiny.toml"
    path.write_text('extends = "densenet40_k12_bc"\ngrowth_rate = 4\nblock_config = [1, 1]\ninput_size = 16\n')
    return str(path)


def test_list_has_every_variant_with_its_figures(run):
    status, out, _ = run("list")
    assert status == 0
    for name in spec.names():
        assert sum(line.split()[:1] == [name] for line in out.splitlines()) == 1
    assert "7,978,856" in out
    assert "2,834,161,664" in out
    assert "4.51 CIFAR-10+, 22.27 CIFAR-100+" in out


def test_list_as_json(run):
    status, out, _ = run("list", "--json")
    listed = json.loads(out)
    assert status == 0
    assert list(listed) == spec.names()
    assert listed["densenet161"]["parameters"] == listed["densenet161"]["published"][0]["parameters"] == 28_681_000


@pytest.mark.parametrize(
    "argv",
    [
        ("densenet_d2l", "--set", "num_classes=5", "growth_rate=8"),
        ("--set", "num_classes=5", "growth_rate=8", "densenet_d2l"),
        ("--set", "num_classes=5", "--set", "growth_rate=8", "--", "densenet_d2l"),
        ("--set=num_classes=5", "densenet_d2l", "--set", "growth_rate=8"),
    ],
)
def test_one_set_takes_several_fields(run, argv):
    assert run("show", *argv)[:2] == run("show", "densenet_d2l", "--set", "num_classes=5", "--set", "growth_rate=8")[:2]


def test_show_has_every_layer_and_the_totals(run):
    status, out, _ = run("show", "densenet121", "--input", "3x224x224")
    assert status == 0
    rows = [line.split() for line in out.splitlines()]
    for layer in spec.analyze(spec.variant("densenet121")):
        assert [layer.path or "total"] in [row[:1] for row in rows]
    assert ["features.conv0", "Conv", "64x112x112", "9,408", "118,013,952", "3.1", "MiB"] in rows
    total = next(row for row in rows if row[:1] == ["total"])
    assert total[1:4] == ["1000", "7,978,856", "2,834,161,664"]


def test_show_folds_by_depth_and_takes_settings_and_json(run, config):
    status, out, _ = run(
        "show",
        config,
        "--depth",
        "2",
        "--set",
        "num_classes=3",
        "--set",
        "stem.padding=0",
        "--set",
        "bn_size=none",
        "--json",
    )
    layers = json.loads(out)["layers"]
    assert status == 0
    assert [layer["path"] for layer in layers][:3] == ["features.conv0", "features.denseblock1", "features.transition1"]
    assert layers[0]["output_shape"] == [8, 14, 14]
    assert layers[-1]["output_shape"] == [3]


@pytest.mark.parametrize("name", list(backends.BACKENDS))
def test_show_of_a_backend_shows_what_it_makes(run, config, name):
    require(name)
    status, out, err = run("show", config, "--backend", name)
    assert (status, err) == (0, "")
    assert f"as {name} builds it" in out


def test_show_of_a_backend_that_differs_is_an_error(run, config, monkeypatch):
    """A torch backend whose stem strides by 2 where the spec says 1."""
    import densenet_torch

    build = densenet_torch.build

    def strided(network, dtype):
        model = build(network, dtype)
        model.features.conv0.stride = (2, 2)
        return model

    monkeypatch.setattr(densenet_torch, "build", strided)
    status, out, err = run("show", config, "--backend", "torch")
    assert status == 1
    assert "8x8x8" in out
    assert "densenet: features.conv0: torch has Observed(output_shape=(8, 8, 8)" in err


def test_parity_prints_a_table_and_writes_json(run, config, tmp_path):
    names = [name for name in backends.BACKENDS if require(name)]
    file = tmp_path / "parity.json"
    status, out, err = run("parity", config, "densenet40_k12_bc", "--dtype", "float64", "--json", str(file))
    assert (status, err) == (0, "")
    assert "tiny  float64  2 x 3x16x16  tolerance 1e-12 relative" in out
    assert out.count("yes") == 2 * len(names)
    report = json.loads(file.read_text())
    assert {"numpy", "torch", "mxnet", "keras"} <= set(report["versions"])
    assert [(row["network"], row["backend"]) for row in report["results"]] == [
        (network, name) for network in ("tiny", "densenet40_k12_bc") for name in names
    ]
    assert all(check["relative"] <= 1e-12 for row in report["results"] for check in row["checks"])
    assert report["results"][-1]["parameters"] == 176_122


@pytest.mark.parametrize("words", [["torch,numpy"], ["torch", "numpy"]])
def test_parity_of_some_backends(run, config, words):
    require("torch")
    status, out, _ = run("parity", config, "--backends", *words)
    assert status == 0
    assert [line.split()[0] for line in out.splitlines() if "yes" in line] == ["torch", "numpy"]


def test_parity_with_my_own_photographs(run, config, tmp_path):
    for i in range(2):
        noise = np.random.default_rng(i).integers(0, 256, (30 + i, 20, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    files = [str(tmp_path / f"{i}.png") for i in range(2)]
    status, out, _ = run("parity", config, "--backends", "numpy", "--batch", "3", "--images", *files)
    assert status == 0
    assert "3 x 3x16x16" in out


def test_parity_that_fails_names_the_backend_and_the_layer(run, config, monkeypatch, tmp_path):
    import densenet_torch

    load_weights = densenet_torch.load_weights

    def wrong_variance(model, weights):
        name = "features.norm5.running_var"
        load_weights(model, weights | {name: weights[name] * 2})

    monkeypatch.setattr(densenet_torch, "load_weights", wrong_variance)
    file = tmp_path / "parity.json"
    status, out, err = run("parity", config, "--backends", "torch", "--json", str(file))
    assert status == 1
    assert out.split()[-1] == "NO"
    assert "densenet: tiny: torch departs from the NumPy reference: relative difference" in err
    assert "first at layer features.norm5 (" in err
    assert json.loads(file.read_text())["results"][0]["departure"]["layer"] == "features.norm5"


def test_a_report_is_valid_json_where_shapes_differ(run, config, monkeypatch, tmp_path):
    import densenet_torch

    monkeypatch.setattr(densenet_torch, "predict", lambda model, images: np.zeros((1, 1), np.float32))
    file = tmp_path / "parity.json"
    status, _, _ = run("parity", config, "--backends", "torch", "--json", str(file))
    assert status == 1
    report = json.loads(file.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert report["results"][0]["checks"][0]["relative"] is None


def test_the_schema_is_one(run):
    for family in ("densenet", "resnet"):
        status, out, _ = run("schema", family)
        assert status == 0
        assert json.loads(out) == spec.schema(family)


def test_the_report_of_parity_has_a_schema_that_it_keeps(run, config, tmp_path):
    """Checked with pydantic: the document is read back as what it was written from."""
    from pydantic import TypeAdapter

    from densenet_tools.parity.report import Report

    require("mxnet")
    file = tmp_path / "parity.json"
    run("parity", config, "--backends", "numpy,mxnet,mxnet:static", "--layers", "--gradients", "--json", str(file))
    report = TypeAdapter(Report).validate_json(file.read_text())
    assert (report.format, report.dtype, report.batch, report.photographs) == (
        *("densenet-parity/1", "float32", 2),
        ("grace_hopper.jpg",),
    )
    assert [[check.name for check in row.checks] for row in report.results] == [
        ["logits", "layers", "loss", "gradients", "statistics"],
        ["logits", "layers", "loss", "gradients", "statistics"],
        ["logits"],
    ]
    assert [name for name, _ in report.results[1].layers] == [path for path, _ in spec.walk(spec.load(config).root)]
    status, out, _ = run("schema", "parity")
    assert status == 0
    schema = json.loads(out)
    assert set(schema["properties"]) == set(json.loads(file.read_text()))
    assert "versioned" in schema["description"] or "format" in schema["description"]


def test_the_page_stands_alone_and_shows_what_failed(run, config, monkeypatch, tmp_path):
    import densenet_torch

    monkeypatch.setattr(densenet_torch, "predict", lambda model, images: np.ones((len(images), 10), np.float32))
    page = tmp_path / "parity.html"
    status, _, err = run("parity", config, "lenet", "--backends", "numpy,torch", "--html", str(page))
    assert status == 1
    assert "in logits" in err
    html = page.read_text()
    assert html.count("<svg") == 2
    assert "2 of 4 comparisons agree" in html
    assert html.count('<td class="no"') == 2
    assert "torch departs from the NumPy reference" in html
    assert "http://" not in html.split("<svg")[0]
    assert not [tag for tag in ("<script", "<link", "<img") if tag in html]


def test_the_page_draws_a_line_for_each_backend_that_differs_at_all():
    """In a plot of logarithms: matplotlib writes what its texts say beside them."""
    pytest.importorskip("matplotlib")
    check = Check("logits", 1e-15, 1e-12, "logits")
    layers = {"equal": (("conv", 0.0), ("relu", 0.0)), "other": (("conv", 0.0), ("relu", 1e-15))}
    rows = [
        Verdict("net", backend, "float64", (2, 5), 10, 0, 1e-15, 0.1, (check,), layers=found)
        for backend, found in layers.items()
    ]
    html = to_html(Report({}, "float64", 0, 2, ("a.jpg",), tuple(rows)))
    assert "<!-- other -->" in html
    assert "<!-- equal -->" not in html


def test_executors_are_rows_of_the_table(run, config):
    require("mxnet")
    status, out, _ = run("parity", config, "--backends", "mxnet", "--executors")
    assert status == 0
    rows = [line.split()[0] for line in out.splitlines() if "yes" in line]
    assert rows == ["mxnet", "mxnet:hybridized", "mxnet:static"]


@pytest.mark.parametrize("executor", ["torch:exported", "mxnet:hybridized", "mxnet:static", "keras:eager"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_executors_agree(run, executor, dtype):
    require(executor.partition(":")[0])
    networks = ["densenet40_k12_bc", "se_resnet18"]
    status, _, err = run(
        "parity", *networks, "--input", "3x64x64", "--set", "in_channels=3", "--backends", executor, "--dtype", dtype
    )
    assert (status, err) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_compiled_torch_model_agrees(run, dtype):
    require("torch")
    status, _, err = run(
        "parity", "densenet40_k12_bc", "densenet_d2l", "--backends", "torch:compiled", "--dtype", dtype
    )
    assert (status, err) == (0, "")


def test_compare_prints_counts_and_times_and_draws_a_picture(run, tmp_path):
    require("torch")
    files = [str(tmp_path / name) for name in ("costs.json", "costs.png")]
    status, out, _ = run(
        *("compare", "densenet40_k12_bc", "lenet", "--input", "1x24x24", "--backends", "numpy,torch", "--runs", "3"),
        *("--json", files[0], "--plot", files[1]),
    )
    assert status == 0
    rows = [line.split() for line in out.splitlines()]
    first, second = (next(row for row in rows if row[:1] == [name]) for name in ("densenet40_k12_bc", "lenet"))
    total = spec.total(spec.variant("lenet", input_size=24))
    assert second[:3] == ["lenet", f"{total.parameters:,}", f"{total.multiply_adds:,}"]
    assert first[1] == f"{176_122 - 2 * 24 * 9:,}", "built for one channel"
    costs = json.loads((tmp_path / "costs.json").read_text())["costs"]
    for timing in (timing for cost in costs for timing in cost["timings"]):
        assert 0 < timing["fastest"] <= timing["median"] <= timing["slowest"]
    with Image.open(tmp_path / "costs.png") as picture:
        assert min(picture.size) > 300
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10


MISTAKES = [
    (["shw"], "shw"),
    (["show"], "NETWORK"),
    (["show", "densnet121"], "unknown variant 'densnet121': did you mean 'densenet121'"),
    (["show", "none.toml"], "none.toml cannot be read: No such file or directory"),
    (["show", "densenet121", "--input", "224"], "--input takes CxHxW, such as 3x224x224, found '224'"),
    (["show", "densenet121", "--input", "3x16x16"], "the smallest that works is 3x29x29"),
    (["show", "densenet121", "--input", "1x224x224"], "takes images of 3 channel(s), found 1x224x224"),
    (["show", "densenet121", "--backend", "caffe"], "unknown backend 'caffe': known: numpy, torch, mxnet, keras"),
    (["show", "densenet121", "--depth", "many"], "--depth"),
    (["show", "densenet121", "--set", "growth_rate"], "--set takes FIELD=VALUE, such as num_classes=10"),
    (["show", "densenet121", "--set", "growth=3"], "growth: unknown field, did you mean 'growth_rate'?"),
    (["show", "densenet121", "--set", "growth_rate=x"], "growth_rate: should be a valid integer, found 'x'"),
    (["show", "densenet121", "--set", "stem=1", "--set", "stem.padding=1"], "stem was set to a value before"),
    (["parity", "densenet121", "--dtype", "float16"], "float16"),
    (["parity", "densenet121", "--backends", "jax"], "unknown backend 'jax'"),
    (["parity", "densenet121", "--batch", "0"], "--batch must be at least 1, found 0"),
    (["parity", "densenet121", "--images", "none.jpg"], "image none.jpg does not exist"),
    (["parity", "densenet121", "--images", __file__], "test_cli.py cannot be read as an image"),
    (["parity", "densenet121", "--json", "/no/such/place.json", "--backends", "numpy"], "cannot be written"),
    (["parity", "densenet121", "--fast"], "--fast"),
    (["parity", "densenet121", "--backends", "mxnet:fast"], "unknown executor 'fast' of backend 'mxnet': known: hybr"),
    (["parity", "densenet121", "--backends", "numpy:fast"], "unknown executor 'fast' of backend 'numpy': known: none"),
    (["parity", "densenet121", "--html", "x.pdf"], "x.pdf must end in .html"),
    (["parity", "lenet", "--input", "1x48x48"], "too large for lenet, whose classifier was made for 1x32x32"),
    (["show", "vgg11", "--set", "block_config=[1]"], "block_config: the list should have 5 or more entries, found [1]"),
    (["schema", "mobilenet"], "family: unknown 'mobilenet', did you mean"),
    (["compare"], "compare needs the names of networks"),
    (["compare", "lenet", "--runs", "0"], "--runs must be at least 1, found 0"),
    (["compare", "lenet", "--plot", "x.jpg"], "x.jpg must end in .png or .svg or .pdf"),
    (["compare", "lenet", "--plot", "/no/such/place.png"], "/no/such is not a directory"),
    (["compare", "lenet", "--input", "1x9x9"], "input_size 9 is too small for lenet"),
]


@pytest.mark.parametrize(("argv", "sentence"), MISTAKES, ids=[" ".join(argv[-3:]) for argv, _ in MISTAKES])
def test_a_mistake_gets_one_sentence_and_exit_2(run, argv, sentence):
    status, out, err = run(*argv)
    assert status == 2
    assert out == ""
    assert err.startswith("densenet: ")
    assert sentence in err
    assert err.count("\n") == 1


def test_a_missing_backend_is_named_with_what_installs_it(run, config, monkeypatch):
    find_spec = backends.find_spec
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name == "mxnet" else find_spec(name))
    sentence = "densenet: backend 'mxnet' is not installed: pip install 'densenet-reference[mxnet]'\n"
    assert run("parity", config, "--backends", "mxnet") == (2, "", sentence)
    status, out, _ = run("parity", config, "--batch", "1")
    assert status == 0
    assert "mxnet" not in out


def test_without_matplotlib_a_picture_is_drawn(run, config, monkeypatch, tmp_path):
    from densenet_tools import images

    photograph = images.load(images.samples(), 2, (3, 16, 16))
    monkeypatch.setattr(images, "find_spec", lambda name: None)
    drawn = images.load(images.samples(), 2, (3, 16, 16))
    assert not np.allclose(drawn, photograph)
    assert drawn.std(axis=(0, 2, 3)).min() > 0.3
    assert (drawn == images.load(images.samples(), 2, (3, 16, 16))).all()
    assert run("parity", config, "--backends", "numpy", "--json", str(tmp_path / "found.json"))[0] == 0
    assert json.loads((tmp_path / "found.json").read_text())["photographs"] == ["a drawn picture"]


COMMANDS = [name for name in app if not name.startswith("-")]


def test_help_names_every_command(run):
    status, out, _ = run("--help")
    assert status == 0
    named = [line.split()[1] for line in out.splitlines() if line.startswith("│ ") and line[2] != " "]
    assert [name for name in named if not name.startswith("-")] == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert f"Example: densenet {command}" in out


def test_both_ways_to_call_it():
    code = "from densenet_tools.commands.app import main; raise SystemExit(main())"
    for command in (["-m", "densenet_tools"], ["-c", code]):
        done = subprocess.run([sys.executable, *command, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "0.1.0"
