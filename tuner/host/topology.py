"""CPUs, cores, caches and NUMA nodes, as /sys/devices/system/{cpu,node} shows them.

Facts behind the reading (Documentation/ABI/stable/sysfs-devices-system-cpu, drivers/base/{cpu,node}.c, and real machines):

* ``possible`` may name CPUs that were never present; a CPU that is offline keeps its directory but loses ``topology``.
* Node CPU lists interleave on some machines (node0 = 0,4,8,…); a machine without NUMA has no ``node`` directory at all.
* ``nohz_full`` reads "(null)" behind spaces where nothing is set (kernels before 6.2), and is absent without NO_HZ_FULL.
* Guests may lack the cache directory: then the last-level cache is taken to be the package's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tuner.host.cpulist import MAX_CPUS, CpuListError, CpuSet, parse_list
from tuner.host.files import HostFiles
from tuner.host.text import is_number

CPU_ROOT = "/sys/devices/system/cpu"
NODE_ROOT = "/sys/devices/system/node"


@dataclass(frozen=True, slots=True)
class Cpu:
    """One logical CPU. ``siblings`` (threads of its core) and ``llc`` (sharers of its last-level cache) include itself."""

    cpu: int
    node: int
    package: int
    core: int
    siblings: CpuSet
    llc: CpuSet
    online: bool


@dataclass(frozen=True, slots=True)
class Topology:
    """The machine's CPUs. ``cpus`` holds the present ones, offline ones included; ``nodes`` only nodes that have CPUs."""

    cpus: Mapping[int, Cpu]
    online: CpuSet
    present: CpuSet
    possible: CpuSet
    nodes: Mapping[int, CpuSet]
    boot_isolated: CpuSet  # isolcpus=
    nohz_full: CpuSet

    @property
    def count(self) -> int:
        """One more than the highest possible CPU number: the width of the kernel's masks."""
        return max(self.possible | self.present | self.online, default=0) + 1

    def siblings(self, cpus: Iterable[int]) -> CpuSet:
        """All online threads of the cores to which ``cpus`` belong, ``cpus`` included."""
        return frozenset(s for cpu in cpus if cpu in self.cpus for s in self.cpus[cpu].siblings) & self.online

    def first_threads(self, cpus: Iterable[int]) -> CpuSet:
        """One CPU of each physical core among ``cpus``: the lowest that is in the set."""
        chosen: dict[CpuSet, int] = {}
        for cpu in sorted(cpus):
            if cpu in self.cpus:
                chosen.setdefault(self.cpus[cpu].siblings, cpu)
        return frozenset(chosen.values())

    def llc(self, cpus: Iterable[int]) -> CpuSet:
        """All online CPUs that share a last-level cache with one of ``cpus``."""
        return frozenset(s for cpu in cpus if cpu in self.cpus for s in self.cpus[cpu].llc) & self.online

    def ordered(self) -> list[Cpu]:
        """Online CPUs by node, package, cache and core: neighbours in the machine are neighbours in the list."""
        online = [self.cpus[cpu] for cpu in self.online if cpu in self.cpus]
        return sorted(online, key=lambda c: (c.node, c.package, min(c.llc, default=0), min(c.siblings, default=0), c.cpu))


def read_topology(files: HostFiles) -> Topology:
    """Reads the topology: about six small files a CPU, once.

    Raises:
        OSError: there is no /sys/devices/system/cpu: not a Linux host, or the wrong directory given as root.
    """
    entries = [e.removeprefix("cpu") for e in files.entries(CPU_ROOT) if e.startswith("cpu")]
    directories = [int(number) for number in entries if is_number(number) and int(number) < MAX_CPUS]
    if not directories:
        raise FileNotFoundError(2, "no CPUs below", CPU_ROOT)
    present = _list(files, f"{CPU_ROOT}/present") or frozenset(directories)
    possible = _list(files, f"{CPU_ROOT}/possible") or present
    online = _list(files, f"{CPU_ROOT}/online") or _online_by_flag(files, directories)
    # Captured trees name more CPUs in `online` than they hold; a CPU without its directory cannot be reasoned about.
    online &= frozenset(directories)
    nodes = _read_nodes(files, online | present)
    node_of = {cpu: node for node, cpus in nodes.items() for cpu in cpus}
    cpus = {cpu: _read_cpu(files, cpu, node_of.get(cpu, 0), online) for cpu in sorted(directories)}
    if not nodes:
        nodes = {0: online}
    return Topology(
        cpus=cpus,
        online=online,
        present=present,
        possible=possible,
        nodes=nodes,
        boot_isolated=_list(files, f"{CPU_ROOT}/isolated") & online,
        nohz_full=_list(files, f"{CPU_ROOT}/nohz_full") & online,
    )


def _list(files: HostFiles, name: str) -> CpuSet:
    text = files.optional(name)
    if not text or "null" in text:
        return frozenset()
    try:
        return parse_list(text)
    except CpuListError:
        return frozenset()


def _online_by_flag(files: HostFiles, cpus: list[int]) -> CpuSet:
    # cpu0 has no `online` file where it cannot be taken offline
    return frozenset(cpu for cpu in cpus if files.optional(f"{CPU_ROOT}/cpu{cpu}/online") != "0")


def _read_nodes(files: HostFiles, known: CpuSet) -> dict[int, CpuSet]:
    nodes = {}
    for entry in files.entries(NODE_ROOT):
        if entry.startswith("node") and is_number(entry[4:]):
            cpus = _list(files, f"{NODE_ROOT}/{entry}/cpulist") & known
            if cpus:  # a node of memory alone has no CPUs
                nodes[int(entry[4:])] = cpus
    return dict(sorted(nodes.items()))


def _read_cpu(files: HostFiles, cpu: int, node: int, online: CpuSet) -> Cpu:
    base = f"{CPU_ROOT}/cpu{cpu}"
    package_cpus = _list(files, f"{base}/topology/package_cpus_list") or _list(files, f"{base}/topology/core_siblings_list")
    siblings = _list(files, f"{base}/topology/core_cpus_list") or _list(files, f"{base}/topology/thread_siblings_list")
    package = files.number(f"{base}/topology/physical_package_id")
    core = files.number(f"{base}/topology/core_id")
    return Cpu(
        cpu=cpu,
        node=node,
        package=package if package is not None and package >= 0 else 0,
        core=core if core is not None else cpu,
        siblings=siblings | {cpu},
        llc=_last_level_cache(files, base) or package_cpus | {cpu},
        online=cpu in online,
    )


def _last_level_cache(files: HostFiles, base: str) -> CpuSet:
    indexes = [index for index in files.entries(f"{base}/cache") if index.startswith("index")]
    levels = {index: files.number(f"{base}/cache/{index}/level") or 0 for index in indexes}
    last = max(levels, key=lambda index: levels[index], default="")
    return _list(files, f"{base}/cache/{last}/shared_cpu_list") if last and levels[last] > 0 else frozenset()
