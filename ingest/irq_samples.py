"""Rows of /proc/interrupts as samples, with the affinities that were read a while ago."""

from collections.abc import Iterable
from dataclasses import replace

from ingest.counters.interrupts import Row, Table
from ingest.rates import Rates
from ingest.sample import IrqSample
from tuner.host.cpulist import format_list
from tuner.host.host import Host
from tuner.host.irqs import Irq, read_irqs
from tuner.host.nics import Nic
from tuner.host.text import printable


class IrqReader:
    """Joins counts with what is known of each interrupt."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: dict[str, Irq] = {}
        self._still: dict[str, tuple[Row, IrqSample]] = {}  # rows that did not move, with their samples

    def refresh(self, nics: Iterable[Nic]) -> None:
        """Reads devices and affinities anew: four small files for each interrupt."""
        self._still = {}
        self._known = {str(irq.number): irq for irq in read_irqs(self._host.files, tuple(nics))}

    def samples(self, table: Table, rates: Rates) -> tuple[IrqSample, ...]:
        """One for each row."""
        return tuple(self._sample(row, table.cpus, rates) for row in table.rows.values())

    def _sample(self, row: Row, cpus: tuple[int, ...], rates: Rates) -> IrqSample:
        still = self._still.get(row.label)
        if still is not None and still[0] is row:
            return still[1]
        steps = tuple(rates.step(("irq", row.label, cpu), count) for cpu, count in zip(cpus, row.counts, strict=True))
        irq = self._known.get(row.label)
        # a number that serves somebody else by now is not what was read
        if irq is not None and irq.action not in row.text:
            irq = None
        sample = IrqSample(
            irq=row.label,
            name=printable(irq.action if irq else row.text),
            device=printable(irq.device) if irq else "",
            queue=irq.queue if irq else None,
            total=sum(row.counts),
            per_s=rates.per_s(sum(steps)),
            per_cpu=tuple((cpu, count) for cpu, count in zip(cpus, row.counts, strict=True) if count),
            per_cpu_per_s=tuple((cpu, rates.per_s(step)) for cpu, step in zip(cpus, steps, strict=True) if step),
            requested=format_list(irq.requested) if irq else "",
            effective=format_list(irq.effective) if irq else "",
            managed=irq.managed if irq else False,
            receives=irq.receives if irq else False,
        )
        self._still[row.label] = (row, replace(sample, per_s=0.0, per_cpu_per_s=()))
        return sample
