"""Threads and the CPUs they may run on.

Source: /proc/TID/stat (Documentation/filesystems/proc.rst table 1-4) and ``Cpus_allowed_list`` of /proc/TID/status.
A thread is (tid, start time): numbers are used again. Kernel threads carry PF_KTHREAD; those with PF_NO_SETAFFINITY
(ksoftirqd/N, migration/N, bound kworkers) belong to their CPU and refuse ``sched_setaffinity`` with EINVAL.
"""

import ctypes
from dataclasses import dataclass

from tuner.host.cpulist import CpuListError, CpuSet, parse_list
from tuner.host.files import HostFiles
from tuner.host.text import is_number

PF_KTHREAD = 0x00200000
PF_NO_SETAFFINITY = 0x04000000


@dataclass(frozen=True, slots=True)
class Thread:
    """One thread. ``start_ticks`` is clock ticks after boot; ``movable`` says whether the kernel lets its affinity change."""

    tid: int
    pid: int
    start_ticks: int
    name: str
    kernel: bool
    movable: bool
    allowed: CpuSet
    cgroup: str
    last_cpu: int


def thread_ids(files: HostFiles) -> list[tuple[int, int]]:
    """All (pid, tid). Processes that end meanwhile are left out; a captured tree has processes without ``task``."""
    found = []
    for entry in files.entries("/proc"):
        if is_number(entry):
            tasks = [int(t) for t in files.entries(f"/proc/{entry}/task") if is_number(t)]
            found += [(int(entry), tid) for tid in tasks or [int(entry)]]
    return found


def read_thread(
    files: HostFiles, pid: int, tid: int, allowed: CpuSet | None = None, cgroup: str | None = None
) -> Thread | None:
    """One thread, or None where it ended. ``allowed`` and ``cgroup``, where the caller knows them, spare two reads."""
    base = f"/proc/{pid}/task/{tid}" if files.exists(f"/proc/{pid}/task") else f"/proc/{pid}"
    stat = files.optional(f"{base}/stat")
    if not stat or ")" not in stat:
        return None
    name, rest = stat.partition("(")[2].rsplit(")", 1)  # the name itself may hold brackets and blanks
    fields = rest.split()
    try:
        flags, start_ticks, last_cpu = int(fields[6]), int(fields[19]), int(fields[36])
    except (IndexError, ValueError):
        return None
    if allowed is None:
        allowed = _allowed(files.optional(f"{base}/status") or "")
    return Thread(
        tid=tid,
        pid=pid,
        start_ticks=start_ticks,
        name=name,
        kernel=bool(flags & PF_KTHREAD),
        movable=not flags & PF_NO_SETAFFINITY,
        allowed=allowed,
        cgroup=cgroup if cgroup is not None else cgroup_of(files, pid),
        last_cpu=last_cpu,
    )


def _allowed(status: str) -> CpuSet:
    for line in status.split("\n"):
        if line.startswith("Cpus_allowed_list:"):
            try:
                return parse_list(line.partition(":")[2].strip())
            except CpuListError:
                break
    return frozenset()


def cgroup_of(files: HostFiles, pid: int) -> str:
    """The process's cgroup in the v2 hierarchy, ``/`` where it is in none."""
    for line in (files.optional(f"/proc/{pid}/cgroup") or "").split("\n"):  # splitlines ends a line at \\x1c, too
        if line.startswith("0::"):
            return line[3:]
    return "/"


def process_named(files: HostFiles, name: str) -> int:
    """The lowest number of a process with that name (its first 15 bytes are what the kernel keeps), 0 where none has it.

    Kernel threads and zombies have no command line, and do not count.
    """
    numbers = sorted(int(entry) for entry in files.entries("/proc") if is_number(entry))
    named = (pid for pid in numbers if files.optional(f"/proc/{pid}/comm") == name[:15])
    return next((pid for pid in named if files.optional(f"/proc/{pid}/cmdline")), 0)


def current_cpu() -> int:
    """The CPU on which the caller runs at this moment: sched_getcpu(3)."""
    return int(ctypes.CDLL(None).sched_getcpu())
