"""The ledger: every stage in its order, each packet once, what is not seen said so; wraps, resets, what vanishes and comes."""

import itertools
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import losses
from ingest.collector import Collector
from ingest.counters.sockets import UdpSocket
from ingest.counters.softnet import Softnet
from ingest.loss_reader import LossReader, Paced
from ingest.rates import PACKETS_PER_S, Rates
from ingest.sample import LossSample, from_json
from ingest.stages import ADDED, STAGES, complete, folded, invisible, lost, ranges, rated, single, worst_first
from tuner.host.driver_statistics import DriverStatistics
from tuner.host.files import HostFiles
from tuner.host.host import Host, open_host
from tuner.host.simulated import Simulation, open_tree

SECOND = 1_000_000_000


@pytest.fixture
def host(new_sim):
    return open_tree(HostFiles(new_sim(nodes=1, cores=4, nics=2, queues=2).root))


# --------------------------------------------------------------------------------------------------------------- the stages


def test_the_stages_are_numbered_from_wire_to_application_and_each_says_why_it_may_be_unseen():
    assert [stage.number for stage in STAGES] == list(range(28))
    assert all(stage.name and stage.unseen for stage in STAGES)


@pytest.mark.parametrize("where", ["real", "simulated", "empty"])
def test_every_stage_has_a_row_in_order_and_what_is_unseen_says_why(where, host, tmp_path):
    if where == "empty":
        (tmp_path / "bare/sys/devices/system/cpu/cpu0").mkdir(parents=True)
    collector = Collector({"real": open_host(), "simulated": host}.get(where) or open_host(str(tmp_path / "bare")))
    rows = collector.tick().losses
    assert [row.stage for row in rows] == sorted(row.stage for row in rows)
    assert {row.stage for row in rows} == set(range(28))
    assert all(row.note for row in rows if not row.visible)
    assert all(row.total >= 0 and row.per_s == 0 for row in rows)
    for row in rows:
        assert (row.name + row.where + row.counter + row.note).isprintable()
    collector.close()


def test_all_stages_of_an_interface_are_told_of_each_interface(host):
    rows = Collector(host).tick().losses
    for nic in ("eth2", "eth3"):
        told = {row.stage: row.visible for row in rows if row.where == nic}
        assert {1, 2, 3, 4, 5, 6, 7, 8, 13, 27} <= set(told)
    assert (
        next(row.counter for row in rows if (row.where, row.stage) == ("eth2", 7) and row.kind == "loss")
        == "rx_no_dma_resources"
    )


def test_a_row_keeps_its_keys_in_json_and_gains_two(host):
    sample = Collector(host).tick()
    record = json.loads(sample.to_json())
    assert {"stage", "name", "where", "counter", "total", "per_s", "visible", "kind", "note"} == set(record["losses"][0])
    assert from_json(sample.to_json()) == sample
    for each in record["losses"]:  # a line of an older version
        del each["kind"], each["note"]
    assert from_json(json.dumps(record)).losses[0].kind == "loss"


def test_nothing_is_added_twice():
    protocols = {
        "Udp.RcvbufErrors": 10, "Udp.MemErrors": 1, "Udp.InErrors": 11, "Ip.InHdrErrors": 5, "IpExt.InCsumErrors": 5,
        "Ip.OutDiscards": 7, "TcpExt.PruneCalled": 3,
    }  # fmt: skip
    sockets = [UdpSocket("10.0.0.1", 5, 77, 10, 0)]
    softnet = [Softnet(0, 100, 4, 9, 0, 3)]
    counts = [*losses.protocol_counts(protocols, {}), *losses.softnet_counts(softnet), *losses.socket_counts(sockets, True)]
    assert lost(rated(counts, Rates())) == {11: 4, 15: 5, 18: 10, 19: 1}


def test_sockets_are_the_losses_where_nothing_else_counts_them():
    sockets = [UdpSocket("10.0.0.1", port, port, port, 0) for port in range(1, 100)]
    (row, *more) = rated(losses.socket_counts(sockets, total_known=False), Rates())
    assert (row.kind, row.total) == ("loss", 99)
    assert len(more) == losses.SHOWN_SOCKETS
    assert more[-1].where == f"{99 - losses.SHOWN_SOCKETS} other sockets"
    assert row.total + sum(each.total for each in more) == sum(range(1, 100))


def test_worst_first_and_the_others_folded():
    def row(stage: int, kind: str, total: int, per_s: float, where: str = "a", visible: bool = True) -> LossSample:
        return LossSample(stage, "n", where, "c", total, per_s, visible, kind)

    rows = [
        row(10, "delay", 99, 9.0),
        row(5, "loss", 50, 0.0),
        row(7, "loss", 5, 1.0),
        row(2, "loss", 0, 0.0),
        row(1, "loss", 1, 1, visible=False),
    ]
    assert [each.stage for each in worst_first(rows)] == [7, 5, 10]
    cpus = folded([row(11, "loss", 10 - n, 1.0, f"CPU {n}") for n in range(6)], alike=2)
    assert [(each.where, each.total) for each in cpus] == [("CPU 0", 10), ("CPU 1", 9), ("and 4 more", 26)]
    assert ranges([0, 9, 20, 21, 22, 26]) == "0 9 20-22 26"


# --------------------------------------------------------------------------------------------------------------- CPUs, rings


def step(rates: Rates, counts, seconds: float = 1.0) -> list[LossSample]:
    rates.begin(seconds)
    return list(rated(counts, rates))


def test_the_backlog_of_each_cpu_from_its_first_drop_on():
    rates = Rates(PACKETS_PER_S)
    step(rates, losses.softnet_counts([Softnet(cpu, 0, 0, 0, 0, 0) for cpu in range(4)]))
    rows = step(rates, losses.softnet_counts([Softnet(cpu, 0, 8 if cpu == 2 else 0, 0, 0, 0) for cpu in range(4)]), 2.0)
    found = {row.where: (row.total, row.per_s) for row in rows if row.stage == 11}
    assert found == {"CPU 2": (8, 4.0), "other CPUs": (0, 0.0)}


def test_a_backlog_that_wraps_at_32_bits_and_a_cpu_that_goes_and_comes_back():
    rates = Rates(PACKETS_PER_S)
    step(rates, losses.softnet_counts([Softnet(0, 0, 2**32 - 2, 0, 0, 0), Softnet(1, 0, 50, 0, 0, 0)]))
    rows = step(rates, losses.softnet_counts([Softnet(0, 0, 6, 0, 0, 0)]))
    assert {row.where: row.per_s for row in rows if row.stage == 11} == {"CPU 0": 8.0}
    rows = step(rates, losses.softnet_counts([Softnet(0, 0, 7, 0, 0, 0), Softnet(1, 0, 4_000_000, 0, 0, 0)]))
    assert {row.where: row.per_s for row in rows if row.stage == 11} == {"CPU 0": 1.0, "CPU 1": 0.0}
    rows = step(rates, losses.softnet_counts([Softnet(0, 0, 7, 0, 0, 0), Softnet(1, 0, 4_000_002, 0, 0, 0)]))
    assert {row.where: row.per_s for row in rows if row.stage == 11} == {"CPU 0": 0.0, "CPU 1": 2.0}


def test_rings_and_feeds_are_told_by_their_owners(host):
    collector = Collector(host)
    assert not next(row for row in collector.tick().losses if row.stage == 21).visible
    collector.losses.rings = {"packet:eth2": 5}
    collector.losses.feeds = {"239.1.1.1:1": 2}
    rows = collector.tick().losses
    assert [(row.where, row.total, row.kind) for row in rows if row.stage == 21] == [("packet:eth2", 5, "loss")]
    assert [(row.total, row.kind) for row in rows if row.stage == 26] == [(2, "detail")]
    assert 26 not in lost(rows)


# --------------------------------------------------------------------------------------------------------- wraps and resets


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.sampled_from([0, 32, 64]), st.floats(0.01, 100))
def test_no_two_values_make_a_rate_that_is_negative_or_absurd(first, second, bits, interval_s):
    rates = Rates(PACKETS_PER_S)
    for value in (first, second):
        rates.begin(interval_s)
        moved = rates.step(("x",), value, bits)
        assert 0 <= moved <= PACKETS_PER_S * interval_s


def test_a_device_that_resets_counts_from_there_and_one_that_vanished_starts_anew():
    rates = Rates(PACKETS_PER_S)
    seen = []
    for value in (3_000_000_000, 3_000_000_010, 4, 9):  # below 2^32, but too far from it to have wrapped
        rates.begin(1.0)
        seen.append(rates.step(("x",), value))
    assert seen == [0, 10, 4, 5]
    rates.begin(1.0)  # gone
    rates.begin(1.0)
    assert rates.step(("x",), 1_000_000) == 0
    rates.begin(1.0)
    assert rates.step(("x",), 1_000_001) == 1


def test_a_driver_that_corrects_its_count_a_little_is_no_burst():
    rates = Rates(PACKETS_PER_S)
    for value, moved in ((10**9, 0), (10**9 - 5, 0), (10**9 - 3, 2)):
        rates.begin(1.0)
        assert rates.step(("x",), value, 64) == moved


def test_counters_of_what_is_gone_are_forgotten():
    rates = Rates()
    for tick in range(2000):
        rates.begin(1.0)
        rates.step(("socket", tick), 1)
    assert len(rates._last) < 600


# ---------------------------------------------------------------------------------------------------------------------- pace


def reads_at(times_ns: list[int], period_ns: int = SECOND) -> list[int]:
    reads: list[int] = []
    now = 0

    def read():
        reads.append(now)
        return [single(5, "e", "c", now // 1_000_000)]

    paced = Paced(period_ns, read)
    for now in times_ns:
        paced.rows(now)
    return reads


def test_a_driver_is_asked_once_a_second_however_often_one_looks():
    reads = reads_at([tick * SECOND // 10 for tick in range(100)])
    assert [b - a for a, b in itertools.pairwise(reads)] == [SECOND * 9 // 10] + [SECOND] * 9  # a tenth early, once


def test_ticks_of_a_second_that_come_a_little_early_or_late_read_each_time():
    jitter = (0, -3_000_000, 2_000_000, -900_000, 40_000_000, -1)
    times = [tick * SECOND + jitter[tick % 6] + 10 * SECOND for tick in range(60)]
    assert reads_at(times) == times


def test_between_two_reads_rows_stay_and_the_rate_is_that_of_the_time_between_them():
    values = iter((100, 300, 300))
    paced = Paced(SECOND, lambda: [single(5, "e", "c", next(values))])
    assert paced.rows(5 * SECOND)[0].per_s == 0
    assert paced.rows(5 * SECOND + SECOND // 2)[0].total == 100
    later = paced.rows(7 * SECOND)[0]
    assert (later.total, later.per_s) == (300, 100.0)
    assert paced.rows(7 * SECOND + SECOND // 2)[0] == later
    assert paced.rows(8 * SECOND)[0].per_s == 0


def test_a_read_out_of_turn_has_the_rate_of_its_time_and_delays_the_next_by_no_more_than_a_period():
    values = iter((100, 130, 140, 340))
    paced = Paced(SECOND, lambda: [single(5, "e", "c", next(values))])
    paced.rows(5 * SECOND, due=True)
    assert paced.rows(5 * SECOND + SECOND // 10, due=True)[0].per_s == pytest.approx(300)
    assert paced.rows(5 * SECOND + SECOND // 5, due=True)[0].per_s == pytest.approx(100)
    assert paced.rows(6 * SECOND)[0].total == 140
    assert paced.rows(6 * SECOND + SECOND // 5)[0].per_s == pytest.approx(200)


def test_a_socket_from_its_first_drop_on():
    rates = Rates(PACKETS_PER_S)
    step(rates, losses.socket_counts([UdpSocket("10.0.0.1", port, port, 0, 0) for port in (5, 6)], True))
    rows = step(rates, losses.socket_counts([UdpSocket("10.0.0.1", 5, 5, 8, 0), UdpSocket("10.0.0.1", 6, 6, 0, 0)], True), 2.0)
    assert {row.where: (row.total, row.per_s) for row in rows} == {"10.0.0.1:5": (8, 4.0), "1 other socket": (0, 0.0)}


# ------------------------------------------------------------------------------------------------------------- the whole host


class Asked:
    """The system calls of a host, with an answer put in for one driver."""

    def __init__(self, inner, answer) -> None:
        self._inner, self._answer = inner, answer

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def driver_statistics(self, ifname):
        return self._answer(ifname)


def test_a_driver_that_refuses_is_told_and_the_kernel_speaks_in_its_place(host):
    def refuse(ifname):
        raise OSError(16, os.strerror(16), ifname)

    reader = LossReader(Host(host.files, Asked(host.syscalls, refuse), simulated=True))
    from tuner.host.nics import read_nics

    rows = reader.read(0, 0.0, read_nics(host.files), {"eth2": {"rx_missed_errors": 3}}, [], {})
    assert next(row.total for row in rows if row.counter == "rx_missed_errors") == 3
    assert "Device or resource busy" in next(row.note for row in rows if row.stage == 7 and row.where == "eth2")


def test_channels_that_change_move_no_rate(host):
    queues = iter((2, 2, 8, 8))

    def answer(ifname):
        count = next(queues) if ifname == "eth2" else 1
        names = (*(f"rx_queue_{q}_packets" for q in range(count)), "rx_no_dma_resources")
        return DriverStatistics(names, (*([1000] * count), 50))

    from tuner.host.nics import read_nics

    reader = LossReader(Host(host.files, Asked(host.syscalls, answer), simulated=True))
    nics = read_nics(host.files)
    for tick in range(4):
        rows = reader.read(tick * SECOND, 1.0, nics, {}, [], {})
        assert all(row.per_s == 0 for row in rows)
        assert next(row.total for row in rows if row.counter == "rx_no_dma_resources" and row.where == "eth2") == 50
    assert len(reader.queues("eth2")) == 8
    assert reader.queues("eth2")[7].packets_per_s == 0


def test_a_life_with_small_rings_shows_where_its_packets_go(host):
    host.syscalls.set_rings("eth2", rx=64)
    simulation = Simulation(host)
    simulation.advance(600)
    collector = Collector(host)
    collector.tick()
    simulation.advance(1)
    sample = collector.tick()
    rows = {(row.stage, row.where): row for row in sample.losses if row.visible and row.kind in ADDED}
    fifo = rows[5, "eth2"]
    assert fifo.total == host.syscalls.statistics("eth2")["rx_missed_errors"] > 0
    queues = next(nic for nic in sample.nics if nic.name == "eth2").queues
    assert [queue.packets for queue in queues] == [host.syscalls.statistics("eth2")[f"rx_queue_{q}_packets"] for q in range(2)]
    assert all(queue.packets_per_s > 0 for queue in queues)
    sockets = [row for row in sample.losses if row.counter == "sk_drops"]
    overflow = next(row.total for row in sample.losses if row.counter == "Udp.RcvbufErrors")
    assert sum(row.total for row in sockets) == overflow


def test_an_interface_that_vanishes_and_returns_makes_no_burst(host):
    simulation = Simulation(host)
    collector = Collector(host)
    simulation.advance(600)
    collector.tick()
    link = host.files.path("/sys/class/net/eth2")
    target = os.readlink(link)
    os.unlink(link)
    collector._slow_until = 0
    # that its groups are joined is a file that no interface's departure changes here
    assert {row.stage for row in collector.tick().losses if row.where == "eth2"} == {16}
    os.symlink(target, link)
    path = host.files.path("/sys/class/net/eth2/statistics/rx_dropped")
    os.chmod(path, 0o644)
    with open(path, "w") as file:
        file.write("1000000000000000\n")  # another device, with a past of its own
    collector._slow_until = 0
    back = [row for row in collector.tick().losses if row.where == "eth2"]
    assert back
    assert all(row.per_s == 0 for row in back)


@pytest.mark.parametrize("name", ["intel-2node-16core-i350-connectx3", "intel-4node-interleaved-bnx2", "lab-8cpu-2numa"])
def test_a_real_host_as_it_was_captured(name, captured_host):
    rows = Collector(open_host(captured_host(name))).tick().losses
    assert {row.stage for row in rows} == set(range(28))
    assert all(row.note for row in rows if not row.visible)
    assert invisible(rows)


def test_complete_leaves_no_stage_out_and_adds_nothing_twice():
    once = complete([], ["eth0"])
    assert complete(once, ["eth0"]) == once
