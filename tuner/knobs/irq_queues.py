"""``irq.queue_affinity``: on which CPUs a queue's interrupts land, whatever they are called and however many they are.

For NICs whose channels a plan changes. Interrupts are named by drivers, and another number of queues can mean other names: igb
serves eight queues by ``eth0-TxRx-0`` to ``-7``, but two by ``eth0-rx-0``, ``eth0-tx-0`` and so on (igb_set_flag_queue_pairs).
What stays is the NIC and the queue; and a queue that is not there yet is found once it came.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from tuner.host.cpulist import CpuSet, format_list, parse_list
from tuner.host.host import Inventory
from tuner.host.irqs import Irq, read_affinity
from tuner.knobs.irq import place_irq
from tuner.knobs.knob import About, Gone, Json, Knob, Reading, State
from tuner.knobs.nic import find_nic
from tuner.language.entry import Family


class QueueAffinity(Knob):
    """The CPUs of one queue's interrupts; the identity is the NIC's, a blank, and the queue's number.

    A reading is one CPU list where all of its interrupts have the same, else ``{interrupt: CPU list}``.
    """

    family: ClassVar[str] = "irq.queue_affinity"
    about: ClassVar[About] = About(
        "On which CPUs the interrupts of a NIC's queue may land, where a profile sets the NIC's channels, too",
        "As irq.affinity",
        "/proc/irq/N/smp_affinity_list of each interrupt of the queue",
        "/proc/irq/N/effective_affinity_list",
        "as irq.affinity",
        undo="each interrupt's old CPUs; an interrupt that came with more channels goes with them",
        quirks=("igb: one interrupt for a queue's both ways, or two of other names, depending on how many queues there are",),
        source="Documentation/core-api/irq/irq-affinity.rst, drivers/net/ethernet",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """Requested and effective CPUs."""
        requested: dict[str, str] = {}
        effective: CpuSet = frozenset()
        irqs = _serving(inventory, identity)
        for irq in irqs:
            try:
                now, takes = read_affinity(inventory.host.files, irq.number)
            except FileNotFoundError as error:
                raise Gone(f"interrupt {irq.number} ({irq.label}) is gone") from error
            requested[irq.identity] = format_list(now)
            effective |= takes
        alike = len(set(requested.values())) == 1
        now_all: Json = next(iter(requested.values())) if alike else requested
        return Reading(now=now_all, effective=format_list(effective), managed=any(irq.managed for irq in irqs))

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where the effective CPUs are wanted ones and nothing else was asked for."""
        if reading.managed:
            return "kernel-managed"
        want = parse_list(str(wanted))
        if not _all(reading.now) <= want:
            return "differs"
        return "ok" if parse_list(str(reading.effective)) <= want else "unverifiable"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Asks for the wanted CPUs for each of its interrupts."""
        del options
        for irq in _serving(inventory, identity):
            place_irq(inventory, irq, parse_list(str(wanted)))

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Asks for the saved CPUs; one that has another name by now gets what the queue had."""
        if undo is None:
            return
        for irq in _serving(inventory, identity):
            saved = undo.get(irq.identity) if isinstance(undo, Mapping) else undo
            place_irq(inventory, irq, parse_list(str(saved)) if saved is not None else _all(undo))

    def same(self, left: Json, right: Json) -> bool:
        """Equal for each interrupt that both know; else for the queue. Nothing was there before a queue came."""
        if left is None or right is None:
            return True
        if isinstance(left, Mapping) and isinstance(right, Mapping) and left.keys() & right.keys():
            return all(parse_list(str(left[name])) == parse_list(str(right[name])) for name in left.keys() & right.keys())
        return _all(left) == _all(right)

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """Each queue of each NIC."""
        queues = dict.fromkeys((irq.device, irq.queue) for irq in inventory.irqs if irq.queue is not None)
        nics = {nic.name: nic for nic in inventory.nics}
        return [(f"{name}/queue {queue}", f"{nics[name].identity} {queue}") for name, queue in sorted(queues) if name in nics]


def _serving(inventory: Inventory, identity: str) -> list[Irq]:
    nic, queue = find_nic(inventory, identity), identity.partition(" ")[2]
    found = [irq for irq in inventory.irqs if irq.device == nic.name and str(irq.queue) == queue]
    if not found:
        raise Gone(f"{nic.name} has no interrupt for a queue {queue}")
    return found


def _all(value: Json) -> CpuSet:
    """The CPUs in a reading."""
    lists = value.values() if isinstance(value, Mapping) else [value]
    return frozenset().union(*(parse_list(str(each)) for each in lists))


FAMILY = Family("Interrupts of queues", (QueueAffinity(),))
