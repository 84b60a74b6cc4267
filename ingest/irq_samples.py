"""Rows of /proc/interrupts as samples, with the affinities that were read a while ago."""

from collections.abc import Iterable, Mapping

from ingest.counters.interrupts import Row, Table
from ingest.rates import Rates
from ingest.sample import IrqSample
from tuner.host.cpulist import format_list
from tuner.host.host import Host
from tuner.host.irqs import Irq, read_irqs
from tuner.host.nics import Nic
from tuner.host.text import printable


class IrqReader:
    """Joins counts with what is known of each interrupt. On a large host most rows stand still: these cost next to nothing.

    Attributes:
        moved: the samples of the last tick whose counts moved, with their rows.
        interrupts: CPU -> all of its rows together, as of the last tick.
        receiving: interface -> the samples that serve its receive queues, as of the last tick.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: dict[str, Irq] = {}
        self._rows: Mapping[str, Row] = {}  # as of the last tick: a rate needs a count of the tick before
        self._cpus: tuple[int, ...] = ()
        self._still: dict[str, IrqSample] = {}  # rows that did not move, with their samples
        self.moved: list[tuple[Row, IrqSample]] = []
        self.interrupts: dict[int, int] = {}
        self.receiving: dict[str, list[IrqSample]] = {}

    def refresh(self, nics: Iterable[Nic]) -> None:
        """Reads devices and affinities anew: four small files for each interrupt."""
        self._still = {}
        self._known = {str(irq.number): irq for irq in read_irqs(self._host.files, tuple(nics))}

    def samples(self, table: Table, rates: Rates) -> tuple[IrqSample, ...]:
        """One for each row."""
        rows, former, still = table.rows, self._rows, self._still
        if table.cpus != self._cpus or rows.keys() != former.keys():
            if table.cpus != self._cpus:
                former, still = {}, {}
            self.interrupts = _totals(table)
        else:
            self._add_moved(table, former)
        self._rows, self._cpus, self.moved = rows, table.cpus, []
        kept: dict[str, IrqSample] = {}
        found = []
        for label, row in rows.items():
            before = former.get(label)
            if before is row:
                sample = still.get(label) or self._sample(row, row, rates)
                kept[label] = sample
            else:
                sample = self._sample(row, before or row, rates)
                self.moved.append((row, sample))
            found.append(sample)
        self._still = kept
        self._group(found)
        return tuple(found)

    def _add_moved(self, table: Table, former: Mapping[str, Row]) -> None:
        totals = list(self.interrupts.values())
        for label, row in table.rows.items():
            before = former[label]
            if before is not row:
                totals = [total + new - old for total, new, old in zip(totals, row.counts, before.counts, strict=True)]
        self.interrupts = dict(zip(table.cpus, totals, strict=True))

    def _group(self, samples: Iterable[IrqSample]) -> None:
        self.receiving = {}
        for sample in samples:
            if sample.receives:
                self.receiving.setdefault(sample.device, []).append(sample)

    def _sample(self, row: Row, before: Row, rates: Rates) -> IrqSample:
        cpus = self._cpus
        steps = []
        if before is not row:
            pairs = zip(cpus, before.counts, row.counts, strict=True)
            steps = [(cpu, step) for cpu, old, new in pairs if old != new and (step := rates.between(old, new))]
        irq = self._known.get(row.label)
        # a number that serves somebody else by now is not what was read
        if irq is not None and irq.action not in row.text:
            irq = None
        return IrqSample(
            irq=row.label,
            name=printable(irq.action if irq else row.text),
            device=printable(irq.device) if irq else "",
            queue=irq.queue if irq else None,
            total=sum(row.counts),
            per_s=rates.per_s(sum([step for _, step in steps])),
            per_cpu=tuple([each for each in zip(cpus, row.counts, strict=True) if each[1]]),
            per_cpu_per_s=tuple([(cpu, rates.per_s(step)) for cpu, step in steps]),
            requested=format_list(irq.requested) if irq else "",
            effective=format_list(irq.effective) if irq else "",
            managed=irq.managed if irq else False,
            receives=irq.receives if irq else False,
        )


def _totals(table: Table) -> dict[int, int]:
    counts = [row.counts for row in table.rows.values()]
    return dict(zip(table.cpus, map(sum, zip(*counts, strict=True)), strict=True)) if counts else dict.fromkeys(table.cpus, 0)
