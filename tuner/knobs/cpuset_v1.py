"""``isolation.cpuset_v1``: cores without load balancing by an exclusive cpuset, where cpuset is in the cgroup v1 hierarchy.

Source: Documentation/admin-guide/cgroup-v1/cpusets.rst (1.4 exclusive cpusets, 1.7 sched_load_balance);
kernel/cgroup/cpuset.c (validate_change, generate_sched_domains), since 6.14 cpuset-v1.c. What it taught:

* As long as the root has ``sched_load_balance`` 1 there is one scheduling domain over all CPUs, and no other flag counts. With
  0 a CPU is balanced only where a cpuset with 1 has it: so the remaining CPUs get a cpuset of their own, which needs no tasks.
* Nobody is moved: the root keeps all CPUs, and a thread may still be pinned anywhere. Who strays is moved by
  ``isolation.user_threads`` and ``isolation.kernel_threads``.
* An exclusive cpuset shares no CPU with its siblings: EINVAL where another has one (docker, libvirt, kubelet make such).
* A cpuset with processes cannot be removed (EBUSY): who was started in there goes to the root first.
"""

import contextlib
import errno
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tuner.host.cpulist import CpuListError, CpuSet, format_list, parse_list
from tuner.host.files import HostFiles
from tuner.host.host import Inventory
from tuner.knobs.affinities import put_back, saved
from tuner.knobs.knob import About, Json, Knob, Reading, State, Unsupported
from tuner.knobs.partition import CGROUP, remove_group, same_partition

ROOT = "/sys/fs/cgroup/cpuset"
REST = "-rest"  # behind our cpuset's name: that of all other CPUs
_BALANCE = "cpuset.sched_load_balance"
_EXCLUSIVE = "cpuset.cpu_exclusive"
# in the order in which they are put back: exclusive last, since it forbids changes
_KEPT = ("cpuset.mems", "cpuset.cpus", _BALANCE, _EXCLUSIVE)


def has_cpuset_v1(files: HostFiles) -> bool:
    """Whether cpuset is mounted as a v1 hierarchy where distributions mount it."""
    return files.exists(f"{ROOT}/{_BALANCE}")


def overlapping(files: HostFiles, cpus: CpuSet, but: str) -> list[str]:
    """The root's cpusets, save ours, that have some of ``cpus``: none of these can be exclusive then."""
    ours = (but, but + REST)
    return [name for name in files.entries(ROOT) if name not in ours and _cpus(files, f"{ROOT}/{name}") & cpus]


class CpusetV1(Knob):
    """The exclusive cpuset as ``isolated 2-7``, ``none`` without one; the identity is its name."""

    family: ClassVar[str] = "isolation.cpuset_v1"
    about: ClassVar[About] = About(
        "An exclusive cpuset (cgroup v1) between whose cores the scheduler balances nothing",
        "The cores that receive, trade or spin, on hosts whose cpuset controller is in the v1 hierarchy (RHEL 7 and 8). As for "
        "a partition, timers, bound kernel threads and interrupts are not moved by it",
        "/sys/fs/cgroup/cpuset/quietcore: cpuset.cpus, cpuset.cpu_exclusive 1, cpuset.sched_load_balance 0; and 0 in the root",
        "the same flags together; /sys/kernel/debug/sched/domains/cpuN is empty for an isolated CPU",
        "scheduling domains are built anew. The root's flag is the whole host's: from then on only CPUs of a cpuset with "
        "sched_load_balance 1 are balanced, which quietcore-rest is made for",
        "the flags are put back and both cpusets removed; processes that were started inside go to the root",
        quirks=(
            "EINVAL where another cpuset has one of the CPUs: exclusive means with nobody",
            "a CPU that goes offline is taken out of v1 cpusets for good: it does not return with the CPU",
            "several threads that are bound to the whole set stay where they were started: pin each to its core",
        ),
        source="Documentation/admin-guide/cgroup-v1/cpusets.rst, kernel/cgroup/cpuset.c",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The cpuset with its flags and, as ``effective``, whether they isolate: the root and all other cpusets count."""
        files = inventory.host.files
        if not has_cpuset_v1(files):
            raise Unsupported(f"no cgroup v1 cpuset hierarchy is mounted on {ROOT}")
        base, balance = f"{ROOT}/{identity}", files.text(f"{ROOT}/{_BALANCE}")
        undo: dict[str, Json] = {"balance": balance, "groups": {n: _flags(files, n) for n in (identity, identity + REST)}}
        if not files.exists(f"{base}/{_BALANCE}"):
            return Reading(now="none", effective="none", undo=undo)
        cpus = files.text(f"{base}/cpuset.cpus")
        ours = files.text(f"{base}/{_EXCLUSIVE}") == "1" and files.text(f"{base}/{_BALANCE}") == "0" and balance == "0"
        balanced = parse_list(cpus) & _balanced(files)
        note = f"CPU {format_list(balanced)} is in another cpuset that is balanced" if balanced else ""
        return Reading(
            now=f"{'isolated' if ours else 'shared'} {cpus}".strip(),
            effective=f"{'isolated' if ours and not balanced else 'shared'} {cpus}".strip(),
            undo=undo,
            note=note,
        )

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where the flags are set and the kernel balances none of these CPUs."""
        return "ok" if self.same(reading.now, wanted) and self.same(reading.effective, wanted) else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Makes both cpusets, then takes the root out of balancing: so no CPU is without a domain that shall have one."""
        del options
        files = inventory.host.files
        cpus = parse_list(str(wanted).split()[1])
        rest = inventory.topology.online - cpus
        for name, members, isolated in ((identity, cpus, True), (identity + REST, rest, False)):
            base = f"{ROOT}/{name}"
            if not files.exists(base):
                files.make_directory(base)
            _set(files, base, _EXCLUSIVE, "0")
            _set(files, base, "cpuset.mems", files.text(f"{ROOT}/cpuset.mems"))
            _set(files, base, "cpuset.cpus", format_list(members))
            _set(files, base, _BALANCE, str(int(not isolated)))
            _set(files, base, _EXCLUSIVE, str(int(isolated)))
        _set(files, ROOT, _BALANCE, "0")

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Balances the root as before, and puts both cpusets back, or removes them."""
        files = inventory.host.files
        _set(files, ROOT, _BALANCE, str(undo["balance"]))
        for name in (identity + REST, identity):
            flags, base = undo["groups"][name], f"{ROOT}/{name}"
            if not files.exists(base):
                continue
            if flags is None:
                _evict(inventory, base)
                remove_group(files, base)
                continue
            _set(files, base, _EXCLUSIVE, "0")
            for leaf in _KEPT:
                _set(files, base, leaf, str(flags[leaf]))

    def same(self, left: Json, right: Json) -> bool:
        """The same kind of cpuset of the same CPUs."""
        return same_partition(left, right)

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """The one that we make."""
        del inventory
        return [(f"cpuset {CGROUP}", CGROUP)]


def _flags(files: HostFiles, name: str) -> dict[str, str] | None:
    base = f"{ROOT}/{name}"
    if not files.exists(f"{base}/{_BALANCE}"):
        return None
    return {leaf: files.text(f"{base}/{leaf}") for leaf in _KEPT}


def _set(files: HostFiles, base: str, leaf: str, value: str) -> None:
    if files.optional(f"{base}/{leaf}") != value:
        files.write(f"{base}/{leaf}", value or "\n")  # a write of no bytes would reach nobody


def _cpus(files: HostFiles, base: str) -> CpuSet:
    try:
        return parse_list(files.optional(f"{base}/cpuset.cpus") or "")
    except CpuListError:
        return frozenset()


def _balanced(files: HostFiles, base: str = ROOT) -> CpuSet:
    """The CPUs of every cpuset below the root that is balanced: their domains (generate_sched_domains)."""
    found: CpuSet = frozenset()
    for name in files.entries(base):
        below = f"{base}/{name}"
        if files.exists(f"{below}/{_BALANCE}"):
            found |= _cpus(files, below) if files.optional(f"{below}/{_BALANCE}") == "1" else _balanced(files, below)
    return found


def _evict(inventory: Inventory, base: str) -> None:
    """Sends processes to the root; threads that bound themselves to fewer CPUs than the cpuset's keep that."""
    host = inventory.host
    pids = {int(pid) for pid in (host.files.optional(f"{base}/cgroup.procs") or "").split()}
    if not pids:
        return
    members = _cpus(host.files, base)
    bound = saved(t for t in host.syscalls.threads() if t.pid in pids and t.movable and t.allowed < members)
    for pid in sorted(pids):
        with contextlib.suppress(ProcessLookupError):  # ended meanwhile
            try:
                host.files.write(f"{ROOT}/cgroup.procs", str(pid))
            except OSError as error:
                if error.errno != errno.EINVAL:  # a kernel thread that is bound to a CPU, which cannot have been ours
                    raise
    put_back(host, bound)
