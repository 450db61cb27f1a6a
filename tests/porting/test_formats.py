"""Every kind of file to every other and back: the same bits, what is told of them, and what is made of them."""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import spec
from densenet_tools import backends, porting
from densenet_tools.commands.app import main
from densenet_tools.parity.differences import difference
from densenet_tools.parity.tolerance import OUTPUTS
from densenet_tools.porting import Format, port
from densenet_tools.porting.names import IMPLEMENTATIONS, LAYERS, canonical_layers, foreign_name
from densenet_tools.porting.readers import read
from tests.cases import SMALL
from tests.porting.support import FIELDS, NETWORK, images_of, listing, logits, params, same, tiny, weights_of
from tests.support import FRAMEWORKS, require

WEIGHTS = weights_of()
# {ending: the backend whose framework writes such files}
ENDINGS = {
    ".safetensors": "numpy",
    ".pth": "torch",
    ".pt": "torch",
    ".keras": "keras",
    ".weights.h5": "keras",
    ".params": "mxnet",
}


def written(folder: Path, ending: str, network: spec.Network = NETWORK, weights: spec.Weights = WEIGHTS) -> Path:
    """A file of that kind with these weights, as this project writes it."""
    require(ENDINGS[ending])
    path = folder / f"x{ending}"
    porting.write(path, porting.format_of(path, None, "--to"), spec.Checkpoint(network, weights))
    return path


def ported(path: Path, dest: Path, **options) -> porting.Ported:
    """`densenet port path dest --no-verify`."""
    target = porting.format_of(dest, None, "--to")
    found = porting.convert(path, porting.format_of(path, None, "--from"), target, **options)
    porting.check_writable(dest, target, found.result.network)
    porting.write(dest, target, found.result)
    return found


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """{ending: a file of that kind}."""
    folder = tmp_path_factory.mktemp("sources")
    return {ending: written(folder, ending) for ending in ENDINGS}


NETWORKS = {
    "gates everywhere": {
        "squeeze_excitation": {"ratio": 2, "placement": ["layer", "block", "transition", "final"], "bias": True}
    },
    "biases": {"conv_bias": True},
    "no bottleneck": {"bn_size": None},
    "one block": {"block_config": [2], "compression": 1.0},
}


BRANCHES = ["se_everywhere", "residual_strided", "residual_normed", "residual_squeezed", "inception", "flattened"]


@pytest.mark.parametrize("ending", [".pth", ".weights.h5", ".params"])
@pytest.mark.parametrize("case", BRANCHES)
def test_a_framework_s_own_loader_opens_what_is_written_without_its_models(tmp_path, case, ending):
    """Keras numbers layers as it sorts them, by how many lead to the output: with branches that is no chain."""
    network = SMALL[case]
    weights = spec.randomize(spec.initialize(network, 0), 0)
    backend = require(ENDINGS[ending])
    model = backend.files.reopened(written(tmp_path, ending, network, weights), network)
    assert same(backend.export_weights(model), weights)


class TestRoundTrips:
    @pytest.mark.parametrize(("source", "dest"), list(itertools.permutations([e for e in ENDINGS if e != ".pt"], 2)))
    def test_from_any_to_any_other_and_back_no_bit_changes(self, sources, tmp_path, source, dest):
        ported(sources[source], tmp_path / f"there{dest}")
        back = ported(tmp_path / f"there{dest}", tmp_path / f"back{source}")
        assert back.result.network.config == NETWORK.config
        assert same(back.result.weights, WEIGHTS)

    @pytest.mark.parametrize("order", [list(ENDINGS), list(reversed(ENDINGS))], ids=["there", "back"])
    def test_through_all_of_them_in_a_row_no_bit_changes(self, sources, tmp_path, order):
        path = sources[order[0]]
        for step, ending in enumerate([*order[1:], ".safetensors"]):
            ported(path, tmp_path / f"{step}{ending}")
            path = tmp_path / f"{step}{ending}"
        found = spec.open(path)
        assert same(found.weights, WEIGHTS)
        assert found.network.config == NETWORK.config

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_float64_stays_float64(self, tmp_path, ending):
        weights = weights_of(dtype=np.float64)
        found = ported(written(tmp_path, ending, weights=weights), tmp_path / "back.safetensors")
        assert found.source.dtype == "float64"
        assert same(spec.open(tmp_path / "back.safetensors").weights, weights)

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_another_family_comes_back_too(self, tmp_path, ending):
        network = spec.variant("lenet")
        found = ported(written(tmp_path, ending, network, weights_of(network)), tmp_path / "back.safetensors")
        assert found.result.network.name == "lenet"
        assert same(spec.open(tmp_path / "back.safetensors").weights, weights_of(network))

    def test_vgg_whose_layers_are_numbered_is_not_taken_for_a_densenet_of_the_model_zoo(self, tmp_path):
        shapes = spec.parameter_shapes(spec.variant("vgg11"))
        arrays = {name: np.full((1,) * len(shape), i, "f4") for i, (name, shape) in enumerate(shapes.items())}
        (tmp_path / "x.params").write_bytes(params(arrays))
        found = read(tmp_path / "x.params", Format.GLUON)
        assert found.format is Format.GLUON
        assert same(found.weights, arrays)

    @pytest.mark.parametrize("case", NETWORKS)
    @pytest.mark.parametrize("ending", [".pth", ".keras", ".params"])
    def test_densenets_with_every_option_come_back(self, tmp_path, ending, case):
        network = tiny(**NETWORKS[case])
        weights = weights_of(network)
        found = ported(written(tmp_path, ending, network, weights), tmp_path / "back.safetensors")
        assert same(found.result.weights, weights)
        assert spec.parameter_shapes(found.result.network) == spec.parameter_shapes(network)

    def test_a_whole_model_in_the_legacy_layout_of_keras_is_read(self, tmp_path):
        backend = require("keras")
        model = backend.build(NETWORK, dtype="float32")
        backend.load_weights(model, WEIGHTS)
        model.save(tmp_path / "x.h5")
        found = ported(tmp_path / "x.h5", tmp_path / "y.safetensors")
        assert found.format is Format.KERAS
        assert same(found.result.weights, WEIGHTS)
        assert porting.compare(found, tmp_path / "x.h5", tmp_path, Format.CONFIG, images_of()).rows[0].agrees

    def test_the_fields_that_no_shape_shows_travel_in_the_neutral_file_alone(self, tmp_path):
        network = tiny(eps=1e-3, input_size=48)
        there = written(tmp_path, ".safetensors", network, weights_of(network))
        ported(there, tmp_path / "y.safetensors")
        assert spec.open(tmp_path / "y.safetensors").network.config == network.config
        require("torch")
        ported(there, tmp_path / "y.pth")
        assert porting.convert(tmp_path / "y.pth", Format.TORCH).result.network.config == NETWORK.config
        told = porting.convert(tmp_path / "y.pth", Format.TORCH, overrides={"eps": 1e-3, "input_size": 48})
        assert told.result.network.config == network.config


WRAPPERS = {
    "bare": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3, "arch": "densenet", "best_acc1": 0.5},
    "model": lambda s: {"model": s, "args": {"lr": 0.1}},
    "model_state_dict": lambda s: {"epoch": 1, "model_state_dict": s, "optimizer_state_dict": {"state": {}}},
    "state_dict beside an optimizer": lambda s: {
        "optimizer": {"state": {0: {"momentum_buffer": s["classifier.bias"]}}, "param_groups": [{"lr": 0.1}]},
        "state_dict": s,
    },
    "module.": lambda s: {f"module.{name}": tensor for name, tensor in s.items()},
    "state_dict and module.": lambda s: {"state_dict": {f"module.{name}": t for name, t in s.items()}},
    "module.module.": lambda s: {f"module.module.{name}": tensor for name, tensor in s.items()},
    "_orig_mod.": lambda s: {f"_orig_mod.{name}": tensor for name, tensor in s.items()},
    "model in state_dict": lambda s: {"state_dict": {"model": s}},
    "pre-0.4 keys": lambda s: {older(name): tensor for name, tensor in s.items() if "num_batches" not in name},
    "pre-0.4 keys and module.": lambda s: {"state_dict": {f"module.{older(n)}": t for n, t in s.items()}},
    "no numbers of batches": lambda s: {name: t for name, t in s.items() if "num_batches" not in name},
    "parameters": lambda s: {
        name: __import__("torch").nn.Parameter(t) if t.is_floating_point() else t for name, t in s.items()
    },
}


class TestTorch:
    """What scripts put around a state dict."""

    @staticmethod
    def state() -> dict:
        require("torch")
        import densenet_torch

        model = densenet_torch.build(NETWORK)
        densenet_torch.load_weights(model, WEIGHTS)
        return model.state_dict()

    @pytest.mark.parametrize("case", WRAPPERS)
    def test_the_state_dict_is_found_inside(self, tmp_path, case):
        state = WRAPPERS[case](self.state())
        import torch

        torch.save(state, tmp_path / "x.pth")
        found = porting.convert(tmp_path / "x.pth", Format.TORCH)
        assert same(found.result.weights, WEIGHTS)
        assert found.result.network.config == NETWORK.config
        assert porting.compare(found, tmp_path / "x.pth", tmp_path, Format.CONFIG, images_of()).rows[0].agrees

    @pytest.mark.parametrize("kind", ["float16", "bfloat16"])
    def test_narrow_floats_are_widened_exactly(self, tmp_path, kind):
        state = self.state()
        import torch

        narrow = {n: t.to(getattr(torch, kind)) if t.is_floating_point() else t for n, t in state.items()}
        torch.save(narrow, tmp_path / "x.pth")
        expected = {name: narrow[name].float().numpy() for name in WEIGHTS}
        with pytest.warns(spec.SpecWarning, match=f"x.pth holds {kind}, read as float32: each value is the same"):
            found = porting.convert(tmp_path / "x.pth", Format.TORCH)
        assert same(found.result.weights, expected)

    def test_a_file_of_the_old_kind_is_read_too(self, tmp_path):
        state = self.state()
        import torch

        torch.save(state, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
        assert same(porting.convert(tmp_path / "x.pth", Format.TORCH).result.weights, WEIGHTS)

    def test_a_stranger_s_densenet_is_told_and_written(self, tmp_path):
        """24 new channels a layer, five blocks, a bottleneck of 3 times that: nobody's variant."""
        require("torch")
        import torch

        import densenet_torch

        fields = {"growth_rate": 24, "block_config": [1, 2, 1, 2, 1], "bn_size": 3, "compression": 0.4}
        network = spec.build(spec.DenseNetConfig(**fields, num_classes=11), "strange")
        model = densenet_torch.build(network)
        torch.save({"state_dict": model.state_dict()}, tmp_path / "strange.pth")
        found = ported(tmp_path / "strange.pth", tmp_path / "strange.safetensors")
        assert found.result.network.name == "strange"
        opened = spec.open(tmp_path / "strange.safetensors")
        assert {name: getattr(opened.network.config, name) for name in fields} == fields | {
            "block_config": (1, 2, 1, 2, 1)
        }
        assert same(opened.weights, densenet_torch.export_weights(model))
        images = images_of(network)[..., :64, :64]
        outputs = densenet_torch.predict(model, images.astype(np.float32))
        assert difference(outputs, logits(network, opened.weights, images.astype(np.float32)))[1] <= OUTPUTS["float32"]


class TestKeras:
    """Numbers as other machines and other precisions have them."""

    @staticmethod
    def rewritten(tmp_path: Path, dtype: str) -> Path:
        import h5py

        def convert(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                parent, key, values = item.parent, name.rpartition("/")[2], item[()]
                del parent[key]
                parent[key] = values.astype(dtype)

        path = written(tmp_path, ".weights.h5")
        with h5py.File(path, "r+") as file:
            names: list[str] = []
            file.visit(names.append)
            for name in names:
                convert(name, file[name])
        path.rename(tmp_path / "y.h5")  # whose size is another, too
        with h5py.File(tmp_path / "y.h5") as file:
            assert file["layers/dense/vars/1"].dtype == dtype
        return tmp_path / "y.h5"

    @pytest.mark.parametrize("dtype", [">f4", "<f4"])
    def test_either_order_of_bytes_is_read(self, tmp_path, dtype):
        found = ported(self.rewritten(tmp_path, dtype), tmp_path / "z.safetensors")
        assert same(found.result.weights, WEIGHTS)

    def test_float16_is_widened_exactly(self, tmp_path):
        narrow = self.rewritten(tmp_path, "<f2")
        with pytest.warns(spec.SpecWarning, match="holds float16, read as float32: each value is the same"):
            found = ported(narrow, tmp_path / "z.safetensors")
        assert same(found.result.weights, {name: array.astype("f2").astype("f4") for name, array in WEIGHTS.items()})


def older(name: str) -> str:
    """norm1 as norm.1, in the dense layers: what PyTorch called them before 0.4."""
    return re.sub(r"(denselayer\d+)\.(norm|conv)([12])\.", r"\1.\2.\3.", name)


# As torchvision's own modules name their tensors: resnet.py and vgg.py of 0.20.
def torchvision_resnet18(classes: int) -> dict[str, tuple[int, ...]]:
    def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.{kind}": (width,) for kind in ("weight", "bias", "running_mean", "running_var")}

    found = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    before = 64
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            at = f"layer{stage}.{block}"
            found |= {f"{at}.conv1.weight": (width, before, 3, 3), **norm(f"{at}.bn1", width)}
            found |= {f"{at}.conv2.weight": (width, width, 3, 3), **norm(f"{at}.bn2", width)}
            if before != width:
                found |= {f"{at}.downsample.0.weight": (width, before, 1, 1), **norm(f"{at}.downsample.1", width)}
            before = width
    return found | {"fc.weight": (classes, 512), "fc.bias": (classes,)}


def torchvision_vgg11(classes: int) -> dict[str, tuple[int, ...]]:
    widths = {0: (3, 64), 3: (64, 128), 6: (128, 256), 8: (256, 256), 11: (256, 512), 13: (512, 512)}
    widths |= {16: (512, 512), 18: (512, 512)}
    linear = {0: (25088, 4096), 3: (4096, 4096), 6: (4096, classes)}
    return {
        **{f"features.{i}.weight": (out, inside, 3, 3) for i, (inside, out) in widths.items()},
        **{f"features.{i}.bias": (out,) for i, (_, out) in widths.items()},
        **{f"classifier.{i}.weight": (out, inside) for i, (inside, out) in linear.items()},
        **{f"classifier.{i}.bias": (out,) for i, (_, out) in linear.items()},
    }


OTHERS = {
    "resnet18": (torchvision_resnet18, {"conv_bias": False, "projection_norm": True, "block_config": (2, 2, 2, 2)}),
    "vgg11": (torchvision_vgg11, {"block_config": (1, 1, 2, 2, 2)}),
}


@pytest.mark.parametrize("name", ["resnet18", pytest.param("vgg11", marks=pytest.mark.slow)])
def test_state_dicts_of_torchvision_s_other_networks_are_told(tmp_path, name):
    require("torch")
    import torch

    shapes, fields = OTHERS[name]
    generator = torch.Generator().manual_seed(0)
    state = {key: torch.rand(shape, generator=generator) for key, shape in shapes(3).items()}
    torch.save(state, tmp_path / "x.pth")
    found = porting.convert(tmp_path / "x.pth", Format.TORCH)
    assert found.result.preprocessing is None, "torchvision publishes none of three classes"
    config = found.result.network.config
    assert {key: getattr(config, key) for key in fields} == fields
    assert (config.family, config.num_classes, config.in_channels) == (name[:3] if name == "vgg11" else "resnet", 3, 3)
    assert found.result.weights.keys() == state.keys()
    assert all(found.result.weights[key].tobytes() == tensor.numpy().tobytes() for key, tensor in state.items())


class TestPlainSafetensors:
    """Others' files, with and without what training scripts leave before the names."""

    @pytest.mark.parametrize("prefix", ["", "module.", "model.module."])
    def test_a_prefix_is_taken_off_and_the_file_verified(self, tmp_path, prefix, capsys):
        save_file({f"{prefix}{name}": array for name, array in WEIGHTS.items()}, tmp_path / "x.safetensors")
        assert main(["port", str(tmp_path / "x.safetensors"), str(tmp_path / "y.safetensors")]) == 0
        assert same(spec.open(tmp_path / "y.safetensors").weights, WEIGHTS)
        assert "apart from each other: 0.0e+00 relative" in capsys.readouterr().out

    def test_fields_that_the_shapes_do_not_show_may_be_set(self, tmp_path):
        save_file(WEIGHTS, tmp_path / "x.safetensors")
        arguments = ["--set", "eps=0.001", "--set", "input_size=40", "--no-verify"]
        assert main(["port", str(tmp_path / "x.safetensors"), str(tmp_path / "y.safetensors"), *arguments]) == 0
        config = spec.open(tmp_path / "y.safetensors").network.config
        assert (config.eps, config.input_size) == (0.001, 40)

    def test_a_config_may_be_named(self, tmp_path):
        save_file(WEIGHTS, tmp_path / "x.safetensors")
        (tmp_path / "mine.json").write_text(json.dumps(FIELDS | {"eps": 0.01}))
        found = porting.convert(tmp_path / "x.safetensors", Format.NEUTRAL, network=str(tmp_path / "mine.json"))
        assert found.result.network.config.eps == 0.01


class TestAdapting:
    @pytest.mark.parametrize("channels", [1, 2, 4, 5, 6])
    def test_an_image_of_equal_channels_gives_what_it_gave(self, tmp_path, channels):
        path = written(tmp_path, ".safetensors")
        found = porting.convert(path, Format.NEUTRAL, in_channels=channels)
        assert found.result.network.in_channels == channels
        assert list(found.changes) == ["features.conv0.weight"]
        gray = images_of()[:, :1]
        before = logits(NETWORK, WEIGHTS, gray.repeat(3, axis=1))
        after = logits(found.result.network, found.result.weights, gray.repeat(channels, axis=1))
        assert difference(after, before)[1] <= 1e-6

    def test_for_one_channel_the_kernels_are_summed(self, tmp_path):
        found = porting.convert(written(tmp_path, ".safetensors"), Format.NEUTRAL, in_channels=1).result.weights
        kernel = WEIGHTS["features.conv0.weight"]
        assert (found["features.conv0.weight"] == kernel.sum(axis=1, keepdims=True)).all()

    def test_for_twice_the_channels_each_has_its_kernel_halved(self, tmp_path):
        found = porting.convert(written(tmp_path, ".safetensors"), Format.NEUTRAL, in_channels=6).result.weights
        kernel = WEIGHTS["features.conv0.weight"]
        assert (found["features.conv0.weight"] == np.concatenate([kernel, kernel], axis=1) / 2).all()

    def test_other_classes_have_a_new_classifier_and_all_else_stays(self, tmp_path):
        found = porting.convert(written(tmp_path, ".safetensors"), Format.NEUTRAL, num_classes=9)
        assert set(found.changes) == {"classifier.weight", "classifier.bias"}
        assert all("new, drawn with seed 0" in change for change in found.changes.values())
        kept = {name: array for name, array in found.result.weights.items() if "classifier" not in name}
        assert same(kept, {name: array for name, array in WEIGHTS.items() if "classifier" not in name})
        assert found.result.weights["classifier.weight"].shape == (9, 12)
        assert found.result.weights["classifier.weight"].std() > 0.01
        assert found.source.network.num_classes == 5

    def test_the_same_classes_change_nothing(self, tmp_path):
        found = porting.convert(written(tmp_path, ".safetensors"), Format.NEUTRAL, num_classes=5, in_channels=3)
        assert not found.changes
        assert same(found.result.weights, WEIGHTS)

    @pytest.mark.parametrize("ending", [".safetensors", ".pth", ".keras", ".params"])
    def test_weights_without_the_classifier_get_a_new_one(self, tmp_path, ending, capsys):
        headless = {name: array for name, array in WEIGHTS.items() if "classifier" not in name}
        if ending == ".safetensors":
            save_file(headless, tmp_path / "x.safetensors")
        else:
            backend = require(ENDINGS[ending])
            model = backend.build(NETWORK.headless, "float32")
            backend.load_weights(model, headless)
            backend.save(tmp_path / f"x{ending}", model)
        source, dest = tmp_path / f"x{ending}", tmp_path / "y.safetensors"
        assert main(["port", str(source), str(dest)]) == 2
        found = capsys.readouterr().err
        assert found == f"densenet: {source} has no classifier: add a new one with --num-classes\n"
        assert main(["port", str(source), str(dest), "--num-classes", "4"]) == 0
        assert "classifier.weight: new, drawn with seed 0" in capsys.readouterr().out
        opened = spec.open(dest)
        assert opened.network.num_classes == 4
        assert same({name: opened.weights[name] for name in headless}, headless)

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--num-classes", "0"], "num_classes: should be greater than 0, found 0"),
            (["--in-channels", "-1"], "in_channels: should be greater than 0, found -1"),
        ],
        ids=str,
    )
    def test_numbers_that_none_has_are_refused(self, tmp_path, capsys, arguments, sentence):
        path = written(tmp_path, ".safetensors")
        assert main(["port", str(path), str(tmp_path / "y.safetensors"), *arguments]) == 2
        assert sentence in capsys.readouterr().err
        assert listing(tmp_path) == ["x.safetensors"]


KNOWN = {
    "applications": {
        "conv1_conv": "features.conv0",
        "conv1_bn": "features.norm0",
        "conv2_block1_0_bn": "features.denseblock1.denselayer1.norm1",
        "conv2_block6_1_conv": "features.denseblock1.denselayer6.conv1",
        "conv4_block24_2_conv": "features.denseblock3.denselayer24.conv2",
        "conv5_block1_0_bn": "features.denseblock4.denselayer1.norm1",
        "conv5_block16_1_bn": "features.denseblock4.denselayer16.norm2",
        "pool2_bn": "features.transition1.norm",
        "pool4_conv": "features.transition3.conv",
        "bn": "features.norm5",
        "predictions": "classifier",
        "conv1/conv": "features.conv0",
        "conv1/bn": "features.norm0",
        "fc1000": "classifier",
    },
    "zoo": {
        "features.0": "features.conv0",
        "features.1": "features.norm0",
        "features.4.0.1.0": "features.denseblock1.denselayer1.norm1",
        "features.4.5.1.2": "features.denseblock1.denselayer6.conv1",
        "features.5.0": "features.transition1.norm",
        "features.5.2": "features.transition1.conv",
        "features.8.23.1.5": "features.denseblock3.denselayer24.conv2",
        "features.10.15.1.3": "features.denseblock4.denselayer16.norm2",
        "features.10.0.1.0": "features.denseblock4.denselayer1.norm1",
        "features.11": "features.norm5",
        "output": "classifier",
    },
    "zoo_prefixed": {
        "conv0": "features.conv0",
        "batchnorm0": "features.norm0",
        "stage1_batchnorm0": "features.denseblock1.denselayer1.norm1",
        "stage1_conv10": "features.denseblock1.denselayer6.conv1",
        "stage3_conv47": "features.denseblock3.denselayer24.conv2",
        "stage4_batchnorm0": "features.denseblock4.denselayer1.norm1",
        "stage4_batchnorm31": "features.denseblock4.denselayer16.norm2",
        "batchnorm1": "features.transition1.norm",
        "conv3": "features.transition3.conv",
        "batchnorm4": "features.norm5",
        "dense0": "classifier",
    },
}


BLOCKS = {"densenet121": (6, 12, 24, 16), "one block": (2,), "eleven blocks": (1,) * 10 + (12,)}


class TestNames:
    """Layers that the implementations have, as they print them, and the canonical ones."""

    @pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
    def test_names_that_are_known_are_placed(self, implementation):
        known = KNOWN[implementation]
        # All of one network, as the number of its blocks says which norm is the last.
        assert canonical_layers(implementation, [*known, "unknown"]) == known

    @pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
    @pytest.mark.parametrize("case", BLOCKS)
    def test_every_layer_has_a_name_of_its_own_that_leads_back(self, implementation, case):
        blocks = BLOCKS[case]
        expected = {}
        for layer in LAYERS:
            for block, count in enumerate(blocks, start=1):
                for number in range(1, count + 1):
                    if "transition" in layer.canonical and block == len(blocks):
                        continue
                    name = foreign_name(implementation, layer, block, number, len(blocks))
                    canonical = foreign_name("canonical", layer, block, number, len(blocks))
                    assert expected.setdefault(name, canonical) == canonical
        network = spec.build(spec.DenseNetConfig(growth_rate=2, block_config=blocks, bn_size=1, input_size=4096))
        layers = {name.rpartition(".")[0] for name in spec.parameter_shapes(network)}
        assert set(expected.values()) == layers
        assert canonical_layers(implementation, expected) == expected

    @pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
    def test_names_of_no_layer_have_none(self, implementation):
        strange = [
            "",
            "conv",
            "conv0_block0_0_bn",
            "features",
            "features.4.0.1.1",
            "stage0_conv0",
            "batchnorm",
            "output.0",
        ]
        assert canonical_layers(implementation, strange) == {}


class TestAnotherEpsilon:
    def test_variances_are_moved_so_that_inference_is_the_same(self, tmp_path):
        """In float64, whose digits show a hundred-millionth."""
        weights, images = weights_of(dtype=np.float64), images_of()
        path = written(tmp_path, ".safetensors", weights=weights)
        found = porting.convert(path, Format.NEUTRAL, to=Format.APPLICATIONS).result
        assert found.network.config.eps == 1.001e-5
        expected = logits(NETWORK, weights, images)
        assert difference(logits(found.network, found.weights, images), expected)[1] < 1e-12
        assert difference(logits(found.network, weights, images), expected)[1] > 1e-10

    def test_variances_that_would_be_below_0_are_refused_by_name(self, tmp_path):
        name = "features.norm5.running_var"
        spec.save(tmp_path / "x.safetensors", NETWORK, WEIGHTS | {name: np.zeros_like(WEIGHTS[name])})
        with pytest.raises(spec.SpecError, match=f"{name} has variances below 1e-08, which an epsilon of 1.001e-05"):
            porting.convert(tmp_path / "x.safetensors", Format.NEUTRAL, to=Format.APPLICATIONS)


REFUSED = {
    "keras.applications of another width": (
        ["y.weights.h5", "--to", "keras.applications"],
        "the DenseNet of keras.applications cannot be tiny: it has growth_rate 32, not 4",
    ),
    "the model zoo of another stem": (
        ["y.params", "--to", "mxnet.model_zoo"],
        "the DenseNet of mxnet.model_zoo cannot be tiny: it has input_size 224, not 32",
    ),
    "a name of another kind": (["y.pth", "--to", "keras"], "a keras file is written under a name in .keras or"),
    "an unknown ending": (["y.onnx"], "y.onnx does not end in .safetensors, .pth"),
    "an unknown format": (["y.pth", "--to", "onnx"], "--to 'onnx' is no format, known: neutral, torch, keras"),
    "another network": (
        ["y.pth", "--as", "densenet121"],
        "says itself which network it is of: leave --as and --set",
    ),
    "a field": (["y.pth", "--set", "eps=1"], "says itself which network it is of: leave --as and --set out"),
}


class TestCommand:
    def test_what_is_found_is_told(self, tmp_path, capsys):
        path = written(tmp_path, ".pth")
        assert main(["port", str(path), str(tmp_path / "y.safetensors"), "--json", str(tmp_path / "out.json")]) == 0
        found = capsys.readouterr()
        assert f"{path}: torch, float32, x\n" in found.out
        assert "  growth_rate = 4\n" in found.out
        assert "  block_config = (2, 1)\n" in found.out
        assert f"written: {tmp_path / 'y.safetensors'} (neutral)" in found.out
        assert "apart from each other: " in found.out
        assert found.err == ""
        report = json.loads((tmp_path / "out.json").read_text())
        assert [row["backend"] for row in report["rows"]] == ["torch", "neutral"]
        assert report["apart"] < 1e-5

    def test_the_neutral_file_says_where_it_comes_from(self, tmp_path):
        import hashlib

        path = written(tmp_path, ".pth")
        ported(path, tmp_path / "y.safetensors")
        provenance = spec.open(tmp_path / "y.safetensors").provenance
        assert provenance["source"] == "x.pth"
        assert provenance["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        ported(tmp_path / "y.safetensors", tmp_path / "z.safetensors")
        provenance = spec.open(tmp_path / "z.safetensors").provenance
        assert (provenance["source"], provenance["before"]) == ("y.safetensors", "x.pth")

    @pytest.mark.parametrize("to", [".safetensors", ".pth", ".keras", ".weights.h5", ".params"])
    def test_both_files_are_run_and_agree(self, sources, tmp_path, to, capsys):
        require(ENDINGS[to])
        assert main(["port", str(sources[".safetensors"]), str(tmp_path / f"y{to}")]) == 0
        found = capsys.readouterr().out
        assert "tiny  float32  2 x 3x32x32  each in its own framework" in found
        assert float(found.partition("apart from each other: ")[2].split()[0]) < 1e-5

    def test_a_file_that_gives_something_else_exits_1_and_names_it(self, tmp_path, capsys, monkeypatch):
        path = written(tmp_path, ".safetensors")
        opened = port.opened

        def wrong(found, *arguments):
            predict = opened(found, *arguments)
            return lambda images: predict(images) * (1.01 if found.name == "y.safetensors" else 1)

        monkeypatch.setattr(port, "opened", wrong)
        assert main(["port", str(path), str(tmp_path / "y.safetensors")]) == 1
        found = capsys.readouterr().err
        assert found.startswith("densenet: ")
        assert "y.safetensors" in found
        assert found.count("\n") == 1

    def test_without_verifying_nothing_is_run(self, tmp_path, capsys, monkeypatch):
        path = written(tmp_path, ".safetensors")
        monkeypatch.setattr(port, "opened", lambda *_: 1 / 0)
        assert main(["port", str(path), str(tmp_path / "y.safetensors"), "--no-verify"]) == 0
        assert "apart" not in capsys.readouterr().out

    def test_a_config_alone_is_written_as_json(self, tmp_path):
        path = written(tmp_path, ".safetensors")
        assert main(["port", str(path), str(tmp_path / "y.json")]) == 0
        assert spec.load(tmp_path / "y.json").config == NETWORK.config
        assert json.loads((tmp_path / "y.json").read_text())["family"] == "densenet"

    def test_a_format_may_be_named(self, tmp_path):
        path = written(tmp_path, ".safetensors")
        path.rename(tmp_path / "weights.bin")
        arguments = ["port", str(tmp_path / "weights.bin"), str(tmp_path / "y.safetensors"), "--no-verify"]
        assert main(arguments) == 2
        assert main([*arguments, "--from", "neutral"]) == 0

    @pytest.mark.parametrize("case", REFUSED)
    def test_what_cannot_be_is_refused_by_name_before_anything_is_written(self, tmp_path, monkeypatch, capsys, case):
        arguments, sentence = REFUSED[case]
        for name in FRAMEWORKS:
            require(name)
        written(tmp_path, ".safetensors")
        monkeypatch.chdir(tmp_path)
        assert main(["port", "x.safetensors", *arguments]) == 2
        found = capsys.readouterr().err
        assert sentence in found
        assert found.count("\n") == 1
        assert listing(tmp_path) == ["x.safetensors"]


MODULES = {*FRAMEWORKS, *backends.FRAMEWORKS_OF_KERAS}
LOADED = f"""
import json, sys
from densenet_tools.commands.app import main
for arguments, needed in json.loads(sys.argv[1]):
    assert main(["port", *arguments]) == 0
    loaded = {MODULES} & set(sys.modules)
    assert loaded == set(needed), (arguments, loaded)
"""
# Each in the process that ran those before it: what is loaded by then is listed.
CONVERSIONS = [
    ([".safetensors", ".safetensors", "--no-verify"], []),
    ([".weights.h5", ".safetensors", "--no-verify"], []),
    ([".keras", ".safetensors", "--no-verify"], []),
    ([".params", ".safetensors", "--no-verify"], []),
    ([".params", ".json"], []),
    ([".safetensors", ".safetensors"], []),
    ([".pth", ".safetensors", "--no-verify"], ["torch"]),
    ([".weights.h5", ".pth", "--no-verify"], ["torch"]),
]


def test_frameworks_that_a_conversion_does_not_need_are_not_imported(sources, tmp_path):
    conversions = [
        ([str(sources[source]), str(tmp_path / f"y{dest}"), *more], needed)
        for ([source, dest, *more], needed) in CONVERSIONS
    ]
    done = subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps(conversions)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
