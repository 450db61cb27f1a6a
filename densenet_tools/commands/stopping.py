"""Ctrl-C that waits for the step to end: the first one is noted, a second one interrupts."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """The signal that came, if one did."""

    signal: int | None = None


@contextmanager
def stopping() -> Iterator[Stop]:
    """Within, Ctrl-C and SIGTERM are only noted, in `stop.signal`; afterwards they do what they did before."""
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:
        if stop.signal is not None:
            raise KeyboardInterrupt
        stop.signal = number

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
