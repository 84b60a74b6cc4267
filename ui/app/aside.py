"""Keeps this process out of the way of what it watches: which CPUs it runs on, how much it weighs, what its memory costs.

The kernel keeps ordinary programs off the CPUs of ``isolcpus=`` by itself, but not off those whose tick is stopped, nor off
those that a profile reserved. Threads inherit what their process had when they began, so this comes before Textual.
"""

import contextlib
import gc
import os

from tuner.host.cpulist import CpuListError, parse_list

NICE = 5
_KEPT = ("/sys/devices/system/cpu/isolated", "/sys/devices/system/cpu/nohz_full")  # CPU lists, or "(null)"


def reserved() -> frozenset[int]:
    """CPUs that the kernel was told to leave alone when it booted."""
    found: frozenset[int] = frozenset()
    for path in _KEPT:
        with contextlib.suppress(OSError, CpuListError), open(path, encoding="ascii", errors="replace") as file:
            found |= parse_list(file.read(4096).strip().replace("(null)", ""))
    return found


def step_aside() -> None:
    """Leaves the CPUs that are reserved, before there are threads."""
    cpus = os.sched_getaffinity(0)
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, cpus - reserved() or cpus)


def follow(cpus: str) -> None:
    """Goes where the collector went: it has read the roles of all cores. ``cpus`` is its CPU list; nonsense moves nothing."""
    with contextlib.suppress(OSError, CpuListError):
        if wanted := parse_list(cpus):
            for thread in _threads():
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(thread, wanted)


def weigh_less() -> None:
    """Lets others go first on the CPUs that are left. Children inherit it: to be done behind the collector's start."""
    for thread in _threads():
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, NICE)


def weigh_as_before() -> None:
    """In a child, before it becomes another program: what changes the host is not held up. Where that is refused, it stays."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)


def settle() -> None:
    """Behind the first paint: what is there will stay, and is not looked through for garbage again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _threads() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc/self/task")]
    except OSError:
        return [0]
