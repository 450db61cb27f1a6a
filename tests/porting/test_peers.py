"""The files of keras.applications and of MXNet's model zoo, written and opened by themselves, in both directions.

With random weights: those that are published cannot be had offline. The names of the published files are written by
hand. Each of them has the same weights in the end, so that the NumPy reference runs once for each implementation.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import spec
from densenet_tools import porting
from densenet_tools.commands.app import main
from densenet_tools.parity.differences import difference
from densenet_tools.parity.tolerance import OUTPUTS
from densenet_tools.porting import Format
from tests.porting.support import logits, same
from tests.support import photographs, require

EPS = 1.001e-5  # keras.applications'
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("densenet169", "densenet201")]
CLASSES = 10


@dataclass(frozen=True)
class Peer:
    """Another implementation's model, with what it gives for an image, and where its files are."""

    FILES: ClassVar[tuple[str, ...]]
    name: str
    model: Any
    folder: Path
    image: np.ndarray
    outputs: np.ndarray

    def converted(self, file: str, **options) -> porting.Ported:
        path = self.folder / file
        return porting.convert(path, porting.format_of(path, None, "--from"), **options)

    def weights(self) -> spec.Weights:
        """Of its first file."""
        return self.converted(self.FILES[0]).source.weights


class Applications(Peer):
    FILES = ("x.weights.h5", "x.h5", "published.h5")


class Zoo(Peer):
    FILES = ("x.params", "prefixed.params", "exported-0000.params")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return photographs((3, 224, 224), 1).astype(np.float32)


def random_values(shape: tuple[int, ...], name: str, rng: np.random.Generator) -> np.ndarray:
    """As spec.randomize draws them, with what each implementation calls a scale or a variance."""
    if len(shape) > 1:
        fan_in = np.prod(shape[1:]) if "weight" in name else np.prod(shape[:-1])
        return rng.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)
    positive = name.endswith(("gamma", "variance", "var"))
    return (rng.uniform(0.5, 1.5, shape) if positive else rng.normal(0, 0.1, shape)).astype(np.float32)


def keras_model(name: str, **options) -> Any:
    import keras

    kind = getattr(keras.applications, name.replace("densenet", "DenseNet"))
    return kind(weights=None, classes=CLASSES, input_shape=(224, 224, 3), classifier_activation=None, **options)


def variables(model: Any) -> dict[str, np.ndarray]:
    return {variable.path: np.array(variable) for variable in model.variables}


def keras_outputs(model: Any, image: np.ndarray) -> np.ndarray:
    import keras

    return np.array(keras.ops.convert_to_numpy(model(image.transpose(0, 2, 3, 1), training=False)))


@pytest.fixture(scope="module", params=["densenet121", *SLOW])
def applications(request, image, tmp_path_factory) -> Applications:
    require("keras")
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("applications")
    model = keras_model(request.param)
    for variable in model.variables:
        variable.assign(random_values(tuple(variable.shape), variable.name, rng))
    model.save_weights(folder / "x.weights.h5")
    model.save(folder / "x.h5")
    write_as_published(folder / "published.h5", model)
    return Applications(request.param, model, folder, image, keras_outputs(model, image))


def write_as_published(path: Path, model: Any) -> None:
    """densenet121_weights_tf_dim_ordering_tf_kernels.h5 and its like, of 2017: other names at both ends."""
    import h5py

    older = {"conv1_conv": "conv1/conv", "conv1_bn": "conv1/bn", "predictions": "fc1000"}
    with h5py.File(path, "w") as file:
        names = [older.get(layer.name, layer.name) for layer in model.layers]
        file.attrs["layer_names"] = np.array([name.encode() for name in names])
        for name, layer in zip(names, model.layers):
            group = file.create_group(name)
            weights = [f"{name}/{variable.name}:0" for variable in layer.variables]
            group.attrs["weight_names"] = np.array([text.encode() for text in weights])
            for text, variable in zip(weights, layer.variables):
                group.create_dataset(text, data=np.array(variable))


@pytest.fixture(scope="module", params=["densenet121", *SLOW, pytest.param("densenet161", marks=pytest.mark.slow)])
def zoo(request, image, tmp_path_factory) -> Zoo:
    require("mxnet")
    import mxnet as mx

    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("zoo")
    model = getattr(mx.gluon.model_zoo.vision, request.param)(classes=CLASSES)
    model.initialize()
    model.hybridize()
    model(mx.nd.zeros((1, 3, 224, 224)))  # its shapes are known only now
    for name, parameter in model.collect_params().items():
        parameter.set_data(mx.nd.array(random_values(parameter.shape, name, rng)))
    model.save_parameters(str(folder / "x.params"))
    model.collect_params().save(str(folder / "prefixed.params"))
    outputs = model(mx.nd.array(image)).asnumpy()
    model.export(str(folder / "exported"))
    return Zoo(request.param, model, folder, image, outputs)


class TestKerasApplications:
    @pytest.mark.parametrize("file", Applications.FILES)
    def test_its_files_are_told_whatever_their_layout(self, applications, file):
        found = applications.converted(file)
        config = found.source.network.config
        assert found.format is Format.APPLICATIONS
        assert found.source.network.name == applications.name
        assert config == spec.variant_config(applications.name, num_classes=CLASSES, eps=EPS)
        assert same(found.source.weights, applications.weights())
        assert found.source.preprocessing.interpolation == "nearest"

    def test_its_weights_give_its_logits_in_the_reference(self, applications, tmp_path):
        """By way of a neutral file, which keeps the epsilon."""
        found = applications.converted("x.weights.h5")
        porting.write(tmp_path / "x.safetensors", Format.NEUTRAL, found.result)
        opened = spec.open(tmp_path / "x.safetensors")
        assert opened.network.config.eps == EPS
        expected = logits(opened.network, opened.weights, applications.image)
        assert difference(applications.outputs, expected)[1] <= OUTPUTS["float32"]

    def test_it_opens_what_is_written_for_it(self, applications, tmp_path):
        """The same bits, in a model that had others."""
        found = applications.converted("x.h5", to=Format.APPLICATIONS)
        assert not found.changes
        porting.write(tmp_path / "y.weights.h5", Format.APPLICATIONS, found.result)
        expected = variables(applications.model)
        for variable in applications.model.variables:
            variable.assign(np.zeros(variable.shape))
        applications.model.load_weights(tmp_path / "y.weights.h5")
        assert same(variables(applications.model), expected)

    def test_without_the_top_all_but_the_classifier_is_kept(self, applications, tmp_path):
        import h5py

        shutil.copy(applications.folder / "x.weights.h5", tmp_path / "notop.weights.h5")
        with h5py.File(tmp_path / "notop.weights.h5", "r+") as file:
            del file["layers/dense"]  # Keras counts the layers of a kind: the first Dense
        with pytest.raises(spec.SpecError, match=r"notop\.weights\.h5 has no classifier: add a new one with --num-"):
            porting.convert(tmp_path / "notop.weights.h5", Format.KERAS)
        found = porting.convert(tmp_path / "notop.weights.h5", Format.KERAS, num_classes=3)
        kept = {name: array for name, array in applications.weights().items() if "classifier" not in name}
        assert same(found.source.weights, kept)
        assert found.result.weights["classifier.weight"].shape[0] == 3

    @pytest.mark.slow
    def test_without_the_top_the_features_are_those_of_the_reference(self, applications, tmp_path):
        path = tmp_path / "notop.weights.h5"
        headless = keras_model(applications.name, include_top=False)
        for layer in (layer for layer in headless.layers if layer.weights):
            layer.set_weights(applications.model.get_layer(layer.name).get_weights())
        headless.save_weights(path)
        found = porting.convert(path, Format.KERAS, num_classes=3)
        (row,) = porting.compare(found, path, tmp_path, Format.CONFIG, applications.image).rows
        assert row.agrees
        assert row.checks[0].name == "features"


class TestModelZoo:
    @pytest.mark.parametrize("file", Zoo.FILES)
    def test_its_files_are_told_whatever_their_names(self, zoo, file):
        found = zoo.converted(file)
        assert found.format is Format.ZOO
        assert found.source.network.name == zoo.name
        assert found.source.network.config == spec.variant_config(zoo.name, num_classes=CLASSES)
        assert same(found.source.weights, zoo.weights())

    def test_its_weights_give_its_logits_in_the_reference(self, zoo, tmp_path):
        found = zoo.converted("x.params")
        porting.write(tmp_path / "x.safetensors", Format.NEUTRAL, found.result)
        opened = spec.open(tmp_path / "x.safetensors")
        expected = logits(opened.network, opened.weights, zoo.image)
        assert difference(zoo.outputs, expected)[1] <= OUTPUTS["float32"]

    def test_it_opens_what_is_written_for_it(self, zoo, tmp_path):
        require("mxnet")
        found = zoo.converted("exported-0000.params", to=Format.ZOO)
        assert not found.changes
        porting.write(tmp_path / "y.params", Format.ZOO, found.result)
        outputs = zoo_outputs(zoo.name, tmp_path / "y.params", zoo.image)
        assert np.array_equal(outputs, zoo.outputs)


def zoo_outputs(name: str, path: Path, image: np.ndarray) -> np.ndarray:
    import mxnet as mx

    model = getattr(mx.gluon.model_zoo.vision, name)(classes=CLASSES)
    model.load_parameters(str(path))
    return model(mx.nd.array(image)).asnumpy()


def test_a_file_of_keras_applications_is_ported_to_the_model_zoo_and_verified(applications, tmp_path, capsys):
    """From the command line: each file is run by the framework that it is for.

    The model zoo has an epsilon of 1e-5, which the variances make up for: then the logits are the same.
    """
    require("mxnet")
    source, dest, report = applications.folder / "x.h5", tmp_path / "y.params", tmp_path / "out.json"
    assert main(["port", str(source), str(dest), "--to", "mxnet.model_zoo", "--json", str(report)]) == 0
    found = capsys.readouterr().out
    assert f"{source}: keras.applications, float32, {applications.name}" in found
    assert "every running_var: moved by 1e-08, so that an epsilon of 1e-05 gives the same in inference" in found
    rows = json.loads(report.read_text())["rows"]
    assert [row["backend"] for row in rows] == ["keras.applications", "mxnet.model_zoo"]
    outputs = zoo_outputs(applications.name, dest, applications.image)
    assert difference(outputs, applications.outputs)[1] <= 2 * OUTPUTS["float32"]


@pytest.mark.slow
def test_a_file_of_the_model_zoo_is_ported_to_keras_applications_and_verified(zoo, tmp_path, capsys):
    require("keras")
    source, dest = zoo.folder / "prefixed.params", tmp_path / "y.weights.h5"
    command = ["port", str(source), str(dest), "--to", "keras.applications"]
    if zoo.name == "densenet161":  # which keras.applications does not have
        assert main(command) == 2
        assert "it has growth_rate 32, not 48" in capsys.readouterr().err
        return
    assert main(command) == 0
    assert "every running_var: moved by -1e-08, so that an epsilon of 1.001e-05" in capsys.readouterr().out
    fresh = keras_model(zoo.name)
    fresh.load_weights(dest)
    assert difference(keras_outputs(fresh, zoo.image), zoo.outputs)[1] <= 2 * OUTPUTS["float32"]
