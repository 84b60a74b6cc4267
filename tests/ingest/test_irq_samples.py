"""Rates of interrupts: of those that rest between two moves, and of those that stay while CPUs come and go."""

import pytest

from ingest.core_samples import CoreReader
from ingest.counters.interrupts import Parser
from ingest.counters.softirqs import Softirqs
from ingest.irq_samples import IrqReader
from ingest.rates import Rates
from tuner.host.files import HostFiles
from tuner.host.simulated import open_tree, write_tree
from tuner.host.topology import read_topology


@pytest.fixture
def host(tmp_path):
    write_tree(tmp_path / "host", nodes=1, cores=2, queues=1)
    return open_tree(HostFiles(tmp_path / "host"))


def table(*rows, cpus=(0, 1)):
    head = "      " + "".join(f"CPU{cpu:<8}" for cpu in cpus)
    return "\n".join(
        [head, *(f"{label:>4}: " + " ".join(f"{c:>10}" for c in counts) + "  x" for label, counts in rows), ""]
    ).encode()


def test_an_interrupt_that_rests_between_two_moves_keeps_its_rate(host):
    parser, rates, reader = Parser(), Rates(), IrqReader(host)
    told = []
    for count in (10, 10, 20, 20, 20, 35, 36, 36):
        rates.begin(2.0)
        (one, _) = reader.samples(parser.parse(table(("5", (0, count)), ("LOC", (7, 7)))), rates)
        told.append((one.total, one.per_s, one.per_cpu_per_s))
        assert reader.interrupts == {0: 7, 1: 7 + count}
    assert [per_s for _, per_s, _ in told] == [0, 0, 5, 0, 0, 7.5, 0.5, 0]
    assert told[5] == (35, 7.5, ((1, 7.5),))


def test_rates_and_sums_outlast_a_cpu_and_a_row_that_come_and_go(host):
    parser, rates, reader = Parser(), Rates(), IrqReader(host)
    steps = (
        (table(("5", (1, 2)), ("LOC", (10, 20))), {}),
        (table(("5", (4, 2)), ("LOC", (11, 22))), {"5": ((0, 3),), "LOC": ((0, 1), (1, 2))}),
        (table(("5", (5, 9, 2)), ("LOC", (13, 500, 25)), cpus=(0, 1, 2)), {"5": ((0, 1), (1, 7)), "LOC": ((0, 2), (1, 478))}),
        (table(("5", (6, 2)), ("LOC", (14, 26)), cpus=(0, 2)), {"5": ((0, 1),), "LOC": ((0, 1), (2, 1))}),
        (table(("LOC", (15, 26)), cpus=(0, 2)), {"LOC": ((0, 1),)}),
        (table(("5", (70, 2)), ("LOC", (15, 27)), cpus=(0, 2)), {"LOC": ((2, 1),)}),
    )
    for raw, expected in steps:
        rates.begin(1.0)
        parsed = parser.parse(raw)
        found = reader.samples(parsed, rates)
        assert {irq.irq: irq.per_cpu_per_s for irq in found if irq.per_cpu_per_s} == expected
        columns = zip(*(row.counts for row in parsed.rows.values()), strict=True)
        assert reader.interrupts == dict(zip(parsed.cpus, map(sum, columns), strict=True))


def test_a_core_is_interrupted_as_often_as_its_rows_moved(host):
    topology = read_topology(host.files)
    cores, parser, rates, reader = CoreReader(), Parser(), Rates(), IrqReader(host)
    cores.refresh(topology, {1: "rx"})
    for counts in ((0, 5), (0, 5), (0, 25)):
        rates.begin(1.0)
        reader.samples(parser.parse(table(("5", counts), ("LOC", (9, sum(counts) * 2)))), rates)
        samples = cores.samples(reader.interrupts, reader.moved, Softirqs((), {}), (), {}, rates)
    by_cpu = {core.cpu: core for core in samples}
    assert (by_cpu[1].interruptions_per_s, by_cpu[1].device_per_s, by_cpu[1].timer_per_s) == (60, 20, 40)
    assert (by_cpu[1].top_cause, by_cpu[1].role, by_cpu[1].interrupts) == ("x", "rx", 75)
    assert by_cpu[0].interruptions_per_s == 0
