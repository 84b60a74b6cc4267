"""What each core is for, as far as the kernel knows; an active profile knows more and says it."""

from tuner.host.cpulist import CpuListError, CpuSet, parse_list
from tuner.host.files import HostFiles
from tuner.host.topology import Topology

# Where a partition's CPUs are listed: the root of a unified hierarchy, or of a hybrid one (since 6.8).
_ISOLATED = ("/sys/fs/cgroup/cpuset.cpus.isolated", "/sys/fs/cgroup/unified/cpuset.cpus.isolated")


def isolated_cpus(files: HostFiles, topology: Topology) -> CpuSet:
    """CPUs isolated at boot or by a cpuset partition. Before 6.8 partitions are found by our own cgroup alone."""
    found = topology.boot_isolated
    for name in _ISOLATED:
        found |= _list(files, name)
    own = files.optional("/sys/fs/cgroup/quietcore/cpuset.cpus.partition")
    if own == "isolated":
        found |= _list(files, "/sys/fs/cgroup/quietcore/cpuset.cpus.effective")
    return found & topology.online


def default_roles(topology: Topology, isolated: CpuSet) -> dict[int, str]:
    """CPU -> ``isolated`` or ``housekeeping``; ``general`` for all where nothing is isolated."""
    other = "housekeeping" if isolated else "general"
    return {cpu: "isolated" if cpu in isolated else other for cpu in topology.online}


def _list(files: HostFiles, name: str) -> CpuSet:
    try:
        return parse_list(files.optional(name) or "")
    except CpuListError:
        return frozenset()
