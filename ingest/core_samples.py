"""Counters of all kinds as one record per CPU, in the order of the machine."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ingest.counters.interrupts import Row
from ingest.counters.softirqs import Softirqs
from ingest.counters.softnet import Softnet
from ingest.counters.stat import CpuTime
from ingest.rates import Rates
from ingest.sample import CoreSample, IrqSample
from tuner.host.topology import Topology

_Cause = tuple[float, str, str]  # rate, name, kind


@dataclass(frozen=True, slots=True)
class _Place:
    """What does not change from tick to tick: as in CoreSample."""

    cpu: int
    node: int
    package: int
    core: int
    llc: int
    siblings: tuple[int, ...]
    role: str


class _Counts(NamedTuple):
    """What one CPU counted; None where it has no row."""

    softirqs: int
    net_rx: int
    row: Softnet | None
    spent: CpuTime | None


class CoreReader:
    """All cores, tick by tick; remembers what they showed at the last one."""

    def __init__(self) -> None:
        self._places: tuple[_Place, ...] = ()
        self._last: dict[int, _Counts] = {}

    def refresh(self, topology: Topology, roles: Mapping[int, str]) -> None:
        """Where each core is in the machine, and what it is for."""
        self._places = tuple(
            _Place(
                cpu=cpu.cpu,
                node=cpu.node,
                package=cpu.package,
                core=cpu.core,
                llc=min(cpu.llc, default=cpu.cpu),
                siblings=tuple(sorted(cpu.siblings)),
                role=roles.get(cpu.cpu, "general"),
            )
            for cpu in topology.ordered()
        )

    def samples(
        self,
        interrupts: Mapping[int, int],
        moved: Iterable[tuple[Row, IrqSample]],
        deferred: Softirqs,
        softnet: Iterable[Softnet],
        times: Mapping[int, CpuTime],
        rates: Rates,
    ) -> tuple[CoreSample, ...]:
        """One for each online CPU: by node, package, cache, core.

        Args:
            interrupts: CPU -> all rows of /proc/interrupts together.
            moved: the rows that moved, with their samples.
            deferred: softirqs.
            softnet: rows of softnet_stat.
            times: CPU -> where its time went.
            rates: of this tick.
        """
        causes = _causes(moved)
        sums = [sum(column) for column in zip(*deferred.rows.values(), strict=True)] or [0] * len(deferred.cpus)
        receiving = deferred.rows.get("NET_RX", (0,) * len(deferred.cpus))
        soft = {cpu: (total, net_rx) for cpu, total, net_rx in zip(deferred.cpus, sums, receiving, strict=True)}
        rows = {row.cpu: row for row in softnet}
        former, self._last = self._last, {}
        found = []
        for place in self._places:
            cpu = place.cpu
            counts = self._last[cpu] = _Counts(*soft.get(cpu, (0, 0)), rows.get(cpu), times.get(cpu))
            found.append(_sample(place, interrupts.get(cpu, 0), causes.get(cpu, ()), former.get(cpu, counts), counts, rates))
        return tuple(found)


def _sample(place: _Place, interrupts: int, causes: Iterable[_Cause], last: _Counts, now: _Counts, rates: Rates) -> CoreSample:
    by_kind = {"device": 0.0, "timer": 0.0, "ipi": 0.0, "other": 0.0}
    top_rate, top = 0.0, ""
    for rate, name, kind in causes:
        by_kind[kind] += rate
        if (rate, name) > (top_rate, top):
            top_rate, top = rate, name
    busy, steal = _shares(last.spent, now.spent, rates)
    row = now.row
    packets_per_s, drops_per_s, squeezes_per_s = _received(last.row, row, rates)
    soft_still, between, per_s = last[:2] == now[:2], rates.between, rates.per_s
    return CoreSample(
        cpu=place.cpu,
        node=place.node,
        package=place.package,
        core=place.core,
        llc=place.llc,
        siblings=place.siblings,
        role=place.role,
        interruptions_per_s=sum([rate for rate, _, _ in causes]) if causes else 0.0,
        top_cause=top,
        top_cause_per_s=top_rate,
        interrupts=interrupts,
        device_per_s=by_kind["device"],
        timer_per_s=by_kind["timer"],
        ipi_per_s=by_kind["ipi"],
        softirqs=now.softirqs,
        softirqs_per_s=0.0 if soft_still else per_s(between(last.softirqs, now.softirqs)),
        net_rx_per_s=0.0 if soft_still else per_s(between(last.net_rx, now.net_rx)),
        packets=row.packets if row else 0,
        packets_per_s=packets_per_s,
        backlog_drops=row.drops if row else 0,
        backlog_drops_per_s=drops_per_s,
        squeezes=row.squeezes if row else 0,
        squeezes_per_s=squeezes_per_s,
        busy_percent=busy,
        steal_percent=steal,
    )


def _received(last: Softnet | None, now: Softnet | None, rates: Rates) -> tuple[float, float, float]:
    """Packets, drops and squeezes per second."""
    if now is None or last is None or last == now:
        return 0.0, 0.0, 0.0
    between, per_s = rates.between, rates.per_s
    packets = per_s(between(last.packets, now.packets))
    if last.drops == now.drops and last.squeezes == now.squeezes:
        return packets, 0.0, 0.0
    return packets, per_s(between(last.drops, now.drops)), per_s(between(last.squeezes, now.squeezes))


def _shares(last: CpuTime | None, now: CpuTime | None, rates: Rates) -> tuple[float, float]:
    """Busy and stolen time in percent."""
    if now is None or last is None or last == now:
        return 0.0, 0.0
    busy, steal = rates.between(last.busy, now.busy), rates.between(last.steal, now.steal)
    total = busy + steal + rates.between(last.idle, now.idle)
    return (100.0 * busy / total, 100.0 * steal / total) if total else (0.0, 0.0)


def _causes(moved: Iterable[tuple[Row, IrqSample]]) -> dict[int, list[_Cause]]:
    """CPU -> every row that moved there."""
    found: dict[int, list[_Cause]] = {}
    for row, irq in moved:
        kind = row.kind
        name = f"{irq.irq} {irq.name}" if kind == "device" else irq.name
        for cpu, rate in irq.per_cpu_per_s:
            found.setdefault(cpu, []).append((rate, name, kind))
    return found
