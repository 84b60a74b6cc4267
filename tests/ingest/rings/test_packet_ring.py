"""The ring on a real interface: every packet that reached it was read or reported as dropped."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator

import pytest
from veth_pair import VethPair

from ingest.feeds.formats import parse_feed
from ingest.rings.counters import RingReport
from ingest.rings.layout import Following
from ingest.rings.packet import PacketRing, cpu_numbers, geometry_of
from ingest.rings.tpacket import InterfaceDown, NoSuchInterface, RingError
from ingest.rings.walk import WalkerMissing
from ingest.rings.walk_native import load

MOLD = Following((parse_feed("moldudp64"),))


@contextlib.contextmanager
def opened(pair: VethPair, **options: object) -> Iterator[PacketRing]:
    if options.get("walker") == "native":
        try:
            load()
        except WalkerMissing as missing:
            pytest.skip(str(missing))
    with pair.inside():
        ring = PacketRing.open(pair.into, **options)
    with ring:
        yield ring


def read_while(ring: PacketRing, action: object, interval: float | None = None) -> tuple[RingReport, list[RingReport]]:
    """Reads as long as ``action`` takes, in a thread of its own."""
    failures: list[BaseException] = []

    def act() -> None:
        try:
            action()
        except BaseException as failure:  # noqa: BLE001
            failures.append(failure)
        finally:
            ring.stop()

    thread = threading.Thread(target=act)
    thread.start()
    parts = list(ring.run(60, interval))
    thread.join()
    assert not failures, failures
    return ring.report(), parts


def check(report: RingReport, arrived: int, size: int = 128) -> None:
    total = report.total
    assert total.reached == arrived
    assert total.walked.packets + total.drops == arrived
    assert total.unaccounted == 0
    assert total.walked.bytes == total.walked.packets * size
    assert total.walked.latency.total == total.walked.packets
    assert total.walked.malformed_frames == total.walked.malformed_blocks == 0
    assert sum(ring.walked.packets for ring in report.rings) == total.walked.packets
    assert report.error is None


@pytest.mark.parametrize("mode", ["latency", "throughput"])
def test_a_hundred_thousand_a_second(pair: VethPair, mode: str) -> None:
    arrived = 0

    def load_it() -> None:
        nonlocal arrived
        arrived = pair.send(250_000, 100_000)

    with opened(pair, mode=mode, following=MOLD, walker="native") as ring:
        report, _ = read_while(ring, load_it)
    check(report, arrived)
    assert report.walker == "native"
    (stream,) = report.followed.streams
    assert (stream.received, stream.lost, stream.duplicate) == (arrived, report.total.drops, 0)
    assert report.total.drops == 0  # more than a second of depth


@pytest.mark.parametrize("mode", ["latency", "throughput"])
@pytest.mark.parametrize("walker", ["numpy", "python"])
def test_the_other_walkers_account_as_well(pair: VethPair, mode: str, walker: str) -> None:
    arrived = 0

    def load_it() -> None:
        nonlocal arrived
        # a reader that is held up reads the rings of two CPUs one after the other: the order is known on one CPU
        arrived = pair.send(30_000, 30_000, streams=3, cpu=min(os.sched_getaffinity(0)))

    with opened(pair, mode=mode, following=MOLD, walker=walker) as ring:
        report, _ = read_while(ring, load_it)
    assert report.walker == walker
    check(report, arrived)
    assert [stream.port for stream in report.followed.streams] == [30001, 30002, 30003]
    assert sum(stream.received for stream in report.followed.streams) + report.total.drops == arrived


@pytest.mark.parametrize("rings", [None, 1])
@pytest.mark.parametrize("mode", ["latency", "throughput"])
def test_what_a_small_ring_drops_is_what_the_feed_misses(pair: VethPair, mode: str, rings: int | None) -> None:
    # rings that were left unread are read one after the other: the feed's order is known where it kept to one CPU
    cpu = min(os.sched_getaffinity(0))
    small = {"latency": 1 << 16, "throughput": 1 << 17}[mode]
    with opened(pair, mode=mode, following=MOLD, rings=rings, ring_bytes=small) as ring:
        arrived = pair.send(5_000, 100_000, cpu=cpu)  # nobody reads yet
        last = 0

        def later() -> None:
            nonlocal last
            time.sleep(0.2)
            last = pair.send(10, 1_000, first=5_001, cpu=cpu)  # so that the end of the gap is seen

        report, _ = read_while(ring, later)
    check(report, arrived + last)
    assert report.total.drops > 1000
    (stream,) = report.followed.streams
    assert stream.lost == report.total.drops
    assert stream.received == report.total.walked.packets
    assert (stream.duplicate, stream.reordered) == (0, 0)
    if mode == "throughput":
        assert report.total.freezes > 0


def test_a_slow_reader_drops_and_says_so(pair: VethPair) -> None:
    arrived = 0

    def load_it() -> None:
        nonlocal arrived
        arrived = pair.send(50_000, 50_000)

    with opened(pair, rings=1, ring_bytes=1 << 16, pause_ns=20_000_000) as ring:  # 256 frames, 1000 packets a pause
        report, _ = read_while(ring, load_it)
    check(report, arrived)
    assert report.total.drops > 10_000
    assert report.total.walked.packets > 5_000


@pytest.mark.parametrize("mode", ["latency", "throughput"])
def test_a_pause_of_the_reader_loses_nothing(pair: VethPair, mode: str) -> None:
    with opened(pair, mode=mode) as ring:
        arrived = pair.send(6_000, 20_000)  # 300 ms
        report, _ = read_while(ring, lambda: time.sleep(0.05))
    check(report, arrived)
    assert report.total.drops == 0
    assert report.total.walked.latency.percentile(50) > 10_000_000  # they waited, and it shows


def test_stopping_amid_the_packets_leaves_none_behind(pair: VethPair) -> None:
    for mode in ("latency", "throughput"):
        with opened(pair, mode=mode, following=MOLD) as ring:
            running = pair.start(100_000, 100_000, cpu=min(os.sched_getaffinity(0)))
            report, _ = read_while(ring, lambda: time.sleep(0.3))
            total = report.total
            assert total.walked.packets > 1000
            assert total.unaccounted == 0
            assert total.walked.packets + total.drops == total.reached
            assert report.followed.streams[0].received == total.walked.packets
            pair.sent(running)


def test_intervals_add_up_to_the_whole(pair: VethPair) -> None:
    arrived = 0

    def load_it() -> None:
        nonlocal arrived
        arrived = pair.send(20_000, 20_000)

    with opened(pair) as ring:
        report, parts = read_while(ring, load_it, interval=0.1)
    check(report, arrived)
    assert len(parts) > 5
    assert {part.part for part in parts} == {"interval"}
    merged = parts[0].total
    for part in parts[1:]:
        merged = merged.merged(part.total)
    assert merged == report.total
    assert sum(part.seconds for part in parts) == pytest.approx(report.seconds, abs=0.15)


def test_a_late_reader_of_intervals_loses_none(pair: VethPair) -> None:
    with opened(pair) as ring:
        running = pair.start(20_000, 40_000)
        taken = 0
        for part in ring.run(1.5, 0.05):
            taken += part.total.walked.packets
            time.sleep(0.3)
        arrived = pair.sent(running)
        assert taken == ring.report().total.walked.packets == arrived


def test_a_ring_holds_its_own_cores_packets(pair: VethPair) -> None:
    if cpu_numbers() < 2 or not {0, 1} <= os.sched_getaffinity(0):
        pytest.skip("needs CPUs 0 and 1")
    with opened(pair) as ring:

        def load_them() -> None:
            # a veth pair delivers on the sender's CPU
            assert pair.send(2_000, 20_000, cpu=0) == 2_000
            assert pair.send(3_000, 20_000, cpu=1) == 3_000

        report, _ = read_while(ring, load_them)
    check(report, 5_000)
    counts = {ring.core: ring.walked.packets for ring in report.rings}
    # ksoftirqd of another CPU never takes over, but a packet or two of the first wake-up may be delivered elsewhere
    assert counts[0] == pytest.approx(2_000, abs=20)
    assert counts[1] == pytest.approx(3_000, abs=20)


def test_one_ring_has_no_core(pair: VethPair) -> None:
    with opened(pair, rings=1) as ring:
        report, _ = read_while(ring, lambda: pair.send(100, 10_000))
    check(report, 100)
    assert [each.core for each in report.rings] == ([0] if cpu_numbers() == 1 else [None])


@pytest.mark.parametrize("rings", [1, 2])
def test_what_this_host_sends_is_not_counted(pair: VethPair, rings: int) -> None:
    with opened(pair, rings=rings) as ring:
        report, _ = read_while(ring, lambda: pair.sent(pair.start(500, 10_000, backwards=True)))
    check(report, 0)


def test_two_rings_on_one_interface_each_see_everything(pair: VethPair) -> None:
    with opened(pair) as first, opened(pair, mode="throughput") as second:
        arrived = pair.send(1_000, 20_000)
        check(read_while(first, lambda: time.sleep(0.05))[0], arrived)
        check(read_while(second, lambda: time.sleep(0.05))[0], arrived)


@pytest.mark.parametrize("walker", ["native", "numpy", "python"])
@pytest.mark.parametrize("rings", [1, 2])
def test_an_interface_that_vanishes_ends_the_run_and_keeps_the_count(pair: VethPair, walker: str, rings: int) -> None:
    with opened(pair, walker=walker, rings=rings) as ring:
        thread = threading.Thread(target=lambda: list(ring.run(60)))
        thread.start()
        arrived = pair.send(3_000, 30_000)
        pair.link("del", pair.into)
        thread.join(3)  # it ends by itself
        assert not thread.is_alive()
        report = ring.report()
    assert report.error is not None
    assert "vanished" in report.error
    assert report.total.walked.packets == arrived
    assert report.total.unaccounted == 0


def test_an_interface_that_goes_down_and_comes_back_is_read_on(pair: VethPair) -> None:
    arrived = 0

    def down_and_up() -> None:
        nonlocal arrived
        arrived = pair.send(1_000, 20_000)
        pair.link("set", pair.into, "down")
        time.sleep(0.5)
        pair.link("set", pair.into, "up")
        arrived += pair.send(1_000, 20_000)

    with opened(pair) as ring:
        report, _ = read_while(ring, down_and_up)
    check(report, arrived)
    assert arrived >= 2_000 - 50


def test_an_interface_that_is_down_or_missing_is_refused(pair: VethPair) -> None:
    pair.link("set", pair.into, "down")
    with pair.inside():
        with pytest.raises(InterfaceDown, match="is down; first: ip link set"):
            PacketRing.open(pair.into)
        with pytest.raises(NoSuchInterface, match="no interface 'nosuch0'"):
            PacketRing.open("nosuch0")


def test_an_interface_name_that_is_not_utf8_and_hostile(pair: VethPair) -> None:
    hostile = os.fsdecode(b"q\xff\x1b[2J")
    pair.link("set", pair.into, "down")
    pair.link("set", pair.into, "name", hostile)
    pair.link("set", hostile, "up")
    with pair.inside():
        ring = PacketRing.open(hostile)
    with ring:
        assert "\x1b" not in ring.source
        report, _ = read_while(ring, lambda: pair.send(100, 10_000))
    check(report, 100)


def test_a_ring_leaves_nothing_open_and_reads_once(pair: VethPair) -> None:
    before = set(os.listdir("/proc/self/fd"))
    threads = threading.active_count()
    with opened(pair) as ring:
        assert list(ring.run(0.05)) == []
        with pytest.raises(RingError, match="already"):
            list(ring.run(0.05))
        ring.close()
        ring.close()
        ring.stop()
    for _ in range(3):
        with pair.inside(), pytest.raises(NoSuchInterface):
            PacketRing.open("nosuch0")
    assert len(os.listdir("/proc/self/fd")) <= len(before)
    assert threading.active_count() == threads


def test_a_reader_of_intervals_that_gives_up_ends_the_thread(pair: VethPair) -> None:
    with opened(pair) as ring:
        for _part in ring.run(60, 0.05):
            break
    assert not any(thread.name == "ring" for thread in threading.enumerate())


def test_the_reader_runs_where_it_is_told(pair: VethPair) -> None:
    cpu = max(os.sched_getaffinity(0))
    with opened(pair, cpus=[cpu]) as ring:
        list(ring.run(0.1))
        assert ring.report().reader_cpu == cpu
    assert len(os.sched_getaffinity(0)) > 1 or cpu_numbers() == 1  # the caller's own affinity is untouched
    with opened(pair, cpus=[16_000]) as ring, pytest.raises(RingError, match="CPU 16000"):
        list(ring.run(0.1))


def test_longer_packets_are_cut_and_counted_at_their_length(pair: VethPair) -> None:
    with opened(pair) as ring:
        report, _ = read_while(ring, lambda: pair.send(100, 10_000, size=1400))
    check(report, 100, size=1400)
    assert report.total.walked.truncated == 100


@pytest.mark.parametrize("rings", [1, 2, 7, 32, 200])
def test_a_throughput_ring_is_deep_in_time_whatever_its_size(rings: int) -> None:
    geometry = geometry_of("throughput", rings)
    assert geometry.units * geometry.retire_ms >= 1000
    assert geometry.unit_bytes % 4096 == 0
    if rings <= 32:
        assert geometry.memory_bytes * rings <= 256 << 20
        assert geometry_of("latency", rings).memory_bytes * rings <= 256 << 20


@pytest.mark.parametrize("mode", ["latency", "throughput"])
def test_what_the_nic_has_not_stamped_is_counted_and_not_measured(pair: VethPair, mode: str) -> None:
    with opened(pair, mode=mode, stamps="nic") as ring:
        arrived = 0

        def send() -> None:
            nonlocal arrived
            arrived = pair.send(1_000, 20_000)

        report, _ = read_while(ring, send)
    total = report.total
    assert (total.walked.packets, total.walked.unstamped, total.walked.latency.total) == (arrived, arrived, 0)
    latency = report.to_json()["total"]["latency"]
    assert (latency["from"], latency["p50_ns"], latency["max_ns"]) == ("nic", None, None)
