"""Drift: settings that were applied and are no longer so, found while watching, some at a time.

A round over all settings of the active transaction begins every five seconds, and at once when the kernel tells of a link or
of a cpuset partition: a driver that opens its device anew forgets settings (it requests its interrupts in ndo_open), and a
partition turns invalid when its CPUs are taken (kernel/cgroup/cpuset.c tells pollers of the file). It reads what ``verify``
reads and writes nothing. Each step has a budget of time: watching must not come late because of it.
"""

import contextlib
import os
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tuner.applied import applied_wishes
from tuner.conflicts import find, suspect
from tuner.host.host import Host, Inventory
from tuner.host.netlink import LinkEvents
from tuner.knobs.knob import Unsupported, Wish
from tuner.knobs.partition import CGROUP, cgroup_root
from tuner.plan import Change, look
from tuner.store import Store, TransactionRecord

ROUND_S = 5.0
_APART_NS = 500_000_000  # a flood of link news must not keep it reading
STEP_NS = 2_000_000  # of a tick of a tenth of a second
_AWAY = frozenset({"differs", "gone", "failed"})


@dataclass(frozen=True, slots=True)
class Moved:
    """A setting that is no longer as it was applied.

    Attributes:
        change: the setting as it is now, beside what was wanted.
        seen_s: wall clock of the look that found it; the move was up to a round before that.
        at_start: it had moved before the watch began: when is not known.
        suspect: who is known to write such settings here, a guess.
    """

    change: Change
    seen_s: float
    at_start: bool
    suspect: str


@dataclass(frozen=True, slots=True)
class News:
    """What a step found: settings that moved, and such that are as wanted again."""

    moved: tuple[Moved, ...] = ()
    back: tuple[Change, ...] = ()


class DriftWatch:
    """Follows the active transaction of a host, whichever that is.

    Args:
        host: the host.
        store: its transactions; what this user may not read has no drift to tell.
    """

    def __init__(self, host: Host, store: Store) -> None:
        self._host = host
        self._store = store
        self._moved: dict[tuple[str, str], Moved] = {}
        self._seen: set[tuple[str, str]] = set()
        self._number: int | None = None
        self._round: Iterator[tuple[Wish, Change]] | None = None
        self._began_ns = self._next_ns = 0
        self._links = LinkEvents() if host.files.real else None
        self._partition: tuple[int, select.poll] | None = None

    @property
    def moved(self) -> tuple[Moved, ...]:
        """Everything that is away from what was applied, as last seen."""
        return tuple(self._moved.values())

    def step(self, budget_ns: int = STEP_NS) -> News:
        """Goes on with the round for about ``budget_ns``; begins one where it is time or the kernel told of something."""
        start = time.monotonic_ns()
        if self._told():  # what was read in this round before may have moved: another follows it
            self._next_ns = min(self._next_ns, self._began_ns + _APART_NS)
        if self._round is None and start >= self._next_ns:
            self._round = self._look_round()
            self._began_ns, self._next_ns = start, start + int(ROUND_S * 1e9)
        if self._round is None:
            return News()
        moved: list[Moved] = []
        back: list[Change] = []
        for wish, change in self._round:
            key = wish.knob, wish.identity
            if change.state in _AWAY and (key not in self._moved or self._moved[key].change.now != change.now):
                self._moved[key] = self._found(change, at_start=key not in self._seen)
                moved.append(self._moved[key])
            elif change.state not in _AWAY and self._moved.pop(key, None) is not None:
                back.append(change)
            self._seen.add(key)
            if time.monotonic_ns() - start >= budget_ns:
                return News(tuple(moved), tuple(back))
        self._round = None
        return News(tuple(moved), tuple(back))

    def close(self) -> None:
        """Lets go of the descriptors."""
        if self._links is not None:
            self._links.close()
        self._forget_partition()

    def _look_round(self) -> Iterator[tuple[Wish, Change]]:
        transaction = self._active()
        if (transaction.number if transaction else None) != self._number:
            self._moved, self._seen = {}, set()
            self._number = transaction.number if transaction else None
        self._forget_partition()
        if transaction is None:
            return
        self._watch_partition()
        inventory = Inventory(self._host)
        for wish, managed in applied_wishes(transaction):
            yield wish, look(inventory, wish, managed)

    def _active(self) -> TransactionRecord | None:
        try:
            return self._store.active(self._host.syscalls.boot_id())
        except OSError:
            return None

    def _found(self, change: Change, at_start: bool) -> Moved:
        who = suspect(change.knob, find(self._host.syscalls.threads()))
        return Moved(change, time.time(), at_start, who)

    def _told(self) -> bool:
        """Whether the kernel told of a link or a partition since the last step."""
        links = self._links is not None and self._links.happened()
        return links or bool(self._partition is not None and self._partition[1].poll(0))

    def _watch_partition(self) -> None:
        # kernfs tells who polls for POLLPRI after having read the file once (fs/kernfs/file.c, kernfs_notify)
        if not self._host.files.real:
            return
        with contextlib.suppress(OSError, Unsupported):
            path = f"{cgroup_root(self._host.files)}/{CGROUP}/cpuset.cpus.partition"
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            os.read(fd, 4096)
            poll = select.poll()
            poll.register(fd, select.POLLPRI)
            self._partition = fd, poll

    def _forget_partition(self) -> None:
        if self._partition is not None:
            os.close(self._partition[0])
            self._partition = None
