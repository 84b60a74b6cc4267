"""Which walker reads the rings: the native one where it was built, else that with numpy, else that in Python alone.

All count the same. ``QUIETCORE_WALKER=native``, ``numpy`` or ``python`` in the environment insists on one of them.
"""

import enum
import os
import sys
from collections.abc import Sequence
from typing import Protocol

from ingest.rings.counters import Followed, Walked
from ingest.rings.layout import Area, Following
from ingest.rings.tape import Tape

CHOICE = "QUIETCORE_WALKER"
WALKERS = ("native", "numpy", "python")  # the best first


class WalkerMissing(Exception):
    """The walker that was asked for cannot run here; the text says why and what to do."""


class Ended(enum.Enum):
    """Why ``Walker.run`` came back."""

    DEADLINE = "deadline"
    STOPPED = "stopped"
    FAILED = "failed"  # a socket reported an error: SO_ERROR says which


class Walker(Protocol):
    """Reads a set of rings, in place, from one thread. Sequence accounting spans the set: a stream may change its ring.

    Walkers that were opened together (``open_walkers``) read sets of their own, from a thread each; their sequence accounting
    spans all sets, and each of them tells it.
    """

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
        choice: one of ``WALKERS``, or None to obey the environment and else take the best.

    Raises:
        WalkerMissing: the one that was insisted on cannot run, or none can.
    """
    wanted = chosen(choice)
    for name in (wanted,) if wanted else WALKERS[:-1]:
        try:
            return _kind(name)(areas, following, fixed_now_ns)
        except WalkerMissing:
            if wanted:
                raise
    return _kind(WALKERS[-1])(areas, following, fixed_now_ns)


def open_walkers(
    shares: Sequence[Sequence[Area]], following: Following | None = None, fixed_now_ns: int = 0, choice: str | None = None
) -> tuple[Walker, ...]:
    """A walker for each share of the rings, to be run by a thread each. They count as one walker of all rings would.

    Only the native one gives up the interpreter's lock while it walks. Two threads of the numpy walker were measured at 0.6
    times the rate of one, of the Python walker at 0.98 times: so several shares are refused them.

    Args:
        shares: the memory of each reader's rings.
        following: as for ``open_walker``, and so the others.
        fixed_now_ns: as there.
        choice: as there.

    Raises:
        WalkerMissing: as ``open_walker``, or several shares without the native walker.
    """
    if len(shares) == 1:
        return (open_walker(shares[0], following, fixed_now_ns, choice),)
    wanted = chosen(choice) or WALKERS[0]
    if wanted != WALKERS[0]:
        raise WalkerMissing(
            f"several readers need the native walker: threads of the {wanted} walker take turns, and are no faster than one "
            f"({CHOICE}, --cpu); name one CPU"
        )
    from ingest.rings.walk_native import NativeWalker

    try:
        return NativeWalker.several(shares, following, fixed_now_ns)
    except WalkerMissing as missing:
        raise WalkerMissing(f"several readers need the native walker: {missing}; or name one CPU") from missing


def chosen(choice: str | None) -> str | None:
    """The walker that is insisted on, by the caller or by the environment.

    Raises:
        WalkerMissing: there is none of that name.
    """
    choice = choice or os.environ.get(CHOICE) or None
    if choice is not None and choice not in WALKERS:
        raise WalkerMissing(f"{CHOICE} must be {', '.join(WALKERS[:-1])} or {WALKERS[-1]}, not {choice[:40]!r}")
    return choice


class _Kind(Protocol):
    def __call__(self, areas: Sequence[Area], following: Following | None, fixed_now_ns: int) -> Walker: ...


def _kind(name: str) -> _Kind:
    if name == "native":
        from ingest.rings.walk_native import NativeWalker

        return NativeWalker
    if name == "python":
        from ingest.rings.walk_python import PythonWalker

        return PythonWalker
    if sys.byteorder != "little":
        raise WalkerMissing("the numpy walker reads words of little-endian processors only")
    try:
        from ingest.rings.walk_numpy import NumpyWalker
    except (ImportError, RuntimeError) as error:  # RuntimeError: a numpy that was built for a newer processor
        raise WalkerMissing("the numpy walker needs numpy; install it, or a C compiler for the native walker") from error
    return NumpyWalker
