"""What people do with a DenseNet of keras.applications, on small ones of ours."""

import copy
import json
import pickle
import warnings
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest

import densenet_keras
import spec
from spec import reference
from tests.compatibility.uses import Ecosystem

ECOSYSTEM = Ecosystem("Keras", "keras")
GUIDES = "https://github.com/keras-team/keras-io/blob/master/guides"
EXAMPLES = "https://github.com/keras-team/keras-io/blob/master/examples"
PAGES = "https://github.com/keras-team/keras-io/blob/master/templates"
KERAS = "https://github.com/keras-team/keras"
APPLICATIONS = f"{PAGES}/api/applications/index.md"
TRANSFER = f"{GUIDES}/transfer_learning.py"
SAVING = f"{GUIDES}/serialization_and_saving.py"
FITTING = f"{GUIDES}/training_with_built_in_methods.py"
FUNCTIONAL = f"{GUIDES}/functional_api.py"

SMALL = {"growth_rate": 4, "block_config": [1, 1], "input_size": 8}
LAST = "features.denseblock2"


def small(**arguments):
    """A small DenseNet with random weights, running statistics and biases among them."""
    model = densenet_keras.densenet40_k12_bc(**SMALL | arguments)
    densenet_keras.load_weights(model, spec.randomize(spec.initialize(model.network, 0), 0))
    return model


def backbone(**arguments):
    return small(**{"include_top": False, "pooling": "avg"} | arguments)


def photographs(count=4, size=8, channels=3):
    """(N, H, W, C), as Keras has them."""
    return np.random.default_rng(0).normal(size=(count, size, size, channels)).astype(np.float32)


LABELS = np.arange(4) % 3


def nchw(x):
    return array(x).transpose(0, 3, 1, 2)


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def same(found, expected, bar=1e-5):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    assert abs(found - expected).max() <= bar * abs(expected).max()


def differ(found, expected):
    assert abs(np.asarray(found) - np.asarray(expected)).max() > 1e-6


def by_reference(model, x):
    """Every layer's output for x, (N, C, H, W), as NumPy has it."""
    other = reference.build(model.network, "float64")
    reference.load_weights(other, {k: a.astype(np.float64) for k, a in densenet_keras.export_weights(model).items()})
    return reference.trace(other, nchw(x).astype(np.float64))


def compiled(model, loss="sparse_categorical_crossentropy", optimizer="sgd", **settings):
    model.compile(optimizer, loss, **settings)
    return model


def fitted(model, x=None, y=LABELS, **settings):
    return model.fit(photographs() if x is None else x, y, **{"verbose": 0, "batch_size": 4} | settings)


def gradient(function, x):
    """The derivative of a number by x, from what Keras runs on."""
    if keras.backend.backend() == "torch":
        import torch

        x = keras.ops.convert_to_tensor(x).requires_grad_()
        return torch.autograd.grad(function(x), x)[0].cpu().numpy()
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(x))
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return tape.gradient(value, x).numpy()


def quantized(model):
    """In int8, as far as Keras does: it warns of each kind of layer that it leaves as it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.quantize("int8")


def on_tensorflow():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras does this on TensorFlow alone")
    import tensorflow as tf

    return tf


@ECOSYSTEM.use("classify images with the names of classes", APPLICATIONS)
def _():
    Path("names.json").write_text(json.dumps({str(i): [f"n{i}", f"class {i}"] for i in range(10)}))
    model, x = small(), photographs()
    for row, scores in zip(
        densenet_keras.decode_predictions(model.predict(x, verbose=0), top=3, classes="names.json"),
        by_reference(model, x)["softmax"],
    ):
        assert [name for _, name, _ in row] == [f"class {i}" for i in np.argsort(-scores)[:3]]
        same([score for *_, score in row], sorted(scores)[:-4:-1])


@ECOSYSTEM.use("preprocess_input, on arrays and inside a model", f"{PAGES}/api/applications/index.md")
def _():
    x = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    right = (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    same(densenet_keras.preprocess_input(x.copy()), right)
    inputs, core = keras.Input((8, 8, 3), dtype="uint8"), small()
    outputs = core(densenet_keras.preprocess_input(keras.ops.cast(inputs, "float32")))
    model = keras.Model(inputs, outputs)
    same(array(model(x)), by_reference(core, right)["softmax"])


@ECOSYSTEM.use("extract features without the top", APPLICATIONS)
def _():
    model, x = small(include_top=False), photographs(size=10)
    maps = by_reference(model, x)["relu"]
    same(nchw(model.predict(x, verbose=0)), maps)
    same(densenet_keras.predict(model, nchw(x)), maps)


@ECOSYSTEM.use("pooling='avg' and 'max'", APPLICATIONS)
def _():
    for pooling, of in {"avg": np.mean, "max": np.max}.items():
        model = backbone(pooling=pooling)
        same(array(model(photographs())), of(by_reference(model, photographs())["relu"], axis=(2, 3)))


@ECOSYSTEM.use("features of an arbitrary intermediate layer", APPLICATIONS)
def _():
    model, x = small(), photographs()
    features = keras.Model(inputs=model.input, outputs=model.get_layer(LAST + ".denselayer1").output)
    same(nchw(features(x)), by_reference(model, x)[LAST + ".denselayer1"])


@ECOSYSTEM.use("the output of every layer at once", f"{EXAMPLES}/vision/visualizing_what_convnets_learn.py")
def _():
    model, x = small(), photographs()
    outputs = keras.Model(model.input, {layer.name: layer.output for layer in model.layers[1:]})(x)
    right = by_reference(model, x)
    assert set(right) - set(outputs) <= {"features", "features.denseblock1", LAST, "features.transition1"}
    for name in set(outputs) & set(right):
        found = array(outputs[name])
        same(nchw(found) if found.ndim == 4 else found, right[name])


@ECOSYSTEM.use("maps of several sizes for a decoder", f"{EXAMPLES}/vision/deeplabv3_plus.py")
def _():
    model, x = small(include_top=False, input_shape=(16, 16, 3)), photographs(size=16)
    high = model.get_layer("features.denseblock1.denselayer1").output
    low = keras.layers.UpSampling2D(2)(model.output)
    outputs = keras.layers.Conv2D(2, 1, name="mask")(keras.layers.Concatenate()([high, low]))
    segmenter = keras.Model(model.input, outputs)
    assert array(segmenter(x)).shape == (4, 16, 16, 2)
    fitted(compiled(segmenter, keras.losses.SparseCategoricalCrossentropy(from_logits=True)), x, x[..., 0] > 0)
    assert list(densenet_keras.export_weights(segmenter))[-2:] == ["mask.weight", "mask.bias"]


@ECOSYSTEM.use("transfer learning: a new head on a frozen backbone", TRANSFER)
def _():
    base, inputs = backbone(), keras.Input((8, 8, 3))
    base.trainable = False
    before = densenet_keras.export_weights(base)
    x = keras.layers.Dropout(0.2)(base(inputs, training=False))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    assert len(model.trainable_weights) == 2
    first = array(model.layers[-1].kernel).copy()
    fitted(compiled(model))
    differ(array(model.layers[-1].kernel), first)
    assert all((before[name] == found).all() for name, found in densenet_keras.export_weights(base).items())


@ECOSYSTEM.use("fine-tuning: convolutions are trained, batch norms stay as they are", TRANSFER)
def _():
    base, inputs = backbone(), keras.Input((8, 8, 3))
    for layer in base.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(base(inputs)))
    before = densenet_keras.export_weights(base)
    fitted(compiled(model))
    for name, found in densenet_keras.export_weights(base).items():
        assert (found == before[name]).all() == ("norm" in name), name


@ECOSYSTEM.use("freeze all but the last block", APPLICATIONS)
def _():
    model = small(classes=3)
    for layer in model.layers:
        layer.trainable = layer.name.startswith((LAST, "classifier"))
    before = densenet_keras.export_weights(model)
    fitted(compiled(model))
    moved = {name for name, found in densenet_keras.export_weights(model).items() if (found != before[name]).any()}
    assert moved == {name for name in before if name.startswith((LAST, "classifier"))}


@ECOSYSTEM.use("a head on the backbone's own output", APPLICATIONS)
def _():
    base = backbone()
    model = keras.Model(base.input, keras.layers.Dense(3, name="head")(base.output))
    weights = densenet_keras.export_weights(model)
    assert len(weights) == len(model.weights)
    assert set(weights) == {*densenet_keras.export_weights(base), "head.weight", "head.bias"}
    same(weights["head.weight"], array(model.get_layer("head").kernel).T)


@ECOSYSTEM.use("weights of a whole network for one without the top, or with other classes", APPLICATIONS)
def _():
    whole = small()
    spec.save("whole.safetensors", whole.network, densenet_keras.export_weights(whole))
    base = densenet_keras.densenet40_k12_bc(include_top=False, weights="whole.safetensors", **SMALL)
    same(nchw(base(photographs())), by_reference(whole, photographs())["relu"])
    model = keras.Model(base.input, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(base.output)))
    assert model.output_shape == (None, 3)


def sequential():
    layers = [keras.Input((8, 8, 3)), backbone(name="base"), keras.layers.Dense(3, name="head")]
    return keras.Sequential(layers, name="model")


@ECOSYSTEM.use("Sequential around the backbone: its weights out and in", f"{GUIDES}/sequential_model.py")
def _():
    model, other = sequential(), sequential()
    weights = densenet_keras.export_weights(model)
    inside = densenet_keras.export_weights(model.get_layer("base"))
    assert set(weights) == {*(f"base.{name}" for name in inside), "head.weight", "head.bias"}
    assert len(weights) == len(model.weights)
    assert all((weights[f"base.{name}"] == array).all() for name, array in inside.items())
    densenet_keras.load_weights(other, weights)
    same(array(other(photographs())), array(model(photographs())))


@ECOSYSTEM.use(
    "predict of this package on a Sequential",
    f"{GUIDES}/sequential_model.py",
    says="model is not built from a network, its layer base is: give model.get_layer('base')",
)
def _():
    densenet_keras.predict(sequential(), nchw(photographs()))


@ECOSYSTEM.use(
    "weights of the network for a Sequential",
    f"{GUIDES}/sequential_model.py",
    says="nothing was loaded: missing base.features.conv0.weight",
)
def _():
    model = sequential()
    densenet_keras.load_weights(model, densenet_keras.export_weights(model.get_layer("base")))


@ECOSYSTEM.use("a network per frame of a video, TimeDistributed", f"{KERAS}/issues/16355")
def _():
    base, frames = backbone(), np.stack([photographs(), -photographs()], axis=1)
    inputs = keras.Input((2, 8, 8, 3))
    model = keras.Model(inputs, keras.layers.TimeDistributed(base)(inputs))
    found = array(model(frames))
    for i in range(2):
        same(found[:, i], array(base(frames[:, i])))


@ECOSYSTEM.use("weights of TimeDistributed", f"{KERAS}/issues/16355", says="for which there is no canonical name")
def _():
    inputs = keras.Input((2, 8, 8, 3))
    densenet_keras.export_weights(keras.Model(inputs, keras.layers.TimeDistributed(backbone())(inputs)))


@ECOSYSTEM.use("one network for two images, Siamese", f"{EXAMPLES}/vision/siamese_network.py")
def _():
    base, one, other = backbone(), keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    distance = keras.layers.Lambda(lambda x: keras.ops.norm(x[0] - x[1], axis=1))([base(one), base(other)])
    model, x = keras.Model([one, other], distance), photographs()
    same(array(model([x, -x])), np.linalg.norm(array(base(x)) - array(base(-x)), axis=1))
    assert len(densenet_keras.export_weights(model)) == len(base.weights)


@ECOSYSTEM.use("an image and other features, multi-input", FUNCTIONAL)
def _():
    base, more = backbone(), keras.Input((2,), name="age")
    model = keras.Model(
        [base.input, more], keras.layers.Dense(3, "softmax")(keras.ops.concatenate([base.output, more], 1))
    )
    fitted(compiled(model), [photographs(), np.ones((4, 2), np.float32)])
    assert len(densenet_keras.export_weights(model)) == len(model.weights)


@ECOSYSTEM.use("an ensemble of two networks in one model", FUNCTIONAL)
def _():
    one, other, inputs = small(name="one"), small(name="other", growth_rate=6), keras.Input((8, 8, 3))
    model, x = keras.Model(inputs, keras.layers.average([one(inputs), other(inputs)])), photographs()
    same(array(model(x)), (by_reference(one, x)["softmax"] + by_reference(other, x)["softmax"]) / 2)
    assert {name.split(".")[0] for name in densenet_keras.export_weights(model)} == {"one", "other"}


@ECOSYSTEM.use("images of one channel, or of five", f"{KERAS}/pull/7568")
def _():
    for channels in (1, 5):
        model, x = small(input_shape=(8, 8, channels)), photographs(channels=channels)
        same(array(model(x)), by_reference(model, x)["softmax"])


@ECOSYSTEM.use("images of any size", APPLICATIONS)
def _():
    model = small(input_shape=(None, None, 3))
    for size in (8, 13):
        same(array(model(photographs(size=size))), by_reference(model, photographs(size=size))["softmax"])


@ECOSYSTEM.use("blocks of your own", "https://github.com/keras-team/keras-applications/issues/66")
def _():
    model = small(block_config=[1, 1, 1], growth_rate=3, compression=0.7, dropout=0.1)
    same(array(model(photographs())), by_reference(model, photographs())["softmax"])


@ECOSYSTEM.use("start from a tensor of yours, with augmentation before", f"{GUIDES}/preprocessing_layers.py")
def _():
    inputs = keras.Input((8, 8, 3))
    augmented = keras.layers.RandomFlip("horizontal", seed=0)(keras.layers.Rescaling(1 / 255)(inputs))
    model, x = small(input_tensor=augmented, classes=3), photographs()
    same(array(model(x, training=False)), by_reference(model, x / 255)["softmax"])
    fitted(compiled(model), x)


@ECOSYSTEM.use("maps with channels first", f"{PAGES}/getting_started/faq.md")
def _():
    keras.config.set_image_data_format("channels_first")
    try:
        model = small(input_shape=(3, 8, 8))
        assert model.input_shape == (None, 3, 8, 8)
        same(densenet_keras.predict(model, nchw(photographs())), by_reference(model, photographs())["softmax"])
    finally:
        keras.config.set_image_data_format("channels_last")


@ECOSYSTEM.use("many labels: classifier_activation='sigmoid'", APPLICATIONS)
def _():
    model, x = small(classifier_activation="sigmoid", classes=3), photographs()
    same(array(model(x)), 1 / (1 + np.exp(-by_reference(model, x)["classifier"])))
    fitted(compiled(model, "binary_crossentropy", metrics=[keras.metrics.AUC(multi_label=True)]), x, np.eye(3)[LABELS])


@ECOSYSTEM.use("logits, for a loss with from_logits", APPLICATIONS)
def _():
    model = small(classifier_activation=None, classes=3)
    loss = compiled(model, keras.losses.SparseCategoricalCrossentropy(from_logits=True)).evaluate(
        photographs(), LABELS, verbose=0
    )
    logits = by_reference(model, photographs())["classifier"]
    right = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(4), LABELS]
    same(loss, right.mean())


@ECOSYSTEM.use("another activation", APPLICATIONS, says="classifier_activation: should be 'softmax' or 'sigmoid'")
def _():
    small(classifier_activation="relu")


@ECOSYSTEM.use(
    "weights='imagenet'", APPLICATIONS, says="no weights are hosted or downloaded; port those of keras.applications"
)
def _():
    densenet_keras.DenseNet121(weights="imagenet")


@ECOSYSTEM.use("weights= a .weights.h5", APPLICATIONS, says="densenet port theirs.weights.h5 ported.safetensors")
def _():
    small().save_weights("theirs.weights.h5")
    small(weights="theirs.weights.h5")


@ECOSYSTEM.use("Grad-CAM", f"{EXAMPLES}/vision/grad_cam.py")
def _():
    model, x = small(classifier_activation=None), photographs(count=1)
    maps = array(keras.Model(model.input, model.get_layer("relu").output)(x))
    head, tail = keras.Input(maps.shape[1:]), model.layers[model.layers.index(model.get_layer("relu")) + 1 :]
    y = head
    for layer in tail:
        y = layer(y)
    classifier = keras.Model(head, y)
    found = gradient(lambda maps: classifier(maps)[0, 2], maps)
    weights = densenet_keras.export_weights(model)["classifier.weight"][2]
    same(found, np.broadcast_to(weights / maps[0, ..., 0].size, maps.shape))  # of a mean and a linear layer


@ECOSYSTEM.use("Grad-CAM of a backbone inside a model", f"{KERAS}-io/issues/1903")
def _():
    base = small(include_top=False, input_shape=(8, 8, 3))
    layers = [keras.Input((8, 8, 3)), base, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, name="head")]
    model, x = keras.Sequential(layers), photographs(count=1)
    target = base.get_layer("relu").output
    classifier = keras.Model(base.input, [target, model.layers[-1](model.layers[-2](base.output))])
    maps, scores = classifier(x)
    same(array(scores), array(model(x)))
    kernel = array(model.get_layer("head").kernel)[:, 1]
    found = gradient(lambda maps: model.layers[-1](model.layers[-2](maps))[0, 1], array(maps))
    same(found[0, 0, 0], kernel / maps[0, ..., 0].shape[0] ** 2)


@ECOSYSTEM.use("integrated gradients by the image", f"{EXAMPLES}/vision/integrated_gradients.py")
def _():
    model, x = small(classifier_activation=None), photographs(count=1)
    steps = (np.arange(256, dtype=np.float32) + 0.5)[:, None, None, None] / 256
    slopes = gradient(lambda x: keras.ops.sum(model(x, training=False)[:, 0]), steps * x).mean(axis=0)
    ends = by_reference(model, np.concatenate([x, 0 * x]))["classifier"][:, 0]
    same((slopes * x[0]).sum(), ends[0] - ends[1], bar=0.02)


@ECOSYSTEM.use("mixed precision with float32 at the end", f"{PAGES}/api/mixed_precision/index.md")
def _():
    x, exact = photographs(), small(classes=3)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        logits = small(classes=3, classifier_activation=None)
        model = keras.Model(logits.input, keras.layers.Softmax(dtype="float32")(logits.output))
        found = array(compiled(model)(x))
        fitted(model, x)
    finally:
        keras.backend.clear_session()  # a policy, once set, would outdo set_floatx
    assert {weight.dtype for weight in model.weights} == {"float32"}
    same(found, array(exact(x)), bar=0.05)


@ECOSYSTEM.use("float64 everywhere", f"{PAGES}/getting_started/faq.md")
def _():
    keras.config.set_floatx("float64")
    try:
        model = densenet_keras.densenet40_k12_bc(**SMALL)
        densenet_keras.load_weights(model, spec.randomize(spec.initialize(model.network, 0, np.float64), 0))
        found = densenet_keras.predict(model, nchw(photographs()).astype(np.float64))
    finally:
        keras.config.set_floatx("float32")
    same(found, by_reference(model, photographs())["softmax"], bar=1e-12)


@ECOSYSTEM.use("int8 after training", f"{GUIDES}/int8_quantization_in_keras.py")
def _():
    model, x = small(), photographs()
    right = array(model(x))
    quantized(model)
    assert model.get_layer("classifier").quantization_mode == "int8"
    same(array(model(x)), right, bar=0.05)


@ECOSYSTEM.use(
    "weights of a model in int8",
    f"{GUIDES}/int8_quantization_in_keras.py",
    says="classifier/kernel_scale of shape (10,), for which there is no canonical name",
)
def _():
    model = small()
    quantized(model)
    densenet_keras.export_weights(model)


@ECOSYSTEM.use("TFLite", f"{GUIDES}/litert_export.py")
def _():
    tf = on_tensorflow()
    model, x = small(), photographs(count=1)
    model.export("model.tflite", format="litert", verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it will move to another package
        interpreter = tf.lite.Interpreter("model.tflite")
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    same(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), by_reference(model, x)["softmax"])


@ECOSYSTEM.use("SavedModel, for TF-Serving", f"{EXAMPLES}/keras_recipes/tf_serving.py")
def _():
    tf = on_tensorflow()
    model, x = small(), photographs()
    model.export("serving", verbose=False)
    served = tf.saved_model.load("serving")
    same(served.serve(x), by_reference(model, x)["softmax"])


@ECOSYSTEM.use(
    "ONNX without what Keras' exporter needs", f"{KERAS}/issues/8638", says="which is not installed: pip install"
)
def _():
    with mock.patch("densenet_keras.functional.find_spec", return_value=None):
        small().export("model.onnx", format="onnx")


@ECOSYSTEM.use("save and load a .keras file", SAVING)
def _():
    model, x = small(), photographs()
    model.save("model.keras")
    other = keras.models.load_model("model.keras")
    assert other.network == model.network
    same(densenet_keras.predict(other, nchw(x)), by_reference(model, x)["softmax"])


@ECOSYSTEM.use("a .keras file of a model around the backbone", SAVING)
def _():
    model = sequential()
    model.save("model.keras")
    other = keras.models.load_model("model.keras")
    base = other.get_layer("base")
    assert base.network == model.get_layer("base").network
    same(densenet_keras.predict(base, nchw(photographs())), array(model.get_layer("base")(photographs())))


@ECOSYSTEM.use("save and load weights alone", SAVING)
def _():
    model, other = small(), densenet_keras.densenet40_k12_bc(**SMALL)
    model.save_weights("model.weights.h5")
    other.load_weights("model.weights.h5")
    same(array(other(photographs())), array(model(photographs())))


@ECOSYSTEM.use("the architecture as JSON", SAVING)
def _():
    model = small()
    other = keras.models.model_from_json(model.to_json())
    assert other.network == model.network
    other.set_weights(model.get_weights())
    same(array(other(photographs())), array(model(photographs())))


@ECOSYSTEM.use("the older .h5 file", SAVING)
def _():
    model = small()
    model.save("model.h5")
    same(array(keras.models.load_model("model.h5")(photographs())), array(model(photographs())))


@ECOSYSTEM.use("clone_model, with the weights", f"{KERAS}/issues/16668")
def _():
    model, x = small(), photographs()
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    same(array(clone(x)), array(model(x)))
    assert densenet_keras.export_weights(clone).keys() == densenet_keras.export_weights(model).keys()


@ECOSYSTEM.use(
    "predict of this package on a clone",
    f"{KERAS}/issues/16668",
    says="does not say which network it is: set its attribute `network` to that of the model it was made of",
)
def _():
    densenet_keras.predict(keras.models.clone_model(small()), nchw(photographs()))


@ECOSYSTEM.use("exchange layers while cloning", f"{KERAS}/pull/7631")
def _():
    def swish(layer):
        if isinstance(layer, keras.layers.ReLU):
            return keras.layers.Activation("swish", name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    clone = keras.models.clone_model(small(), clone_function=swish)
    assert not any(isinstance(layer, keras.layers.ReLU) for layer in clone.layers)
    assert array(clone(photographs())).shape == (4, 10)


@ECOSYSTEM.use("deepcopy and pickle", f"{KERAS}/issues/1765")
def _():
    model = small()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.network == model.network
        same(array(other(photographs())), array(model(photographs())))


@ECOSYSTEM.use("callbacks: the best weights, early stopping", f"{GUIDES}/writing_your_own_callbacks.py")
def _():
    model = compiled(small(classes=3))
    callbacks = [
        keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True, monitor="loss"),
        keras.callbacks.EarlyStopping(monitor="loss", patience=1, restore_best_weights=True),
        keras.callbacks.CSVLogger("log.csv"),
    ]
    history = fitted(model, epochs=3, callbacks=callbacks).history["loss"]
    other = keras.models.load_model("best.keras")
    assert other.network == model.network
    assert other.evaluate(photographs(), LABELS, verbose=0) == pytest.approx(
        model.evaluate(photographs(), LABELS, verbose=0), rel=1e-4
    )
    assert len(history) > 1


@ECOSYSTEM.use("a schedule of learning rates", FITTING)
def _():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, decay_steps=4)
    optimizer = keras.optimizers.SGD(schedule)
    fitted(compiled(small(classes=3), optimizer=optimizer), epochs=2)
    assert float(optimizer.learning_rate) == pytest.approx(0.05)  # the half of the way


@ECOSYSTEM.use("weights of classes and of samples", FITTING)
def _():
    model = compiled(small(classes=3))
    found = model.evaluate(photographs(), LABELS, sample_weight=np.array([1.0, 0, 0, 0]), batch_size=4, verbose=0)
    same(found, -np.log(by_reference(model, photographs())["softmax"][0, 0]) / 4, bar=1e-4)
    fitted(model, class_weight={0: 1.0, 1: 2.0, 2: 3.0})


@ECOSYSTEM.use("moving averages of the weights, EMA", f"{KERAS}/issues/1765")
def _():
    optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    model = compiled(small(classes=3), optimizer=optimizer)
    before = array(model.get_layer("classifier").kernel).copy()
    fitted(model, epochs=1)  # whose end puts the average in the place of the weights
    after = array(model.get_layer("classifier").kernel)
    differ(after, before)
    same(after, array(next(v for v in optimizer._model_variables_moving_average if v.shape == after.shape)))


@ECOSYSTEM.use("gradients of several batches in one step", FITTING)
def _():
    model = compiled(small(classes=3), optimizer=keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))
    before = array(model.get_layer("classifier").kernel).copy()
    model.train_on_batch(photographs(), LABELS)
    assert (array(model.get_layer("classifier").kernel) == before).all()
    model.train_on_batch(photographs(), LABELS)
    differ(array(model.get_layer("classifier").kernel), before)


@ECOSYSTEM.use("a loss of one's own in fit", f"{GUIDES}/customizing_what_happens_in_fit.py")
def _():
    class Doubled(keras.Model):
        def compute_loss(self, *args, **kwargs):
            return 2 * super().compute_loss(*args, **kwargs)

    model = small(classes=3)
    once = compiled(model).evaluate(photographs(), LABELS, verbose=0)
    twice = compiled(Doubled(model.input, model.outputs[0])).evaluate(photographs(), LABELS, verbose=0)
    assert twice == pytest.approx(2 * once, rel=1e-5)


@ECOSYSTEM.use("distillation from a larger network", f"{EXAMPLES}/vision/knowledge_distillation.py")
def _():
    teacher, student = small(growth_rate=6), small()
    x = photographs()
    history = fitted(compiled(student, "kl_divergence", keras.optimizers.SGD(0.05)), x, array(teacher(x)), epochs=6)
    assert history.history["loss"][-1] < history.history["loss"][0]


@ECOSYSTEM.use(
    "LoRA on the classifier", f"{EXAMPLES}/keras_recipes/parameter_efficient_finetuning_of_gemma_with_lora_and_qlora.py"
)
def _():
    model = small(classes=3)
    for layer in model.layers:
        layer.trainable = False
    dense = model.get_layer("classifier")
    dense.trainable = True
    before = array(model(photographs()))
    dense.enable_lora(2)
    same(array(model(photographs())), before)
    fitted(compiled(model, optimizer=keras.optimizers.SGD(1.0)))
    differ(array(model(photographs())), before)


@ECOSYSTEM.use("dropout at inference, for uncertainty", f"{EXAMPLES}/keras_recipes/bayesian_neural_networks.py")
def _():
    model, x = small(dropout=0.5), photographs()
    frozen = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in frozen:
        layer.trainable = False
    differ(array(model(x, training=True)), array(model(x, training=True)))
    same(array(model(x)), by_reference(model, x)["softmax"])


@ECOSYSTEM.use("compiled by XLA", f"{PAGES}/getting_started/faq.md")
def _():
    model = compiled(small(), jit_compile=keras.backend.backend() != "torch")
    same(model.predict(photographs(), verbose=0), by_reference(model, photographs())["softmax"])


@ECOSYSTEM.use("several replicas, MirroredStrategy", f"{GUIDES}/distributed_training.py")
def _():
    tf = on_tensorflow()
    with tf.distribute.MirroredStrategy(["cpu:0"]).scope():
        model = compiled(small(classes=3))
    fitted(model)
    assert len(densenet_keras.export_weights(model)) == len(model.weights)


@ECOSYSTEM.use("summary of a nested model", f"{PAGES}/getting_started/faq.md")
def _():
    lines = []
    sequential().summary(expand_nested=True, line_length=160, print_fn=lambda line, **_: lines.append(line))
    assert "features.denseblock1.denselayer1.conv1" in "\n".join(lines)


@ECOSYSTEM.use("an optimizer of Keras in this package's step", f"{GUIDES}/training_with_built_in_methods.py")
def _():
    model, optimizer = small(classes=3, classifier_activation=None), keras.optimizers.Adam(0.01)
    losses = [densenet_keras.step(model, optimizer, nchw(photographs()), LABELS)[0] for _ in range(4)]
    assert losses[-1] < losses[0]
