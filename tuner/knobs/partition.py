"""``isolation.partition``: an isolated cpuset partition of cgroup v2, at run time and reversible.

Source: Documentation/admin-guide/cgroup-v2.rst "cpuset.cpus.partition"; kernel/cgroup/cpuset.c; since 6.1. What it taught:

* The partition takes its CPUs from every other cgroup, and from a process that was pinned there: so who is pinned there moves
  in first, and ``isolated`` is written last.
* A write of ``isolated`` succeeds even where the partition is then invalid; the file says "isolated invalid (reason)".
* Up to 6.1 the kernel forgets the affinities that threads had set for themselves whenever the set of CPUs of their cgroup
  changes: they are saved before and put back after, in both directions.
* Hosts with the cpuset controller in the v1 hierarchy have none of this: see ``tuner.knobs.cpuset_v1``.
"""

import contextlib
import errno
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from tuner.host.cpulist import CpuSet, format_list, parse_list
from tuner.host.files import HostFiles
from tuner.host.host import Host, Inventory
from tuner.host.threads import Thread
from tuner.knobs.affinities import put_back, saved
from tuner.knobs.knob import About, Json, Knob, Reading, State, Unsupported

CGROUP = "quietcore"
_ROOTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")


def cgroup_root(files: HostFiles) -> str:
    """Where cgroup v2 with a cpuset controller is mounted.

    Raises:
        Unsupported: nowhere.
    """
    for root in _ROOTS:
        controllers = files.optional(f"{root}/cgroup.controllers")
        if controllers is not None and "cpuset" in controllers.split():
            return root
    if files.exists("/sys/fs/cgroup/cpuset"):
        raise Unsupported(
            "the cpuset controller is in the cgroup v1 hierarchy, which has no partitions "
            "(systemd.unified_cgroup_hierarchy=1 on the kernel command line changes that)"
        )
    raise Unsupported("no cgroup v2 with a cpuset controller is mounted on /sys/fs/cgroup")


class Partition(Knob):
    """The partition of our cgroup as ``isolated 2-7``, ``none`` without one; the identity is the cgroup's name."""

    family: ClassVar[str] = "isolation.partition"
    about: ClassVar[About] = About(
        "An isolated cpuset partition: cores that the scheduler gives to nobody who was not put there",
        "The cores that receive, trade or spin; at run time and reversible, where isolcpus= needs a reboot. Timers, bound "
        "kernel threads and interrupts are not moved by it: the other knobs do that",
        "/sys/fs/cgroup/quietcore/cpuset.cpus.partition",
        "the same file: isolated, or isolated invalid (reason); and cpuset.cpus.effective",
        "scheduling domains are built anew, which jitters all CPUs for some milliseconds; who was pinned there moves in first",
        "the cgroup is removed, and every affinity that was set before is set again",
        "6.1",
        (
            "up to 6.1 the kernel forgets affinities whenever the CPUs of a cgroup change: they are saved and put back",
            "unbound workqueues leave its CPUs by themselves from 6.8 on",
            "a host with cpuset in the v1 hierarchy has none: isolation.cpuset_v1 is its stand-in",
        ),
        "Documentation/admin-guide/cgroup-v2.rst, kernel/cgroup/cpuset.c",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """What was asked for and, as ``effective``, what the kernel made of it."""
        files = inventory.host.files
        root = cgroup_root(files)
        base = f"{root}/{identity}"
        kind = files.optional(f"{base}/cpuset.cpus.partition")
        had_cpuset = "cpuset" in (files.optional(f"{root}/cgroup.subtree_control") or "").split()
        narrow = bound(files, root, inventory.threads())
        undo = {
            "exists": files.exists(base),
            "cpuset": had_cpuset,
            "affinities": saved(narrow),
            # only who is pinned can become a resident
            "cgroups": {str(t.pid): t.cgroup for t in narrow if not t.kernel},
        }
        if kind is None:
            return Reading(now="none", effective="none", undo=undo)
        cpus = files.optional(f"{base}/cpuset.cpus") or ""
        undo |= {"partition": kind.split()[0], "cpus": cpus}
        effective = files.optional(f"{base}/cpuset.cpus.effective") or ""
        note = kind.partition("(")[2].rstrip(")") if "invalid" in kind else ""
        return Reading(
            now=f"{kind.split()[0]} {cpus}".strip(),
            effective=f"{kind.partition(' (')[0]} {effective}".strip(),
            undo=undo,
            note=note,
        )

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where the kernel holds a valid partition of just these CPUs."""
        return "ok" if self.same(reading.now, wanted) and self.same(reading.effective, wanted) else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Makes the cgroup, moves in who is pinned to the CPUs, and turns it into an isolated partition."""
        del options
        host = inventory.host
        kind, cpus_text = str(wanted).split()
        cpus = parse_list(cpus_text)
        before = host.syscalls.threads()
        root = cgroup_root(host.files)
        bound_before = bound(host.files, root, before)
        base = f"{root}/{identity}"
        if "cpuset" not in (host.files.optional(f"{root}/cgroup.subtree_control") or "").split():
            host.files.write(f"{root}/cgroup.subtree_control", "+cpuset")
        if not host.files.exists(base):
            host.files.make_directory(base)
        host.files.write(f"{base}/cpuset.cpus", cpus_text)
        for pid in residents(before, cpus):
            host.files.write(f"{base}/cgroup.procs", str(pid))
        host.files.write(f"{base}/cpuset.cpus.partition", kind)
        state = host.files.text(f"{base}/cpuset.cpus.partition")
        if state != kind:
            raise OSError(errno.EINVAL, f"the kernel calls the partition '{state}'", f"{base}/cpuset.cpus.partition")
        put_back(host, saved(t for t in bound_before if _keeps(t, cpus)))

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Turns the partition back into what was there; processes go home, and all threads get their affinities."""
        host = inventory.host
        root = cgroup_root(host.files)
        base = f"{root}/{identity}"
        if host.files.exists(base):
            if host.files.exists(f"{base}/cpuset.cpus.partition"):
                host.files.write(f"{base}/cpuset.cpus.partition", undo.get("partition", "member"))
            if undo["exists"]:
                host.files.write(f"{base}/cpuset.cpus", undo.get("cpus", ""))
            else:
                for pid in (host.files.optional(f"{base}/cgroup.procs") or "").split():
                    _move_home(host.files, root, pid, str(undo["cgroups"].get(pid, "/")))
                remove_group(host.files, base)
        if not undo["cpuset"] and "cpuset" in (host.files.optional(f"{root}/cgroup.subtree_control") or "").split():
            host.files.write(f"{root}/cgroup.subtree_control", "-cpuset")
        put_back(host, undo["affinities"])

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """The one there is."""
        del inventory
        return [(f"cgroup {CGROUP}", CGROUP)]

    def same(self, left: Json, right: Json) -> bool:
        """The same kind of partition of the same CPUs."""
        return same_partition(left, right)


def same_partition(left: Json, right: Json) -> bool:
    """Whether two texts as ``isolated 2-7`` are the same kind of partition of the same CPUs."""
    return _meaning(str(left)) == _meaning(str(right))


def bound(files: HostFiles, root: str, threads: Iterable[Thread]) -> list[Thread]:
    """The movable threads that were bound to less than the CPUs of their cgroup: theirs is a wish of their own.

    All others have what their cgroup has, which follows the partitions by itself; to save that as a wish would bind them.
    """
    cpus: dict[str, CpuSet] = {}

    def of(cgroup: str) -> CpuSet:
        if cgroup not in cpus:
            text = files.optional(f"{root}{cgroup.rstrip('/')}/cpuset.cpus.effective")
            parent = cgroup.rstrip("/").rpartition("/")[0]
            if text is not None:
                cpus[cgroup] = parse_list(text)
            else:
                online = "/sys/devices/system/cpu/online"
                cpus[cgroup] = of(parent or "/") if cgroup.rstrip("/") else parse_list(files.text(online))
        return cpus[cgroup]

    return [t for t in threads if t.movable and t.allowed and t.allowed < of(t.cgroup)]


def _keeps(thread: Thread, cpus: CpuSet) -> bool:
    """Whether a thread keeps its affinity under a partition: who is elsewhere, and who moved in with its process."""
    if thread.allowed & cpus:
        return thread.allowed <= cpus and not thread.kernel
    return True


def residents(threads: tuple[Thread, ...], cpus: CpuSet) -> list[int]:
    """Processes of which every thread is pinned to ``cpus``: they move into the partition."""
    return [pid for pid, (inside, outside) in sorted(_pinned(threads, cpus).items()) if inside and not outside]


def torn(threads: tuple[Thread, ...], cpus: CpuSet) -> list[tuple[int, str]]:
    """(pid, name) of processes with threads pinned to ``cpus`` and others elsewhere: the pinned ones would be evicted."""
    pids = {pid for pid, (inside, outside) in _pinned(threads, cpus).items() if inside and outside}
    return sorted({(t.pid, t.name) for t in threads if t.pid in pids and t.tid == t.pid})


def _pinned(threads: tuple[Thread, ...], cpus: CpuSet) -> dict[int, list[int]]:
    counts: dict[int, list[int]] = {}
    for thread in threads:
        if not thread.kernel and thread.allowed and not thread.cgroup.startswith(f"/{CGROUP}"):
            counts.setdefault(thread.pid, [0, 0])[0 if thread.allowed <= cpus else 1] += 1
    return counts


def _meaning(text: str) -> tuple[str, CpuSet]:
    kind, _, cpus = text.rpartition(" ")
    return (kind, parse_list(cpus)) if kind and cpus[:1].isdigit() else (text, frozenset())


def _move_home(files: HostFiles, root: str, pid: str, cgroup: str) -> None:
    """Moves a process to the cgroup from which it came; to the root if it started inside, or its cgroup is gone."""
    home = f"{root}{cgroup.rstrip('/')}/cgroup.procs"
    with contextlib.suppress(ProcessLookupError):  # ended meanwhile
        files.write(home if files.exists(home) else f"{root}/cgroup.procs", pid)


def remove_group(files: HostFiles, base: str) -> None:
    """Removes a cgroup; EBUSY is waited for: it says so for as long as an ended process is not yet reaped."""
    for _ in range(20):
        try:
            files.remove_directory(base)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(0.05)
        else:
            return
    files.remove_directory(base)


def wanted_text(cpus: CpuSet) -> str:
    """How a wish for an isolated partition of ``cpus`` is written."""
    return f"isolated {format_list(cpus)}"


def has_partitions(host: Host) -> bool:
    """Whether this host can have partitions at all."""
    try:
        cgroup_root(host.files)
    except Unsupported:
        return False
    return True
