"""Around the reading of a ring: signals that end it, and an interpreter that does not stop it."""

import contextlib
import gc
import signal
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM end the reading, not the process: the report is what one waited for. A second one ends both."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(_signal: int, _frame: FrameType | None) -> None:
        restore()
        stop()

    for number in before:
        signal.signal(number, note)
    try:
        yield
    finally:
        restore()


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No cyclic garbage collection meanwhile: it holds the interpreter's lock, which the reader needs at each interval."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
