"""The two walkers of capture files: the native one, or its twin in Python with identical counters.

A walker is given the file in pieces that lie in its buffer, and never sees more of it.
"""

from typing import Protocol

from ingest.rings.capture_facts import CaptureEnd, CaptureFacts
from ingest.rings.counters import Followed, Walked
from ingest.rings.layout import Following
from ingest.rings.walk import WalkerMissing, chosen


class CaptureWalker(Protocol):
    """Reads one capture out of a buffer that the caller fills."""

    name: str

    def walk(self, size: int, left: int) -> int:
        """Walks what is whole of the ``size`` bytes that lie in the buffer, the first of ``left`` up to the file's end.

        Returns:
            By how many bytes the next piece begins behind this one's start: less than ``size`` where a record lies across its
            end, more where a block is skipped. 0 where it needs more bytes than ``size``. Once ``ended`` says so, where the
            record begins that could not be read.
        """

    @property
    def ended(self) -> CaptureEnd:
        """Whether it goes on."""

    def take(self) -> tuple[Walked, ...]:
        """The counters since the last take, of one ring. There is no latency."""

    def followed(self) -> Followed:
        """The sequence accounting since the start."""

    def facts(self) -> CaptureFacts:
        """What was found so far; without ``bytes`` and ``read``."""

    def close(self) -> None:
        """Lets go of the buffer."""


def open_capture_walker(buffer: bytearray, following: Following | None = None, choice: str | None = None) -> CaptureWalker:
    """The best walker that runs here.

    Args:
        buffer: where pieces will lie; at least 16 bytes more than the longest packet.
        following: which datagrams carry numbers, and where; None: no sequence accounting.
        choice: one of ``ingest.rings.walk.WALKERS``, or None to obey the environment and else take the best. Here ``numpy``
            means ``python``: nothing of a capture file is read as columns.

    Raises:
        WalkerMissing: the one that was insisted on cannot run.
    """
    from ingest.rings.capture_native import NativeCaptureWalker
    from ingest.rings.capture_python import PythonCaptureWalker

    wanted = chosen(choice)
    if wanted in ("numpy", "python"):
        return PythonCaptureWalker(buffer, following)
    try:
        return NativeCaptureWalker(buffer, following)
    except WalkerMissing:
        if wanted == "native":
            raise
        return PythonCaptureWalker(buffer, following)
