"""What Gluon's containers offer, for children with names: length, index, slices, add."""

from typing import Any

from mxnet.gluon import nn

from densenet_mxnet.concat import RecordingAware


class Container(RecordingAware, nn.HybridSequential):
    """A HybridSequential whose slices keep the names of their children."""

    def __getitem__(self, key: int | slice) -> Any:
        """One child, or a Container of several."""
        found = list(self._children.items())[key]
        if not isinstance(key, slice):
            return found[1]
        part = Container(prefix=self.prefix)
        for name, child in found:
            setattr(part, name, child)
        return part
