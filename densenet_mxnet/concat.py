"""Concatenation that trains at every width.

In MXNet 1.9.1 the float32 backward of a 4-D concat runs in oneDNN, which rejects some channel counts
(16 and 12, say: "could not construct a sub-memory") and leaks a little memory each time. A 3-D
concat does neither. In inference the 4-D one is faster, so the choice depends on whether autograd records.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import mxnet as mx
from mxnet import autograd
from mxnet.gluon import HybridBlock

from densenet_mxnet.arrays import follow, is_np, kind, on_legacy_arrays

_retraced = ContextVar("retraced", default=False)


@on_legacy_arrays
def concat(F: Any, *maps: Any) -> Any:
    """(N, C, H, W), (N, k, H, W) ... -> (N, C + k + ..., H, W)."""
    kept = F is mx.sym and not _retraced.get()  # a graph for both, of a block of the user's around the model
    if not autograd.is_recording() and not kept:
        return F.concat(*maps, dim=1)
    z = F.concat(*(F.reshape(x, (0, 0, -1)) for x in maps), dim=1)  # (N, C + k + ..., H*W)
    return F.reshape_like(z, maps[0], lhs_begin=2, lhs_end=3, rhs_begin=2, rhs_end=4)


@contextmanager
def retraced() -> Iterator[None]:
    """A graph made within is made anew when recording starts or stops."""
    token = _retraced.set(True)
    try:
        yield
    finally:
        _retraced.reset(token)


class RecordingAware(HybridBlock):
    """A block that is traced anew when recording starts or stops, as `concat` then differs.

    It takes arrays of mx.nd and of mx.np, and is traced anew, too, when one kind follows the other.
    """

    def __init__(self, prefix: str | None = None) -> None:
        super().__init__(prefix)
        self._traced: tuple[bool, bool] | None = None

    def __call__(self, *args: Any) -> Any:
        now = autograd.is_recording(), is_np(args[0])
        with kind(numpy=now[1]):
            if now != self._traced:
                if self._traced is None or now[1] != self._traced[1]:
                    follow(self)
                self._clear_cached_op()
                self._traced = now
            return super().__call__(*args)

    def _get_graph(self, *args: Any) -> Any:
        with retraced():
            return super()._get_graph(*args)
