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
        former = self._rows
        counted = table.rows.keys() == former.keys() and table.cpus == self._cpus
        if table.cpus != self._cpus:
            former = {label: _under(row, self._cpus, table) for label, row in former.items() if label in table.rows}
        if not counted:
            self._still = {}
        still, totals = self._still, list(self.interrupts.values()) if counted else _totals(table)
        self._rows, self._cpus, self.moved = table.rows, table.cpus, []
        found = []
        for label, row in table.rows.items():
            before = former.get(label, row)
            if before is row:
                sample = still.get(label) or still.setdefault(label, self._sample(row, (), rates))
            else:
                still.pop(label, None)
                pairs = enumerate(zip(before.counts, row.counts, strict=True))
                changed = [(at, old, new) for at, (old, new) in pairs if old != new]
                sample = self._sample(row, changed, rates)
                self.moved.append((row, sample))
                if counted:
                    for at, old, new in changed:
                        totals[at] += new - old
            found.append(sample)
        self.interrupts = dict(zip(table.cpus, totals, strict=True))
        self.receiving = {}
        for sample in found:
            if sample.receives:
                self.receiving.setdefault(sample.device, []).append(sample)
        return tuple(found)

    def _sample(self, row: Row, changed: Iterable[tuple[int, int, int]], rates: Rates) -> IrqSample:
        cpus = self._cpus
        steps = [(cpus[at], step) for at, old, new in changed if (step := rates.between(old, new))]
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


def _totals(table: Table) -> list[int]:
    counts = [row.counts for row in table.rows.values()]
    return [sum(column) for column in zip(*counts, strict=True)] if counts else [0] * len(table.cpus)


def _under(row: Row, cpus: tuple[int, ...], table: Table) -> Row:
    """A row of the tick before, with the columns that the table has now; a CPU that is new begins with what it shows."""
    counts = dict(zip(cpus, row.counts, strict=True))
    now = zip(table.cpus, table.rows[row.label].counts, strict=True)
    return Row(row.label, tuple(counts.get(cpu, count) for cpu, count in now), row.text)
