"""Other people's DenseNets, as oracles: the same weights give the same logits, and known differences show.

keras.applications has an epsilon of 1.001e-5. MXNet's model zoo has a head that pools 7x7, which is
global at 224 pixels only.
"""

import numpy as np
import pytest

import spec
from densenet_tools import images
from densenet_tools.parity.differences import difference
from densenet_tools.parity.tolerance import OUTPUTS
from spec import reference
from tests.support import require

PEERS = ["densenet121", "densenet169", "densenet201"]


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    return images.load(images.samples(), 1, (3, 224, 224)).astype(np.float32)


def weights_of(name: str, dtype: type[np.floating]) -> spec.Weights:
    return spec.randomize(spec.initialize(spec.variant(name), 0, dtype), 0)


def expected(name: str, photograph: np.ndarray, dtype: type[np.floating], **overrides) -> np.ndarray:
    """The NumPy reference's logits in float64."""
    model = reference.build(spec.variant(name, **overrides))
    weights = weights_of(name, dtype)
    reference.load_weights(model, {key: array.astype(np.float64) for key, array in weights.items()})
    return reference.predict(model, photograph)


@pytest.fixture
def float64():
    """Keras in float64; its applications take the global setting."""
    require("keras")
    import keras

    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx("float32")


@pytest.mark.parametrize("name", PEERS[:1] + [pytest.param(name, marks=pytest.mark.slow) for name in PEERS[1:]])
def test_keras_applications_agrees_once_the_epsilon_does(name, photograph, float64):
    import keras

    import densenet_keras

    theirs = getattr(keras.applications, name.replace("densenet", "DenseNet"))(weights=None, classifier_activation=None)
    ours = densenet_keras.build(spec.variant(name))
    densenet_keras.load_weights(ours, weights_of(name, np.float64))
    layers = ([layer for layer in model.layers if layer.weights] for model in (theirs, ours))
    for their_layer, our_layer in zip(*layers, strict=True):  # both in the order of the network
        their_layer.set_weights(our_layer.get_weights())
    with densenet_keras.compat.float64_kept():
        outputs = theirs(photograph.transpose(0, 2, 3, 1).astype(np.float64), training=False)
    found = keras.ops.convert_to_numpy(outputs)
    same = expected(name, photograph, np.float64, eps=1.001e-5)
    assert difference(found, same)[1] <= OUTPUTS["float64"]
    assert difference(found, expected(name, photograph, np.float64))[1] > 1e-9


@pytest.mark.parametrize("name", PEERS[:1] + [pytest.param(name, marks=pytest.mark.slow) for name in PEERS[1:]])
def test_the_model_zoo_of_mxnet_agrees_at_224_pixels_only(name, photograph):
    require("mxnet")
    import mxnet as mx

    import densenet_mxnet

    theirs = getattr(mx.gluon.model_zoo.vision, name)()
    theirs.initialize()
    theirs(mx.nd.zeros((1, 3, 224, 224)))  # its shapes are known only now
    ours = densenet_mxnet.build(spec.variant(name))
    densenet_mxnet.load_weights(ours, weights_of(name, np.float32))
    parameters = (model._collect_params_with_prefix().values() for model in (theirs, ours))
    for their_parameter, our_parameter in zip(*parameters, strict=True):  # both in the order of the network
        their_parameter.set_data(our_parameter.data())
    found = theirs(mx.nd.array(photograph)).asnumpy()
    assert difference(found, expected(name, photograph, np.float32))[1] <= OUTPUTS["float32"]

    larger = images.load(images.samples(), 1, (3, 256, 256)).astype(np.float32)
    found = theirs(mx.nd.array(larger)).asnumpy()
    assert difference(found, densenet_mxnet.predict(ours, larger))[1] > 0.01
