"""What goes on in a simulated host: how often each thing happens, given where interrupts go and which cores are isolated.

The figures are plausible for a trading host under market data, not measured on one; what matters is that they follow the
settings: packets are counted where their queue's interrupt goes, an isolated core is left alone, a large ring loses nothing.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tuner.host.cpulist import CpuSet
from tuner.host.simulated.shape import HZ, PciFunction, Shape, nics, pci_functions

FRAME_BYTES = 210  # of a packet of market data, on average
_SKB_BYTES = 768  # what a small packet takes of a socket's buffer (truesize)
_FEED_PACKETS = (180_000, 60_000, 20_000)  # per second: the first NIC, the second, each other
_MANAGEMENT_PACKETS = 240
_BURSTS_PER_S = 0.05  # of each queue
_BURST_S = (0.005, 0.06)  # how many seconds' worth of packets come at once
_BURST_MAX = 3800  # packets; the largest ring holds that
_BURST_QUEUE = 2  # the one that a burst of the weather hits
_MAX_BURSTS = 1000  # looked at one by one in a tick, however long it is


@dataclass(frozen=True, slots=True)
class Placement:
    """What the settings of the host say at a tick."""

    isolated: CpuSet
    irq_cpu: dict[int, int]  # effective CPU of each interrupt
    spinning: CpuSet  # CPUs on which a thread spins
    rx_ring: dict[str, int]
    queues: dict[str, int]  # channels in use
    pause_tx: dict[str, bool]  # whether the NIC may hold back the switch
    rmem_max: int
    budget: int  # net.core.netdev_budget


@dataclass(frozen=True, slots=True)
class Weather:
    """What goes on besides the settings. The ordinary: bursts at any time, by chance.

    Attributes:
        chance: whether queues are hit by bursts at random.
        packets_per_s: NIC -> what it receives, where that is not the ordinary.
        bursts: NIC -> packets of each burst of this tick; all hit one queue of it.
        disk_admin_per_s: interrupts of the first disk's vector 0, wherever its affinity leads them.
        wakes_per_s: inter-processor interrupts that these bring to the same CPU, where it is an isolated one.
    """

    chance: bool = True
    packets_per_s: Mapping[str, float] = field(default_factory=dict)
    bursts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    disk_admin_per_s: float = 0.0
    wakes_per_s: float = 0.0


ORDINARY = Weather()


@dataclass(slots=True)
class Events:
    """What happened in a tick. Keys: (row of /proc/interrupts, CPU), (softirq, CPU), (NIC, statistic), CPU."""

    interrupts: Counter[tuple[str, int]] = field(default_factory=Counter)
    softirqs: Counter[tuple[str, int]] = field(default_factory=Counter)
    nic: Counter[tuple[str, str]] = field(default_factory=Counter)
    driver: Counter[tuple[str, str]] = field(default_factory=Counter)
    processed: Counter[int] = field(default_factory=Counter)
    squeezed: Counter[int] = field(default_factory=Counter)
    user_s: dict[int, float] = field(default_factory=dict)
    system_s: dict[int, float] = field(default_factory=dict)
    protocol: Counter[str] = field(default_factory=Counter)


class Load:
    """Draws the events of one tick after the other. Deterministic for a seed and a sequence of ticks."""

    def __init__(self, shape: Shape, seed: str) -> None:
        self._shape = shape
        self._random = random.Random(seed)  # noqa: S311 - no secret: the same seed must give the same life
        self._rest: dict[tuple[str, str | int], float] = {}
        self._busy = [0.03 + 0.22 * (cpu * 2654435761 % 1000) / 1000 for cpu in range(shape.cpus)]
        self._nics = nics(shape)
        self._disk = next(f for f in pci_functions(shape) if f.driver == "nvme")
        self._controllers = [f for f in pci_functions(shape) if f.driver in ("ahci", "xhci_hcd")]

    def tick(self, placement: Placement, seconds: float, weather: Weather = ORDINARY) -> Events:
        """The events of the next ``seconds``."""
        events = Events()
        for cpu in range(self._shape.cpus):
            if cpu in placement.isolated:
                self._isolated_cpu(events, cpu, cpu in placement.spinning, seconds)
            else:
                self._general_cpu(events, cpu, cpu in placement.spinning, seconds)
        self._disks(events, placement, seconds)
        self._disk_admin(events, placement, weather, seconds)
        for index, nic in enumerate(self._nics):
            usual = float(_FEED_PACKETS[min(index, 2)] if nic.driver == "ixgbe" else _MANAGEMENT_PACKETS)
            self._receive(events, placement, nic, weather.packets_per_s.get(nic.name, usual), seconds, weather)
            self._transmit(events, nic, 1500.0 if nic.driver == "ixgbe" else 200.0, seconds)
        return events

    def _whole(self, kind: str, where: str | int, amount: float) -> int:
        """The whole events in ``amount``, a fifth more or less; the fraction is kept for the next tick."""
        amount = amount * (0.8 + 0.4 * self._random.random()) + self._rest.get((kind, where), 0.0)
        whole = int(amount)
        self._rest[kind, where] = amount - whole
        return whole

    def _general_cpu(self, events: Events, cpu: int, spinning: bool, seconds: float) -> None:
        busy = 1.0 if spinning else self._busy[cpu]
        ticks = HZ * seconds if spinning else (20 + (HZ - 20) * busy) * seconds
        rates = {"LOC": ticks, "RES": (10 + 90 * busy) * seconds, "CAL": 25 * seconds, "TLB": 12 * busy * seconds}
        rates |= {"IWI": 0.2 * seconds, "NMI": 0.1 * seconds, "PMI": 0.1 * seconds, "MCP": seconds / 300}
        for row, amount in rates.items():
            events.interrupts[row, cpu] += self._whole(row, cpu, amount)
        timer = events.interrupts["LOC", cpu]
        for kind, share in (("TIMER", 0.5), ("SCHED", 0.6), ("RCU", 0.5), ("HRTIMER", 0.01)):
            events.softirqs[kind, cpu] += self._whole(kind, cpu, timer * share)
        events.user_s[cpu] = (0.99 if spinning else 0.7 * busy) * seconds
        events.system_s[cpu] = (0.01 if spinning else 0.3 * busy) * seconds

    def _isolated_cpu(self, events: Events, cpu: int, spinning: bool, seconds: float) -> None:
        # nothing is scheduled there: the tick stops but for one a second; without nohz_full it goes on under a spinning thread
        events.interrupts["LOC", cpu] += self._whole("LOC", cpu, HZ * seconds if spinning else seconds)
        events.interrupts["CAL", cpu] += self._whole("CAL", cpu, 0.05 * seconds)
        events.softirqs["TIMER", cpu] += self._whole("TIMER", cpu, 0.2 * seconds)
        events.softirqs["RCU", cpu] += self._whole("RCU", cpu, 0.1 * seconds)
        events.user_s[cpu] = seconds if spinning else 0.0
        events.system_s[cpu] = 0.0

    def _disks(self, events: Events, placement: Placement, seconds: float) -> None:
        for number in self._disk.irqs[1:]:
            cpu = placement.irq_cpu.get(number)
            if cpu is not None and cpu not in placement.isolated:  # whoever asked the disk is interrupted
                count = self._whole("disk", number, 6 * seconds)
                events.interrupts[str(number), cpu] += count
                events.softirqs["BLOCK", cpu] += count
        for function in self._controllers:
            for number in function.irqs:
                cpu = placement.irq_cpu.get(number, 0)
                events.interrupts[str(number), cpu] += self._whole("controller", number, 1.5 * seconds)

    def _disk_admin(self, events: Events, placement: Placement, weather: Weather, seconds: float) -> None:
        """Vector 0 of an NVMe disk, the admin queue's: not managed by the kernel (drivers/nvme/host/pci.c, pre_vectors)."""
        number = self._disk.irqs[0]
        cpu = placement.irq_cpu.get(number)
        if cpu is None or not weather.disk_admin_per_s:
            return
        count = self._whole("admin", number, weather.disk_admin_per_s * seconds)
        events.interrupts[str(number), cpu] += count
        events.softirqs["BLOCK", cpu] += count
        if cpu in placement.isolated:
            events.interrupts["RES", cpu] += self._whole("wake", cpu, weather.wakes_per_s * seconds)

    def _receive(
        self, events: Events, placement: Placement, nic: PciFunction, rate: float, seconds: float, weather: Weather
    ) -> None:
        # RSS spreads a few large flows badly
        weights = [1 + queue * 7 % 5 / 4 for queue in range(min(nic.queues, placement.queues.get(nic.name) or nic.queues))]
        first = nic.first_irq + nic.vectors.index(f"{nic.name}-TxRx-0")
        swell = rate * seconds * (0.85 + 0.3 * self._random.random())
        for queue, weight in enumerate(weights):
            number = first + queue
            packets = self._whole("packets", number, swell * weight / sum(weights))
            chance = weather.chance and nic.driver == "ixgbe"
            lost = self._overrun(events, placement, nic, self._drawn(packets / seconds, seconds)) if chance else 0
            if queue == _BURST_QUEUE % len(weights) and (bursts := weather.bursts.get(nic.name)):
                packets += sum(bursts)
                lost += self._overrun(events, placement, nic, bursts)
            arrived = max(0, packets - lost)
            cpu = placement.irq_cpu.get(number, 0)
            fired = self._whole("fired", number, min(0.6 * arrived, 8000 * seconds + 0.1 * arrived))
            events.interrupts[str(number), cpu] += fired
            events.softirqs["NET_RX", cpu] += fired
            events.processed[cpu] += arrived
            if arrived / seconds > 60 * placement.budget:
                events.squeezed[cpu] += self._whole("squeezed", number, 0.7 * seconds)
            events.driver[nic.name, f"rx_queue_{queue}_packets"] += arrived
            events.driver[nic.name, f"rx_queue_{queue}_bytes"] += arrived * FRAME_BYTES
            for statistic, count in (("rx_packets", arrived), ("rx_bytes", arrived * FRAME_BYTES)):
                events.nic[nic.name, statistic] += count
                events.driver[nic.name, statistic] += count
            if nic.driver == "ixgbe":
                events.nic[nic.name, "multicast"] += arrived
                events.driver[nic.name, "multicast"] += arrived
                events.protocol["Udp/InDatagrams"] += arrived
            events.protocol["Ip/InReceives"] += arrived
            events.protocol["Ip/InDelivers"] += arrived

    def _drawn(self, rate: float, seconds: float) -> list[int]:
        """The bursts that chance has in store for a queue: packets of each."""
        expected = _BURSTS_PER_S * seconds
        count = int(expected) + (self._random.random() < expected % 1)
        return [min(_BURST_MAX, int(self._random.uniform(*_BURST_S) * rate)) for _ in range(min(count, _MAX_BURSTS))]

    @staticmethod
    def _overrun(events: Events, placement: Placement, nic: PciFunction, bursts: Iterable[int]) -> int:
        """The packets that a queue lost: of each burst what is more than its ring holds.

        With pause on, ixgbe lets its packet buffer run over (rx_missed_errors) and holds back the switch; without, it drops for
        want of descriptors (rx_no_dma_resources), which the kernel's own statistics do not show.
        """
        ring = placement.rx_ring.get(nic.name, 0)
        lost = overflow = 0
        for burst in bursts:
            lost += max(0, burst - ring)
            overflow += max(0, min(burst, ring) // 8 - placement.rmem_max // _SKB_BYTES)
        if placement.pause_tx.get(nic.name, False):
            events.nic[nic.name, "rx_missed_errors"] += lost
            events.driver[nic.name, "rx_missed_errors"] += lost
            events.driver[nic.name, "tx_flow_control_xoff"] += 2 * (lost > 0)
        else:
            events.driver[nic.name, "rx_no_dma_resources"] += lost
        events.protocol["Udp/RcvbufErrors"] += overflow
        events.protocol["Udp/InErrors"] += overflow
        events.protocol["Udp/InDatagrams"] -= overflow
        return lost

    def _transmit(self, events: Events, nic: PciFunction, rate: float, seconds: float) -> None:
        packets = self._whole("transmit", nic.name, rate * seconds)
        for statistic, count in (("tx_packets", packets), ("tx_bytes", packets * 90)):
            events.nic[nic.name, statistic] += count
            events.driver[nic.name, statistic] += count
        events.driver[nic.name, "tx_queue_0_packets"] += packets
        events.driver[nic.name, "tx_queue_0_bytes"] += packets * 90
        events.protocol["Ip/OutRequests"] += packets
