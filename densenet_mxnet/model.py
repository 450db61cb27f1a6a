"""A whole network as one Gluon block."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mxnet as mx

import spec
from densenet_mxnet import blocks, inception, residual  # noqa: F401 (they register what they build)


class ConvNet(blocks.Sequential):
    """The children of the network's root; structural names as in the spec.

    Like Gluon's model zoo it starts without values: call `initialize()`, or load weights. It takes nd
    arrays and, where `npx.set_np()` is on, np arrays; inside it computes with nd arrays.
    """

    def __init__(self, network: spec.Network):
        with legacy_arrays():
            super().__init__(network.root)
        self.network = network

    def __call__(self, x: Any) -> Any:  # (N, C, H, W)
        if isinstance(x, mx.nd.NDArray):
            self.network.check_input_shape(x.shape[1:])
        if not isinstance(x, mx.np.ndarray):
            with legacy_arrays():
                return super().__call__(x)  # (N, num_classes)
        with legacy_arrays():
            logits = super().__call__(x.as_nd_ndarray())
        return logits.as_np_ndarray()

    def initialize(
        self,
        init: mx.init.Initializer | None = None,
        ctx: Any = None,
        verbose: bool = False,
        force_reinit: bool = False,
    ) -> None:
        """Gluon's initialize; without `init` the weights are drawn as spec.initialize draws them."""
        with legacy_arrays():
            super().initialize(init or HeNormal(), ctx, verbose, force_reinit)


def build(network: spec.Network, dtype: str = "float32") -> ConvNet:
    """A native model of `network`, not initialized yet; dtype "float32" or "float64"."""
    if not isinstance(network, spec.Network):
        raise TypeError(f"build takes a spec.Network, found {network!r}: see spec.variant and spec.load")
    model = ConvNet(network)
    model.cast(dtype)
    return model


@contextmanager
def device(name: str) -> Iterator[None]:
    """Models filled within are on that device: cpu, gpu or gpu:1, say. Raises SpecError where it is not there."""
    kind, index = spec.device_of(name)
    there = mx.context.num_gpus() if kind == "gpu" else 1
    if index >= there:
        raise spec.SpecError(f"device {name!r} is not there: MXNet finds {there} of that kind; use cpu")
    with mx.Context(kind, index):
        yield


@mx.init.register
class HeNormal(mx.init.Initializer):
    """Convolutions normal with variance 2 / fan-in, linear weights uniform within 1 / sqrt(fan-in)."""

    def _init_weight(self, name: str, array: mx.nd.NDArray) -> None:
        fan_in = array.size // array.shape[0]
        if array.ndim == 4:
            array[:] = mx.nd.random.normal(0, (2 / fan_in) ** 0.5, array.shape)
        else:
            array[:] = mx.nd.random.uniform(-(fan_in**-0.5), fan_in**-0.5, array.shape)


@contextmanager
def legacy_arrays() -> Iterator[None]:
    """Switches NumPy mode off: a block that is built, filled or run under it would mix array types."""
    with mx.util.np_array(False), mx.util.np_shape(False):
        yield
