"""What users of Gluon, its model zoo and Dive into Deep Learning do with a DenseNet."""

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

import densenet_mxnet  # isort: skip (before mxnet, which needs what it puts back into NumPy)
import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from mxnet.gluon import nn
from mxnet.gluon.model_zoo.vision import DenseNet

import spec
from tests.compatibility.uses import Ecosystem

ECOSYSTEM = Ecosystem("Gluon and its model zoo", "mxnet")
use = ECOSYSTEM.use
ROOT = Path(spec.__file__).parent.parent
ISSUES, PULLS = "https://github.com/apache/mxnet/issues", "https://github.com/apache/mxnet/pull"
ZOO = "https://mxnet.incubator.apache.org/api/python/docs/api/gluon/model_zoo/index.html"
PRETRAINED = "https://blog.csdn.net/weixin_43687366/article/details/103486181"
NAMING = "https://mxnet.apache.org/versions/1.4.1/tutorials/gluon/naming.html"
GLUON = "http://mxnet.incubator.apache.org/versions/1.2.1/api/python/gluon/gluon.html"
TRAINER = "https://mxnet.apache.org/versions/1.7/api/python/docs/api/gluon/trainer.html"
MULTI_GPU = "https://mxnet.apache.org/versions/1.5.0/tutorials/gluon/multi_gpu.html"
D2L = "https://d2l.ai/chapter_computer-vision/fine-tuning.html"
DOGS = "https://github.com/LinMaris/DogBreed_gluon"
MINC = (
    "https://github.com/dmlc/gluon-cv/blob/8360e2edc18589248a37e12eb8109cdb7ffc9024/"
    "docs/tutorials/classification/transfer_learning_minc.py"
)
GRADCAM = "https://mxnet.apache.org/versions/1.4.1/tutorials/vision/cnn_visualization.html"
QUANTIZATION = "https://mxnet.apache.org/api/python/docs/tutorials/performance/backend/mkldnn/mkldnn_quantization.html"
DJL = "https://docs.djl.ai/docs/mxnet/how_to_convert_your_model_to_symbol.html"
SQUEEZENET = "https://github.com/dmlc/gluon-cv/issues/842"
STRAIGHT_DOPE = "https://github.com/zackchase/mxnet-the-straight-dope/issues"

cross_entropy = gluon.loss.SoftmaxCrossEntropyLoss()


def blank(**words) -> densenet_mxnet.ConvNet:
    """The DenseNet-121 that is four layers deep, without values; its widths are such as a plain concat fails on."""
    words = {"growth_rate": 12, "block_config": [2, 2], "num_init_features": 16, "classes": 5} | words
    return densenet_mxnet.densenet121(**words)


def small(**words) -> densenet_mxnet.ConvNet:
    """The same, with values."""
    mx.random.seed(0)
    model = blank(**words)
    model.initialize()
    return model


def array(count: int = 2, size: int = 56, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, channels, size, size)).astype(np.float32)


def images(count: int = 2, size: int = 56, channels: int = 3) -> mx.nd.NDArray:
    return mx.nd.array(array(count, size, channels))


def same(found: mx.nd.NDArray, expected: mx.nd.NDArray, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(found.asnumpy(), expected.asnumpy(), rtol=1e-4, atol=atol)


def gradients(model: nn.HybridBlock, x: mx.nd.NDArray, labels: mx.nd.NDArray) -> float:
    """One backward pass; the mean loss."""
    with autograd.record():
        loss = cross_entropy(model(x), labels)
    loss.backward()
    mx.nd.waitall()
    return loss.mean().asnumpy().item()


def learns(model: nn.HybridBlock, trainer: gluon.Trainer, x: mx.nd.NDArray, labels: mx.nd.NDArray) -> None:
    """A few steps make the loss smaller."""
    losses = []
    for _ in range(6):
        losses.append(gradients(model, x, labels))
        trainer.step(len(x))
    assert losses[-1] < 0.9 * losses[0], losses


def values(model: nn.HybridBlock) -> dict[str, np.ndarray]:
    return {name: parameter.data().asnumpy() for name, parameter in model._collect_params_with_prefix().items()}


def sgd(model: nn.HybridBlock, learning_rate: float = 0.05, **words) -> gluon.Trainer:
    return gluon.Trainer(model.collect_params(), "sgd", {"learning_rate": learning_rate, **words})


def in_numpy_mode(run: Callable[[], None]) -> Callable[[], None]:
    """Runs a use under `npx.set_np()`."""

    @wraps(run)
    def numpy_mode() -> None:
        mx.npx.set_np()
        try:
            run()
        finally:
            mx.npx.reset_np()

    return numpy_mode


@contextmanager
def quiet() -> Iterator[None]:
    """MXNet warns about its own calls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# Building


@use("get_model by a name with capitals", ZOO)
def get_model():
    model = densenet_mxnet.get_model("DenseNet121", classes=10)
    assert model.network == spec.variant("densenet121", num_classes=10)


@use("the zoo's arguments: pretrained=False, ctx, root, classes, bn_size, dropout, prefix", PRETRAINED)
def zoo_arguments():
    model = blank(pretrained=False, ctx=mx.cpu(), root="model/", classes=3, bn_size=2, dropout=0.1, prefix="net_")
    theirs = DenseNet(16, 12, [2, 2], bn_size=2, dropout=0.1, classes=3)
    theirs.initialize()
    theirs(images(size=56))
    shapes = [[p.shape for p in net.collect_params().values()] for net in (model, theirs)]
    assert shapes[0] == shapes[1]
    assert all(name.startswith("net_") for name in model.collect_params())


@use("pretrained=True", PRETRAINED, says="pretrained: nothing is downloaded, found True: take the model zoo's file")
def pretrained():
    densenet_mxnet.densenet121(pretrained=True, root="model/", ctx=mx.cpu())


@use("params= of another model, to share them", NAMING, says="params: densenet121 shares no parameters")
def shared_parameters():
    densenet_mxnet.densenet121(params=small().collect_params())


@use("an argument out of range", ZOO, says="densenet121: num_init_features: should be greater than 0, found 0")
def out_of_range():
    densenet_mxnet.densenet121(num_init_features=0)


@use("images of one channel", "https://deepwiki.com/osmr/imgclsmob/7-api-reference")
def one_channel():
    assert small(in_channels=1)(images(channels=1)).shape == (2, 5)


# The zoo's files


def zoo_model() -> DenseNet:
    """A model of the zoo's with values; its head pools 7x7, which 56 pixels leave after two blocks."""
    mx.random.seed(0)
    theirs = DenseNet(16, 12, [2, 2], classes=5)
    theirs.initialize()
    theirs.hybridize()
    theirs(images(size=56))
    return theirs


@use("load_parameters of a zoo's file", ZOO)
def zoo_file():
    theirs, ours = zoo_model(), blank()
    theirs.save_parameters("zoo.params")
    ours.load_parameters("zoo.params", ctx=mx.cpu())
    same(ours(images()), theirs(images()))


@use("load_parameters of a zoo's model that was exported", f"{ISSUES}/19257")
def exported_zoo_file():
    theirs, ours = zoo_model(), blank()
    theirs.export("zoo")
    ours.load_parameters("zoo-0000.params")
    same(ours(images()), theirs(images()))


@use("a zoo's file of another network", f"{ISSUES}/10822", says="zoo.params is a file of the model zoo, of another")
def another_zoo_file():
    zoo_model().save_parameters("zoo.params")
    blank(growth_rate=8).load_parameters("zoo.params")


# Fine-tuning


@use("output = nn.Dense(n) in the model's name_scope, then reset_ctx and hybridize", MINC)
def new_output():
    model, x, labels = small(classes=1000), images(4), mx.nd.arange(4)
    with model.name_scope():
        model.output = nn.Dense(7)
    model.output.initialize(mx.init.Xavier(), ctx=mx.cpu())
    model.collect_params().reset_ctx(mx.cpu())
    model.hybridize()
    assert model(x).shape == (4, 7)
    learns(model, sgd(model), x, labels)
    assert model.network.num_classes == 7
    assert all(name.startswith(model.prefix) for name in model.collect_params())


@use("features = those of a pretrained model, and ten times the learning rate for output", D2L)
def features_of_another():
    pretrained_net, finetune_net, x = small(classes=1000), blank(), images(4)
    finetune_net.features = pretrained_net.features
    finetune_net.output.initialize(mx.init.Xavier())
    finetune_net.output.collect_params().setattr("lr_mult", 10)
    same(finetune_net.features(x), pretrained_net.features(x))
    before = values(pretrained_net)["features.conv0.weight"]
    learns(finetune_net, sgd(finetune_net, 0.02), x, mx.nd.arange(4))
    assert (values(pretrained_net)["features.conv0.weight"] != before).any()


@use("output_new beside output, trained on what net[:-1] puts out", DOGS)
def output_beside():
    model, x, labels = small(), images(4), mx.nd.arange(4)
    before, pooled = model(x), model[:-1](x)
    model.output_new = nn.HybridSequential(prefix="")
    model.output_new.add(nn.Dense(16, activation="relu"), nn.Dense(4))
    model.output_new.initialize(mx.init.Xavier())
    learns(model.output_new, sgd(model.output_new, 0.5), pooled, labels)
    same(model(x), before)


@use("an output of another type, in place of the Dense", SQUEEZENET)
def other_output():
    model = small()
    model.output = nn.HybridSequential()
    model.output.add(nn.Dropout(0.5), nn.Dense(8, activation="relu"), nn.Dense(3))
    model.output.initialize()
    assert model(images()).shape == (2, 3)
    assert densenet_mxnet.predict(model, array()).shape == (2, 3)


@use("no output at all: an Identity", STRAIGHT_DOPE + "/372")
def no_output():
    model, x = small(), images()
    pooled = model[:-1](x)
    model.output = gluon.contrib.nn.Identity()
    same(model(x), pooled)


@use("a first convolution for images of one channel", f"{ISSUES}/6223")
def first_convolution():
    model = small()
    model.features.conv0 = nn.Conv2D(16, 7, strides=2, padding=3, use_bias=False, in_channels=1)
    model.features.conv0.initialize()
    assert model(images(channels=1)).shape == (2, 5)
    assert model.network.in_channels == 1


@use("grad_req null for all of features", "https://github.com/dmlc/gluon-nlp/issues/333")
def frozen_features():
    model = small()
    model.features.collect_params().setattr("grad_req", "null")
    before = values(model)
    learns(model, sgd(model, 0.2), images(4), mx.nd.arange(4))
    changed = {name for name, value in values(model).items() if (value != before[name]).any()}
    assert {"classifier.weight", "classifier.bias"} <= changed
    assert all(name.startswith("classifier") or "running" in name for name in changed)


@use("one block's parameters by a regular expression, with a learning rate of their own", f"{ISSUES}/13391")
def learning_rate_of_a_block():
    model = small()
    chosen = model.collect_params(".*denseblock1.*")
    assert len(list(chosen)) == 2 * (4 + 1 + 4 + 1)
    chosen.setattr("lr_mult", 0)
    before = values(model)
    gradients(model, images(), mx.nd.arange(2))
    sgd(model).step(2)
    moved = {name for name, value in values(model).items() if (value != before[name]).any()}
    weights = {name for name in before if name.endswith("weight")}
    assert moved & weights == {name for name in weights if "denseblock1" not in name}


@use("some kernels of a convolution frozen: their gradients set to 0", f"{ISSUES}/17939")
def frozen_kernels():
    model = small()
    weight = model.features.conv0.weight
    before = weight.data().asnumpy()
    gradients(model, images(), mx.nd.arange(2))
    weight.grad()[:8] = 0
    sgd(model).step(2)
    moved = (weight.data().asnumpy() != before).reshape(16, -1).any(axis=1)
    assert moved.tolist() == [False] * 8 + [True] * 8


@use("no weight decay on norms and biases", f"{ISSUES}/8584")
def no_decay():
    model = small()
    model.collect_params(".*gamma|.*beta|.*bias").setattr("wd_mult", 0)
    gradients(model, images(), mx.nd.arange(2))
    for parameter in model.collect_params().values():
        if parameter.grad_req != "null":
            parameter.zero_grad()
    before = values(model)
    sgd(model, 0.5, wd=0.1).step(2, ignore_stale_grad=True)
    after = values(model)
    assert np.allclose(after["classifier.weight"], 0.95 * before["classifier.weight"])
    assert (after["features.norm0.gamma"] == before["features.norm0.gamma"]).all()


@use("gradients with the running statistics: record(train_mode=False)", f"{ISSUES}/10994")
def gradients_in_inference():
    model, x = small(), images()
    expected = model(x)
    before = values(model)["features.norm0.running_mean"]
    with autograd.record(train_mode=False):
        found = model(x)
    found.backward()
    same(found, expected)
    assert abs(model.features.conv0.weight.grad()).sum() > 0
    assert (values(model)["features.norm0.running_mean"] == before).all()


@use("gradients added up over batches: grad_req add", GLUON)
def accumulated():
    model, x, labels = small(), images(4), mx.nd.arange(4)
    model.collect_params().setattr("grad_req", "add")
    weight = model.output.weight
    found = []
    for half in (slice(0, 2), slice(2, 4)):
        gradients(model, x[half], labels[half])
        found.append(weight.grad().asnumpy())
    weight.zero_grad()
    gradients(model, x[2:], labels[2:])
    assert np.allclose(found[1] - found[0], weight.grad().asnumpy(), atol=1e-4)


@use("gradients clipped by their common norm", GLUON)
def clipped():
    model = small()
    gradients(model, images(), mx.nd.arange(2))
    grads = [p.grad() for p in model.collect_params().values() if p.grad_req != "null"]
    gluon.utils.clip_global_norm(grads, 0.5)
    assert abs(sum(float((grad**2).sum().asscalar()) for grad in grads) ** 0.5 - 0.5) < 1e-3


@use("a learning rate schedule", TRAINER)
def schedule():
    model = small()
    trainer = sgd(model, 0.1, lr_scheduler=mx.lr_scheduler.FactorScheduler(2, 0.5, base_lr=0.1))
    learns(model, trainer, images(4), mx.nd.arange(4))
    assert trainer.learning_rate == 0.1 * 0.5**2


@use("save_states and load_states of a Trainer: training goes on the same", TRAINER)
def trainer_states():
    x, labels = images(4), mx.nd.arange(4)
    model = small()
    trainer = sgd(model, momentum=0.9)
    gradients(model, x, labels)
    trainer.step(4)
    model.save_parameters("model.params")
    trainer.save_states("trainer.states")
    other = blank()
    other.load_parameters("model.params")
    resumed = sgd(other, momentum=0.9)
    resumed.load_states("trainer.states")
    for net, its_trainer in ((model, trainer), (other, resumed)):
        gradients(net, x, labels)
        its_trainer.step(4)
    same(other(x), model(x))


@use("two contexts: initialize(ctx=[...]) and split_and_load", MULTI_GPU)
def two_contexts():
    places = [mx.cpu(0), mx.cpu(1)]
    model = blank()
    model.initialize(ctx=places)
    model.hybridize()
    trainer, x, labels = sgd(model), images(4), mx.nd.arange(4)
    for _ in range(2):
        parts = zip(gluon.utils.split_and_load(x, places), gluon.utils.split_and_load(labels, places), strict=True)
        with autograd.record():
            losses = [cross_entropy(model(part), its_labels) for part, its_labels in parts]
        autograd.backward(losses)
        trainer.step(4)
    assert model(x.as_in_context(places[1])).context == places[1]
    for parameter in model.output.params.values():
        assert (parameter.list_data()[0].asnumpy() == parameter.list_data()[1].asnumpy()).all()


@use("a DataLoader with transforms, Adam and a metric", MINC)
def data_loader():
    transform = gluon.data.vision.transforms.ToTensor()
    pictures = np.random.default_rng(0).integers(0, 256, (8, 56, 56, 3), dtype=np.uint8)
    data = gluon.data.ArrayDataset(mx.nd.array(pictures, dtype="uint8"), np.arange(8, dtype=np.float32) % 5)
    loader = gluon.data.DataLoader(data.transform_first(transform), batch_size=4)
    model, metric = small(), mx.metric.Accuracy()
    trainer = gluon.Trainer(model.collect_params(), "adam", {"learning_rate": 0.01})
    for _ in range(8):
        for x, labels in loader:
            gradients(model, x, labels)
            trainer.step(4)
    for x, labels in loader:
        with autograd.record(train_mode=True):
            metric.update([labels], [model(x)])
    assert metric.get()[1] > 0.7


@use("an Estimator, fit with its handlers", f"{PULLS}/14629")
def estimator():
    from mxnet.gluon.contrib.estimator import CheckpointHandler, Estimator

    model = small()
    data = gluon.data.DataLoader(gluon.data.ArrayDataset(images(4), mx.nd.arange(4)), batch_size=4)
    before = values(model)
    found = Estimator(model, cross_entropy, train_metrics=mx.metric.Accuracy(), trainer=sgd(model, 0.01))
    with quiet():
        found.fit(data, epochs=2, event_handlers=[CheckpointHandler(".", model_prefix="model")])
    other = blank()
    other.load_parameters("model-epoch1batch2.params")
    after = values(other)
    assert all((after[name] == value).all() for name, value in values(model).items())
    assert (after["classifier.weight"] != before["classifier.weight"]).any()


@use("an exponential moving average of the parameters", f"{ISSUES}/17122")
def moving_average():
    model, average, x = small(), blank(), images(4)
    average.initialize()
    pairs = list(zip(average.collect_params().values(), model.collect_params().values(), strict=True))
    for mean, parameter in pairs:
        mean.set_data(parameter.data())
    before, trainer = values(model)["classifier.weight"], sgd(model)
    gradients(model, x, mx.nd.arange(4))
    trainer.step(4)
    for mean, parameter in pairs:
        mean.set_data(0.9 * mean.data() + 0.1 * parameter.data())
    expected = 0.9 * before + 0.1 * values(model)["classifier.weight"]
    assert np.allclose(values(average)["classifier.weight"], expected)
    assert average(x).shape == (4, 5)


@use("parts of a larger block, with other inputs: two DenseNets and a Dense, hybridized", f"{ISSUES}/10990")
def two_inputs():
    class Towers(gluon.HybridBlock):
        def __init__(self, **words):
            super().__init__(**words)
            with self.name_scope():
                self.photograph, self.depth = blank(), blank(in_channels=1)
                self.head = nn.Dense(2)

        def hybrid_forward(self, F, x, y):
            return self.head(F.concat(self.photograph(x), self.depth(y), dim=1))

    model, x, y = Towers(), images(), images(channels=1)
    model.initialize()
    eager = model(x, y)
    model.hybridize()
    same(model(x, y), eager)
    with autograd.record():  # of the graph that was made for inference
        loss = model(x, y).sum()
    loss.backward()
    mx.nd.waitall()
    assert abs(model.depth.features.conv0.weight.grad()).sum() > 0
    assert all(name.startswith(model.prefix) for name in model.collect_params())
    model.save_parameters("towers.params")
    other = Towers()
    other.load_parameters("towers.params")
    same(other(x, y), model(x, y))


# Features


@use("features, pooled: (N, C), which in the zoo net.features puts out", DOGS)
def pooled_features():
    theirs, ours = zoo_model(), blank()
    theirs.save_parameters("zoo.params")
    ours.load_parameters("zoo.params")
    same(ours[:-1](images()), theirs.features(images()))


@use("net[i]: layers by their index, their number and slices", STRAIGHT_DOPE + "/372")
def by_index():
    theirs, ours = zoo_model(), blank()
    assert len(ours.features) == 8
    assert ours.features[4] is ours.features.denseblock1
    assert [type(layer) for layer in ours.features][:4] == [type(layer) for layer in theirs.features][:4]
    theirs.save_parameters("zoo.params")
    ours.load_parameters("zoo.params")
    same(ours.features[:6](images()), theirs.features[:6](images()))


@use("maps of several layers at once: a SymbolBlock of get_internals", f"{ISSUES}/1636")
def several_maps():
    model, x = small(prefix="model_"), images()
    internals = model(mx.sym.var("data")).get_internals()
    names = ["model_features_transition1_pool_fwd_output", "model_features_norm5_fwd_output"]
    with quiet():
        extractor = gluon.SymbolBlock([internals[n] for n in names], mx.sym.var("data"), params=model.collect_params())
    maps = extractor(x)
    same(maps[0], model.features[:6](x))
    same(maps[1], model.features(x))


@use("forward hooks", f"{PULLS}/10989")
def hooks():
    model, x, seen = small(), images(), {}
    handle = model.features.denseblock1.register_forward_hook(lambda block, x, output: seen.update(map=output))
    model(x)
    handle.detach()
    same(seen["map"], model.features[:5](x))


@use("an operation hook on a hybridized model", f"{PULLS}/15839")
def operation_hook():
    model, names = small(prefix="net_"), []
    model.hybridize()
    model.register_op_hook(lambda name, operation, value: names.append(mx.base.py_str(name)))
    with quiet():
        model(images()).wait_to_read()
    assert any(name.startswith("net_features_denseblock1_denselayer1_conv1_fwd") for name in names)


@use("summary", f"{PULLS}/10989")
def summary():
    model = small()
    model.summary(images())
    assert sum(p.data().size for p in model.collect_params().values()) == sum(v.size for v in values(model).values())


@use("Grad-CAM", GRADCAM)
def grad_cam():
    model, x = small(), images(1)
    maps = model.features(x)
    maps.attach_grad()
    with autograd.record(train_mode=False):
        score = model.output(model.flatten(model.pool(model.relu(maps))))[0, 2]
    score.backward()
    weights = maps.grad.mean(axis=(2, 3), keepdims=True)
    cam = mx.nd.relu((weights * maps).sum(axis=1))
    positive = (maps > 0).astype("float32")  # the gradient of a mean of ReLUs, by hand
    expected = model.output.weight.data()[2].reshape((1, -1, 1, 1)) * positive / (maps.shape[2] * maps.shape[3])
    same(maps.grad, expected)
    assert cam.shape == (1, 7, 7)


# Files


@use("save_parameters, load_parameters", f"{PULLS}/11002")
def parameter_files():
    model, other = small(), blank()
    model.save_parameters("model.params")
    other.load_parameters("model.params", ctx=mx.cpu())
    same(other(images()), model(images()))


@use("collect_params().save(strip_prefix=...), loaded into a model with another prefix", STRAIGHT_DOPE + "/81")
def stripped():
    model, other = small(), blank(prefix="other_")
    model.collect_params().save("model.params", strip_prefix=model.prefix)
    other.collect_params().load("model.params", mx.cpu(), restore_prefix=other.prefix)
    same(other(images()), model(images()))


@use("save_params, load_params, the older names", f"{ISSUES}/10544")
def older_names():
    model, other = small(), blank()
    with quiet():
        model.save_params("model.params")
        other.load_params("model.params", ctx=mx.cpu())
    same(other(images()), model(images()))


@use("two models in a process have names that do not clash", NAMING)
def two_models():
    one, other = blank(), blank()
    assert one.prefix != other.prefix
    assert not set(one.collect_params()) & set(other.collect_params())
    net = nn.HybridSequential(prefix="both_")
    with net.name_scope():
        net.add(blank(), nn.Dense(3))
    net.initialize()
    first, *_, last = net.collect_params()
    assert (first, last) == ("both_densenet0_features_conv0_weight", "both_dense0_bias")


@use("export, SymbolBlock.imports", f"{ISSUES}/10822")
def exported():
    model, x = small(), images()
    model.hybridize(static_alloc=True, static_shape=True)
    expected = model(x)
    model.export("model", epoch=3)
    with quiet():
        block = gluon.SymbolBlock.imports("model-symbol.json", ["data"], "model-0003.params", ctx=mx.cpu())
    same(block(x), expected)


@use("export, load_parameters", f"{ISSUES}/19257")
def exported_parameters():
    model, other, x = small(), blank(), images()
    model.hybridize()
    expected = model(x)
    model.export("model")
    other.load_parameters("model-0000.params")
    same(other(x), expected)


@use("export, fine-tuned as a SymbolBlock: exported after a recorded pass", f"{PULLS}/13411")
def fine_tuned_export():
    model, x, labels = small(), images(4), mx.nd.arange(4)
    model.hybridize()
    gradients(model, x, labels)
    model.export("model")
    with quiet():
        block = gluon.SymbolBlock.imports("model-symbol.json", ["data"], "model-0000.params")
    learns(block, sgd(block), x, labels)


@use("export, for DJL: static memory, one input named data, logits", DJL)
def for_djl():
    model = small()
    model.hybridize(static_alloc=True, static_shape=True)
    model(images(1))
    model.export("model")
    symbol, arguments, auxiliary = mx.model.load_checkpoint("model", 0)
    assert set(symbol.list_arguments()) - set(arguments) == {"data"}
    assert set(symbol.list_auxiliary_states()) == set(auxiliary)


@use("a Module of the model's symbol, with a SoftmaxOutput", f"{ISSUES}/9374")
def module():
    symbol = mx.sym.SoftmaxOutput(blank()(mx.sym.var("data")), name="softmax")
    data = mx.io.NDArrayIter(array(4), np.arange(4), batch_size=4)
    net = mx.mod.Module(symbol, context=mx.cpu())
    net.fit(data, num_epoch=8, optimizer_params={"learning_rate": 0.05}, initializer=mx.init.Xavier(), kvstore=None)
    loss = dict(net.score(data, mx.metric.CrossEntropy()))["cross-entropy"]
    assert loss < np.log(5)


# NumPy mode


@use("npx.set_np: fine-tuning with features of another model", D2L)
@in_numpy_mode
def numpy_fine_tuning():
    pretrained_net, finetune_net = small(), blank()
    x, labels = mx.np.array(array(4)), mx.np.arange(4)
    finetune_net.features = pretrained_net.features
    finetune_net.output.initialize(mx.init.Xavier())
    finetune_net.hybridize()
    assert isinstance(finetune_net.features(x), mx.np.ndarray)
    learns(finetune_net, sgd(finetune_net, momentum=0.5), x, labels)


@use("npx.set_np: save_parameters, load_parameters", f"{ISSUES}/18117")
@in_numpy_mode
def numpy_files():
    model, other, x = small(), blank(), mx.np.array(array())
    model.save_parameters("model.params")
    other.load_parameters("model.params")
    same(other(x), model(x))


@use("npx.set_np: export, SymbolBlock.imports", f"{ISSUES}/18918")
@in_numpy_mode
def numpy_export():
    model, x = small(), mx.np.array(array())
    model.hybridize()
    expected = model(x)
    model.export("model")
    with quiet():
        block = gluon.SymbolBlock.imports("model-symbol.json", ["data"], "model-0000.params")
    assert isinstance(block(x), mx.np.ndarray)
    same(block(x), expected)


@use("npx.set_np: in a hybridized HybridSequential with a Dense", D2L)
@in_numpy_mode
def numpy_sequential():
    net, x = nn.HybridSequential(), mx.np.array(array(4))
    net.add(blank(classes=8), nn.Dense(4))
    net.initialize(mx.init.Xavier())
    eager = net(x)
    net.hybridize()
    same(net(x), eager)
    learns(net, sgd(net), x, mx.np.arange(4))
    net.save_parameters("net.params")


@use("npx.set_np after the model was built and filled: the same numbers, files, too", f"{ISSUES}/16098")
def numpy_later():
    model, x = small(), array()
    expected = model(mx.nd.array(x))
    model.save_parameters("before.params")
    in_numpy_mode(lambda: same(model(mx.np.array(x)), expected))()
    in_numpy_mode(lambda: model.save_parameters("after.params"))()
    for name in ("before.params", "after.params"):
        other = blank()
        other.load_parameters(name)
        same(other(mx.nd.array(x)), expected)


# Precision and speed


@use("quantize_net: int8, calibrated", QUANTIZATION)
def quantized():
    from mxnet.contrib import quantization

    model, x = small(), images(8)
    expected = model(x)
    data = gluon.data.DataLoader(gluon.data.ArrayDataset(x, mx.nd.zeros(8)), batch_size=4)
    with quiet():
        found = quantization.quantize_net(model, "int8", calib_data=data, calib_mode="naive", ctx=mx.cpu())(x)
    assert abs(found - expected).max() < 0.3 * expected.asnumpy().std()


@use("amp.convert_hybrid_block to bfloat16", f"{PULLS}/15118")
def bfloat16():
    from mxnet.contrib import amp

    model, x = small(), images()
    model.hybridize()
    expected = model(x)
    with quiet():
        found = amp.convert_hybrid_block(model, target_dtype="bfloat16", ctx=mx.cpu())(x).astype("float32")
    assert 0 < abs(found - expected).max() < 0.05 * expected.asnumpy().std()


AMP = """
import warnings
warnings.simplefilter("ignore")
from tests.compatibility.mxnet_uses import *
from mxnet.contrib import amp
amp.init(target_dtype="bfloat16")
model = small()
model.hybridize()
learns(model, sgd(model), images(4), mx.nd.arange(4))
assert values(model)["classifier.weight"].dtype == np.float32
"""


@use("amp.init: training in bfloat16", f"{PULLS}/14173")
def bfloat16_training():
    """In a process of its own, of which it changes all operations."""
    done = subprocess.run([sys.executable, "-c", AMP], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@use("cast to float16 on a CPU", f"{PULLS}/10391", says="MXNet computes float16 on GPUs only")
def float16():
    model = small()
    model.cast("float16")
    model(images().astype("float16"))


@use("cast to float64", GLUON)
def float64():
    model, x = small(), images()
    expected = model(x)
    model.cast("float64")
    found = model(x.astype("float64"))
    assert found.dtype == np.float64
    same(found, expected, atol=1e-4)


@use("optimize_for oneDNN: convolutions with their norms and ReLUs", f"{PULLS}/15969")
def optimized():
    model, x = small(), images()
    expected = model(x)
    model.optimize_for(x, backend="MKLDNN", static_alloc=True, static_shape=True)
    same(model(x), expected, atol=1e-4)


@use("inference on a context that is not the current one", MULTI_GPU)
def another_context():
    model = small()
    expected = densenet_mxnet.predict(model, array())
    model.collect_params().reset_ctx(mx.cpu(1))
    assert (densenet_mxnet.predict(model, array()) == expected).all()


@use("a new output on another context", f"{ISSUES}/6223", says="put all in one place with model.collect_params()")
def two_places():
    model = blank()
    model.initialize(ctx=mx.cpu(1))
    model.output = nn.Dense(3)
    model.output.initialize(ctx=mx.cpu(0))
    densenet_mxnet.predict(model, array())
