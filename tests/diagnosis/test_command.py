"""`densenet diagnose`, as it is typed, and `assert_same_network`."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import spec
from densenet_tools.testing import assert_same_network
from tests.support import require
from tests.trained import done, refused, run

SUSPECTS = '''
import torch
from torch import nn

import densenet_torch


def sound():
    return densenet_torch.densenet40_k12_bc(num_classes=3, block_config=[2, 2])


def faulty():
    model = sound()
    model.features.transition1.relu = nn.Identity()
    model.features.norm5.eps = 1e-3
    return model


def strange():
    model = sound()
    relu = model.features.denseblock2.denselayer1.relu2
    relu.forward = lambda x: torch.relu(x) + 0.1 * torch.sin(3 * x)
    return model


def detached():
    model = sound()
    transition = model.features.transition1
    forward = transition.forward
    transition.forward = lambda x: forward(x.detach())
    return model


def sgd(model):
    return torch.optim.SGD(model.parameters(), 0.1, 0.9, nesterov=True, weight_decay=1e-4)


def nothing(model):
    return model.nothing


def failing():
    raise ValueError("no weights here")


class Own(nn.Sequential):
    """Nothing of ours in it, and no name that says anything."""

    def __init__(self):
        super().__init__(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 12 * 12, 10))


model, number = sound(), 3
'''
NETWORK = "as.toml"
CONFIG = """family = "densenet"
growth_rate = 12
block_config = [2, 2]
bn_size = 4
compression = 0.5
num_classes = 3
input_size = 32
stem = {kernel_size = 3, stride = 1, padding = 1, norm = false, pool = false}
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    require("torch")
    (tmp_path / "suspects.py").write_text(SUSPECTS)
    (tmp_path / NETWORK).write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("suspects", None)


def test_a_sound_model_agrees(place, capsys):
    out = done(capsys, "diagnose", "suspects.py:sound", "--as", NETWORK)
    assert out.startswith("the PyTorch model in float32 is as: logits agree to ")


def test_a_module_and_a_model_itself_are_taken_too(place, capsys):
    for name in ("suspects:sound", "suspects:model", "./suspects.py:model"):
        assert "agree" in done(capsys, "diagnose", name, "--as", NETWORK)


def test_a_faulty_model_departs_with_causes_and_lines(place, capsys):
    status, out, err = run(capsys, "diagnose", "suspects.py:faulty", "--as", NETWORK, "--json", "found.json")
    assert (status, err) == (1, "")
    lines = [line.strip() for line in out.splitlines()]
    assert lines[1].startswith("before features.transition1.conv: no ReLU: explains ")
    assert lines[2] == "x = F.relu(x)"
    assert lines[3].startswith("features.norm5: eps 0.001: explains ")
    assert lines[4].startswith("nn.BatchNorm2d(")
    assert "eps=1e-05" in lines[4]
    found = json.loads((place / "found.json").read_text())
    assert found["agrees"] is False
    assert [each["layer"] for each in found["findings"]] == ["features.transition1.conv", "features.norm5"]
    assert found["findings"][1]["causes"] == [{"key": "eps", "text": "eps 0.001"}]


def test_what_nothing_explains_is_written_with_a_script_that_shows_it(place, capsys):
    status, out, err = run(capsys, "diagnose", "suspects.py:strange", "--as", NETWORK)
    assert (status, err) == (1, "")
    assert "before features.denseblock2.denselayer1.conv2: differs by " in out
    assert "which nothing that was tried explains; the model runs nn.ReLU there" in out
    assert out.splitlines()[-1] == "written: failing.npz and failing.py, which shows it"
    shown = subprocess.run([sys.executable, "failing.py"], capture_output=True, text=True, check=True)
    assert float(shown.stdout.split()[-1]) == pytest.approx(0.1, rel=1e-2)  # the most of 0.1 sin(3 x)


def test_without_as_it_says_what_the_model_is(place, capsys):
    out = done(capsys, "diagnose", "suspects.py:model", "--mapping")
    assert out.startswith("the PyTorch model in float32 is densenet: ")
    assert "features.conv0" in out


def test_training_is_compared_on_request(place, capsys):
    out = done(capsys, "diagnose", "suspects.py:detached", "--as", NETWORK)
    assert "gradients" not in out
    out = done(capsys, "diagnose", "suspects.py:sound", "--as", NETWORK, "--training")
    assert ", gradients to " in out
    assert ", running statistics to " in out
    argv = ["suspects.py:detached", "--as", NETWORK, "--training", "--json", "found.json", "--html", "found.html"]
    status, out, err = run(capsys, "diagnose", *argv)
    assert (status, err) == (1, "")
    said = "features.transition1.norm, backward: no gradient to what it is given:"
    assert out.splitlines()[1].strip().startswith(said)
    found = json.loads((place / "found.json").read_text())
    assert found["training"].keys() == {"gradients", "running statistics"}
    assert found["findings"][0]["where"] == "passes back"
    assert "in what the layer passes back" in (place / "found.html").read_text()


def test_an_optimizer_is_told_and_compared(place, capsys):
    argv = ["diagnose", "suspects.py:sound", "--as", NETWORK, "--optimizer", "suspects.py:sgd"]
    told = "  note: the optimizer has learning_rate 0.1, momentum 0.9, nesterov True, weight_decay 0.0001"
    assert done(capsys, *argv).splitlines()[-1] == told
    assert done(capsys, *argv, "--nesterov", "--momentum", "0.9", "--weight-decay", "1e-4").splitlines()[-1] == told
    status, out, _ = run(capsys, *argv, "--no-nesterov", "--html", "found.html")
    assert status == 1
    assert out.splitlines()[1].strip().startswith("optimizer step: nesterov True, False expected:")
    line = "torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=False, weight_decay=0.0001)"
    assert out.splitlines()[2].strip() == line
    assert "in what the optimizer moves" in (place / "found.html").read_text()


def test_another_structure_is_told_before_numbers(place, capsys):
    status, out, _ = run(capsys, "diagnose", "suspects.py:sound", "--as", NETWORK, "--set", "block_config=[2, 3]")
    assert status == 1
    assert out.splitlines()[1].strip() == "block_config (2, 3) expected, (2, 2) found"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["suspects.py"], "'suspects.py' names no model: write package.module:function or file.py:function"),
        (["suspects.py:absent"], "suspects.py has no 'absent': "),
        (["suspects.py:number"], "suspects.py:number gives a int, expected a model of PyTorch, Gluon or Keras"),
        (
            ["suspects.py:failing"],
            "suspects.py:failing cannot be called without arguments: ValueError: no weights here",
        ),
        (["absent.py:build"], "absent.py is not there: give the path of a Python file, or a module's name"),
        (["absent:build"], "absent cannot be imported: ModuleNotFoundError: No module named 'absent'"),
        (["suspects.py:sound", "--as", "densnet121"], "unknown variant 'densnet121'"),
        (["suspects.py:sound", "--failing", "x.txt"], "--failing takes a name that ends in .npz, found 'x.txt'"),
        (
            ["suspects.py:sound", "--as", NETWORK, "--momentum", "0.9"],
            "--momentum is of an optimizer: name one with --optimizer",
        ),
        (
            ["suspects.py:sound", "--as", NETWORK, "--optimizer", "suspects.py"],
            "'suspects.py' names no optimizer: write package.module:function or file.py:function",
        ),
        (
            ["suspects.py:sound", "--as", NETWORK, "--optimizer", "suspects.py:nothing"],
            "suspects.py:nothing makes no optimizer of the model: AttributeError: ",
        ),
        (
            ["suspects.py:sound", "--as", NETWORK, "--optimizer", "suspects.py:number"],
            "the optimizer is a int, expected a torch.optim.Optimizer: build one of the model's parameters()",
        ),
    ],
)
def test_a_mistake_is_one_sentence(place, capsys, argv, sentence):
    assert refused(capsys, "diagnose", *argv).startswith(sentence)


def test_the_script_is_not_put_over_the_model(place, capsys):
    (place / "failing.py").write_text(SUSPECTS)
    sentence = refused(capsys, "diagnose", "failing.py:strange", "--as", NETWORK)
    assert sentence == "the script of --failing failing.py is a file that is read: name another one"
    assert (place / "failing.py").read_text() == SUSPECTS


def test_a_model_that_cannot_take_the_images_is_one_sentence(place, capsys):
    sentence = refused(capsys, "diagnose", "suspects.py:Own", "--as", "lenet", "--set", "input_size=48")
    assert sentence.startswith("the model cannot be run on images 2x1x48x48: RuntimeError: ")


def test_an_assertion_passes_or_says_what_the_command_says(place):
    import suspects

    network = spec.load(NETWORK)
    assert_same_network(suspects.sound(), NETWORK)
    assert_same_network(suspects.sound(), network)
    assert_same_network(suspects.sound(), NETWORK, num_classes=3, weights="own")
    assert_same_network(suspects.sound(), NETWORK, training=True)
    with pytest.raises(AssertionError, match=r"(?s)is as in inference, .*no gradient to what it is given: explains"):
        assert_same_network(suspects.detached(), NETWORK, training=True)
    model = suspects.sound()
    with pytest.raises(AssertionError, match="the first step moves all values alike"):
        assert_same_network(model, NETWORK, optimizer=suspects.torch.optim.Adam(model.parameters()))
    with pytest.raises(AssertionError, match=r"(?s)is not as: logits differ.*no ReLU: explains .*eps 0.001: explains"):
        assert_same_network(suspects.faulty(), NETWORK)


def test_an_assertion_compares_the_weights_of_a_file(place):
    import suspects

    import densenet_torch

    model = suspects.sound()
    densenet_torch.load_weights(model, spec.randomize(densenet_torch.export_weights(model), 0))
    spec.save("right.safetensors", model.network, densenet_torch.export_weights(model))
    assert_same_network(model, "right.safetensors")
    model.features.norm5.running_var.fill_(1)
    model.classifier.bias.data.mul_(0)
    with pytest.raises(AssertionError, match="classifier: bias not loaded: it is all 0"):
        assert_same_network(model, "right.safetensors")


def test_an_assertion_needs_one_framework_alone(place):
    blocked = "; ".join(f"sys.modules[{name!r}] = None" for name in ("mxnet", "keras", "tensorflow", "jax"))
    code = f"import sys; {blocked}; from densenet_tools.testing import assert_same_network; import suspects; "
    code += f"assert_same_network(suspects.sound(), {NETWORK!r})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(place), *sys.path]))}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)


def test_other_weights_show_what_own_ones_hide(place):
    """An epsilon of 1.001e-5 is within rounding where variances are about one, and not where they are about 1e-5."""
    import suspects

    import densenet_torch

    model = suspects.sound()
    weights = spec.randomize(densenet_torch.export_weights(model), 0)
    densenet_torch.load_weights(model, {name: np.asarray(array) for name, array in weights.items()})
    for norm in (module for module in model.modules() if hasattr(module, "eps")):
        norm.eps = 1.001e-5
    assert_same_network(model, NETWORK, weights="own")
    with pytest.raises(AssertionError, match=r"eps 1\.001e-05: explain"):
        assert_same_network(model, NETWORK)
