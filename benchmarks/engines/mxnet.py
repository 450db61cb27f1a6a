"""MXNet: the model zoo's DenseNet, and ours."""

import json
from typing import Any

import numpy as np

import spec
from benchmarks.engines import Run, folder, inference, profile, training
from benchmarks.engines.torch import MOMENTUM, RATE

STATIC = {"static_alloc": True, "static_shape": True}


@inference("zoo", ours=False, once=True)
def zoo(network: spec.Network, weights: spec.Weights) -> Run:
    """As it comes."""
    return predictor(theirs(network, weights))


@inference("zoo:hybridized", ours=False, once=True)
def zoo_hybridized(network: spec.Network, weights: spec.Weights) -> Run:
    """As one graph."""
    return predictor(hybridized(theirs(network, weights)))


@inference("zoo:static", ours=False)
def zoo_static(network: spec.Network, weights: spec.Weights) -> Run:
    """As one graph whose memory is planned once."""
    return predictor(hybridized(theirs(network, weights), **STATIC))


@inference("mxnet:eager", "zoo", once=True)
def eager(network: spec.Network, weights: spec.Weights) -> Run:
    """The model as it comes."""
    return predictor(ours(network, weights))


@inference("mxnet:hybridized", "zoo:hybridized", once=True)
def ours_hybridized(network: spec.Network, weights: spec.Weights) -> Run:
    """As one graph."""
    return predictor(hybridized(ours(network, weights)))


@inference("mxnet", "zoo:static")
def predicted(network: spec.Network, weights: spec.Weights) -> Run:
    """densenet_mxnet.predict, which makes a static graph."""
    import densenet_mxnet

    model = ours(network, weights)
    return lambda images: densenet_mxnet.predict(model, images)


@inference("mxnet:optimized", "zoo:static")
def optimized(network: spec.Network, weights: spec.Weights) -> Run:
    """The same for a network that was rewritten for inference."""
    return predicted(*spec.optimized(network, weights))


@training("zoo:static", ours=False)
def zoo_step(network: spec.Network, weights: spec.Weights) -> Run:
    """Gluon's Trainer."""
    return stepper(hybridized(theirs(network, weights), **STATIC))


@training("mxnet", "zoo:static")
def step(network: spec.Network, weights: spec.Weights) -> Run:
    """densenet_mxnet.step."""
    import densenet_mxnet
    from densenet_mxnet.compat import mxnet as mx

    model = ours(network, weights)
    optimizer = densenet_mxnet.sgd(model, RATE, MOMENTUM)

    def step(images: np.ndarray, labels: np.ndarray) -> float:
        loss, _ = densenet_mxnet.step(model, optimizer, images, labels)
        mx.nd.waitall()  # the update goes on in the background
        return loss

    return step


@profile("mxnet")
def profile_predicted(network: spec.Network, weights: spec.Weights) -> Run:
    """densenet_mxnet.predict."""
    return by_operation(predicted(network, weights))


def theirs(network: spec.Network, weights: spec.Weights) -> Any:
    """The zoo's model of a network, whose parameters have its order."""
    from densenet_mxnet.compat import mxnet as mx
    from densenet_mxnet.peers import build_peer

    model = build_peer(network)
    for name, child in model.features._children.items():
        if getattr(child, "_kwargs", {}).get("kernel") == (7, 7) and isinstance(child, mx.gluon.nn.AvgPool2D):
            model.features._children[name] = mx.gluon.nn.GlobalAvgPool2D()  # its head's is global at 224 pixels alone
    for parameter, array in zip(model.collect_params().values(), weights.values(), strict=True):
        parameter.shape = array.shape
        parameter.initialize(mx.init.Zero())
        parameter.set_data(mx.nd.array(array))
    return model


def ours(network: spec.Network, weights: spec.Weights) -> Any:
    """densenet_mxnet's model of a network."""
    import densenet_mxnet

    model = densenet_mxnet.build(network, "float32")
    densenet_mxnet.load_weights(model, weights)
    return model


def hybridized(model: Any, **flags: bool) -> Any:
    """The model, its graph made on the first call."""
    model.hybridize(**flags)
    return model


def predictor(model: Any) -> Run:
    """images -> logits."""
    from densenet_mxnet.compat import mxnet as mx

    return lambda images: model(mx.nd.array(images)).asnumpy()


def stepper(model: Any) -> Run:
    """(images, labels) -> loss, a step of Gluon's Trainer."""
    from densenet_mxnet.compat import mxnet as mx

    loss_of = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    settings = {"learning_rate": RATE, "momentum": MOMENTUM}
    trainer = mx.gluon.Trainer(model.collect_params(), "sgd", settings, kvstore=None)

    def step(images: np.ndarray, labels: np.ndarray) -> float:
        with mx.autograd.record():
            loss = loss_of(model(mx.nd.array(images)), mx.nd.array(labels)).mean()
        loss.backward()
        trainer.step(1)
        mx.nd.waitall()  # the update goes on in the background
        return loss.asscalar().item()

    return step


def by_operation(run: Run) -> Run:
    """images -> {operation: seconds}, by MXNet's profiler; what waits for others is none."""
    from densenet_mxnet.compat import mxnet as mx

    def profiled(images: np.ndarray) -> dict[str, float]:
        mx.profiler.set_config(
            profile_symbolic=True,
            profile_imperative=True,
            aggregate_stats=True,
            filename=str(folder() / "profile.json"),
        )
        mx.profiler.set_state("run")
        run(images)
        mx.profiler.set_state("stop")
        operators = json.loads(mx.profiler.dumps(reset=True, format="json"))["Time"]["operator"]
        return {name: each["Total"] / 1e3 for name, each in operators.items() if name != "WaitForVar"}

    return profiled
