"""That the benchmarks measure what they say: small runs, no figures."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench import __main__ as command
from bench import figures, interrupts, latency, libpcap, memory, receivers, tick, walkers
from bench.figures import Board, DisagreementError, Figure, UnavailableError
from bench.live import told, two_cpus
from bench.textbook import NOW_NS, Image
from ingest.load.namespaces import missing_capabilities

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pair():
    if missing_capabilities():
        pytest.skip(f"needs {' and '.join(missing_capabilities())}")
    with receivers.veth_pair() as made:
        yield made


def test_a_figure_is_judged_by_its_target():
    lines = []
    board = Board(lines.append)
    board.put(Figure("one", 0.25, at_most=0.3))
    board.put(Figure("two", 1.4, at_least=1.5, note="noisy"))
    board.put(Figure("three", 7.0))
    assert [each.met for each in board.figures] == [True, False, None]
    assert "<= 0.3" in lines[0]
    assert lines[0].endswith("met")
    assert "MISSED noisy" in lines[1]
    assert board.summary() == "1 of 2 targets met; missed: two"


def test_rounds_are_interleaved_and_nobody_is_always_first():
    order = []
    figures.interleaved({name: lambda name=name: order.append(name) for name in "abc"}, 3)
    assert "".join(order) == "abcbcacab"


def test_a_missed_target_fails_nothing_but_a_disagreement_does(monkeypatch, capsys):
    monkeypatch.setattr(interrupts, "main", lambda board, **_: board.put(Figure("x", 2.0, at_most=1.0)))
    assert command.main(["interrupts"]) == 0
    assert "MISSED" in capsys.readouterr().out

    def disagreeing(board, **_):
        raise DisagreementError("one says 1, the other 2")

    def lacking(board, **_):
        raise UnavailableError("no such thing")

    monkeypatch.setattr(memory, "main", lacking)
    assert command.main(["memory"]) == 0
    assert "left out: no such thing" in capsys.readouterr().out
    monkeypatch.setattr(memory, "main", disagreeing)
    assert command.main(["memory", "interrupts"]) == 1
    told_out = capsys.readouterr()
    assert "one says 1, the other 2" in told_out.err
    assert "MISSED" in told_out.out, "the other parts are measured all the same"
    assert command.main(["nonsense"]) == 1


def test_help_teaches_every_part():
    shown = subprocess.run(
        [sys.executable, "-m", "bench", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in command.PARTS:
        assert f"\n{name}\n" in shown
    assert "prefetcher" in shown


def test_all_walkers_count_alike_and_one_that_does_not_is_found_out(monkeypatch):
    image = Image.filled(1 << 20, streams=3)
    walkers.agree(image)
    assert walkers.timed_from_c(image, 2) > 0
    assert walkers.plain_read_bytes_per_s(image) > 1e6
    native_of = walkers.native_of

    def forgetful(image):
        walk, tell = native_of(image)
        return walk, lambda: (tell()[0] - 1, *tell()[1:])

    monkeypatch.setattr(walkers, "native_of", forgetful)
    with pytest.raises(DisagreementError, match="native"):
        walkers.agree(image)


def test_libpcap_walks_our_memory_and_what_it_leaves_out_is_found_out(pair, monkeypatch):
    try:
        libpcap.library()
    except UnavailableError as why:
        pytest.skip(str(why))
    image = Image.filled(1 << 20, block_bytes=walkers.PCAP_BLOCK_BYTES)
    with walkers.pcap_over(image) as walk:
        assert walk() > 0
        assert walk() > 0
        monkeypatch.setattr(libpcap.Capture, "dispatch", lambda _self, _packets: 0)
        with pytest.raises(DisagreementError, match=f"0 of {image.packets} packets"):
            walk()


def test_a_soak_accounts_for_every_packet():
    image = Image.filled(1 << 20)
    packets, before, after, _ = memory.soak(image, 10 * image.packets)
    assert packets == 10 * image.packets
    assert before > 1000
    assert after - before < 10_000


def test_numbers_move_on_without_a_gap():
    image = Image.filled(1 << 20)
    walker = walkers.NativeWalker([image.area()], walkers.FOLLOWING, NOW_NS)
    step = 0
    for _ in range(3):
        image.advance(step)
        image.rearm()
        walker.drain()
        (stream,) = walker.followed().streams
        step = step or stream.received + stream.lost
    assert stream.received == 3 * image.packets
    assert stream.duplicate == stream.outside == 0


def test_the_generated_file_of_interrupts_is_parsed_alike():
    host, parser = interrupts.Host(cpus=40, irqs=30), interrupts.Parser()
    for _ in range(3):
        raw = host.read()
        assert {row.label: row.counts for row in parser.parse(raw).rows.values()} == interrupts.naive(raw)
        host.move()
        assert host.read() != raw


def test_the_bare_reading_is_of_the_files_of_a_tick():
    ticks = tick.Ticks()
    try:
        assert len(ticks.bare("plain")) >= 7
        assert len(ticks.bare("after five seconds")) > len(ticks.bare("of the second")) > len(ticks.bare("plain"))
        assert ticks.spent_us("plain") > 0
    finally:
        ticks.collector.close()


def test_a_load_is_accounted_for_by_each_receiver(pair):
    found, _ = receivers.available()
    for name in found:
        if name in ("ours", "libpcap"):
            outcome = receivers.receive(name, pair, two_cpus(), 20_000, 0.2)
            assert outcome.sent.sent == outcome.arrived
            assert outcome.read + outcome.drops == outcome.arrived
            assert outcome.missing == outcome.drops
            assert outcome.cpu_ns > 0
            assert "packets/s" in told([outcome])


def test_a_stalled_reader_is_stalled(pair):
    seen = []

    class Watched(latency.Receiver):
        def signal(self, number):
            seen.append(number)
            super().signal(number)

    latency_receiver, receivers.Receiver = receivers.Receiver, Watched
    try:
        assert latency.stalled(pair, two_cpus(), "latency") >= 0
    finally:
        receivers.Receiver = latency_receiver
    assert len(seen) == 2 * latency.STALLS
