"""Concatenation that trains at every width.

In MXNet 1.9.1 the float32 backward of a 4-D concat runs in oneDNN, which rejects some channel counts
(16 and 12, say: "could not construct a sub-memory") and leaks a little memory each time. A 3-D
concat does neither. In inference the 4-D one is faster, so the choice depends on whether autograd records.
"""

from typing import Any

from mxnet import autograd
from mxnet.gluon import HybridBlock


def concat(F: Any, *maps: Any) -> Any:
    """(N, C, H, W), (N, k, H, W) ... -> (N, C + k + ..., H, W)."""
    if not autograd.is_recording():
        return F.concat(*maps, dim=1)
    z = F.concat(*(F.reshape(x, (0, 0, -1)) for x in maps), dim=1)  # (N, C + k + ..., H*W)
    return F.reshape_like(z, maps[0], lhs_begin=2, lhs_end=3, rhs_begin=2, rhs_end=4)


class RecordingAware(HybridBlock):
    """A block that is traced anew when recording starts or stops, as `concat` then differs."""

    def __init__(self) -> None:
        super().__init__()
        self._traced_while_recording: bool | None = None

    def __call__(self, *args: Any) -> Any:
        recording = autograd.is_recording()
        if recording is not self._traced_while_recording:
            self._clear_cached_op()
            self._traced_while_recording = recording
        return super().__call__(*args)
