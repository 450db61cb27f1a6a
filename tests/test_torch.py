"""What PyTorch's users expect."""

import copy
import inspect
import pickle
import sys
import types

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


def images_of(torch, network):
    """Two images of the network's size, drawn."""
    return torch.randn(2, *network.input_shape)


@pytest.mark.parametrize("case", SMALL)
def test_a_model_is_traced_and_scripted(torch, case):
    """By torch.fx also inside of another one, and by TorchScript twice: it optimizes after the first run."""
    import densenet_torch

    model = densenet_torch.build(SMALL[case]).eval()
    x = images_of(torch, SMALL[case])
    for other in (torch.fx.symbolic_trace(model), torch.fx.symbolic_trace(torch.nn.Sequential(model))):
        assert torch.equal(other(x), model(x))
    scripted = torch.jit.script(model)
    for _ in range(2):
        torch.testing.assert_close(scripted(x), model(x))
    traced = torch.jit.trace(model, x)
    torch.testing.assert_close(traced(x), model(x))


def test_a_fresh_network_compiles_and_exports_strictly(torch):
    """Whose sizes nothing has asked for yet, as anything that looks at shapes might do in a graph."""
    import densenet_torch

    x = torch.randn(2, 3, 40, 40)
    model = densenet_torch.build(small(bn_size=2)).eval()
    assert torch.equal(torch.compile(model, fullgraph=True, backend="eager")(x), model(x))
    model = densenet_torch.build(small(bn_size=2)).eval()
    assert torch.equal(torch.export.export(model, (x,), strict=True).module()(x), model(x))


def test_errors_of_pytorch_that_are_not_of_the_shape_stay_as_they_are(torch, model):
    with pytest.raises(RuntimeError, match="Double"):
        model(torch.zeros(1, 3, 40, 40, dtype=torch.float64))


def test_the_default_dtype_is_that_of_new_models(torch):
    import densenet_torch

    torch.set_default_dtype(torch.float64)
    try:
        models = densenet_torch.build(small()), densenet_torch.densenet40_k12_bc()
    finally:
        torch.set_default_dtype(torch.float32)
    assert {p.dtype for model in models for p in model.parameters()} == {torch.float64}
    assert next(densenet_torch.build(small(), "float32").parameters()).dtype == torch.float32


def test_models_and_blocks_are_cut_in_slices(torch, model):
    x = torch.randn(2, 3, 40, 40)
    assert torch.equal(model[:1](x), model.features(x))
    assert torch.equal(model[-1](model[:-1](x)), model(x))
    block = model.features.denseblock1
    assert next(iter(block[1:].state_dict())) == "denselayer2.norm1.weight"
    assert type(block[:1]) is torch.nn.Sequential


def test_what_was_replaced_by_hand_is_known(torch, model):
    """Classes of a new classifier, inside of others, too; none of an nn.Identity; channels of a new first layer."""
    import densenet_torch

    model.classifier = torch.nn.Sequential(torch.nn.Linear(26, 9), torch.nn.ReLU(), torch.nn.Linear(9, 3))
    assert model.network.num_classes == model.num_classes == 3
    images = np.zeros((2, 3, 40, 40), np.float32)
    densenet_torch.loss_and_gradients(model, images, np.array([0, 2]))
    with pytest.raises(spec.SpecError, match="labels must lie between 0 and 2, found 0 to 3"):
        densenet_torch.loss_and_gradients(model, images, np.array([0, 3]))
    model.features.conv0 = torch.nn.Conv2d(1, 6, kernel_size=7, stride=2, padding=3, bias=False)
    assert model.network.in_channels == 1
    assert densenet_torch.predict(model, images[:, :1]).shape == (2, 3)
    with pytest.raises(spec.SpecError, match="takes images of 1 channel"):
        densenet_torch.predict(model, images)
    model.classifier = torch.nn.Identity()
    assert (model.network.num_classes, model.num_classes, model.network.in_channels) == (None, 0, 1)
    with pytest.raises(spec.SpecError, match="has no classifier, a loss needs logits"):
        densenet_torch.loss_and_gradients(model, images[:, :1], np.array([0, 1]))
    del model.classifier
    assert model.num_classes == 0


def test_a_network_that_nothing_was_replaced_of_is_the_one_it_was_built_from():
    import densenet_torch

    for network in (*SMALL.values(), small().headless):
        assert densenet_torch.build(network).network is network


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_arrays_of_a_narrow_model_are_float32(torch, dtype):
    """Each value the same; what it takes back is rounded to the same."""
    import densenet_torch

    network = SMALL["se_everywhere"]
    model = densenet_torch.build(network, dtype)
    weights = densenet_torch.export_weights(model)
    assert {array.dtype for array in weights.values()} == {np.dtype("float32")}
    assert (weights["classifier.weight"] == model.classifier.weight.detach().float().numpy()).all()
    other = densenet_torch.build(network, dtype)
    densenet_torch.load_weights(other, weights)
    images = photographs(network.input_shape)
    found = densenet_torch.predict(other, images)
    assert found.dtype == np.float32
    assert (found == densenet_torch.predict(model, images)).all()
    assert {array.dtype for array in densenet_torch.trace(model, images).values()} == {np.dtype("float32")}
    optimizer = densenet_torch.sgd(model, 0.1, momentum=0.9)
    densenet_torch.step(model, optimizer, images, np.array([0, 1]))
    velocities = densenet_torch.export_velocities(model, optimizer)
    densenet_torch.load_velocities(other, densenet_torch.sgd(other, 0.1, momentum=0.9), velocities)


@pytest.mark.parametrize("wrap", ["DataParallel", "AveragedModel", "compile"])
def test_a_wrapped_model_says_what_network_it_is_of(torch, model, wrap):
    import densenet_torch

    wrappers = {
        "DataParallel": torch.nn.DataParallel,
        "AveragedModel": torch.optim.swa_utils.AveragedModel,
        "compile": lambda model: torch.compile(model, backend="eager"),
    }
    images = np.ones((2, 3, 40, 40), np.float32)
    found = densenet_torch.predict(wrappers[wrap](model), images)
    assert found == pytest.approx(densenet_torch.predict(model, images), rel=1e-5)
    with pytest.raises(spec.SpecError, match="the model does not say what network it is of"):
        densenet_torch.predict(torch.fx.symbolic_trace(model), images)


REFUSED = {
    "weights by name": ({"weights": "DEFAULT"}, "found 'DEFAULT': no weights are hosted or downloaded"),
    "another enum": ({"weights": 3}, "found '3': no weights are hosted or downloaded"),
    "pretrained": ({"pretrained": True}, "pretrained=True: no weights are hosted or downloaded, give weights the path"),
    "a rate": ({"drop_rate": 2}, "densenet121: drop_rate: should be less than 1, found 2"),
    "a rate, twice": ({"drop_rate": 0.1, "dropout": 0.1}, "drop_rate and dropout are the same, found both"),
    "channels": ({"num_init_features": 0}, "num_init_features: should be greater than 0, found 0"),
    "channels of images": ({"in_chans": 0}, "in_chans: should be greater than 0, found 0"),
    "classes": ({"num_classes": -1}, "num_classes: should be greater than 0, found -1"),
    "a pool": ({"global_pool": "max"}, "global_pool should be 'avg', as its classifier takes averages, found 'max'"),
    "an unknown pool": ({"num_classes": 0, "global_pool": "mean"}, "global_pool should be 'avg'.* found 'mean'"),
    "maps": ({"features_only": True, "out_indices": [5]}, "out_indices: there are maps of 5 sizes, found 5: name some"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_builder_names_what_it_refuses_in_the_words_of_pytorch(case):
    import densenet_torch

    words, sentence = REFUSED[case]
    with pytest.raises(spec.SpecError, match=sentence):
        densenet_torch.densenet121(**words)


def test_a_network_without_dense_blocks_or_linear_layers_says_what_it_has_not():
    import densenet_torch

    with pytest.raises(spec.SpecError, match="memory_efficient is for dense blocks, and the model has none"):
        densenet_torch.lenet(memory_efficient=True)
    with pytest.raises(spec.SpecError, match="nin has no linear layer for its classes"):
        densenet_torch.nin(num_classes=0)
    with pytest.raises(spec.SpecError, match="lenet: global_pool should be 'avg'"):
        densenet_torch.lenet(num_classes=0, global_pool="")


@pytest.mark.parametrize("name", ["densenet40_k12_bc", "lenet", "resnet18", "googlenet"])
def test_what_timm_calls_takes_every_family_apart(torch, name):
    import densenet_torch

    model = densenet_torch.get_model(name, num_classes=3).eval()
    x = images_of(torch, model.network)
    features = model.forward_features(x)
    assert features.shape[1] == model.num_features
    assert torch.equal(model.forward_head(features), model(x))
    maps = densenet_torch.features.FeatureMaps(model).eval()(x)
    assert [each.shape[1] for each in maps] == model.feature_info.channels()
    sizes = [round(x.shape[2] / each.shape[2]) for each in maps]
    assert sizes == model.feature_info.reduction() == sorted(set(sizes))
    assert torch.equal(maps[-1], features)
    before = model.get_classifier()
    model.reset_classifier(4)
    assert model.get_classifier().in_features == before.in_features == model.head_hidden_size
    assert model(x).shape == (2, 4)
    assert model.num_classes == model.network.num_classes == 4
    model.reset_classifier(0)
    assert model(x).shape == (2, before.in_features)


def test_feature_maps_are_not_logits(torch):
    import densenet_torch

    model = densenet_torch.densenet40_k12_bc(features_only=True, out_indices=(-1, 0))
    assert [each["reduction"] for each in model.feature_info] == [1, 4]
    with pytest.raises(spec.SpecError, match="puts out a list, expected logits"):
        densenet_torch.predict(model, np.zeros((1, 3, 32, 32), np.float32))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_wrapped_checkpoint_loads(torch, suffix, tmp_path):
    """Under `state_dict` and with `module.` before each name, and with PyTorch's counts of batches."""
    from safetensors.torch import save_file

    import densenet_torch

    model = densenet_torch.densenet40_k12_bc()
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    path = tmp_path / f"w{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state, "epoch": 1}, path)
    loaded = densenet_torch.densenet40_k12_bc(weights=path).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in model.state_dict().items())


def test_a_folder_of_the_hub_has_all_that_a_model_is(torch, tmp_path):
    import densenet_torch

    model = densenet_torch.build(SMALL["se_everywhere"])
    model.classifier = torch.nn.Linear(26, 3)
    model.save_pretrained(tmp_path / "a" / "b")
    loaded = densenet_torch.ConvNet.from_pretrained(tmp_path / "a" / "b")
    assert loaded.network == model.network
    x = torch.randn(2, 3, 40, 40)
    assert torch.equal(loaded(x), model.eval()(x))
    (tmp_path / "file").write_text("")
    with pytest.raises(spec.SpecError, match="file cannot be a folder to save in"):
        model.save_pretrained(tmp_path / "file")
    with pytest.raises(spec.SpecError, match=r"model\.safetensors does not exist"):
        densenet_torch.ConvNet.from_pretrained(tmp_path)


def test_a_repository_that_is_not_there_is_refused_in_a_sentence(monkeypatch):
    import densenet_torch

    hub = types.SimpleNamespace(snapshot_download=lambda name, **_: (_ for _ in ()).throw(OSError("404\nlong text")))
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with pytest.raises(spec.SpecError, match=r"me/none is no folder here, and the Hub does not give it: 404$"):
        densenet_torch.ConvNet.from_pretrained("me/none")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(spec.SpecError, match=r"the Hub needs huggingface_hub: pip install huggingface_hub$"):
        densenet_torch.ConvNet.from_pretrained("me/none")


def test_a_head_of_several_layers_that_was_replaced_is_left_to_hands(torch):
    import densenet_torch

    model = densenet_torch.build(SMALL["flattened"])
    model.classifier = torch.nn.Linear(45, 2)
    assert model.get_classifier() is model.classifier
    with pytest.raises(spec.SpecError, match="tiny: classifier was replaced by hand: replace it by hand again"):
        model.reset_classifier(3)


def test_help_tells_what_a_user_needs():
    import densenet_torch

    signature = inspect.signature(densenet_torch.densenet121)
    assert list(signature.parameters)[:2] == ["weights", "progress"]
    text = inspect.getdoc(densenet_torch.densenet121)
    assert text.startswith("The variant densenet121.")
    for word in ("num_classes", "drop_rate", "memory_efficient", "features_only", "SpecError"):
        assert word in text


def test_momentum_reads_as_people_write_it(model):
    assert "momentum=0.1," in repr(model)
