"""Interfaces as samples: their counters, rings and queues."""

import contextlib
from collections.abc import Iterable, Mapping

from ingest.rates import Rates
from ingest.sample import IrqSample, NicSample, QueueSample
from tuner.host.host import Host
from tuner.host.nics import Nic, read_nics
from tuner.host.syscalls import Rings
from tuner.host.text import printable


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

    def sample(self, nic: Nic, counters: Mapping[str, int], irqs: Iterable[IrqSample], rates: Rates) -> NicSample:
        """One interface."""

        def rate(counter: str) -> float:
            return rates.of(("nic", nic.name, counter), counters.get(counter, 0))

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
                QueueSample(irq.queue, int(irq.irq), irq.effective, irq.per_s)
                for irq in irqs
                if irq.receives and irq.queue is not None and irq.device == shown
            ),
        )
