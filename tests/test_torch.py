"""What PyTorch's users expect."""

import copy
import pickle

import numpy as np
import pytest

import spec
from tests.cases import CASES, SMALL, small
from tests.support import photographs, require, verdict


@pytest.fixture(autouse=True)
def torch():
    require("torch")
    import torch

    torch.manual_seed(0)
    return torch


@pytest.fixture
def model():
    import densenet_torch

    return densenet_torch.build(SMALL["se_everywhere"]).eval()


def test_keys_and_order_are_those_of_torchvision():
    """The first and last keys of torchvision's densenet121 state dict, and how many there are."""
    import densenet_torch

    keys = list(densenet_torch.densenet121().state_dict())
    assert keys[:7] == [
        "features.conv0.weight",
        "features.norm0.weight",
        "features.norm0.bias",
        "features.norm0.running_mean",
        "features.norm0.running_var",
        "features.norm0.num_batches_tracked",
        "features.denseblock1.denselayer1.norm1.weight",
    ]
    assert keys[-5:] == [
        "features.norm5.running_mean",
        "features.norm5.running_var",
        "features.norm5.num_batches_tracked",
        "classifier.weight",
        "classifier.bias",
    ]
    assert len(keys) == 727


def test_a_state_dict_loads_strictly(torch, model):
    import densenet_torch

    other = densenet_torch.build(SMALL["se_everywhere"])
    other.load_state_dict(model.state_dict())
    state = model.state_dict()
    state["classifier.extra"] = torch.zeros(1)
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\)"):
        other.load_state_dict(state)


def test_legacy_keys_are_renamed(torch):
    """Checkpoints of 2017 have norm.1 and no num_batches_tracked."""
    import densenet_torch

    model, other = (densenet_torch.build(small(bn_size=4)).eval() for _ in range(2))
    legacy = {
        key.replace("norm1.", "norm.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.")
        .replace("conv2.", "conv.2."): value
        for key, value in model.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in legacy
    other.load_state_dict(legacy)
    x = torch.randn(1, 3, 40, 40)
    assert (model(x) == other(x)).all()
    legacy["features.denseblock1.denselayer9.norm.1.weight"] = torch.zeros(1)
    with pytest.raises(RuntimeError, match=r"denselayer9\.norm1\.weight"):
        other.load_state_dict(legacy)


def test_a_checkpoint_that_is_missing_or_none_is_refused_in_a_sentence(tmp_path):
    import densenet_torch

    with pytest.raises(spec.SpecError, match=r"w\.pth does not exist"):
        densenet_torch.densenet40_k12_bc(weights=tmp_path / "w.pth")
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"a": print}, protocol=2))
    with pytest.raises(spec.SpecError, match=r"w\.pth is not a checkpoint of plain tensors"):
        densenet_torch.densenet40_k12_bc(weights=tmp_path / "w.pth")


def test_forward_features_and_a_new_classifier(torch, model):
    x = torch.randn(2, 3, 40, 40)
    features = model.forward_features(x)
    assert features.shape == (2, 26, 5, 5)
    assert (torch.relu(model.features(x)) == features).all()
    model.classifier = torch.nn.Linear(26, 3)
    assert model(x).shape == (2, 3)


def test_a_wrong_input_is_refused_by_the_model_itself(torch, model):
    with pytest.raises(spec.SpecError, match="input 3x4x9 is too small for small: the smallest that works is 3x5x5"):
        model(torch.zeros(1, 3, 4, 9))
    with pytest.raises(spec.SpecError, match="takes images of 3 channel"):
        model.forward_features(torch.zeros(1, 1, 40, 40))


def test_copies_and_pickles(torch, model):
    x = torch.randn(1, 3, 40, 40)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert (other(x) == model(x)).all()


def test_channels_last_and_autocast(torch, model):
    x = torch.randn(2, 3, 40, 40)
    expected = model(x)
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    torch.testing.assert_close(last(x.to(memory_format=torch.channels_last)), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(x).dtype == torch.bfloat16


def test_it_compiles_to_one_graph(torch, model):
    x = torch.randn(2, 3, 40, 40)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert (compiled(x) == model(x)).all()
    assert compiled(torch.randn(1, 3, 48, 56)).shape == (1, 5)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["se_everywhere", "residual_strided", "inception", "flattened"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_compiled_model_agrees_with_the_reference(monkeypatch, case, dtype):
    """Its gradients, too."""
    import torch

    import densenet_torch

    build = densenet_torch.build
    torch.compiler.reset()

    def compiled(network, dtype):
        model = build(network, dtype=dtype)
        model.compile(fullgraph=True)
        return model

    monkeypatch.setattr(densenet_torch, "build", compiled)
    batch = photographs(CASES[case].input_shape, 3)
    result = verdict(CASES[case].network, "torch", batch, dtype, checks=["gradients"])
    assert result.agrees, result.problem


@pytest.mark.slow
def test_more_than_eight_networks_compile():
    import densenet_torch

    images = np.ones((2, 3, 40, 40))
    for channels in range(1, 10):
        model = densenet_torch.build(small(block_config=[1], stem={"channels": channels}), dtype="float64")
        found = densenet_torch.EXECUTORS["compiled"](model, images)
        assert found == pytest.approx(densenet_torch.predict(model, images), rel=1e-10)


def test_it_exports_for_any_batch_and_size(torch, model):
    x = torch.randn(2, 3, 48, 64)
    dims = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height", min=16), 3: torch.export.Dim("width", min=16)}
    program = torch.export.export(model, (x,), dynamic_shapes=(dims,))
    y = torch.randn(5, 3, 40, 56)
    torch.testing.assert_close(program.module()(y), model(y))


def test_gradients_reach_every_parameter(torch, model):
    model.train()
    model(torch.randn(4, 3, 40, 40)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_modes_and_gradients_are_left_alone(model):
    """A model with one frozen batch norm keeps it frozen, whatever interop does."""
    import densenet_torch

    model.train()
    model.features.norm0.eval()
    before = {name: module.training for name, module in model.named_modules()}
    images = np.zeros((2, 3, 40, 40), np.float32)
    densenet_torch.predict(model, images)
    densenet_torch.trace(model, images)
    densenet_torch.loss_and_gradients(model, images, np.array([0, 1]))
    assert {name: module.training for name, module in model.named_modules()} == before
    assert all(parameter.grad is None for parameter in model.parameters())
    assert int(model.features.norm5.num_batches_tracked) == 0
    assert not any(module._forward_hooks for module in model.modules())


def test_momentum_reads_as_people_write_it(model):
    assert "momentum=0.1," in repr(model)
