"""Counters of all kinds as one record per CPU, in the order of the machine."""

from collections.abc import Iterable, Mapping

from ingest.counters.interrupts import Row, Table
from ingest.counters.softirqs import Softirqs
from ingest.counters.softnet import Softnet
from ingest.counters.stat import CpuTime
from ingest.rates import Rates
from ingest.sample import CoreSample, IrqSample
from tuner.host.topology import Cpu, Topology


class CoreReader:
    """One tick's view of all cores."""

    def __init__(self, topology: Topology, roles: Mapping[int, str], rates: Rates) -> None:
        self._topology = topology
        self._roles = roles
        self._rates = rates

    def samples(
        self,
        table: Table,
        irqs: Iterable[IrqSample],
        deferred: Softirqs,
        softnet: Iterable[Softnet],
        times: Mapping[int, CpuTime],
    ) -> tuple[CoreSample, ...]:
        """One for each online CPU: by node, package, cache, core."""
        totals = _interrupts(table)
        causes = _causes(table, irqs)
        soft = {cpu: (sum(c[i] for c in deferred.rows.values()), _net_rx(deferred, i)) for i, cpu in enumerate(deferred.cpus)}
        rows = {row.cpu: row for row in softnet}
        return tuple(
            self._sample(
                cpu,
                totals.get(cpu.cpu, 0),
                causes.get(cpu.cpu, []),
                soft.get(cpu.cpu, (0, 0)),
                rows.get(cpu.cpu),
                times.get(cpu.cpu),
            )
            for cpu in self._topology.ordered()
        )

    def _sample(
        self,
        cpu: Cpu,
        interrupts: int,
        causes: list[tuple[float, str, str]],
        soft: tuple[int, int],
        row: Softnet | None,
        spent: CpuTime | None,
    ) -> CoreSample:
        rates, number = self._rates, cpu.cpu
        by_kind = {kind: sum(rate for rate, _, k in causes if k == kind) for kind in ("device", "timer", "ipi")}
        top_rate, top, _ = max(causes, default=(0.0, "", ""))
        busy, steal = self._time(number, spent)
        return CoreSample(
            cpu=number,
            node=cpu.node,
            package=cpu.package,
            core=cpu.core,
            llc=min(cpu.llc, default=number),
            siblings=tuple(sorted(cpu.siblings)),
            role=self._roles.get(number, "general"),
            interruptions_per_s=sum(rate for rate, _, _ in causes),
            top_cause=top,
            top_cause_per_s=top_rate,
            interrupts=interrupts,
            device_per_s=by_kind["device"],
            timer_per_s=by_kind["timer"],
            ipi_per_s=by_kind["ipi"],
            softirqs=soft[0],
            softirqs_per_s=rates.of(("softirqs", number), soft[0]),
            net_rx_per_s=rates.of(("net_rx", number), soft[1]),
            packets=row.packets if row else 0,
            packets_per_s=rates.of(("packets", number), row.packets) if row else 0.0,
            backlog_drops=row.drops if row else 0,
            backlog_drops_per_s=rates.of(("backlog", number), row.drops) if row else 0.0,
            squeezes=row.squeezes if row else 0,
            squeezes_per_s=rates.of(("squeezes", number), row.squeezes) if row else 0.0,
            busy_percent=busy,
            steal_percent=steal,
        )

    def _time(self, cpu: int, spent: CpuTime | None) -> tuple[float, float]:
        if spent is None:
            return 0.0, 0.0
        busy = self._rates.step(("busy", cpu), spent.busy)
        steal = self._rates.step(("steal", cpu), spent.steal)
        total = busy + steal + self._rates.step(("idle", cpu), spent.idle)
        return (100.0 * busy / total, 100.0 * steal / total) if total else (0.0, 0.0)


def _interrupts(table: Table) -> dict[int, int]:
    return {cpu: sum(row.counts[i] for row in table.rows.values()) for i, cpu in enumerate(table.cpus)}


def _net_rx(deferred: Softirqs, place: int) -> int:
    counts = deferred.rows.get("NET_RX")
    return counts[place] if counts else 0


def _causes(table: Table, irqs: Iterable[IrqSample]) -> dict[int, list[tuple[float, str, str]]]:
    """CPU -> (rate, name, kind) of every row that moved there."""
    found: dict[int, list[tuple[float, str, str]]] = {}
    for irq in irqs:
        row: Row = table.rows[irq.irq]
        for cpu, rate in irq.per_cpu_per_s:
            name = f"{irq.irq} {irq.name}" if row.kind == "device" else irq.name
            found.setdefault(cpu, []).append((rate, name, row.kind))
    return found
