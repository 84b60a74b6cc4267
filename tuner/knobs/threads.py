"""``isolation.user_threads`` and ``isolation.kernel_threads``: nobody strays onto isolated cores.

A thread strays where it may run on isolated CPUs and on others too. One that may run on isolated CPUs alone was pinned there:
it is what the cores are isolated for, and it stays. Source: sched_setaffinity(2), kernel/sched/core.c; PF_NO_SETAFFINITY.
"""

import contextlib
import errno
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tuner.host.cpulist import CpuSet, format_list, parse_list
from tuner.host.host import Inventory
from tuner.host.threads import Thread
from tuner.knobs.affinities import put_back, saved
from tuner.knobs.knob import About, Json, Knob, Reading, State, Unsupported
from tuner.knobs.partition import CGROUP, Partition

# A process that forks while its threads are swept leaves a child with the old affinity behind.
_SWEEPS = 3


class ThreadsAway(Knob):
    """The number of threads that stray; the identity is the CPU list that they shall leave."""

    kernel: ClassVar[bool]

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """How many threads stray now; their affinities are what is saved."""
        away = parse_list(identity)
        threads = [t for t in inventory.threads() if t.kernel == self.kernel]
        strays = self._strays(threads, away)
        pinned = sum(bool(t.allowed) and t.allowed <= away and t.movable for t in threads)
        note = f"{pinned} pinned there stay" if pinned and not self.kernel else ""
        return Reading(now=len(strays), effective=len(strays), undo=saved(strays), note=note)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where as few stray as wanted: none."""
        return "ok" if int(reading.now) <= int(wanted) else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Moves the strays: kernel threads to ``options["to"]``, user threads to what they have besides the isolated CPUs."""
        del wanted
        away = parse_list(identity)
        to = parse_list(str(options["to"])) if self.kernel else None
        for _ in range(_SWEEPS):
            threads = [t for t in inventory.host.syscalls.threads() if t.kernel == self.kernel]
            strays = self._strays(threads, away)
            if not strays:
                return
            for thread in strays:
                self._move(inventory, thread, to or thread.allowed - away)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Gives the threads back what they had."""
        del identity
        put_back(inventory.host, undo)

    def same(self, left: Json, right: Json) -> bool:
        """Always: threads come and go, and each saved one is compared by itself when it is put back."""
        del left, right
        return True

    def _strays(self, threads: list[Thread], away: CpuSet) -> list[Thread]:
        return [
            t for t in threads if t.movable and t.allowed & away and t.allowed - away and not t.cgroup.startswith(f"/{CGROUP}")
        ]

    @staticmethod
    def _move(inventory: Inventory, thread: Thread, cpus: CpuSet) -> None:
        try:
            inventory.host.syscalls.set_affinity(thread.tid, cpus)
        except OSError as error:
            # ended, or a kernel thread that turned out to be bound: what is left shows in the reading
            if error.errno not in (errno.ESRCH, errno.EINVAL):
                raise

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """The CPUs that a partition or the boot set apart."""
        apart = inventory.topology.boot_isolated
        with contextlib.suppress(Unsupported, OSError):
            apart |= parse_list(str(Partition().read(inventory, CGROUP).now).partition(" ")[2])
        where = format_list(apart)
        return [(f"CPU {where}", where)] if where else []


class UserThreads(ThreadsAway):
    """Threads of processes. Under a cpuset partition the kernel moves them itself; this moves who is left."""

    family: ClassVar[str] = "isolation.user_threads"
    about: ClassVar[About] = About(
        "How many threads of processes may run on isolated cores and elsewhere, too: none shall",
        "A thread that was pinned to isolated cores alone is what they are for, and stays",
        "/proc/TID/status: Cpus_allowed_list",
        risk="running services are moved",
        undo="each thread that is still there gets back what it had",
        source="sched_setaffinity(2), kernel/sched/core.c",
    )
    kernel: ClassVar[bool] = False


class KernelThreads(ThreadsAway):
    """Kernel threads that are bound to no CPU: rcu, kswapd, khugepaged, kauditd, napi; and kthreadd, for those to come."""

    family: ClassVar[str] = "isolation.kernel_threads"
    about: ClassVar[About] = About(
        "How many unbound kernel threads may run on isolated cores: none shall",
        "rcu, rcuo, kswapd, khugepaged, kauditd, napi; and kthreadd, whose children begin with its mask. "
        "Bound ones (ksoftirqd/N, migration/N, kworker/N) cannot be moved: EINVAL",
        "/proc/TID/status: Cpus_allowed_list",
        undo="each thread that is still there gets back what it had",
        quirks=("6.1 gives each new kernel thread all CPUs, whatever kthreadd has; 6.12 and 6.18 let it inherit",),
        source="include/linux/sched.h (PF_NO_SETAFFINITY), kernel/kthread.c",
    )
    kernel: ClassVar[bool] = True
