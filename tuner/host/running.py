"""Which threads run on some CPUs, told by looking at /proc again and again: no tracepoint, no interrupt, nothing on those CPUs.

Source: Documentation/filesystems/proc.rst table 1-4 (the CPU is that of the last run), Documentation/scheduler/sched-stats.rst
(/proc/TID/schedstat: nanoseconds run, nanoseconds waited, times run). What it cannot see: a thread that may run elsewhere, too,
and came and went between two looks. ``times`` of all threads beside those of the CPU (/proc/schedstat) say how much that was.
"""

import contextlib
import os
from dataclasses import dataclass

from tuner.host.cpulist import CpuListError, CpuSet, parse_list
from tuner.host.files import HostFiles
from tuner.host.threads import PF_KTHREAD, PF_NO_SETAFFINITY, thread_ids

_RECHECK = 8  # looks after which a thread that may not run there is asked again whether it may


@dataclass(frozen=True, slots=True)
class Ran:
    """A thread that ran on ``cpu``, how many times it was put there (at least), and where it may run."""

    tid: int
    pid: int
    name: str
    cpu: int
    times: int
    kernel: bool
    movable: bool
    allowed: CpuSet


@dataclass(slots=True)
class _Seen:
    start_ticks: int
    activity: tuple[int, int]  # ns (or context switches), times run
    allowed: CpuSet


class RunningThreads:
    """Looks at the threads that may run on ``cpus``; each ``look`` costs about 20 µs a thread that may."""

    def __init__(self, files: HostFiles, cpus: CpuSet) -> None:
        self._files = files
        self._cpus = cpus
        self._seen: dict[int, _Seen] = {}
        self._found: dict[tuple[int, int], Ran] = {}
        self._looks = 0
        self._self = os.getpid() if files.real else -1

    def look(self) -> None:
        """One look; the first only remembers."""
        first = not self._looks
        again = self._looks % _RECHECK == 0
        self._looks += 1
        present = set()
        for pid, tid in thread_ids(self._files):
            present.add(tid)
            seen = self._seen.get(tid)
            if pid == self._self or (seen is not None and not again and not seen.allowed & self._cpus):
                continue
            self._thread(pid, tid, seen, first, again)
        for tid in self._seen.keys() - present:
            del self._seen[tid]

    def found(self) -> tuple[Ran, ...]:
        """Every thread that ran there since the first look, by CPU and number."""
        return tuple(self._found[key] for key in sorted(self._found))

    def _thread(self, pid: int, tid: int, seen: _Seen | None, first: bool, again: bool) -> None:
        base = f"/proc/{pid}/task/{tid}"
        activity = self._activity(base)
        if activity is None or (seen is not None and activity == seen.activity and not again):
            return
        stat = _stat(self._files, base)
        if stat is None:
            return
        name, flags, start_ticks, last_cpu = stat
        if seen is not None and seen.start_ticks != start_ticks:  # the number is another thread's now
            seen = None
        allowed = seen.allowed if seen is not None and not again else self._allowed(base)
        before = seen.activity if seen is not None else activity if first else (0, 0)
        # asked anew where it was last: a thread that was moved in meanwhile was elsewhere before
        self._seen[tid] = _Seen(start_ticks, activity, allowed)
        if activity == before or last_cpu not in self._cpus:
            return
        old = self._found.get((last_cpu, tid))
        times = max(1, activity[1] - before[1]) + (old.times if old is not None else 0)
        kernel, movable = bool(flags & PF_KTHREAD), not flags & PF_NO_SETAFFINITY
        self._found[last_cpu, tid] = Ran(tid, pid, name, last_cpu, times, kernel, movable, self._allowed(base) or allowed)

    def _activity(self, base: str) -> tuple[int, int] | None:
        """Something that moves whenever the thread runs, and how many times it ran; None where it ended."""
        words = (self._files.optional(f"{base}/schedstat") or "").split()
        with contextlib.suppress(ValueError, IndexError):
            return int(words[0]), int(words[2])
        # a kernel without CONFIG_SCHED_INFO: it ran as often as it was switched away
        switches = [line for line in (self._files.optional(f"{base}/status") or "").split("\n") if "ctxt_switches:" in line]
        with contextlib.suppress(ValueError):
            count = sum(int(line.partition(":")[2]) for line in switches)
            return (count, count) if switches else None
        return None

    def _allowed(self, base: str) -> CpuSet:
        for line in (self._files.optional(f"{base}/status") or "").split("\n"):
            if line.startswith("Cpus_allowed_list:"):
                with contextlib.suppress(CpuListError):
                    return parse_list(line.partition(":")[2].strip())
        return frozenset()


def _stat(files: HostFiles, base: str) -> tuple[str, int, int, int] | None:
    """Name, flags, start and last CPU of a thread."""
    text = files.optional(f"{base}/stat") or ""
    name, rest = text.partition("(")[2].rpartition(")")[::2]  # the name itself may hold brackets and blanks
    fields = rest.split()
    try:
        return name, int(fields[6]), int(fields[19]), int(fields[36])
    except (IndexError, ValueError):
        return None
