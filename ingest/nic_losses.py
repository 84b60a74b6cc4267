"""What an interface tells of losses: the stages from the wire to the protocols, and transmission.

Sources: the driver's own counters where the driver is known (``ingest.counters.driver``), with those that have the same name
for every driver: its queues' (``netdev_queues``), in the place of its own, and the standard's (``ethtool_standard``), where it
has none of that class. Else the kernel's (sysfs), which every driver fills as it likes. AER for the PCIe link; the number of
times the carrier went down.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ingest.counters.aer import PcieState
from ingest.counters.driver import Classified, Part, label
from ingest.counters.ethtool_standard import FEC_CORRECTED, FEC_UNCORRECTABLE
from ingest.counters.netdev_queues import OTHER_DROPS
from ingest.stages import AGGREGATE, DELAY, FILTERED, LOSS, TRANSMIT, WARNING, Count, Key, Unseen, single

# class: stage, what the row is called, kind, note
_CLASSES = {
    "wire.error": (1, "wire: errors", WARNING, "the frames that they spoil are counted at the MAC"),
    "wire.corrected": (1, "wire: corrected", WARNING, "no loss yet"),
    "wire.down": (1, "wire: link went down", WARNING, "what was sent meanwhile is not counted"),
    "mac.crc": (2, "MAC: checksum", LOSS, "on one line only: its cable or optics"),
    "mac.length": (2, "MAC: length", LOSS, ""),
    "mac.align": (2, "MAC: alignment", LOSS, ""),
    "mac.pause_tx": (3, "pause sent to the switch", WARNING, "loss exported: the switch has to hold, or drop"),
    "nic.filter": (4, "NIC filter", FILTERED, "nobody here asked for them; normal on a shared wire"),
    "nic.fifo": (5, "NIC packet buffer", LOSS, ""),
    "nic.fifo_pressure": (5, "NIC packet buffer: nearly full", WARNING, ""),
    "pcie": (6, "PCIe: held up", WARNING, "not packets"),
    "nic.nodesc": (7, "no receive descriptor", LOSS, "the CPU did not poll in time for the ring"),
    "nic.nodesc_pressure": (7, "receive descriptors: short", WARNING, "need not be a loss"),
    "drv.drop": (8, "driver: dropped", LOSS, ""),
    "drv.error": (8, "driver: errors", LOSS, ""),
    "drv.xdp": (8, "XDP: dropped", LOSS, "the program's verdict"),
    "drv.alloc": (8, "driver: no memory", WARNING, "need not be a loss"),
    "drv.checksum": (8, "driver: checksum not confirmed", WARNING, "the protocols decide"),
    "drv.reset": (8, "driver: resets", WARNING, "not packets"),
    "nic.limit": (9, "hypervisor: limit exceeded", LOSS, ""),
    "nic.shaped": (9, "hypervisor: shaped", DELAY, "queued or dropped: the host's side does not say which"),
    "irq": (10, "interrupts missed or moved", DELAY, ""),
    "mac.pause_rx": (TRANSMIT, "transmit: held by pause", DELAY, "the switch asked to wait"),
}
# what the kernel tells by one name for every driver, and no driver's own table has
_OF_KERNEL = {
    FEC_CORRECTED: (1, "wire: FEC corrected blocks", WARNING, "no loss yet; it grows before the others do"),
    FEC_UNCORRECTABLE: (1, "wire: FEC uncorrectable blocks", WARNING, "the frames that they spoil are counted at the MAC"),
    OTHER_DROPS: (5, "NIC: dropped for other reasons", LOSS, "neither for want of descriptors nor by a rate limit"),
}
# what stands in the kernel's own statistics where the driver is not known, and the classes that would be it once more
_FALLBACK = (
    (2, "MAC: checksum", "rx_crc_errors", "", ("mac.crc",)),
    (2, "MAC: length", "rx_length_errors", "", ("mac.length",)),
    (2, "MAC: alignment", "rx_frame_errors", "", ("mac.align",)),
    (
        5,
        "NIC buffer or descriptors",
        "rx_missed_errors",
        "which of stages 5 and 7 is this driver's choice",
        ("nic.nodesc", OTHER_DROPS),
    ),
)
_DROPPED = "holds drops of the driver, the backlog and unknown protocols; one every 30 s is LLDP"


@dataclass(frozen=True, slots=True)
class NicReading:
    """All that was read of one interface. ``name`` is fit to be shown.

    Attributes:
        statistics: the kernel's counters (sysfs).
        own: the driver's counters by class, with those that have one name for every driver; None where there are none.
        carrier_downs: times the carrier went down, None where it is not told.
        other_hosts: packets to another host's address, None on a kernel before 5.19.
        pcie: errors and state of its PCIe link, None for no PCI device.
        why: where ``own`` is None, the reason.
    """

    name: str
    driver: str
    statistics: Mapping[str, int] = field(default_factory=dict)
    own: Classified | None = None
    carrier_downs: int | None = None
    other_hosts: int | None = None
    pcie: PcieState | None = None
    why: str = ""


def nic_counts(nic: NicReading) -> Iterator[Count | Unseen]:
    """The rows of one interface, from its wire on; a stage without a row is left to ``ingest.stages.complete``."""
    rows = list(_all(nic))
    seen = {row.stage for row in rows if isinstance(row, Count)}
    return (row for row in rows if isinstance(row, Count) or row.stage not in seen)


def _all(nic: NicReading) -> Iterator[Count | Unseen]:
    if nic.own is not None:
        yield from _of_driver(nic.name, nic.own)
    if nic.own is None or not nic.own.known:
        yield from _of_kernel(nic)
    yield from _of_link(nic)
    statistics = nic.statistics
    if "rx_dropped" in statistics:
        yield single(
            13,
            nic.name,
            "rx_dropped",
            statistics["rx_dropped"],
            "interface: dropped, all causes",
            kind=AGGREGATE,
            note=_DROPPED,
        )
    if nic.other_hosts is not None:
        name, note = "IP: for another host", "flooded by the switch, or let in by promiscuous mode"
        yield single(4, nic.name, "rx_otherhost_dropped", nic.other_hosts, name, kind=FILTERED, note=note)
    if "rx_nohandler" in statistics:
        yield single(13, nic.name, "rx_nohandler", statistics["rx_nohandler"], "interface: inactive", kind=FILTERED)
    if "tx_dropped" in statistics:
        yield single(TRANSMIT, nic.name, "tx_dropped", statistics["tx_dropped"], "transmit: interface")


def _of_driver(name: str, own: Classified) -> Iterator[Count | Unseen]:
    for kind, (stage, title, row_kind, note) in (_CLASSES | _OF_KERNEL).items():
        for bits in (64, 32):
            parts = [part for part in own.parts.get(kind, ()) if part.bits == bits]
            if parts:
                yield Count(stage, name, label(parts), _keyed(name, parts), title, row_kind, note, bits)
    if own.known:
        for stage in range(1, 9):
            yield Unseen(stage, name, f"{own.driver} has no counter for it")


def _keyed(nic: str, parts: list[Part]) -> tuple[tuple[Key, int], ...]:
    """Each counter with a key of its own, which its place is not: that moves with the number of channels."""
    times: dict[str, int] = {}
    keyed = []
    for part in parts:
        times[part.name] = times.get(part.name, 0) + 1
        keyed.append(((nic, part.name, str(times[part.name])), part.value))
    return tuple(keyed)


def _of_kernel(nic: NicReading) -> Iterator[Count | Unseen]:
    shown = nic.driver or "its driver"
    reason = nic.why or (f"the counters of {shown} are not in the map")
    told = nic.own.parts if nic.own is not None else {}
    for stage, title, counter, note, same in _FALLBACK:
        if counter in nic.statistics:
            again = [kind for kind in same if kind in told]
            more = {"kind": AGGREGATE, "note": "may hold what the rows beside it count"} if again else {"note": note}
            yield single(stage, nic.name, counter, nic.statistics[counter], title, **more)
    for stage in (3, 4, 7, 8):
        yield Unseen(stage, nic.name, reason)
    if not nic.statistics:
        for stage in (2, 5):
            yield Unseen(stage, nic.name, reason)


def _of_link(nic: NicReading) -> Iterator[Count]:
    if nic.carrier_downs is not None:
        yield single(1, nic.name, "carrier_down_count", nic.carrier_downs, "wire: carrier lost", kind=WARNING, bits=32)
    if nic.pcie is not None:
        for severity, count in nic.pcie.errors.items():
            note = nic.pcie.link or "errors, not packets"
            yield single(6, nic.name, f"aer_dev_{severity}", count, f"PCIe: {severity} errors", kind=WARNING, note=note)
        if nic.pcie.link and not nic.pcie.errors:
            yield Count(6, nic.name, "current_link_*", (), "PCIe: link below its best", WARNING, nic.pcie.link)
