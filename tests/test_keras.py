"""What Keras' users expect."""

import subprocess
import sys

import numpy as np
import pytest

import spec
from tests.cases import CASES, SMALL, small
from tests.support import photographs, require, verdict

NETWORK = SMALL["se_everywhere"]


@pytest.fixture(autouse=True)
def keras():
    require("keras")
    import keras

    keras.utils.set_random_seed(0)
    return keras


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(2, 3, 40, 40)).astype(np.float32)


def loaded(**settings):
    import densenet_keras

    model = densenet_keras.build(NETWORK, **settings)
    dtype = np.float64 if settings.get("dtype") == "float64" else np.float32
    densenet_keras.load_weights(model, spec.randomize(spec.initialize(NETWORK, 0, dtype), 0))
    return model


def array(tensor):
    """Any Keras backend's tensor as a NumPy array."""
    import keras

    return keras.ops.convert_to_numpy(tensor)


def test_layers_are_found_by_their_dotted_path(keras):
    model = loaded()
    assert isinstance(model, keras.Model)
    layer = model.get_layer("features.denseblock1.denselayer2.conv1")
    assert isinstance(layer, keras.layers.Conv2D)
    lines = []
    model.summary(print_fn=lambda line, **_: lines.append(line), line_length=200)
    assert "features.denseblock1.denselayer2.conv1" in "\n".join(lines)


@pytest.mark.parametrize("name", list(SMALL))
def test_both_data_formats_give_the_same(name):
    """In float32: TensorFlow has no float64 convolution for channels_first on the CPU."""
    import densenet_keras

    network = SMALL[name]
    weights = spec.randomize(spec.initialize(network, 0), 0)
    images = np.random.default_rng(0).normal(size=(2, *CASES[name].input_shape))
    outputs = []
    for data_format in ("channels_last", "channels_first"):
        model = densenet_keras.build(network, data_format=data_format)
        densenet_keras.load_weights(model, weights)
        assert densenet_keras.export_weights(model).keys() == weights.keys()
        outputs.append(densenet_keras.trace(model, images))
    last, first = outputs
    assert list(last) == list(first)
    for layer in last:
        assert abs(last[layer] - first[layer]).max() <= 1e-5 * abs(last[layer]).max(), layer


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_keras_file_round_trips(keras, tmp_path, images, data_format):
    import densenet_keras

    model = loaded(data_format=data_format)
    model.save(tmp_path / "model.keras")
    other = keras.models.load_model(tmp_path / "model.keras")
    exported = densenet_keras.export_weights(other)
    assert all((exported[name] == array).all() for name, array in densenet_keras.export_weights(model).items())
    with pytest.raises(spec.SpecError, match=r"small does not say which network it is: .* set model\.network"):
        densenet_keras.predict(other, images)
    other.network = NETWORK
    assert (densenet_keras.predict(other, images) == densenet_keras.predict(model, images)).all()


def test_a_weights_file_round_trips(keras, tmp_path, images):
    import densenet_keras

    model, other = loaded(), densenet_keras.build(NETWORK)
    model.save_weights(tmp_path / "w.weights.h5")
    other.load_weights(tmp_path / "w.weights.h5")
    assert (densenet_keras.predict(other, images) == densenet_keras.predict(model, images)).all()


def test_a_max_pool_on_negative_values_survives_a_keras_file(keras, tmp_path):
    """Its padding is -infinity, which a config must be able to hold."""
    import densenet_keras

    model = densenet_keras.build(SMALL["pool_on_negatives"])
    model.save(tmp_path / "model.keras")
    other = keras.models.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, 40, 40, 3)).astype(np.float32)
    assert (array(other(x)) == array(model(x))).all()


def test_global_settings_are_used_and_put_back(keras):
    import densenet_keras

    before = keras.config.dtype_policy().name, keras.config.image_data_format()
    model = densenet_keras.build(NETWORK, dtype="float64", data_format="channels_first")
    assert model.input_shape == (None, 3, None, None)
    assert model.get_layer("classifier").dtype == "float64"
    with pytest.raises(TypeError):
        densenet_keras.build(None, dtype="float64")
    assert (keras.config.dtype_policy().name, keras.config.image_data_format()) == before


def test_the_global_policy_is_not_touched_unless_asked(keras, monkeypatch):
    """Setting a policy, even the one in force, would outdo a later keras.config.set_floatx."""
    monkeypatch.setattr(keras.config, "set_dtype_policy", lambda policy: pytest.fail("the policy was set"))
    loaded()


def test_mixed_precision(keras, images):
    import densenet_keras

    model = loaded(dtype="mixed_bfloat16")
    assert model.get_layer("classifier").compute_dtype == "bfloat16"
    assert model.get_layer("classifier").variable_dtype == "float32"
    expected = densenet_keras.predict(loaded(), images)
    found = np.asarray(densenet_keras.predict(model, images), dtype=np.float32)
    assert abs(found - expected).max() < 0.05 * abs(expected).max()


def test_it_fits(keras):
    model = loaded()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = np.random.default_rng(0).normal(size=(8, 40, 40, 3)).astype(np.float32)
    history = model.fit(x, np.arange(8) % 5, epochs=8, batch_size=8, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_a_frozen_layer_has_no_gradient():
    import densenet_keras

    model = loaded(dtype="float64")
    frozen = "features.denseblock1.denselayer2.conv1"
    model.get_layer(frozen).trainable = False
    batch, labels = np.random.default_rng(0).normal(size=(2, 3, 40, 40)), np.array([0, 1])
    _, gradients, _ = densenet_keras.loss_and_gradients(model, batch, labels)
    names = [name for name in spec.parameter_shapes(NETWORK) if not spec.is_buffer(name) and name != f"{frozen}.weight"]
    assert list(gradients) == [*names, "input"]


def test_keras_alone_builds_no_dotted_name_on_pytorch(keras):
    """When this fails, densenet_keras.compat.allow_dotted_names can go."""
    if keras.backend.backend() != "torch":
        pytest.skip("only PyTorch allows no dots in the names of parameters")
    code = "import keras; keras.layers.Dense(2, name='a.b').build((None, 3))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert "parameter name can't contain" in done.stderr.replace("\\", "")


def test_pytorch_has_no_gradient_of_a_convolution_to_one_channel_in_float64(keras):
    """PyTorch's CPU kernel refuses Keras' kernel, transposed: when this fails, tests/test_random.py can draw them."""
    if keras.backend.backend() != "torch":
        pytest.skip("only PyTorch's convolution has this fault")
    import densenet_keras

    model = densenet_keras.build(small(growth_rate=1), dtype="float64")
    batch, labels = np.random.default_rng(0).normal(size=(2, 3, 40, 40)), np.array([0, 1])
    with pytest.raises(RuntimeError, match="slow_conv2d: grad_weight must be contiguous"):
        densenet_keras.loss_and_gradients(model, batch, labels)


def test_float64_is_kept_in_inference_and_nowhere_else(keras):
    """On PyTorch and JAX Keras itself rounds to float32 in a batch norm: the control is the model called natively."""
    import densenet_keras

    model, batch = loaded(dtype="float64"), np.random.default_rng(0).normal(size=(2, 3, 40, 40))
    promoted = keras.backend.result_type("float64", "float32")
    found = densenet_keras.predict(model, batch)
    natively = array(model(batch.transpose(0, 2, 3, 1), training=False))
    rounded = abs(found - natively).max() / abs(found).max() > 1e-10
    assert rounded == (keras.backend.backend() != "tensorflow")
    assert keras.backend.result_type("float64", "float32") == promoted


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")
def test_float64_on_jax_without_its_flag_is_refused(keras):
    if keras.backend.backend() != "jax":
        pytest.skip("only JAX has a flag for float64")
    from jax.experimental import disable_x64

    with disable_x64(), pytest.raises(spec.SpecError, match=r"small is float32, not float64: .* JAX_ENABLE_X64=1"):
        loaded(dtype="float64")


@pytest.mark.parametrize("framework", ["tensorflow", "torch", "jax"])
def test_a_saved_model_runs_on_another_framework(keras, framework):
    from densenet_tools import backends

    executor = f"keras:{framework}"
    if executor not in map(str, backends.Runner("keras").others()):
        pytest.skip(f"{framework} is not installed, or what Keras runs on already")
    result = verdict(NETWORK, executor, photographs(CASES["se_everywhere"].input_shape), "float64")
    assert result.agrees, result.problem
    assert framework in {name.removesuffix("-cpu") for name in backends.versions([backends.parse(executor)])}


def test_a_framework_that_does_not_run_is_named_with_its_reason(monkeypatch, keras, images):
    import densenet_keras

    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(spec.SpecError, match="small cannot be run by Keras on torch: the process ended with 1"):
        densenet_keras.EXECUTORS["torch"](loaded(), images)


def test_the_versions_name_what_keras_runs_on(keras):
    from densenet_tools import backends

    found = backends.versions([backends.Runner("keras")])
    assert found.pop("keras") == keras.__version__
    assert {name.removesuffix("-cpu") for name in found} == {keras.backend.backend()}


def test_keras_is_installed_only_with_what_it_runs_on(monkeypatch):
    from densenet_tools import backends

    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(backends, "find_spec", lambda module: None if module == "jax" else module)
    assert backends.Runner("keras") not in backends.installed()
    for name in ("keras", "keras:jax"):
        with pytest.raises(spec.SpecError, match=rf"'{name}' is not installed: pip install '.*\[keras,jax\]'"):
            backends.parse(name).check()


def test_a_framework_that_keras_does_not_run_on_is_refused(monkeypatch):
    from densenet_tools import backends

    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_BACKEND", "pytorch")
    with pytest.raises(spec.SpecError, match="KERAS_BACKEND is 'pytorch', expected one of tensorflow, torch, jax"):
        backends.Runner("keras").check()
    with pytest.raises(spec.SpecError, match="KERAS_BACKEND is 'pytorch'"):
        backends.installed()


class TestApplications:
    """The signature of keras.applications.DenseNet121; what its options do is in tests/test_builders.py."""

    def test_the_signature_is_the_same(self, keras):
        import inspect

        import densenet_keras

        theirs = inspect.signature(keras.applications.DenseNet121).parameters
        ours = inspect.signature(densenet_keras.DenseNet121).parameters
        assert list(ours)[: len(theirs)] == list(theirs)
        assert ours["classifier_activation"].default == theirs["classifier_activation"].default == "softmax"

    def test_shapes_are_those_of_keras_applications(self, keras):
        import densenet_keras

        for arguments in (
            {"include_top": False},
            {"include_top": False, "pooling": "avg"},
            {"include_top": False, "pooling": "max", "input_shape": (64, 64, 3)},
            {"classes": 11, "classifier_activation": None},
        ):
            theirs = keras.applications.DenseNet121(weights=None, **arguments)
            ours = densenet_keras.DenseNet121(**arguments)
            assert (ours.input_shape, ours.output_shape) == (theirs.input_shape, theirs.output_shape), arguments
            assert ours.count_params() == theirs.count_params()

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ({"input_shape": (20, 64, 3)}, "the smallest that works is 3x29x29"),
            ({"input_shape": (64, 64)}, r"input_shape must be \(height, width, channels\), found \(64, 64\)"),
            ({"include_top": False, "pooling": "mean"}, "pooling must be 'avg', 'max' or None, found 'mean'"),
            ({"classifier_activation": "relu"}, "classifier_activation: should be 'softmax', found 'relu'"),
            ({"classes": 0}, "num_classes: should be greater than 0"),
        ],
    )
    def test_what_cannot_be_built_is_refused(self, arguments, sentence):
        import densenet_keras

        with pytest.raises(spec.SpecError, match=sentence):
            densenet_keras.DenseNet121(**arguments)


def test_the_program_runs_when_it_is_run_not_when_it_is_imported():
    import importlib

    assert importlib.import_module("densenet_keras.__main__").__doc__.startswith("Runs a saved model")
