"""Which walker reads the rings: the native one where it was built, else its twin in Python with identical counters.

``QUIETCORE_WALKER=native`` or ``python`` in the environment insists on one of them.
"""

import enum
import os
from collections.abc import Sequence
from typing import Protocol

from ingest.rings.counters import Followed, Walked
from ingest.rings.layout import Area, Following
from ingest.rings.tape import Tape

CHOICE = "QUIETCORE_WALKER"


class WalkerMissing(Exception):
    """The walker that was asked for cannot run here; the text says why and what to do."""


class Ended(enum.Enum):
    """Why ``Walker.run`` came back."""

    DEADLINE = "deadline"
    STOPPED = "stopped"
    FAILED = "failed"  # a socket reported an error: SO_ERROR says which


class Walker(Protocol):
    """Reads a set of rings, in place, from one thread. Sequence accounting spans the set: a stream may change its ring."""

    name: str

    def drain(self) -> int:
        """Reads and hands back what is ready, at most one turn of each ring. Returns frames (V2) or blocks (V3)."""

    def keep(self, tape: Tape) -> None:
        """From now on puts every packet that is read onto a tape of this walker's kind (``open_tape``)."""

    def run(self, fds: Sequence[int], stop_fd: int, until_ns: int, pause_ns: int) -> Ended:
        """Drains until ``until_ns`` (CLOCK_MONOTONIC), until ``stop``, or until a socket fails.

        Args:
            fds: the rings' sockets, in the order of the areas.
            stop_fd: readable when a sleeping run has to end.
            until_ns: when to come back.
            pause_ns: sleep after a drain that found packets; only an idle run waits in poll. 0: always poll.

        Raises:
            OSError: poll itself failed.
        """

    def stop(self) -> None:
        """From another thread: ends ``run`` before its next drain, now and from now on."""

    def take(self) -> tuple[Walked, ...]:
        """Each ring's counters since the last take."""

    def followed(self, histograms: bool = True) -> Followed:
        """The sequence accounting since the start, by address, port and scope; without ``histograms`` it costs less."""

    def close(self) -> None:
        """Lets go of the rings' memory."""


def open_walker(
    areas: Sequence[Area], following: Following | None = None, fixed_now_ns: int = 0, choice: str | None = None
) -> Walker:
    """The best walker that runs here.

    Args:
        areas: the rings' memory.
        following: which datagrams carry numbers, and where; None: no sequence accounting.
        fixed_now_ns: CLOCK_REALTIME to measure latencies against; 0 reads the clock.
        choice: ``native``, ``python``, or None to obey the environment and else take the best.

    Raises:
        WalkerMissing: the one that was insisted on cannot run, or none can.
    """
    from ingest.rings.walk_native import NativeWalker
    from ingest.rings.walk_python import PythonWalker

    choice = choice or os.environ.get(CHOICE) or None
    if choice not in (None, "native", "python"):
        raise WalkerMissing(f"{CHOICE} must be native or python, not {choice[:40]!r}")
    if choice == "python":
        return PythonWalker(areas, following, fixed_now_ns)
    try:
        return NativeWalker(areas, following, fixed_now_ns)
    except WalkerMissing:
        if choice == "native":
            raise
        return PythonWalker(areas, following, fixed_now_ns)
