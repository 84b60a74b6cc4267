"""Asking a busy device again: EBUSY and EAGAIN pass within a second, or not at all."""

import errno
import time
from collections.abc import Callable

_TRIES = 3
_PAUSE_S = 0.2


def patiently(ask: Callable[[], None]) -> None:
    """Asks, and where the answer is EBUSY or EAGAIN, asks again: three times in all, within a second.

    Raises:
        OSError: the last answer.
    """
    for left in reversed(range(_TRIES)):
        try:
            ask()
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.EAGAIN) or not left:
                raise
            time.sleep(_PAUSE_S)
        else:
            return
