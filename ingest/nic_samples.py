"""Interfaces as samples: their counters, rings and queues."""

import contextlib
from collections.abc import Iterable, Mapping

from ingest.loss_reader import QueueCount
from ingest.rates import Rates
from ingest.sample import IrqSample, NicSample, QueueSample
from tuner.host.host import Host
from tuner.host.nics import Nic, read_nics
from tuner.host.syscalls import Rings
from tuner.host.text import printable

_NOT_COUNTED = QueueCount()


class NicReader:
    """The interfaces as they were last looked at."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.nics: tuple[Nic, ...] = ()
        self._rings: dict[str, Rings] = {}

    def refresh(self) -> None:
        """Reads all interfaces anew: a dozen small files and one ethtool request each."""
        self.nics = read_nics(self._host.files)
        self._rings = {}
        for nic in self.nics:
            if nic.physical:
                with contextlib.suppress(OSError):  # no rings to show
                    self._rings[nic.name] = self._host.syscalls.rings(nic.name)

    def sample(
        self,
        nic: Nic,
        counters: Mapping[str, int],
        irqs: Iterable[IrqSample],
        queues: Mapping[int, QueueCount],
        rates: Rates,
    ) -> NicSample:
        """One interface; ``queues`` are what its driver counts for each receive queue."""

        def rate(counter: str) -> float:
            value = counters.get(counter)  # none of an interface that is just gone: a 0 would make its return a burst
            return 0.0 if value is None else rates.of(("nic", nic.name, counter), value)

        rings, shown = self._rings.get(nic.name), printable(nic.name)
        return NicSample(
            name=shown,
            driver=nic.driver,
            node=nic.node,
            up=nic.up,
            speed_mbps=nic.speed_mbps,
            rx_packets_per_s=rate("rx_packets"),
            tx_packets_per_s=rate("tx_packets"),
            rx_bytes_per_s=rate("rx_bytes"),
            tx_bytes_per_s=rate("tx_bytes"),
            drops_per_s=rate("rx_dropped") + rate("rx_missed_errors"),
            rx_ring=rings.rx if rings else None,
            rx_ring_max=rings.rx_max if rings else None,
            physical=nic.physical,
            counters=dict(counters),
            queues=tuple(
                _queue(irq.queue, irq, queues.get(irq.queue, _NOT_COUNTED))
                for irq in irqs
                if irq.receives and irq.queue is not None and irq.device == shown
            ),
        )


def _queue(queue: int, irq: IrqSample, count: QueueCount) -> QueueSample:
    return QueueSample(
        queue=queue,
        irq=int(irq.irq),
        cpus=irq.effective,
        interrupts_per_s=irq.per_s,
        packets=count.packets,
        packets_per_s=count.packets_per_s,
        drops=count.drops,
        drops_per_s=count.drops_per_s,
    )
