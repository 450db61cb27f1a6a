"""What Keras' users expect."""

import json
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
def test_a_keras_file_round_trips_with_its_network(keras, tmp_path, images, data_format):
    import densenet_keras

    model = loaded(data_format=data_format)
    model.save(tmp_path / "model.keras")
    other = keras.models.load_model(tmp_path / "model.keras")
    assert (other.network, other.network.config) == (NETWORK, NETWORK.config)
    exported = densenet_keras.export_weights(other)
    assert all((exported[name] == array).all() for name, array in densenet_keras.export_weights(model).items())
    assert (densenet_keras.predict(other, images) == densenet_keras.predict(model, images)).all()


@pytest.mark.parametrize("options", [{"include_top": False}, {"include_top": False, "pooling": "max"}])
def test_a_keras_file_without_the_top_round_trips_with_its_network(keras, tmp_path, options):
    import densenet_keras

    model = densenet_keras.densenet_d2l(**options)
    model.save(tmp_path / "model.keras")
    other = keras.models.load_model(tmp_path / "model.keras")
    assert (other.network, other.output_shape) == (model.network, model.output_shape)
    assert other.network.num_classes is None


def test_a_model_is_a_functional_one_of_keras(keras):
    """And its file opens as such where this package is not, with the layers that it has here."""
    model = loaded()
    assert isinstance(model, type(keras.Model(model.input, model.output)))
    assert type(keras.models.clone_model(model)) is type(model)


@pytest.mark.parametrize("nested", [False, True])
def test_a_keras_file_opens_without_this_package(keras, tmp_path, nested):
    if keras.backend.backend() == "torch":
        pytest.skip("there Keras alone builds no dotted name")
    model = loaded()
    if nested:
        model = keras.Sequential([keras.Input((40, 40, 3)), model, keras.layers.Softmax()])
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, 40, 40, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    code = "import sys, keras, numpy as np; y = keras.models.load_model('model.keras')(np.load('x.npy')); "
    code += "np.save('y.npy', y); sys.exit('densenet_keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, timeout=120, check=True)
    assert np.load(tmp_path / "y.npy") == pytest.approx(array(model(x)), abs=1e-5)


def test_what_a_file_says_of_its_network_is_checked(keras):
    model = loaded()
    text = model.to_json().replace('"growth_rate": 4', '"growth_rate": 0')
    with pytest.raises(spec.SpecError, match="growth_rate: should be greater than 0, found 0"):
        keras.models.model_from_json(text)


@pytest.mark.parametrize("name", ["residual", "dropped"])
def test_a_network_without_a_config_is_set_by_hand(keras, tmp_path, images, name):
    import densenet_keras

    network = {"residual": SMALL["residual"], "dropped": spec.without_dropout(SMALL["dropout"])}[name]
    model = densenet_keras.build(network)
    model.save(tmp_path / "model.keras")
    other = keras.models.load_model(tmp_path / "model.keras")
    with pytest.raises(spec.SpecError, match="does not say which network it is: set its attribute `network`"):
        densenet_keras.predict(other, images)
    other.network = network
    assert (densenet_keras.predict(other, images) == densenet_keras.predict(model, images)).all()


class TestModelsAround:
    """Models that a network is a part of: all weights or none."""

    @pytest.fixture
    def inside(self):
        return loaded()

    def test_those_of_a_model_inside_have_its_name_before(self, keras, inside):
        import densenet_keras

        own = densenet_keras.export_weights(inside)
        deep = keras.Sequential([keras.Input((40, 40, 3)), inside], name="deep")
        model = keras.Sequential([keras.Input((40, 40, 3)), deep, keras.layers.Dense(2, name="head")])
        weights = densenet_keras.export_weights(model)
        assert len(weights) == len(model.weights) == len(own) + 2
        assert all((weights[f"deep.small.{name}"] == array).all() for name, array in own.items())
        assert densenet_keras.export_weights(model.get_layer("deep").get_layer("small")).keys() == own.keys()

    def test_what_is_loaded_is_all_of_it_or_nothing(self, keras, inside):
        import densenet_keras

        model = keras.Sequential([keras.Input((40, 40, 3)), inside, keras.layers.Dense(2, name="head")])
        weights = densenet_keras.export_weights(model)
        with pytest.raises(spec.SpecError, match=r"nothing was loaded: missing small\.features\.conv0\.weight"):
            densenet_keras.load_weights(model, densenet_keras.export_weights(inside))
        doubled = {name: 2 * array for name, array in weights.items()}
        densenet_keras.load_weights(model, doubled)
        assert all((doubled[name] == array).all() for name, array in densenet_keras.export_weights(model).items())

    @pytest.mark.parametrize("function", ["export_weights", "load_weights"])
    def test_a_variable_without_a_name_is_refused(self, keras, inside, function):
        import densenet_keras

        frames, x = keras.Input((3, 40, 40, 3)), keras.Input((40, 40, 3))
        depthwise = keras.layers.DepthwiseConv2D(3, name="depthwise")(x)
        models = {
            r"features\.conv0/kernel": keras.Model(frames, keras.layers.TimeDistributed(inside)(frames)),
            "depthwise/kernel": keras.Model(x, inside(keras.layers.ZeroPadding2D(1)(depthwise))),
            r"conv1d/kernel of shape \(2, 3, 4\)": keras.Model(x, keras.layers.Conv1D(4, 2, name="conv1d")(x[:, 0])),
        }
        arguments = ({},) if function == "load_weights" else ()
        for variable, model in models.items():
            with pytest.raises(spec.SpecError, match=f"has a variable .*{variable}.* no canonical name"):
                getattr(densenet_keras, function)(model, *arguments)

    def test_a_model_without_variables_yet_is_refused(self, keras, inside):
        import densenet_keras

        head = keras.Sequential([keras.layers.Dense(2)], name="head")
        with pytest.raises(spec.SpecError, match="head has no variables yet: call it on a batch"):
            densenet_keras.export_weights(head)

    def test_what_runs_a_network_says_where_it_is(self, keras, inside, images):
        import densenet_keras

        model = keras.Sequential([keras.Input((40, 40, 3)), inside], name="model")
        labels, optimizer = np.arange(2), densenet_keras.sgd(model, 0.1)
        for run in (
            lambda: densenet_keras.predict(model, images),
            lambda: densenet_keras.trace(model, images),
            lambda: densenet_keras.loss_and_gradients(model, images, labels),
            lambda: densenet_keras.step(model, optimizer, images, labels),
        ):
            with pytest.raises(
                spec.SpecError, match=r"model is not built .* its layer small is: give model\.get_layer"
            ):
                run()


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
            ({"input_shape": (20, 64, 3)}, "input_shape: input 3x20x64 is too small .* that works is 3x29x29"),
            ({"input_shape": (64, 64)}, r"input_shape must be \(height, width, channels\), found \(64, 64\)"),
            ({"input_shape": (64, 64, 0)}, "densenet121: input_shape: should be greater than 0, found 0"),
            ({"input_shape": (64, 64, 1), "in_channels": 1}, "in_channels and input_shape are the same, found both"),
            ({"include_top": False, "pooling": "mean"}, "pooling must be 'avg', 'max' or None, found 'mean'"),
            (
                {"classifier_activation": "relu"},
                "classifier_activation: should be 'softmax' or 'sigmoid', found 'relu'",
            ),
            ({"classes": 0}, "densenet121: classes: should be greater than 0, found 0"),
            ({"classes": 5, "num_classes": 5}, "num_classes and classes are the same, found both"),
            ({"input_tensor": np.zeros((1, 64, 64, 3))}, "input_tensor must be symbolic, .* found ndarray"),
            ({"weights": "imagenet"}, "found 'imagenet': no weights are hosted or downloaded; port .* densenet port"),
            ({"weights": "their.weights.h5"}, "found 'their.weights.h5': model.load_weights opens .* densenet port"),
            ({"weights": "their.keras"}, "found 'their.keras': model.load_weights opens"),
            ({"weights": "theirs.pth"}, "weights must be the path of a .safetensors file"),
        ],
    )
    def test_what_cannot_be_built_is_refused(self, arguments, sentence):
        import densenet_keras

        with pytest.raises(spec.SpecError, match=sentence):
            densenet_keras.DenseNet121(**arguments)

    @pytest.mark.parametrize("activation", ["sigmoid", "softmax", "linear", None])
    def test_an_activation_is_given_by_name_or_as_keras_has_it(self, keras, activation):
        import densenet_keras

        given = [activation, getattr(keras.activations, activation or "linear")]
        outputs = {}
        for each in given:
            model = densenet_keras.densenet_d2l(classifier_activation=each)
            assert model.network.gives_logits == (activation in ("linear", None))
            outputs[each] = model.layers[-1].name
        expected = "classifier" if activation in ("linear", None) else activation
        assert set(outputs.values()) == {expected}

    def test_a_sigmoid_is_no_logit(self, keras):
        import densenet_keras

        model = densenet_keras.densenet_d2l(classifier_activation="sigmoid")
        batch = np.random.default_rng(0).normal(size=(2, 1, 96, 96)).astype(np.float32)
        found = densenet_keras.trace(model, batch)
        assert found["sigmoid"] == pytest.approx(1 / (1 + np.exp(-found["classifier"])), rel=1e-5)
        with pytest.raises(spec.SpecError, match="densenet_d2l ends in a sigmoid, a loss needs logits"):
            densenet_keras.loss_and_gradients(model, batch, np.arange(2))

    @pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
    def test_images_are_made_ready_as_theirs(self, keras, layout):
        import densenet_keras

        x = np.random.default_rng(0).integers(0, 256, size=(2, 3, 5, 4)).astype(np.uint8)
        right = (x / 255 - np.reshape([0.485, 0.456, 0.406], (3, 1, 1))) / np.reshape([0.229, 0.224, 0.225], (3, 1, 1))
        x, right = (each if layout == "channels_first" else each.transpose(0, 2, 3, 1) for each in (x, right))
        for each, expected in ((x, right), (x[0], right[0])):
            found = densenet_keras.preprocess_input(each.copy(), data_format=layout)
            assert found == pytest.approx(expected, abs=1e-5)

    @pytest.mark.parametrize("shape", [(5, 4, 1), (2, 5, 4, 4), (4, 3)])
    def test_images_of_other_channels_are_refused(self, shape):
        import densenet_keras

        with pytest.raises(spec.SpecError, match=r"takes images of shape \(..., height, width, 3\), found"):
            densenet_keras.preprocess_input(np.zeros(shape))

    @pytest.mark.parametrize("file", ["names.txt", "names.json", "index.json", "mine.safetensors", None])
    def test_predictions_have_the_names_of_a_file(self, tmp_path, file):
        import densenet_keras

        names = ["cat", "dog", "eel", "fox", "gnu"]
        (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
        (tmp_path / "names.json").write_text(json.dumps(names))
        (tmp_path / "index.json").write_text(json.dumps({str(i): [f"n{i}", name] for i, name in enumerate(names)}))
        spec.save(tmp_path / "mine.safetensors", NETWORK, spec.initialize(NETWORK, 0), classes=names)
        scores = np.array([[0.1, 0.2, 0.4, 0.0, 0.3], [0.5, 0.1, 0.2, 0.2, 0.0]])
        classes = names if file is None else tmp_path / file
        (one, other) = densenet_keras.decode_predictions(scores, top=2, classes=classes)
        ids = ("n2", "n4") if file == "index.json" else ("eel", "gnu")
        assert one == [(ids[0], "eel", 0.4), (ids[1], "gnu", 0.3)]
        assert other[0][1:] == ("cat", 0.5)

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            (None, "names.json has no names of classes, .*No such file"),
            ("{", "names.json has no names of classes, a list or keras.applications' index"),
            ("7", "names.json has no names of classes"),
            ('{"1": ["n1", "cat"]}', "names.json has no names of classes"),
            ('["cat", "dog"]', "names.json: classes should be 3 names, one for each, found"),
            ('["cat", "dog", 3]', "names.json: classes should be lines of 1 to 200 letters, found 3"),
        ],
    )
    def test_a_file_without_names_is_refused(self, tmp_path, text, sentence):
        import densenet_keras

        if text is not None:
            (tmp_path / "names.json").write_text(text)
        with pytest.raises(spec.SpecError, match=sentence):
            densenet_keras.decode_predictions(np.eye(3), classes=tmp_path / "names.json")

    def test_without_names_they_are_those_of_imagenet(self, keras, monkeypatch):
        """Which Keras downloads, so that here its function is put by."""
        import densenet_keras

        def theirs(preds, top=5):
            raise OSError("no network")

        monkeypatch.setattr(keras.applications.densenet, "decode_predictions", theirs)
        with pytest.raises(spec.SpecError, match=r"ImageNet's index, which Keras could not download \(no network\)"):
            densenet_keras.decode_predictions(np.zeros((1, 1000)))
        monkeypatch.setattr(keras.applications.densenet, "decode_predictions", lambda preds, top: (preds.shape, top))
        assert densenet_keras.decode_predictions(np.zeros((1, 1000)), top=3) == ((1, 1000), 3)
        with pytest.raises(spec.SpecError, match="knows ImageNet's 1000 classes, found scores of 10: give their names"):
            densenet_keras.decode_predictions(np.zeros((1, 10)))
        with pytest.raises(spec.SpecError, match=r"takes scores of shape \(N, num_classes\), found \(10,\)"):
            densenet_keras.decode_predictions(np.zeros(10))


def test_an_export_to_onnx_says_what_it_needs(keras, monkeypatch, tmp_path):
    from densenet_keras import functional

    monkeypatch.setattr(functional, "find_spec", lambda name: None)
    framework = keras.backend.backend()
    needed = {"tensorflow": "tf2onnx", "torch": "onnx", "jax": "jax2onnx"}[framework]
    with pytest.raises(spec.SpecError, match=f"Keras on {framework} exports to ONNX by {needed}, .* pip install"):
        loaded().export(tmp_path / "model.onnx", format="onnx")


def test_the_program_runs_when_it_is_run_not_when_it_is_imported():
    import importlib

    assert importlib.import_module("densenet_keras.__main__").__doc__.startswith("Runs a saved model")


@pytest.mark.filterwarnings("ignore")
def test_keras_own_exporter_to_onnx_takes_a_model_that_was_called(keras, tmp_path):
    if keras.backend.backend() != "torch":
        pytest.skip("on PyTorch what Keras' exporter needs comes with the development packages")
    import densenet_keras

    runtime = pytest.importorskip("onnxruntime")
    model = densenet_keras.densenet40_k12_bc(growth_rate=4, block_config=(1, 1), input_size=8)
    x = photographs(model.network.input_shape).transpose(0, 2, 3, 1).astype(np.float32)
    expected = array(model(x))
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x})
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
