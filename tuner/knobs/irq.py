"""``irq.affinity`` and ``irq.default_affinity``: on which CPUs interrupts land.

Source: Documentation/core-api/irq/irq-affinity.rst, kernel/irq/proc.c. What the kernel taught:

* EPERM (>= 6.11) or EIO (before) on a write means that the kernel places this interrupt itself: a state, not a failure.
* Where the platform cannot move a vector in process context (PCI-MSI without interrupt remapping), the move waits for the next
  interrupt. Until then ``effective_affinity_list`` shows the old CPU: asked for, not yet to be seen.
* ENOSPC: no vector is free on the wanted CPUs.
"""

import errno
import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tuner.host.cpulist import CpuSet, format_list, format_mask, parse_list
from tuner.host.host import Inventory
from tuner.host.irqs import IRQ_ROOT, Irq, read_affinity, read_default_affinity
from tuner.host.text import printable
from tuner.knobs.channels import queues_to_come
from tuner.knobs.knob import About, Gone, Json, KernelManaged, Knob, Reading, State, Unsupported
from tuner.language.entry import PART, Entry, Family
from tuner.language.request import Request
from tuner.language.tables import Table
from tuner.language.values import Cores, Word
from tuner.profile import Setting

# A vector of a live queue moves at its next interrupt; an idle one does not move however long one waits.
_SETTLE_S = 0.05


class IrqAffinity(Knob):
    """The CPUs of one interrupt, as a CPU list; the identity is ``tuner.host.irqs.Irq.identity``."""

    family: ClassVar[str] = "irq.affinity"
    about: ClassVar[About] = About(
        "On which CPUs an interrupt may land",
        "Queues of a feed on the cores that receive, or beside them where an application spins; all else on housekeeping",
        "/proc/irq/N/smp_affinity_list",
        "/proc/irq/N/effective_affinity_list: x86 delivers to one CPU",
        "none is lost; with busy polling the queue's work moves late",
        quirks=(
            "managed interrupts (NVMe, virtio-blk) are the kernel's own: EPERM since 6.11, EIO before; a state, not a failure",
            "without interrupt remapping a move waits for the next interrupt; it is unverifiable before",
            "ENOSPC: no vector is free on the wanted CPUs",
            "numbers change on ring and channel changes and reloads: an identity is the device and its name for the interrupt",
        ),
        source="Documentation/core-api/irq/irq-affinity.rst, kernel/irq/proc.c",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """Requested and effective CPUs, as CPU lists."""
        irq = _find(inventory, identity)
        try:
            requested, effective = read_affinity(inventory.host.files, irq.number)
        except FileNotFoundError as error:
            raise Gone(f"interrupt {irq.number} ({irq.label}) is gone") from error
        note = "placed by the kernel itself (isolcpus=managed_irq,… steers it at boot)" if irq.managed else ""
        return Reading(now=format_list(requested), effective=format_list(effective), managed=irq.managed, note=note)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where the effective CPU is a wanted one and nothing else was asked for."""
        if reading.managed:
            return "kernel-managed"
        want, now, effective = parse_list(str(wanted)), parse_list(reading.now), parse_list(reading.effective)
        if not now <= want:
            return "differs"
        return "ok" if effective <= want else "unverifiable"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Asks for the wanted CPUs, and waits a moment for the vector to move."""
        del options
        place_irq(inventory, _find(inventory, identity), parse_list(str(wanted)))

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Asks for the saved CPUs."""
        place_irq(inventory, _find(inventory, identity), parse_list(str(undo)))

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """Every interrupt."""
        return [(irq.label, irq.identity) for irq in inventory.irqs]

    def same(self, left: Json, right: Json) -> bool:
        """Equal sets of CPUs."""
        return parse_list(str(left)) == parse_list(str(right))


class DefaultAffinity(Knob):
    """The CPUs of interrupts that will be requested later, as a CPU list; the identity is always ``default``."""

    family: ClassVar[str] = "irq.default_affinity"
    about: ClassVar[About] = About(
        "On which CPUs interrupts land that drivers ask for later",
        "The housekeeping cores: a device that appears in trading hours shall not appear on a trading core",
        "/proc/irq/default_smp_affinity",
        quirks=("drivers that spread their queues themselves ignore it",),
        source="Documentation/core-api/irq/irq-affinity.rst",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The default mask, as a CPU list."""
        del identity
        try:
            cpus = format_list(read_default_affinity(inventory.host.files) & inventory.topology.possible)
        except FileNotFoundError as error:
            raise Unsupported(f"this kernel has no {IRQ_ROOT}/default_smp_affinity") from error
        return Reading(now=cpus, effective=cpus)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where what is asked for later lands inside the wanted set, as for an interrupt that is there."""
        now = parse_list(str(reading.now))
        return "ok" if now and now <= parse_list(str(wanted)) else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Writes the mask; it has no list form."""
        del options
        self.restore(inventory, identity, wanted)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Writes the saved mask."""
        del identity
        mask = format_mask(parse_list(str(undo)), inventory.topology.count)
        inventory.host.files.write(f"{IRQ_ROOT}/default_smp_affinity", mask)

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """The host."""
        del inventory
        return [("host", "default")]

    def same(self, left: Json, right: Json) -> bool:
        """Equal sets of CPUs."""
        return parse_list(str(left)) == parse_list(str(right))


def place_irq(inventory: Inventory, irq: Irq, cpus: CpuSet) -> None:
    """Asks for an interrupt's CPUs, and waits a moment for the vector to move.

    Raises:
        Gone: the number serves another device by now.
        KernelManaged: the kernel places it itself.
        OSError: as the kernel refuses it.
    """
    files = inventory.host.files
    # the number may serve another device by now
    if irq.action and "/" not in irq.action and not files.exists(f"{IRQ_ROOT}/{irq.number}/{irq.action}"):
        raise Gone(f"interrupt {irq.number} no longer serves {irq.action}")
    try:
        files.write(f"{IRQ_ROOT}/{irq.number}/smp_affinity_list", format_list(cpus))
    except OSError as error:
        if error.errno in (errno.EIO, errno.EPERM):
            raise KernelManaged(str(error)) from error
        raise
    deadline = time.monotonic() + _SETTLE_S
    while files.real and time.monotonic() < deadline and not read_affinity(files, irq.number)[1] <= cpus:
        time.sleep(_SETTLE_S / 10)


def _find(inventory: Inventory, identity: str) -> Irq:
    irq = inventory.irq(identity)
    if irq is None:
        raise Gone(f"no interrupt {identity} on this host")
    return irq


def _ask(request: Request) -> None:
    placed: set[str] = set()
    queues = {nic.name: count for nic in request.inventory.nics if (count := queues_to_come(request, nic)) is not None}
    for place, setting in request.profile.below("irq").items():
        if place != ("default",):
            _part(request, place[0], setting, queues, placed)
    default = request.profile.get("irq", "default")
    if default is None:
        return
    cpus = format_list(request.cpus(default))
    request.wish("irq.default_affinity", "host", "default", cpus, default)
    for irq in request.inventory.irqs:
        if irq.identity not in placed and not (irq.device in queues and irq.queue is not None):
            request.wish("irq.affinity", irq.label, irq.identity, cpus, default)
    for name, count in queues.items():
        if name not in placed:
            _coming(request, name, [cpus] * count, default)


def _part(request: Request, part: str, setting: Setting, queues: dict[str, int], placed: set[str]) -> None:
    """The queues of a bound NIC: those that are there, or those that will be."""
    nic, spread = request.bindings[part], setting.value.get("spread", "one-each")
    cpus = sorted(request.cpus(setting, setting.value["cores"]))
    own = [irq for irq in request.inventory.irqs if irq.device == nic]
    # a NIC with one vector for everything has no queue of its own to name
    there = sorted([irq for irq in own if irq.queue is not None] or own, key=lambda irq: (irq.queue or 0, irq.number))
    if not there:
        request.warnings.append(f"{printable(nic)}: no queue interrupts are to be seen; {setting.source} has nothing to place")
    if not cpus or not there:
        return

    def chosen(queue: int) -> str:
        return format_list([cpus[queue % len(cpus)]] if spread == "one-each" else cpus)

    if nic in queues and there[0].queue is not None:
        _coming(request, nic, [chosen(queue) for queue in range(queues[nic])], setting)
        placed.add(nic)
        return
    for irq in there:
        request.wish("irq.affinity", irq.label, irq.identity, chosen(irq.queue or 0), setting)
        placed.add(irq.identity)


def _coming(request: Request, name: str, wanted: list[str], setting: Setting) -> None:
    """Queues by their numbers: how many interrupts they will have, and of what names, is the driver's."""
    nic = request.inventory.nic(name)
    served = {irq.queue for irq in request.inventory.irqs if irq.device == name}
    if nic is None or served <= {None}:  # down, or one vector for everything
        return
    for queue, cpus in enumerate(wanted):
        options = {} if queue in served else {"awaits": "nic.channels"}
        request.wish("irq.queue_affinity", f"{name}/queue {queue}", f"{nic.identity} {queue}", cpus, setting, **options)


SPREADS = ("one-each", "all")

FAMILY = Family(
    "Interrupts",
    (DefaultAffinity(), IrqAffinity()),
    (
        Entry(
            ("irq", "default"),
            Cores('"housekeeping"'),
            "every interrupt that no other line places, and those to come",
            knobs=("irq.default_affinity", "irq.affinity", "irq.queue_affinity"),
        ),
        Entry(
            ("irq", PART),
            Table({"cores": Cores('"rx"'), "spread": Word(SPREADS)}, required=("cores",), short="cores"),
            "the queues of a bound NIC, one to a core or all over the set",
            knobs=("irq.affinity", "irq.queue_affinity"),
        ),
    ),
    _ask,
)
