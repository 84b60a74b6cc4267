"""Interfaces as samples: their counters, rings and queues."""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import is_

from ingest.loss_reader import QueueCount
from ingest.rates import Rates
from ingest.sample import IrqSample, NicSample, QueueSample
from tuner.host.host import Host
from tuner.host.nics import Nic, read_nics
from tuner.host.syscalls import Rings
from tuner.host.text import printable

_NOT_COUNTED = QueueCount()


@dataclass(frozen=True, slots=True)
class _Told:
    """What an interface's last sample was made of. ``still``: its counters had not moved."""

    nic: Nic
    counters: Mapping[str, int]
    irqs: tuple[IrqSample, ...]
    queues: Mapping[int, QueueCount]
    sample: NicSample
    still: bool

    def stands(
        self, nic: Nic, counters: Mapping[str, int], irqs: Sequence[IrqSample], queues: Mapping[int, QueueCount]
    ) -> bool:
        """Whether another sample would be the same: all of it is made of the very same objects."""
        same = self.still and nic is self.nic and counters is self.counters and queues is self.queues
        return same and len(irqs) == len(self.irqs) and all(map(is_, irqs, self.irqs))


class NicReader:
    """The interfaces as they were last looked at."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.nics: tuple[Nic, ...] = ()
        self._rings: dict[str, Rings] = {}
        self._last: dict[str, _Told] = {}

    def refresh(self) -> None:
        """Reads all interfaces anew: a dozen small files and one ethtool request each."""
        self.nics = read_nics(self._host.files)
        self._rings = {}
        there = {nic.name for nic in self.nics}
        self._last = {name: told for name, told in self._last.items() if name in there}
        for nic in self.nics:
            if nic.physical:
                with contextlib.suppress(OSError):  # no rings to show
                    self._rings[nic.name] = self._host.syscalls.rings(nic.name)

    def sample(
        self,
        nic: Nic,
        counters: Mapping[str, int],
        receiving: Mapping[str, Sequence[IrqSample]],
        queues: Mapping[int, QueueCount],
        rates: Rates,
    ) -> NicSample:
        """One interface.

        Args:
            nic: which.
            counters: the kernel's; the same object as at the last tick where none of them moved.
            receiving: interface -> the interrupts of its receive queues.
            queues: what its driver counts for each receive queue; the same object where it was not asked again.
            rates: of this tick.
        """
        shown = printable(nic.name)
        irqs = receiving.get(shown, ())
        last = self._last.get(nic.name)
        if last is not None and last.stands(nic, counters, irqs, queues):
            return last.sample
        former = counters if last is None else last.counters

        def rate(counter: str) -> float:
            # none of an interface that is just gone: a 0 would make its return a burst
            before, value = former.get(counter), counters.get(counter)
            return 0.0 if before is None or value is None else rates.per_s(rates.between(before, value))

        sample = self._sample(nic, shown, counters, rate, irqs, queues)
        still = former is counters
        self._last[nic.name] = _Told(nic, counters, tuple(irqs), queues, sample, still)
        return sample

    def _sample(
        self,
        nic: Nic,
        shown: str,
        counters: Mapping[str, int],
        rate: Callable[[str], float],
        irqs: Iterable[IrqSample],
        queues: Mapping[int, QueueCount],
    ) -> NicSample:
        rings = self._rings.get(nic.name)
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
            carrier=nic.carrier,
            counters=dict(counters),
            queues=tuple(_queue(irq.queue, irq, queues.get(irq.queue, _NOT_COUNTED)) for irq in irqs if irq.queue is not None),
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
