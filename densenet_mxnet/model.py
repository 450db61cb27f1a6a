"""A whole network as one Gluon block."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mxnet as mx
import numpy as np
from mxnet.gluon import Block

import spec
from densenet_mxnet import blocks, inception, parallel, residual, surgery, zoo  # noqa: F401 (some register what they build)
from densenet_mxnet.arrays import follow, in_kind, kind
from densenet_mxnet.prefixes import own_names, rename


class ConvNet(blocks.Sequential):
    """The children of the network's root; structural names as in the spec, prefixes, too.

    Like Gluon's model zoo it starts without values: call `initialize()`, or load weights. It takes nd
    arrays and, where `npx.set_np()` is on, np arrays; what comes in decides which it computes with.
    """

    def __init__(self, network: spec.Network, prefix: str | None = None):
        self._built = self._network = network
        self._changes: dict[str, int | None] = {}
        self._first, self._output = network.first_path, network.classifier_path
        super().__init__(network.root, prefix)
        rename(self, self.prefix)

    def _alias(self) -> str:
        """What its prefix begins with, as in the model zoo: densenet0_."""
        return "convnet" if self._built.config is None else self._built.config.family

    @property
    def network(self) -> spec.Network:
        """What was built, or what has become of it with another first convolution or last layer."""
        changes = surgery.changes(self, self._first, self._output)
        if changes != self._changes:
            self._changes, self._network = changes, surgery.rebuilt(self._built, **changes)
        return self._network

    @network.setter
    def network(self, network: spec.Network) -> None:
        self._built, self._network, self._changes = network, network, {}

    @property
    def output(self) -> Block:
        """The last linear layer, which the model zoo calls so; set it for other classes."""
        if self._output is None:
            raise AttributeError(f"{self._built.name} has no linear layer at its end, and so no output")
        return surgery.block_at(self, self._output)

    def __setattr__(self, name: str, value: Any) -> None:
        output = vars(self).get("_output")
        if output and (name == "output" or (name == output and name in vars(self))):
            surgery.replace(self, output, value)
        else:
            super().__setattr__(name, value)

    def __call__(self, x: Any) -> Any:  # (N, C, H, W) -> (N, num_classes)
        if isinstance(x, mx.nd.NDArray):
            check_place(x.dtype, x.context)
            self.network.check_input_shape(x.shape[1:])
        return super().__call__(x)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        for name, _ in self._built.root.children:  # as in the zoo, blocks that are put beside these do not run
            x = self._children[name](x)
        return x

    def add(self, *blocks: Block) -> None:
        """Refused: a model ends where its network does."""
        raise spec.SpecError(
            f"add: nothing can follow the last layer of {self._built.name}: set net.output to other blocks, or put "
            "the model and what follows into an nn.HybridSequential"
        )

    def initialize(
        self,
        init: mx.init.Initializer | None = None,
        ctx: Any = None,
        verbose: bool = False,
        force_reinit: bool = False,
    ) -> None:
        """Gluon's initialize; without `init` the weights are drawn as spec.initialize draws them."""
        super().initialize(init or HeNormal(), ctx, verbose, force_reinit)
        follow(self)

    def save_parameters(self, filename: str, deduplicate: bool = False) -> None:
        """Gluon's save_parameters, of a model that was filled in NumPy mode or not."""
        follow(self)
        super().save_parameters(filename, deduplicate)

    def load_parameters(
        self,
        filename: str,
        ctx: Any = None,
        allow_missing: bool = False,
        ignore_extra: bool = False,
        cast_dtype: bool = False,
        dtype_source: str = "current",
    ) -> None:
        """Gluon's load_parameters, which also takes what `export` wrote, and the model zoo's file of the same network.

        A file is read with NumPy mode on or off, as it was written. Raises SpecError for a zoo's file of another
        network.
        """
        with kind(numpy=zoo.written_in_numpy_mode(filename)):
            follow(self)
            arrays = zoo.renamed(filename, self)
            if arrays is None:
                super().load_parameters(filename, ctx, allow_missing, ignore_extra, cast_dtype, dtype_source)
            else:
                for parameter, array in zip(self._collect_params_with_prefix().values(), arrays):
                    parameter._load_init(array, ctx, cast_dtype=True)
        follow(self)

    def load(self, prefix: str) -> None:
        """Gluon's load of what `save` wrote; all keep their own names, with which other graphs can be made."""
        super().load(prefix)
        self.apply(own_names)

    def export(self, path: str, epoch: int = 0, remove_amp_cast: bool = True) -> None:
        """Gluon's export, of a model that was filled in NumPy mode or not."""
        follow(self)
        super().export(path, epoch, remove_amp_cast)


def build(network: spec.Network, dtype: str = "float32", prefix: str | None = None) -> ConvNet:
    """A native model of `network`, not initialized yet; dtype "float32" or "float64".

    `prefix` is what the names of its parameters begin with, densenet0_ unless given.
    """
    if not isinstance(network, spec.Network):
        raise TypeError(f"build takes a spec.Network, found {network!r}: see spec.variant and spec.load")
    model = ConvNet(network, prefix)
    model.cast(dtype)
    return model


def check_place(dtype: Any, context: mx.Context) -> None:
    """Raises SpecError for float16 on a CPU."""
    if np.dtype(dtype) == np.float16 and context.device_type == "cpu":
        raise spec.SpecError(
            'MXNet computes float16 on GPUs only, found a model or images on a CPU: cast("float32"), or convert it for '
            'bfloat16 with amp.convert_hybrid_block(net, target_dtype="bfloat16", ctx=mx.cpu())'
        )


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
        fan_in, array = array.size // array.shape[0], in_kind(array, numpy=False)
        if array.ndim == 4:
            array[:] = mx.nd.random.normal(0, (2 / fan_in) ** 0.5, array.shape)
        else:
            array[:] = mx.nd.random.uniform(-(fan_in**-0.5), fan_in**-0.5, array.shape)
