import itertools
import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.collector import Collector, pin_to_housekeeping
from ingest.counters import sockets
from ingest.loss_reader import SECOND_NS, Paced
from ingest.nic_samples import NicReader
from ingest.rates import Rates
from ingest.roles import default_roles
from ingest.sample import SampleError, from_json
from tuner.host.files import HostFiles
from tuner.host.host import open_host
from tuner.host.simulated import Simulation, open_tree, write_tree


@pytest.fixture
def host(tmp_path):
    write_tree(tmp_path / "host", nodes=2, cores=2, queues=2)
    return open_tree(HostFiles(tmp_path / "host"))


def interrupts_now() -> dict[str, int]:
    with open("/proc/interrupts") as file:
        lines = file.read().splitlines()
    columns = len(lines[0].split())
    rows = (line.partition(":") for line in lines[1:])
    return {label.strip(): sum(int(w) for w in rest.split()[:columns] if w.isdigit()) for label, _, rest in rows}


def test_counters_agree_with_proc_read_beside_it():
    collector = Collector(open_host())
    before, sample, after = interrupts_now(), collector.tick(), interrupts_now()
    checked = 0
    for irq in sample.irqs:
        if irq.irq not in ("ERR", "MIS"):
            assert before[irq.irq] <= irq.total <= after[irq.irq]
            checked += 1
    assert checked > 5
    assert {core.cpu for core in sample.cores} == os.sched_getaffinity(0) | {core.cpu for core in sample.cores}
    for name in os.listdir("/sys/class/net"):
        with open(f"/sys/class/net/{name}/statistics/rx_packets") as file:
            now = int(file.read())
        nic = next(n for n in sample.nics if n.name == name)
        assert nic.counters["rx_packets"] <= now


def test_rates_are_steps_over_time(host):
    simulation = Simulation(host)
    collector = Collector(host)
    first = collector.tick()
    assert first.interval_s == 0
    assert all(core.interruptions_per_s == 0 for core in first.cores)
    simulation.advance(2.0)
    second = collector.tick()
    for one, two in zip(first.cores, second.cores, strict=True):
        assert two.interruptions_per_s == pytest.approx((two.interrupts - one.interrupts) / second.interval_s)
        assert two.packets_per_s == pytest.approx((two.packets - one.packets) / second.interval_s)
    assert sum(core.packets_per_s for core in second.cores) == pytest.approx(sum(n.rx_packets_per_s for n in second.nics))
    busiest = max(second.cores, key=lambda core: core.device_per_s)
    assert "eth" in busiest.top_cause
    assert second.nics[0].rx_ring == 512
    assert [queue.queue for queue in second.nics[0].queues] == [0, 1]


def test_a_sample_survives_the_border_between_processes(host):
    Simulation(host).advance(1.0)
    sample = Collector(host).tick()
    line = sample.to_json()
    assert next(iter(json.loads(line))) == "schema"
    assert from_json(line) == sample
    with pytest.raises(SampleError):
        from_json(line[: len(line) // 2])
    with pytest.raises(SampleError):
        from_json(line.replace("quietcore/1", "quietcore/9"))
    extended = json.loads(line) | {"new_field": 1}
    extended["cores"][0]["another"] = 2
    assert from_json(json.dumps(extended)) == sample


@given(st.text(max_size=200))
def test_rubbish_is_no_sample(text):
    with pytest.raises(SampleError):
        from_json(text)


def test_an_interface_that_vanishes_is_an_event_and_its_return_another(host, monkeypatch):
    collector = Collector(host)
    collector.tick()
    hidden = str(host.files.root / "sys/class/net/eth3")
    target = os.readlink(hidden)
    os.unlink(hidden)
    collector._slow_until = 0
    sample = collector.tick()
    assert [(e.where, e.what) for e in sample.events] == [("eth3", "the interface is gone")]
    assert "eth3" not in {nic.name for nic in sample.nics}
    os.symlink(target, hidden)
    collector._slow_until = 0
    assert [e.what for e in collector.tick().events] == ["the interface is here"]


def test_another_interface_by_the_name_of_one_that_is_gone(host):
    collector = Collector(host)
    collector.tick()
    with open(host.files.path("/sys/class/net/eth3/ifindex"), "w") as file:
        file.write("4711\n")
    collector._slow_until = 0
    told = [(each.where, each.what) for each in collector.tick().events]
    assert told == [("eth3", "the interface is gone"), ("eth3", "the interface is here")]


def test_a_changed_list_of_interfaces_is_looked_at_at_once(host):
    collector = Collector(host)
    collector.tick()
    path = host.files.path("/proc/net/dev")
    with open(path) as file:
        lines = file.read()
    os.unlink(host.files.path("/sys/class/net/eth3"))
    with open(path, "w") as file:
        file.write("".join(line for line in lines.splitlines(keepends=True) if "eth3:" not in line))
    assert [(each.where, each.what) for each in collector.tick().events] == [("eth3", "the interface is gone")]
    assert collector.tick().events == ()


def test_counters_that_are_missing_for_a_tick_make_no_burst_when_they_are_back(host):
    """A rename there and back between two looks: nothing is shown of it in between, and what it counted is no rate."""
    reader, rates = NicReader(host), Rates()
    reader.refresh()
    nic = next(nic for nic in reader.nics if nic.name == "eth2")
    shown = []
    for count in (10**9, None, 10**9 + 5, 10**9 + 9):
        rates.begin(1.0)
        counters = {} if count is None else {"rx_packets": count}
        shown.append(reader.sample(nic, counters, {}, {}, rates).rx_packets_per_s)
    assert shown == [0, 0, 0, 4]


def test_everything_is_read_at_a_tick_that_asks_for_it(host, monkeypatch):
    monkeypatch.setattr("ingest.loss_reader.Paced", lambda period_ns, read: Paced(period_ns or SECOND_NS, read))
    collector = Collector(host)
    reads = []
    monkeypatch.setattr(sockets, "parse", lambda raw: reads.append(raw) or ())
    collector.tick(everything=True)
    assert len(reads) == 2  # IPv4 and IPv6
    collector.tick()
    assert len(reads) == 2
    collector.tick(everything=True)
    assert len(reads) == 4
    collector.close()


def test_files_that_a_host_lacks_are_no_error(tmp_path):
    (tmp_path / "sys/devices/system/cpu/cpu0").mkdir(parents=True)
    (tmp_path / "sys/devices/system/cpu/cpu1").mkdir()
    sample = Collector(open_host(str(tmp_path))).tick()
    assert len(sample.cores) == 2
    assert sample.irqs == ()
    assert {loss.visible for loss in sample.losses} == {False}
    assert sample.source == "files"


def test_late_ticks_are_counted_and_not_piled_up(host):
    collector = Collector(host)
    stream = collector.stream(0.05)
    next(stream)
    time.sleep(0.5)
    start = time.monotonic()
    for _ in range(3):
        last = next(stream)
    assert time.monotonic() - start < 0.4
    assert last.cost.late_ticks >= 5
    assert last.sequence <= 6


def test_stream_gives_rates_at_once_and_ends_at_its_count(host):
    samples = list(Collector(host).stream(0.02, 3))
    assert len(samples) == 3
    assert all(sample.interval_s > 0 for sample in samples)
    assert samples[0].cost.cpu_ns > 0


@given(st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=20))
def test_a_counter_of_32_bits_that_wraps_keeps_its_rate(steps):
    """The sum of small steps is found whatever the counter showed; a jump back by more than half is a reset."""
    rates = Rates()
    rates.begin(1.0)
    true = 2**32 - 50
    rates.step(("x",), true % 2**32)
    for step in (step % 1000 for step in steps):
        true += step
        assert rates.step(("x",), true % 2**32) == step


def test_a_counter_that_was_reset_counts_from_zero():
    rates = Rates()
    rates.begin(2.0)
    assert rates.of(("x",), 2**40) == 0
    assert rates.of(("x",), 2**40 + 10) == 5
    assert rates.of(("x",), 4) == 2


def test_roles(host):
    topology = Collector(host).topology
    assert set(default_roles(topology, frozenset()).values()) == {"general"}
    roles = default_roles(topology, frozenset({2, 3}))
    assert roles[2] == "isolated"
    assert roles[0] == "housekeeping"


def test_an_active_partition_is_seen_and_the_profile_names_its_cores(host):
    collector = Collector(host, lambda: ("feed-handler", {1: "rx"}))
    sample = collector.tick()
    assert sample.profile == "feed-handler"
    assert {core.cpu: core.role for core in sample.cores}[1] == "rx"


def test_pinning_leaves_reserved_cores_alone():
    topology = Collector(open_host()).topology
    mine = os.sched_getaffinity(0)
    try:
        if len(topology.online) < 2:
            pytest.skip("one CPU: there is nothing to keep free")
        keep = min(topology.online)
        roles = {cpu: "rx" for cpu in topology.online if cpu != keep}
        assert pin_to_housekeeping(topology, roles) == {keep}
        assert pin_to_housekeeping(topology, dict.fromkeys(topology.online, "isolated")) == {keep}
    finally:
        os.sched_setaffinity(0, mine)


def test_reading_costs_little_where_nothing_moves(host):
    collector = Collector(host)
    for _ in range(3):
        collector.tick()
    costs = []
    for _ in itertools.repeat(None, 20):
        start = time.thread_time_ns()
        collector.tick()
        costs.append(time.thread_time_ns() - start)
    assert sorted(costs)[10] < 20_000_000  # a tick is well below a frame; the bench has the figure
