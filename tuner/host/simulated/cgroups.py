"""The cgroup-v2 hierarchy of a simulated host: which files a group has, and what the kernel shows in those that follow.

Everything that is not a wish is a function of the wishes (``cpuset.cpus``, the kind of partition, ``cgroup.subtree_control``,
who is where), so that undoing a change gives back the same bytes. Sources: Documentation/admin-guide/cgroup-v2.rst,
kernel/cgroup/cpuset.c (6.12: validate_change, update_parent_effective_cpumask, perr_strings).

What it leaves out: remote partitions (``cpuset.cpus.exclusive`` below a parent that is none) and memory nodes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tuner.host.cpulist import CpuSet, format_list, parse_list
from tuner.host.files import HostFiles

ROOT = "/sys/fs/cgroup"
CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")  # in the kernel's order
DEFAULT_SUBTREE = ("cpu", "io", "memory", "pids")
PARTITIONS = ("member", "root", "isolated")

NOT_EXCLUSIVE = "Cpu list in cpuset.cpus not exclusive"
NO_CPUS = "Parent unable to distribute cpu downstream"
EMPTY = "cpuset.cpus and cpuset.cpus.exclusive are empty"
BAD_PARENT = "Parent is an invalid partition root"
NO_PARTITION = "Parent is not a partition root"

_OF_CONTROLLER: dict[str, dict[str, str]] = {
    "cpuset": {
        "cpuset.cpus": "",
        "cpuset.cpus.exclusive": "",
        "cpuset.cpus.partition": "member",
        "cpuset.mems": "",
        "cpuset.cpus.effective": "",
        "cpuset.cpus.exclusive.effective": "",
        "cpuset.mems.effective": "",
    },
    "cpu": {"cpu.weight": "100", "cpu.max": "max 100000"},
    "io": {"io.weight": "default 100"},
    "memory": {"memory.max": "max", "memory.high": "max"},
    "pids": {"pids.max": "max"},
}
_CORE = {
    "cgroup.controllers": "",
    "cgroup.subtree_control": "",
    "cgroup.procs": "",
    "cgroup.type": "domain",
    "cgroup.freeze": "0",
    "cgroup.max.depth": "max",
    "cgroup.max.descendants": "max",
    "cgroup.events": "populated 0\nfrozen 0",
    "cgroup.stat": "nr_descendants 0\nnr_dying_descendants 0",
}
READ_ONLY = frozenset(
    {
        "cgroup.controllers",
        "cgroup.events",
        "cgroup.stat",
        "cpuset.cpus.effective",
        "cpuset.cpus.exclusive.effective",
        "cpuset.mems.effective",
        "cpuset.cpus.isolated",
    }
)
ROOT_CPUSET_FILES = ("cpuset.cpus.effective", "cpuset.cpus.isolated", "cpuset.mems.effective")


def files_of_group(controllers: Iterable[str]) -> dict[str, str]:
    """The files of a new group below the root, by name, where its parent hands down ``controllers``."""
    found = dict(_CORE)
    for controller in controllers:
        found |= _OF_CONTROLLER[controller]
    return found


def files_of_controller(controller: str) -> dict[str, str]:
    """The files that come and go with a controller."""
    return _OF_CONTROLLER[controller]


@dataclass(slots=True)
class Group:
    """One group with the wishes read from its files, and what follows from them."""

    path: str  # "/" for the root, else like "/system.slice"
    subtree: tuple[str, ...]
    cpus: CpuSet = frozenset()
    partition: str = "member"
    has_cpuset: bool = False
    children: list["Group"] = field(default_factory=list)
    procs: tuple[int, ...] = ()
    effective: CpuSet = frozenset()
    reason: str = ""  # why the partition is invalid

    @property
    def directory(self) -> str:
        """The group's directory."""
        return ROOT + self.path.rstrip("/")

    @property
    def valid(self) -> bool:
        """Whether this is a partition in force."""
        return self.partition != "member" and not self.reason

    def walk(self) -> Iterable["Group"]:
        """This group and all below."""
        yield self
        for child in self.children:
            yield from child.walk()


def read_groups(files: HostFiles, path: str = "/") -> Group:
    """The hierarchy from its files."""
    base = ROOT + path.rstrip("/")
    subtree = tuple((files.optional(f"{base}/cgroup.subtree_control") or "").split())
    procs = tuple(int(pid) for pid in (files.optional(f"{base}/cgroup.procs") or "").split() if pid.isdigit())
    group = Group(path, subtree, procs=procs)
    partition = files.optional(f"{base}/cpuset.cpus.partition") if path != "/" else None
    if partition is not None:
        group.has_cpuset = True
        group.partition = (partition.split() or ["member"])[0]
        group.cpus = parse_list(files.optional(f"{base}/cpuset.cpus") or "")
    for entry in files.entries(base):
        if files.exists(f"{base}/{entry}/cgroup.procs"):
            group.children.append(read_groups(files, f"{path.rstrip('/')}/{entry}"))
    return group


def settle(root: Group, online: CpuSet, boot_isolated: CpuSet) -> CpuSet:
    """Works out effective CPUs and the state of every partition, and returns the CPUs of isolated partitions.

    Partitions are granted in the order of their names; on the kernel it is the order of the writes, which no file shows.
    """
    root.effective = online
    isolated = set(boot_isolated)
    _settle_children(root, isolated, parent_is_partition=True)
    return frozenset(isolated)


def _settle_children(parent: Group, isolated: set[int], *, parent_is_partition: bool) -> None:
    available = parent.effective
    granted: set[int] = set()
    for child in parent.children:
        child.reason = ""
        if child.partition != "member":
            child.reason = _refusal(parent, child, available - granted, parent_is_partition)
            if child.valid:
                granted |= child.cpus & available
    parent.effective = available - granted
    for child in parent.children:
        if child.valid:
            child.effective = child.cpus & available
            if child.partition == "isolated":
                isolated |= child.effective
        else:
            child.effective = child.cpus & parent.effective or parent.effective
        _settle_children(child, isolated, parent_is_partition=child.valid)


def _refusal(parent: Group, child: Group, available: CpuSet, parent_is_partition: bool) -> str:
    if not parent_is_partition:
        return BAD_PARENT if parent.reason else NO_PARTITION
    if not child.cpus:
        return EMPTY
    if any(child.cpus & other.cpus for other in parent.children if other is not child):
        return NOT_EXCLUSIVE
    # a parent with processes of its own, or with other children, must keep a CPU
    keeps = bool(parent.procs) or len(parent.children) > 1 or parent.path == "/"
    if not child.cpus & available or (keeps and not available - child.cpus):
        return NO_CPUS
    return ""


def shown(group: Group, mems: str) -> dict[str, str]:
    """The files of a group that follow from the wishes, by name, as the kernel prints them."""
    below = sum(1 for _ in group.walk()) - 1
    result = {"cgroup.stat": f"nr_descendants {below}\nnr_dying_descendants 0"}
    if group.path == "/":
        return result | {"cpuset.cpus.effective": format_list(group.effective), "cpuset.mems.effective": mems}
    populated = int(any(g.procs for g in group.walk()))
    result["cgroup.events"] = f"populated {populated}\nfrozen 0"
    if group.has_cpuset:
        invalid = f" invalid ({group.reason})" if group.reason else ""
        result |= {
            "cpuset.cpus": format_list(group.cpus),
            "cpuset.cpus.partition": group.partition + invalid,
            "cpuset.cpus.effective": format_list(group.effective),
            "cpuset.cpus.exclusive.effective": format_list(group.effective) if group.valid else "",
            "cpuset.mems.effective": mems,
        }
    return result
