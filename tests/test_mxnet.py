"""What Gluon's users expect, and the traps of MXNet 1.9.1."""

import subprocess
import sys
import warnings
from functools import reduce

import numpy as np
import pytest

import spec
from tests.cases import CASES, SMALL, small
from tests.support import photographs, require, verdict


@pytest.fixture(autouse=True)
def mx():
    require("mxnet")
    import mxnet

    mxnet.random.seed(0)
    return mxnet


@pytest.fixture
def model():
    import densenet_mxnet

    model = densenet_mxnet.build(SMALL["se_everywhere"])
    densenet_mxnet.load_weights(model, spec.randomize(spec.initialize(SMALL["se_everywhere"], 0), 0))
    return model


def batch(mx, size=40, n=2):
    return mx.nd.array(np.random.default_rng(0).normal(size=(n, 3, size, size)))


def step(mx, model, x, trainer=None):
    """The mean loss of one training step."""
    labels = mx.nd.arange(len(x)) if type(x) is mx.nd.NDArray else mx.np.arange(len(x))
    with mx.autograd.record():
        loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()(model(x), labels)
    loss.backward()
    if trainer:
        trainer.step(len(x))
    mx.nd.waitall()
    return loss.mean().asnumpy().item()


def test_structural_names_are_the_spec_names(model):
    names = list(model._collect_params_with_prefix())
    assert names[1:3] == ["features.norm0.gamma", "features.norm0.beta"]
    assert len(names) == len(spec.parameter_shapes(model.network))
    assert model.features.denseblock1.denselayer2.conv1 is not None


def test_a_model_starts_uninitialized_as_in_the_model_zoo(mx):
    import densenet_mxnet

    model = densenet_mxnet.get_model("densenet40_k12_bc", classes=7)
    with pytest.raises(RuntimeError, match="has not been initialized"):
        model(batch(mx, 32))
    model.initialize(mx.init.Xavier())
    assert model(batch(mx, 32)).shape == (2, 7)


def test_an_initializer_that_is_asked_for_is_used(mx):
    import densenet_mxnet

    model = densenet_mxnet.build(small())
    model.initialize(mx.init.Constant(0.25))
    assert (model.classifier.weight.data().asnumpy() == 0.25).all()
    model.initialize(force_reinit=True)
    assert model.classifier.weight.data().asnumpy().std() > 0.1


@pytest.mark.parametrize("flags", [{}, {"static_alloc": True, "static_shape": True}], ids=["plain", "static"])
def test_hybridized_is_the_same_to_the_bit(mx, model, flags):
    x, larger = batch(mx), batch(mx, size=56)
    eager = [model(x).asnumpy(), model(larger).asnumpy()]
    model.hybridize(**flags)
    for found, expected in zip([model(x), model(larger)], eager):
        assert (found.asnumpy() == expected).all()


def test_interop_works_on_a_hybridized_model_and_leaves_it_so(mx, model):
    import densenet_mxnet

    images = np.random.default_rng(0).normal(size=(2, 3, 40, 40)).astype(np.float32)
    eager = densenet_mxnet.trace(model, images)
    model.hybridize()
    traced = densenet_mxnet.trace(model, images)
    assert list(traced) == list(eager)
    assert all((traced[name] == eager[name]).all() for name in eager)
    assert model._active
    assert model.features._active


@pytest.mark.parametrize("flags", [{}, {"static_alloc": True, "static_shape": True}], ids=["plain", "static"])
@pytest.mark.parametrize("case", [name for name, case in CASES.items() if case.network.gives_logits])
def test_a_hybridized_model_agrees_with_the_reference(monkeypatch, case, flags):
    import densenet_mxnet

    build = densenet_mxnet.build

    def hybridized(network, dtype):
        model = build(network, dtype=dtype)
        model.hybridize(**flags)
        return model

    monkeypatch.setattr(densenet_mxnet, "build", hybridized)
    network, shape = CASES[case].network, CASES[case].input_shape
    result = verdict(network, "mxnet", photographs(shape, 3), "float64", checks=["layers", "gradients"])
    assert result.agrees, result.problem


STATIC = {"static_alloc": True, "static_shape": True}


@pytest.mark.parametrize("part", ["", "features", "features.denseblock1.denselayer1"], ids=lambda part: part or "whole")
@pytest.mark.parametrize("flags", [{}, STATIC, STATIC | {"backend": "MKLDNN"}], ids=["plain", "static", "optimized"])
def test_new_weights_reach_a_hybridized_model(mx, model, flags, part):
    """Or a part hybridized by itself. Optimized for inference a graph keeps copies of the weights: see below."""
    import densenet_mxnet

    other = spec.randomize(spec.initialize(model.network, 1), 1)
    expected = densenet_mxnet.build(model.network)
    densenet_mxnet.load_weights(expected, other)
    x = batch(mx)
    reduce(getattr, filter(None, part.split(".")), model).hybridize(**flags)
    for _ in range(2):
        before = model(x).asnumpy()
    densenet_mxnet.load_weights(model, other)
    for _ in range(2):
        assert model(x).asnumpy() == pytest.approx(expected(x).asnumpy(), rel=1e-5, abs=1e-5)
    assert abs(expected(x).asnumpy() - before).max() > 0.1


def test_a_static_graph_optimized_for_inference_keeps_old_weights(mx, model):
    """MXNet's own doing: when this fails, densenet_mxnet.load_weights need not clear the graph."""
    x = batch(mx)
    model.hybridize(backend="MKLDNN", **STATIC)
    model(x).wait_to_read()
    for parameter in model.collect_params().values():
        parameter.set_data(parameter.data() * 1.5)
    found = model(x).asnumpy()
    model.hybridize(active=False)
    assert abs(found - model(x).asnumpy()).max() > 0.1


@pytest.mark.parametrize("places", [[1], [0, 1], [1, 2]], ids=str)
def test_interop_works_wherever_the_model_is(mx, places):
    """On a context that is not the current one, or on several: MXNet takes each number of cpu() for another place."""
    import densenet_mxnet

    network = SMALL["se_block_transition"]
    here, there = (densenet_mxnet.build(network) for _ in range(2))
    there.initialize(ctx=[mx.cpu(place) for place in places])
    images, labels = np.random.default_rng(0).normal(size=(3, *network.input_shape)), np.arange(3)
    weights = spec.randomize(spec.initialize(network, 0), 0)

    def everything(model):
        densenet_mxnet.load_weights(model, weights)
        yield densenet_mxnet.trace(model, images)
        yield {name: run(model, images) for name, run in densenet_mxnet.EXECUTORS.items()}
        loss, gradients, statistics = densenet_mxnet.loss_and_gradients(model, images, labels)
        yield {"loss": np.array(loss)} | gradients | statistics
        yield densenet_mxnet.export_weights(model)
        if len(places) == 1:
            loss, _ = densenet_mxnet.step(model, densenet_mxnet.sgd(model, 0.1, momentum=0.5), images, labels)
            yield {"loss": np.array(loss)} | densenet_mxnet.export_weights(model)

    for expected, found in zip(everything(here), everything(there), strict=True):
        assert found.keys() == expected.keys()
        assert all((found[name] == expected[name]).all() for name in expected)


def test_a_step_of_a_model_on_several_contexts_is_refused(mx, model):
    import densenet_mxnet

    model.initialize(ctx=[mx.cpu(0), mx.cpu(1)], force_reinit=True)
    with pytest.raises(
        spec.SpecError, match=r"^small is on cpu\(0\), cpu\(1\), a step trains on one context: build it"
    ):
        densenet_mxnet.sgd(model, 0.1)


# Channel counts on which the plain concat crashes in its float32 backward, and some on which it does not.
WIDTHS = [(16, 12), (24, 24), (16, 8), (24, 12), (48, 24), (5, 3)]


@pytest.mark.parametrize("hybrid", [False, True], ids=["eager", "hybridized"])
@pytest.mark.parametrize(("stem", "growth_rate"), WIDTHS)
def test_it_trains_in_float32_at_every_width(mx, stem, growth_rate, hybrid):
    import densenet_mxnet

    bare = {"channels": stem, "kernel_size": 3, "stride": 1, "padding": 1, "norm": False, "pool": False}
    model = densenet_mxnet.build(small(growth_rate=growth_rate, stem=bare, input_size=16))
    model.initialize()
    if hybrid:
        model.hybridize()
    trainer = mx.gluon.Trainer(model.collect_params(), "sgd", {"learning_rate": 0.1})
    x = batch(mx, 16, n=4)
    losses = []
    for _ in range(8):
        losses.append(step(mx, model, x, trainer))
        model(x).wait_to_read()  # inference in between: another graph
    assert losses[-1] < 0.95 * losses[0]


def test_the_plain_concat_would_crash(mx):
    """The control of the test above; in a process of its own, as the error comes when it likes."""
    code = (
        "import densenet_mxnet, spec, mxnet as mx\n"
        "from densenet_mxnet import blocks\n"
        "blocks.concat = lambda F, x, y: F.concat(x, y, dim=1)\n"
        "stem = dict(channels=16, kernel_size=3, stride=1, padding=1, norm=False, pool=False)\n"
        "config = spec.DenseNetConfig(growth_rate=12, block_config=[2, 3], stem=stem, input_size=16)\n"
        "model = densenet_mxnet.build(spec.build(config))\n"
        "model.initialize()\n"
        "with mx.autograd.record():\n"
        "    loss = model(mx.nd.ones((4, 3, 16, 16))).sum()\n"
        "loss.backward()\n"
        "mx.nd.waitall()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "could not construct a sub-memory" in done.stderr


def test_a_part_of_a_hybridized_model_trains_too(mx):
    import densenet_mxnet

    model = densenet_mxnet.build(small(growth_rate=12, stem={"channels": 16}))
    model.initialize()
    model.hybridize()
    features = model.features
    features(batch(mx))
    with mx.autograd.record():
        out = features(batch(mx))
    out.backward()
    mx.nd.waitall()
    assert abs(features.conv0.weight.grad().asnumpy()).max() > 0


def test_np_arrays_train_as_in_dive_into_deep_learning(mx):
    import densenet_mxnet

    try:
        mx.npx.set_np()
        model = densenet_mxnet.build(SMALL["biased"])
        model.initialize(force_reinit=True, init=mx.init.Xavier())
        x = batch(mx).as_np_ndarray()
        assert type(model(x)) is mx.np.ndarray
        trainer = mx.gluon.Trainer(model.collect_params(), "sgd", {"learning_rate": 0.1, "momentum": 0.5})
        losses = [step(mx, model, x, trainer) for _ in range(4)]
        model.hybridize()
        losses += [step(mx, model, x, trainer) for _ in range(4)]
        assert losses[-1] < 0.5 * losses[0]
    finally:
        mx.npx.reset_np()
    as_nd = model(batch(mx))
    assert type(as_nd) is mx.nd.NDArray


def test_np_and_nd_arrays_give_the_same(mx, model):
    expected = model(batch(mx)).asnumpy()
    try:
        mx.npx.set_np()
        assert (model(batch(mx).as_np_ndarray()).asnumpy() == expected).all()
    finally:
        mx.npx.reset_np()


@pytest.fixture
def numpy_mode(mx):
    mx.npx.set_np()
    yield
    mx.npx.reset_np()


WIDE = small(growth_rate=12, stem={"channels": 16}, bn_size=4)  # widths on which a plain concat fails to train
GATED = small(bn_size=4, squeeze_excitation={"placement": ["layer", "block", "transition", "final"], "ratio": 2})


OTHERS = [spec.variant(name, in_channels=3, input_size=64) for name in ("se_resnet18", "googlenet")]


@pytest.mark.parametrize("network", [GATED, *OTHERS], ids=lambda network: network.name)
def test_a_model_that_is_built_in_np_mode_is_like_any_other(mx, numpy_mode, network, tmp_path):
    import densenet_mxnet

    def build():
        return densenet_mxnet.build(network)

    model, x = build(), mx.np.array(photographs(network.input_shape).astype(np.float32))
    model.initialize()
    expected = model(x)
    assert type(expected) is mx.np.ndarray
    model.save_parameters(str(tmp_path / "w.params"))
    other = build()
    other.load_parameters(str(tmp_path / "w.params"))
    assert (other(x) == expected).all()
    model.hybridize()
    assert (model(x) == expected).all()
    model.export(str(tmp_path / "net"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        imported = mx.gluon.SymbolBlock.imports(
            str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params")
        )
    assert (imported(x) == expected).all()


def test_parts_of_a_model_take_np_arrays(mx, numpy_mode, model):
    x = batch(mx).as_np_ndarray()
    whole = model(x)
    maps = model.features(x)
    assert type(maps) is mx.np.ndarray
    assert (model.classifier(model.flatten(model.pool(model.relu(maps)))) == whole).all()


@pytest.mark.parametrize("hybrid", [False, True], ids=["eager", "hybridized"])
@pytest.mark.parametrize("on", [False, True], ids=["nd", "np"])
def test_it_trains_inside_a_block_of_the_users(mx, on, hybrid, tmp_path):
    """Whose graph, made in inference, is kept when recording starts: no plain concat may be in it."""
    import densenet_mxnet

    if on:
        mx.npx.set_np()
    try:
        net = mx.gluon.nn.HybridSequential()
        net.add(densenet_mxnet.build(WIDE), mx.gluon.nn.Dense(3))
        net.initialize(mx.init.Xavier())
        if hybrid:
            net.hybridize()
        x = batch(mx, n=3).as_np_ndarray() if on else batch(mx, n=3)
        net(x)
        trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1, "momentum": 0.5})
        losses = [step(mx, net, x, trainer) for _ in range(6)]
        assert losses[-1] < 0.8 * losses[0]
        densenet_mxnet.predict(net[0], x.asnumpy())
        densenet_mxnet.trace(net[0], x.asnumpy())
        net.save_parameters(str(tmp_path / "net.params"))  # of the kind in which it was made
        net(x)
    finally:
        mx.npx.reset_np()


def test_files_of_either_mode_are_read_in_either(mx, model, tmp_path):
    import densenet_mxnet

    def write(name):
        model.save_parameters(str(tmp_path / name))

    def read(name):
        other = densenet_mxnet.build(model.network)
        other.load_parameters(str(tmp_path / name))
        return densenet_mxnet.export_weights(other)

    expected = densenet_mxnet.export_weights(model)
    write("nd.params")
    try:
        mx.npx.set_np()
        write("np.params")
        densenet_mxnet.save(tmp_path / "saved.params", model)
        found = [read(name) for name in ("nd.params", "np.params", "saved.params")]
    finally:
        mx.npx.reset_np()
    found += [read(name) for name in ("nd.params", "np.params", "saved.params")]
    assert all((weights[name] == expected[name]).all() for weights in found for name in expected)


def test_steps_in_np_mode_are_those_of_nd_arrays(mx, tmp_path):
    import densenet_mxnet

    images, labels = np.random.default_rng(0).normal(size=(3, 3, 40, 40)).astype(np.float32), np.arange(3)

    def trained():
        model = densenet_mxnet.build(WIDE)
        densenet_mxnet.load_weights(model, spec.initialize(WIDE, 0))
        optimizer = densenet_mxnet.sgd(model, 0.1, momentum=0.5)
        densenet_mxnet.step(model, optimizer, images, labels)
        densenet_mxnet.load_velocities(model, optimizer, densenet_mxnet.export_velocities(model, optimizer))
        densenet_mxnet.freeze(model, ["features.conv0.weight"])
        densenet_mxnet.step(model, optimizer, images, labels)
        model.save_parameters(str(tmp_path / "w.params"))
        return densenet_mxnet.export_weights(model)

    expected = trained()
    try:
        mx.npx.set_np()
        found = trained()
    finally:
        mx.npx.reset_np()
    assert all((found[name] == expected[name]).all() for name in expected)


def test_interop_works_in_np_mode(mx, model):
    import densenet_mxnet

    images = np.zeros((2, 3, 40, 40), np.float32)
    expected = densenet_mxnet.predict(model, images)
    try:
        mx.npx.set_np()
        other = densenet_mxnet.build(model.network)
        densenet_mxnet.load_weights(other, densenet_mxnet.export_weights(model))
        assert (densenet_mxnet.predict(other, images) == expected).all()
        densenet_mxnet.trace(other, images)
        densenet_mxnet.loss_and_gradients(other, images, np.array([0, 1]))
    finally:
        mx.npx.reset_np()


def test_export_and_parameter_files_round_trip(mx, model, tmp_path):
    import densenet_mxnet

    model.hybridize()
    x = batch(mx)
    expected = model(x).asnumpy()
    model.export(str(tmp_path / "net"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the exported graph leaves the type of its input open
        imported = mx.gluon.SymbolBlock.imports(
            str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params")
        )
    assert (imported(x).asnumpy() == expected).all()
    model.save_parameters(str(tmp_path / "w.params"))
    other = densenet_mxnet.build(model.network)
    other.load_parameters(str(tmp_path / "w.params"))
    assert (other(x).asnumpy() == expected).all()


def test_parameters_are_named_by_structure(mx):
    import densenet_mxnet

    one, other = (densenet_mxnet.densenet121(growth_rate=4, block_config=[1, 1]) for _ in range(2))
    assert one.prefix != other.prefix
    assert one.prefix.startswith("densenet")
    structural = one._collect_params_with_prefix()
    assert {p.name: name.replace(".", "_") for name, p in structural.items()} == {
        name: name.removeprefix(one.prefix) for name in one.collect_params()
    }
    assert list(one.collect_params(".*denseblock1.*")) == [n for n in one.collect_params() if "denseblock1" in n]
    assert list(one.features.denseblock1.collect_params()) == list(one.collect_params(".*denseblock1.*"))
    named = densenet_mxnet.densenet121(growth_rate=4, block_config=[1, 1], prefix="net_")
    assert list(named(mx.sym.var("data")).list_arguments())[1] == "net_features_conv0_weight"


def test_names_in_a_scope_leave_its_own_counting_alone(mx):
    import densenet_mxnet

    outer = mx.gluon.nn.HybridSequential(prefix="outer_")
    with outer.name_scope():
        outer.add(densenet_mxnet.build(SMALL["plain"]), mx.gluon.nn.Dense(2, in_units=5))
    first, *_, last = outer.collect_params()
    assert (first, last) == ("outer_densenet0_features_conv0_weight", "outer_dense0_bias")


def test_parameters_are_saved_without_the_prefix(mx, model, tmp_path):
    import densenet_mxnet

    path, x = str(tmp_path / "w.params"), batch(mx)
    model.collect_params().save(path, strip_prefix=model.prefix)
    other = densenet_mxnet.build(model.network)
    other.load_parameters(path)
    assert (other(x) == model(x)).asnumpy().all()


def test_a_model_that_gluon_saved_with_its_graph_is_loaded(mx, model, tmp_path):
    import densenet_mxnet

    model.hybridize()
    x = batch(mx)
    expected = model(x).asnumpy()
    model.save(str(tmp_path / "net"))
    other = densenet_mxnet.build(model.network)
    other.load(str(tmp_path / "net"))
    assert (other(x).asnumpy() == expected).all()
    step(mx, other, x)  # another graph
    assert all(name.startswith(other.prefix) for name in other.collect_params())


def test_features_have_length_index_and_slices(mx, model):
    x, features = batch(mx), model.features
    assert len(features) == len(list(features)) == len(features._children)
    assert features[0] is features.conv0
    assert features[-1] is features.norm5
    assert list(features[1:3]._children) == ["norm0", "relu0"]
    maps = x
    for layer in features:
        maps = layer(maps)
    assert (features[3:](features[:3](x)) == maps).asnumpy().all()
    assert model[:-1](x).shape == (2, model.classifier._in_units)


def test_a_model_with_other_classes_knows_it(mx, model):
    import densenet_mxnet

    images = np.zeros((2, 3, 40, 40), np.float32)
    assert model.output is model.classifier
    with model.name_scope():
        model.output = mx.gluon.nn.Dense(9)
    assert model.output is model.classifier
    model.output.initialize()
    assert model.network == spec.build(model.network.config.model_copy(update={"num_classes": 9}), "small")
    assert densenet_mxnet.export_weights(model)["classifier.weight"].shape[0] == 9
    densenet_mxnet.load_weights(model, spec.initialize(model.network, 1))
    densenet_mxnet.loss_and_gradients(model, images, np.array([0, 8]))
    with pytest.raises(spec.SpecError, match="labels must lie between 0 and 8"):
        densenet_mxnet.loss_and_gradients(model, images, np.array([0, 9]))
    assert model(batch(mx)).shape == (2, 9)


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "lenet"])
def test_output_is_the_last_linear_layer_whatever_its_name(mx, name):
    import densenet_mxnet

    model = densenet_mxnet.get_model(name)
    last = list(model._collect_params_with_prefix().values())[-1]
    assert model.output.bias is last
    model.output = mx.gluon.nn.Dense(3)
    assert model.network.num_classes == 3


def test_a_network_without_a_linear_layer_has_no_output():
    import densenet_mxnet

    assert not hasattr(densenet_mxnet.nin(), "output")


def test_nothing_is_added_behind_a_model(mx, model):
    with pytest.raises(spec.SpecError, match=r"^add: nothing can follow the last layer of small: set net\.output"):
        model.add(mx.gluon.nn.Dense(2))


@pytest.mark.parametrize("how", ["structure", "prefix", "exported"])
def test_a_file_of_the_model_zoo_is_loaded(mx, how, tmp_path):
    import densenet_mxnet

    theirs = mx.gluon.model_zoo.vision.DenseNet(8, 4, [2, 2], classes=5)
    theirs.initialize()
    theirs.hybridize()
    x, path = batch(mx, 56), str(tmp_path / "zoo-0000.params")
    expected = theirs(x).asnumpy()
    if how == "structure":
        theirs.save_parameters(path)
    elif how == "prefix":
        theirs.collect_params().save(path)
    else:
        theirs.export(str(tmp_path / "zoo"))
    words = {"growth_rate": 4, "block_config": [2, 2], "num_init_features": 8}
    model = densenet_mxnet.densenet121(classes=5, **words)
    model.load_parameters(path)
    assert abs(model(x).asnumpy() - expected).max() < 1e-5
    other = densenet_mxnet.densenet121(classes=6, **words)
    with pytest.raises(spec.SpecError, match="is a file of the model zoo, of another network than densenet121"):
        other.load_parameters(path)


def test_words_of_the_model_zoo_are_fields(mx):
    import densenet_mxnet

    model = densenet_mxnet.get_model("DenseNet121", pretrained=False, root="there", num_init_features=8, bn_size=2)
    assert model.network == spec.variant("densenet121", stem={"channels": 8}, bn_size=2)
    with pytest.raises(spec.SpecError, match=r"^densenet121: classes: should be greater than 0, found 0$"):
        densenet_mxnet.densenet121(classes=0)
    with pytest.raises(spec.SpecError, match="classes and num_classes are the same, found both"):
        densenet_mxnet.densenet121(classes=3, num_classes=4)
    with pytest.raises(spec.SpecError, match=r"^pretrained: nothing is downloaded, found True: .* `densenet port "):
        densenet_mxnet.densenet121(pretrained=True)


def test_layers_in_other_places_and_float16_are_refused_in_a_sentence(mx, model):
    import densenet_mxnet

    images = np.zeros((1, 3, 40, 40), np.float32)
    model.output = mx.gluon.nn.Dense(3)
    model.output.initialize(ctx=mx.cpu(1))
    match = r"^features.conv0.weight is on cpu\(0\), classifier.weight on cpu\(1\): put all in one place"
    with pytest.raises(spec.SpecError, match=match):
        densenet_mxnet.predict(model, images)
    model.collect_params().reset_ctx(mx.cpu(1))
    assert densenet_mxnet.predict(model, images).shape == (1, 3)
    model.cast("float16")
    for function in (lambda: densenet_mxnet.predict(model, images), lambda: model(batch(mx).astype("float16"))):
        with pytest.raises(spec.SpecError, match=r"^MXNet computes float16 on GPUs only"):
            function()


def test_a_wrong_input_is_refused_by_the_model_itself(mx, model):
    with pytest.raises(spec.SpecError, match="the smallest that works is 3x5x5"):
        model(mx.nd.zeros((1, 3, 4, 9)))
    with pytest.raises(spec.SpecError, match="takes images of 3 channel"):
        model(mx.nd.zeros((1, 1, 40, 40)))


def test_float64_stays_float64(mx):
    import densenet_mxnet

    model = densenet_mxnet.build(SMALL["plain"], dtype="float64")
    model.initialize()
    assert model(batch(mx).astype("float64")).dtype == np.float64
    assert {array.dtype for array in densenet_mxnet.export_weights(model).values()} == {np.dtype("float64")}
