"""A reader on each of two receiving CPUs: all is accounted for, and a stream that moves from one to the other has no gap."""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_packet_ring import MOLD, check, read_while
from test_ring_command import finish, start, until_it_reads
from veth_pair import VethPair
from walker_kinds import native_or_skip

from ingest.rings.packet import PacketRing, cpu_numbers
from ingest.rings.pcapng_writer import CaptureWriter
from ingest.rings.tpacket import RingError

CPUS = (0, 1)


@contextlib.contextmanager
def opened(pair: VethPair, **options: object) -> Iterator[PacketRing]:
    if cpu_numbers() < 2 or not set(CPUS) <= os.sched_getaffinity(0):
        pytest.skip("needs CPUs 0 and 1")
    native_or_skip()
    with pair.inside():
        ring = PacketRing.open(pair.into, cpus=CPUS, **({"following": MOLD} | options))
    with ring:
        yield ring


def load(pair: VethPair, packets: int = 12_000, rate: int = 30_000) -> int:
    """Two streams that stay on each CPU, two that move every 700 packets, each sender at that rate. Returns what arrived."""
    before = pair.arrived()
    senders = [
        pair.start(packets, rate, streams=2, cpu=0, port=30101),
        pair.start(packets, rate, streams=2, cpu=1, port=30201),
        pair.start(packets, rate, streams=2, cpu=0, moves=(1, 700), port=30001),
    ]
    for sender in senders:
        pair.sent(sender)
    return pair.arrived() - before


@pytest.mark.parametrize("mode", ["latency", "throughput"])
def test_streams_that_stay_and_streams_that_move(pair: VethPair, mode: str) -> None:
    arrived = 0

    def load_it() -> None:
        nonlocal arrived
        arrived = load(pair)

    with opened(pair, mode=mode) as ring:
        report, parts = read_while(ring, load_it, interval=0.1)
    check(report, arrived)
    assert report.total.drops == 0  # the rings are a second deep
    for each in report.rings:
        assert each.unaccounted == 0
        assert each.walked.packets > 12_000
    assert {stream.port for stream in report.followed.streams} == {30001, 30002, 30101, 30102, 30201, 30202}
    for stream in report.followed.streams:
        assert (stream.received, stream.lost, stream.duplicate) == (6_000, 0, 0), stream.stream
        assert (stream.reordered, stream.outside, stream.resets) == (0, 0, 0), stream.stream
        assert stream.latency.total == 6_000
    assert [(each.cpu, each.rings) for each in report.readers] == [(0, 1), (1, 1)]
    assert all(each.cpu_ns > 0 for each in report.readers)
    assert report.reader_cpu_ns == sum(each.cpu_ns for each in report.readers)
    merged = parts[0].total
    for part in parts[1:]:
        merged = merged.merged(part.total)
    assert merged == report.total
    assert all(len(part.readers) == 2 for part in parts)


@pytest.mark.parametrize("mode", ["latency", "throughput"])
def test_what_small_rings_drop_is_what_the_feeds_miss(pair: VethPair, mode: str) -> None:
    small = {"latency": 1 << 16, "throughput": 1 << 17}[mode]
    with opened(pair, mode=mode, ring_bytes=small) as ring:
        arrived = pair.send(2_000, 100_000, cpu=0, port=30101)  # nobody reads yet
        arrived += pair.send(2_000, 100_000, cpu=1, port=30201)
        last = 0

        def later() -> None:
            nonlocal last
            time.sleep(0.2)
            last = pair.send(10, 1_000, first=2_001, cpu=0, port=30101)  # so that the ends of the gaps are seen
            last += pair.send(10, 1_000, first=2_001, cpu=1, port=30201)

        report, _ = read_while(ring, later)
    check(report, arrived + last)
    assert report.total.drops > 500
    assert sum(stream.lost for stream in report.followed.streams) == report.total.drops
    for stream, each in zip(report.followed.streams, report.rings, strict=True):
        assert (stream.lost, stream.received) == (each.drops, each.walked.packets)


@pytest.mark.parametrize("mode", ["latency", "throughput"])
def test_stopping_amid_the_packets_leaves_none_behind(pair: VethPair, mode: str) -> None:
    with opened(pair, mode=mode) as ring:
        running = [pair.start(100_000, 50_000, cpu=cpu, port=30101 + cpu) for cpu in CPUS]
        report, _ = read_while(ring, lambda: time.sleep(0.4))
        for each in report.rings:
            assert each.walked.packets > 1_000
            assert each.unaccounted == 0
            assert each.walked.packets + each.drops == each.reached
        assert sum(stream.received for stream in report.followed.streams) == report.total.walked.packets
        for sender in running:
            sender.terminate()
            sender.communicate(timeout=20)


def test_a_late_reader_of_intervals_loses_none(pair: VethPair) -> None:
    with opened(pair) as ring:
        running = [pair.start(10_000, 20_000, cpu=cpu) for cpu in CPUS]
        taken = 0
        for part in ring.run(1.5, 0.05):
            taken += part.total.walked.packets
            time.sleep(0.2)
        for sender in running:
            pair.sent(sender)
        assert taken == ring.report().total.walked.packets == pair.arrived()


def test_an_interface_that_vanishes_ends_both_readers(pair: VethPair) -> None:
    with opened(pair) as ring:
        thread = threading.Thread(target=lambda: list(ring.run(60)))
        thread.start()
        arrived = load(pair, 1_000, 20_000)
        pair.link("del", pair.into)
        thread.join(5)
        assert not thread.is_alive()
        report = ring.report()
    assert "vanished" in (report.error or "")
    assert (report.total.walked.packets, report.total.unaccounted) == (arrived, 0)


def test_a_cpu_that_is_not_there_ends_all_readers(pair: VethPair) -> None:
    with opened(pair) as ring:
        ring.close()  # skips where it has to
    with pair.inside():
        ring = PacketRing.open(pair.into, cpus=(0, 16_000))
    with ring, pytest.raises(RingError, match="the reader cannot run on CPU 16000: it is not online, or not in this cpuset"):
        list(ring.run(60))
    assert not any(thread.name.startswith("ring") for thread in threading.enumerate())
    assert len(os.sched_getaffinity(0)) >= len(CPUS)  # the caller's own affinity is untouched


def test_more_readers_than_rings_and_no_such_cpu(pair: VethPair) -> None:
    with opened(pair) as ring:
        ring.close()
    with pair.inside(), pytest.raises(RingError, match="2 readers for 1 ring"):
        PacketRing.open(pair.into, cpus=CPUS, rings=1)
    with pair.inside():
        ring = PacketRing.open(pair.into, cpus=(1, 4_000_000_000))
    with ring, pytest.raises(RingError, match="CPU 4000000000"):
        list(ring.run(60))


def test_a_file_has_one_reader(pair: VethPair, tmp_path: Path) -> None:
    file = tmp_path / "two.pcapng"
    with pair.inside(), CaptureWriter(str(file)) as writer, pytest.raises(RingError, match="a file is written by one reader"):
        PacketRing.open(pair.into, cpus=CPUS, writer=writer)
    assert not file.exists()


def test_closing_before_and_after_reading_leaves_nothing(pair: VethPair) -> None:
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    with opened(pair) as ring:
        pass
    with opened(pair) as ring:
        assert list(ring.run(0.05)) == []
        with pytest.raises(RingError, match="already"):
            list(ring.run(0.05))
        ring.close()
        ring.stop()
    with opened(pair) as ring:
        for _part in ring.run(60, 0.05):
            break
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    assert threading.active_count() == threads


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_all_readers_at_a_signal(pair: VethPair, ending: signal.Signals) -> None:
    with opened(pair) as ring:
        ring.close()
    process = start(pair, f"packet:{pair.into}", "--cpu", "0-1", "--json", "--feed", "moldudp64", "--interval", "200ms")
    until_it_reads(pair)
    arrived = load(pair, 3_000, 20_000)
    process.send_signal(ending)
    status, output, words = finish(process)
    assert (status, words) == (0, "")
    *parts, whole = [json.loads(line) for line in output.splitlines()]
    total = whole["total"]
    assert (total["packets"] + total["drops"], total["unaccounted"]) == (arrived, 0)
    assert sum(part["total"]["packets"] for part in parts) == total["packets"]
    assert [(each["cpu"], each["rings"]) for each in whole["readers"]] == [(0, 1), (1, 1)]
    assert whole["reader"] == {"cpu": 0, "cpu_ns": sum(each["cpu_ns"] for each in whole["readers"])}
    assert sum(feed["lost"] for feed in whole["feeds"]) == total["drops"]


def test_people_are_told_what_each_reader_used(pair: VethPair) -> None:
    with opened(pair) as ring:
        ring.close()
    process = start(pair, f"packet:{pair.into}", "--cpu", "1,0", "--seconds", "0.5")
    status, output, _ = finish(process)
    assert status == 0
    assert "the reader on CPU 0 used " in output
    assert "the reader on CPU 1 used " in output
    assert output.count(" % of it, for 1 ring") == 2
