"""Training steps mean the same in every backend: after eight of them parameters and statistics agree with NumPy's.

All rates and factors are powers of two or sums of few of them, which float32 holds exactly: Keras keeps
its learning rate in float32, and MXNet's own optimizers take all their settings as float32.
"""

import ast
import importlib
from functools import cache
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest

import spec
from spec import reference, running, training
from spec.layers import BatchNorm
from spec.reference import train
from spec.reference.forward import Pass
from tests.cases import CLASSIC, small, squeezed
from tests.support import FRAMEWORKS, loaded, require

NETWORKS = {
    "densenet": small(block_config=[2, 1], bn_size=4, decay=0.875, input_size=24),
    "se_densenet": small(
        block_config=[1, 2], conv_bias=True, decay=0.875, input_size=24, **squeezed("layer", "transition")
    ),
    "residual": CLASSIC["residual_strided"],
    "inception": CLASSIC["inception"],
}
METHODS = {"plain": {}, "momentum": {"momentum": 0.875}, "nesterov": {"momentum": 0.875, "nesterov": True}}
DECAYS = {"": {}, "_decayed": {"weight_decay": 2**-7}}
SETTINGS = {method + decay: METHODS[method] | DECAYS[decay] for method, decay in product(METHODS, DECAYS)}
RATE, LATER_RATE, STEPS = 0.125, 0.03125, 8
TOLERANCE, DEPARTURE = 1e-12, 1e-6

Run = tuple[list[float], list[spec.Weights]]


def start(network: spec.Network, dtype: str = "float64") -> spec.Weights:
    weights = spec.randomize(spec.initialize(network, 0, np.float64), 0)
    return {name: array.astype(dtype) for name, array in weights.items()}


def batches(network: spec.Network) -> list[tuple[np.ndarray, np.ndarray]]:
    """Eight of four images; half the usual contrast, or the network without batch norms would diverge."""
    rng = np.random.default_rng(1)
    shape = (4, *network.input_shape)
    return [(rng.normal(0, 0.5, shape), rng.integers(0, network.num_classes, 4)) for _ in range(STEPS)]


def trained(backend, network, optimizer, dtype="float64", change_rate=True) -> Run:
    """The loss before each step, and all weights at the start and after each; `optimizer` makes one for a model."""
    model = loaded(backend, network, start(network, dtype))
    native = optimizer(model)
    losses, history = [], [backend.export_weights(model)]
    for i, (images, labels) in enumerate(batches(network)):
        if i == STEPS // 2 and change_rate:
            backend.set_learning_rate(native, LATER_RATE)
        losses.append(backend.step(model, native, images.astype(dtype), labels)[0])
        history.append(backend.export_weights(model))
    return losses, history


@cache
def oracle(case: str, setting: str, change_rate: bool = True) -> Run:
    def optimizer(model):
        return reference.sgd(model, RATE, **SETTINGS[setting])

    return trained(reference, NETWORKS[case], optimizer, change_rate=change_rate)


def departure(found: spec.Weights, expected: spec.Weights) -> float:
    """The largest difference of a parameter, relative to the largest magnitude in its layer.

    In its layer, as a convolution's bias before a batch norm has a gradient of zero.
    """
    largest: dict[str, float] = {}
    parameters = {name: array for name, array in expected.items() if not spec.is_buffer(name)}
    for name, array in parameters.items():
        layer = name.rpartition(".")[0]
        largest[layer] = max(largest.get(layer, 0.0), abs(array).max())
    return max(abs(found[name] - array).max() / largest[name.rpartition(".")[0]] for name, array in parameters.items())


def running_statistics(network: spec.Network, history: list[spec.Weights], update: spec.RunningUpdate) -> spec.Weights:
    """What a framework with this `update` reaches where the reference goes through `history`, four images a step."""
    decays = {
        path: float(np.dtype(update.decay_dtype).type(node.decay))
        for path, node in spec.walk(network.root)
        if isinstance(node, BatchNorm)
    }
    found = {name: array for name, array in history[0].items() if spec.is_buffer(name)}
    for before, after in pairwise(history):
        from_before = running.expected(network, before, after, (4, *network.input_shape), update)
        # An update is linear in what it starts from, which is `found`, not `before`.
        found = {
            name: array + decays[name.rpartition(".")[0]] * (found[name] - before[name])
            for name, array in from_before.items()
        }
    return found


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("case", NETWORKS)
def test_eight_steps_agree(case, setting, backend):
    network = NETWORKS[case]
    losses, history = trained(backend, network, lambda model: backend.sgd(model, RATE, **SETTINGS[setting]))
    expected_losses, expected = oracle(case, setting)
    assert losses == pytest.approx(expected_losses, rel=TOLERANCE)
    assert departure(history[-1], expected[-1]) <= TOLERANCE
    assert all(array.dtype == np.float64 for array in history[-1].values())
    for name, array in running_statistics(network, expected, backend.RUNNING_UPDATE).items():
        assert history[-1][name] == pytest.approx(array, rel=TOLERANCE, abs=1e-14), name


@pytest.mark.parametrize("case", NETWORKS)
def test_every_setting_matters(case):
    """No two settings end within a million tolerances of each other, nor does one with its rate unchanged."""
    ends = {setting: oracle(case, setting)[1][-1] for setting in SETTINGS}
    ends["steady"] = oracle(case, "momentum", change_rate=False)[1][-1]
    for one, other in product(ends, ends):
        assert one == other or departure(ends[one], ends[other]) > DEPARTURE, (one, other)


def test_the_reference_makes_torchs_update():
    """Two steps of one weight, by hand: w = 1, gradients 1 then 2, as the rate goes from 1/8 to 1/32."""
    network = spec.Network("one", spec.Sequential((("flatten", spec.layers.Flatten()),)), (1, 1, 1), 1)
    model = reference.Reference(network, "float64", {"w": np.array([1.0])})
    optimizer = train.SGD(0.125, 0.5, True, 0.25, {"w": np.zeros(1)})
    gradients = iter([1.0, 2.0])
    with pytest.MonkeyPatch.context() as patch:

        def one_pass(*_):
            return 0.0, Pass({}, gradients={"w": np.array([next(gradients)])}, outputs={"": np.empty(0)})

        patch.setattr(train, "training_pass", one_pass)
        reference.step(model, optimizer, np.empty(0), np.empty(0))
        # g = 1 + 1/4, v = g, w = 1 - (g + v/2) / 8
        assert model.weights["w"] == 1 - 1.875 / 8
        reference.set_learning_rate(optimizer, 0.03125)
        reference.step(model, optimizer, np.empty(0), np.empty(0))
    g = 2 + 0.765625 / 4
    v = 1.25 / 2 + g
    assert model.weights["w"] == 0.765625 - (g + v / 2) / 32


def native_mxnet(name: str, **options: float):
    def optimizer(model):
        import mxnet as mx

        return mx.gluon.Trainer(model.collect_params(), name, {"learning_rate": RATE, **options}, kvstore=None)

    return optimizer


def native_keras(**options: float):
    def optimizer(model):
        import keras

        return keras.optimizers.SGD(RATE, **options)

    return optimizer


MOMENTUM, DECAY = {"momentum": 0.875}, 2**-7
# What a framework's own optimizer gets wrong, and the same optimizer where it is right.
NATIVE = {
    "mxnet_nag_decayed": ("mxnet", native_mxnet("nag", wd=DECAY, **MOMENTUM), "nesterov_decayed", False),
    "mxnet_sgd_across_a_change_of_rate": ("mxnet", native_mxnet("sgd", **MOMENTUM), "momentum", True),
    "keras_sgd_decayed": ("keras", native_keras(weight_decay=DECAY, **MOMENTUM), "momentum_decayed", False),
    "keras_sgd_across_a_change_of_rate": ("keras", native_keras(**MOMENTUM), "momentum", True),
}
RIGHT = {
    "mxnet_nag": ("mxnet", native_mxnet("nag", **MOMENTUM), "nesterov", False),
    "mxnet_sgd": ("mxnet", native_mxnet("sgd", wd=DECAY, **MOMENTUM), "momentum_decayed", False),
    "keras_sgd": ("keras", native_keras(**MOMENTUM), "momentum", False),
}


@pytest.mark.parametrize("control", NATIVE | RIGHT)
def test_the_frameworks_own_optimizers_depart(control):
    backend_name, optimizer, setting, change_rate = (NATIVE | RIGHT)[control]
    _, history = trained(require(backend_name), NETWORKS["residual"], optimizer, change_rate=change_rate)
    found = departure(history[-1], oracle("residual", setting, change_rate)[1][-1])
    assert found > DEPARTURE if control in NATIVE else found <= TOLERANCE


def test_wrong_statistics_would_show(backend):
    """The control of the comparison of running statistics: the other convention is far away."""
    update = backend.RUNNING_UPDATE
    other = spec.RunningUpdate(not update.unbiased, update.decay_dtype)
    _, history = oracle("densenet", "plain")
    found, expected = (running_statistics(NETWORKS["densenet"], history, convention) for convention in (update, other))
    assert min(abs(found[name] / expected[name] - 1).min() for name in found if name.endswith("var")) > DEPARTURE


@pytest.mark.parametrize("name", ["numpy", *FRAMEWORKS])
def test_float32_stays_float32(name):
    backend, network = require(name), NETWORKS["densenet"]
    settings = SETTINGS["nesterov_decayed"]
    _, history = trained(
        backend, network, lambda model: backend.sgd(model, np.float64(RATE), **settings), dtype="float32"
    )
    assert all(array.dtype == np.float32 for array in history[-1].values())
    assert departure(history[-1], oracle("densenet", "nesterov_decayed")[1][-1]) < 1e-4


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"learning_rate": 0}, "learning_rate must be a number above 0, found 0"),
        ({"learning_rate": -0.1}, "learning_rate must be a number above 0, found -0.1"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number above 0, found nan"),
        ({"learning_rate": float("inf")}, "learning_rate must be a number above 0, found inf"),
        ({"learning_rate": "0.1"}, "learning_rate must be a number above 0, found '0.1'"),
        ({"momentum": 1.0}, "momentum must be a number from 0 to less than 1, found 1.0"),
        ({"momentum": -0.5}, "momentum must be a number from 0 to less than 1, found -0.5"),
        ({"momentum": None}, "momentum must be a number from 0 to less than 1, found None"),
        ({"weight_decay": -1e-4}, "weight_decay must be a number not below 0, found -0.0001"),
        ({"weight_decay": float("inf")}, "weight_decay must be a number not below 0, found inf"),
        ({"weight_decay": float("nan")}, "weight_decay must be a number not below 0, found nan"),
        ({"nesterov": True}, "nesterov needs a momentum above 0, found momentum 0.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, sentence):
    with pytest.raises(spec.SpecError) as refusal:
        training.check_sgd(**{"learning_rate": 0.1} | settings)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize("name", ["numpy", *FRAMEWORKS])
def test_a_refused_step_changes_nothing(name):
    backend, network = require(name), NETWORKS["residual"]
    model = loaded(backend, network, start(network))
    for wrong in ({"learning_rate": -1.0}, {"momentum": 1.0}, {"nesterov": True}, {"weight_decay": -1.0}):
        with pytest.raises(spec.SpecError, match=next(iter(wrong))):
            backend.sgd(model, **{"learning_rate": RATE} | wrong)
    optimizer = backend.sgd(model, RATE, momentum=0.875)
    with pytest.raises(spec.SpecError, match="learning_rate must be a number above 0, found 0"):
        backend.set_learning_rate(optimizer, 0.0)
    images, labels = batches(network)[0]
    for wrong_images, wrong_labels, sentence in (
        (images[:, :2], labels, "takes images of 3 channel"),
        (images, labels[:3], "labels must have shape"),
        (images, labels + 5, "labels must lie between 0 and 4"),
        (images, labels / 2, "labels must be a NumPy array of integers"),
    ):
        with pytest.raises(spec.SpecError, match=sentence):
            backend.step(model, optimizer, wrong_images, wrong_labels)
    assert all((array == start(network)[key]).all() for key, array in backend.export_weights(model).items())
    # And what was refused left no trace in the optimizer: the next step is the oracle's first.
    backend.step(model, optimizer, images, labels)
    assert departure(backend.export_weights(model), oracle("residual", "momentum")[1][1]) <= TOLERANCE


def test_the_functions_come_in_one_order(backend_name):
    file = Path(spec.__file__).parent.parent / f"densenet_{backend_name}" / "train.py"
    functions = [node.name for node in ast.parse(file.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)]
    assert [name for name in functions if not name.startswith("_")] == [
        *("sgd", "set_learning_rate", "step", "freeze"),
        *("export_velocities", "load_velocities", "seed_dropout"),
    ]


def test_torch_modules_keep_their_modes_and_leave_no_gradient_over():
    backend = require("torch")
    network = NETWORKS["densenet"]
    model = backend.build(network, dtype="float64").eval()
    backend.load_weights(model, start(network))
    model.features.denseblock1.train()
    modes = [part.training for part in model.modules()]
    optimizer = backend.sgd(model, RATE)
    for parameter in model.parameters():
        parameter.grad = parameter.detach().clone()  # from an earlier pass of the user's
    images, labels = batches(network)[0]
    backend.step(model, optimizer, images, labels)
    assert [part.training for part in model.modules()] == modes
    assert departure(backend.export_weights(model), oracle("densenet", "plain")[1][1]) <= TOLERANCE


@pytest.mark.parametrize("flags", [{}, {"static_alloc": True, "static_shape": True}])
def test_a_hybridized_model_takes_the_same_steps(flags):
    """Predicting between the steps too, as a graph made for inference may keep old values."""
    backend = require("mxnet")
    network = NETWORKS["densenet"]
    images = batches(network)[0][0]

    def optimizer(model):
        model.hybridize(**flags)
        backend.predict(model, images)
        kept.append(model)
        return backend.sgd(model, RATE, **SETTINGS["nesterov_decayed"])

    kept: list = []
    _, history = trained(backend, network, optimizer)
    assert departure(history[-1], oracle("densenet", "nesterov_decayed")[1][-1]) <= TOLERANCE
    after = reference.build(network)
    reference.load_weights(after, history[-1])
    assert backend.predict(kept[0], images) == pytest.approx(reference.predict(after, images), rel=1e-10)


def test_mxnet_steps_in_np_mode():
    backend = require("mxnet")
    import mxnet as mx

    mx.npx.set_np()
    try:
        _, history = trained(
            backend, NETWORKS["residual"], lambda model: backend.sgd(model, RATE, **SETTINGS["momentum"])
        )
    finally:
        mx.npx.reset_np()
    assert departure(history[-1], oracle("residual", "momentum")[1][-1]) <= TOLERANCE


@pytest.mark.parametrize("name", ["mxnet", "keras"])
def test_an_optimizer_made_by_itself_is_plain_gradient_descent(name):
    """As that of its framework, in whose registry it is."""
    require(name)
    optimizer = importlib.import_module(f"densenet_{name}.train").CoupledSGD()
    decay = optimizer.wd if name == "mxnet" else optimizer.coupled_weight_decay
    assert (optimizer.momentum, optimizer.nesterov, decay) == (0.0, False, 0.0)
    assert float(optimizer.learning_rate) == pytest.approx(0.01)


def test_the_keras_optimizer_is_made_again_from_its_config():
    backend = require("keras")
    import keras

    model = backend.build(NETWORKS["residual"], dtype="float64")
    optimizer = backend.sgd(model, RATE, 0.875, True, 2**-7)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is type(optimizer)
    assert again.get_config() == optimizer.get_config()
    assert again.coupled_weight_decay == 2**-7
    assert again.weight_decay is None, "Keras' own, which is decoupled"


def test_keras_on_another_framework_is_refused(monkeypatch):
    backend = require("keras")
    import keras

    model = backend.build(NETWORKS["residual"], dtype="float64")
    optimizer = backend.sgd(model, RATE)
    monkeypatch.setattr(keras.backend, "backend", lambda: "openvino")
    with pytest.raises(spec.SpecError, match="gradients need Keras on TensorFlow, PyTorch or JAX, found openvino"):
        backend.step(model, optimizer, *batches(NETWORKS["residual"])[0])
