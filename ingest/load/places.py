"""Where the reader and the sender of a load run: on two cores that nothing else is promised to."""

from dataclasses import dataclass

from ingest.load.demand import LoadError
from tuner.host.cpulist import CpuSet, format_list
from tuner.host.topology import Topology


@dataclass(frozen=True, slots=True)
class Places:
    """Two CPUs. ``free`` are those that neither is isolated nor reserved; ``note`` says what is not as it should be."""

    reader: int
    sender: int
    free: CpuSet
    note: str = ""


def choose_places(topology: Topology, reserved: CpuSet, allowed: CpuSet, reader: int | None = None) -> Places:
    """Two CPUs of different physical cores, on one node, none of them reserved, as far as the host has them.

    Args:
        topology: the host's.
        reserved: CPUs that are isolated, or that a profile has given away; never chosen. CPUs without a tick are neither.
        allowed: where this process may run.
        reader: a CPU that was asked for by name, whatever it is.

    Raises:
        LoadError: that CPU is not online, or all CPUs are reserved.
    """
    if reader is not None and reader not in topology.online:
        raise LoadError(f"CPU {reader} is not online; online are {format_list(topology.online)}")
    spare = topology.online - reserved - topology.nohz_full
    free = spare & allowed or spare
    if not free:
        raise LoadError("every CPU of this host is isolated or reserved: a load would disturb them; none is left to send from")
    if reader is None:
        reader = max(free)
    others = free - {reader}
    if not others:
        return Places(reader, reader, free, f"reader and sender share CPU {reader}, the only one that is free: expect losses")
    siblings = topology.siblings([reader])
    node = topology.cpus[reader].node

    def rank(cpu: int) -> tuple[bool, bool, int]:
        return cpu in siblings, topology.cpus[cpu].node != node, cpu

    sender = min(others, key=rank)
    note = f"CPU {sender} (sender) and CPU {reader} (reader) are threads of one core" if sender in siblings else ""
    return Places(reader, sender, free, note)
