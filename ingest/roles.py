"""What each core is for, as far as the kernel knows; an active profile knows more and says it."""

from tuner.host.cpulist import CpuListError, CpuSet, parse_list
from tuner.host.files import HostFiles
from tuner.host.topology import Topology

# Where a partition's CPUs are listed: the root of a unified hierarchy, or of a hybrid one (since 6.8).
_OWN_V1 = "/sys/fs/cgroup/cpuset"
_ISOLATED = ("/sys/fs/cgroup/cpuset.cpus.isolated", "/sys/fs/cgroup/unified/cpuset.cpus.isolated")


def isolated_cpus(files: HostFiles, topology: Topology) -> CpuSet:
    """CPUs isolated at boot, by a cpuset partition, or by our cpuset of cgroup v1.

    Before 6.8 partitions are found by our own cgroup alone.
    """
    found = topology.boot_isolated
    for name in _ISOLATED:
        found |= _list(files, name)
    own = files.optional("/sys/fs/cgroup/quietcore/cpuset.cpus.partition")
    if own == "isolated":
        found |= _list(files, "/sys/fs/cgroup/quietcore/cpuset.cpus.effective")
    balance = [files.optional(f"{_OWN_V1}{name}/cpuset.sched_load_balance") for name in ("", "/quietcore")]
    if balance == ["0", "0"]:  # cgroup v1 has no partitions: an exclusive cpuset that nothing balances
        found |= _list(files, f"{_OWN_V1}/quietcore/cpuset.cpus")
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
