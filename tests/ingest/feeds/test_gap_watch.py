"""Gaps that are held open, verdicts that wait for their counters, and what a verdict may be compared with: by made-up ticks."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.feeds.formats import parse_feed
from ingest.feeds.gap_watch import HOLD_OFF_NS, LONGEST_HOLD_OFF_NS, SILENT_NS, GapWatch
from ingest.feeds.judge import Judge
from ingest.histogram import Histogram
from ingest.ledger import Ledger
from ingest.rings.counters import ChannelCounters, StreamCounters
from ingest.rings.layout import Following, Group
from ingest.sample import Event, LossSample
from ingest.stages import NAMES
from tuner.host.files import HostFiles
from tuner.host.simulated import write_tree

TICK_NS = 100_000_000
A, B = (socket.inet_aton("239.1.1.1"), 30001), (socket.inet_aton("239.1.1.9"), 30002)
BOTH = Following((parse_feed("moldudp64"),), None, (Group(*A, channel=0), Group(*B, channel=0, line=1)), ("itch",))
ALONE = Following((parse_feed("moldudp64"),))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> HostFiles:
    place: Path = tmp_path_factory.mktemp("gaps") / "host"
    write_tree(place, nodes=1, cores=2, queues=2)
    return HostFiles(place)


class Ticks:
    """Ticks of 100 ms. ``dropped`` is what eth2 dropped so far; drivers are read every ``paced`` ticks."""

    def __init__(self, files: HostFiles, following: Following, *interfaces: str, paced: int = 1) -> None:
        self.watch = GapWatch(Judge(files, interfaces or ("eth2", "eth3"), following))
        self.now_ns = 10**12
        self.counted: dict[str, StreamCounters | ChannelCounters] = {}
        self.dropped = self._shown = 0
        self._paced, self._ticks, self._asked_ns = paced, 0, 0
        self.slowest_ns = 0
        self.tick()

    def stream(self, line: str = "", received: int = 0, lost: int = 0) -> None:
        """So much more came, so much more is missing."""
        place = B if line == "B" else A
        made = StreamCounters(*place, "moldudp64", channel="itch" if line else None, line=line)
        last = self.counted.get(line, made)
        self.counted[line] = replace(last, received=last.received + received, lost=last.lost + lost)

    def channel(self, received: int = 0, lost: int = 0, skew: Histogram | None = None) -> None:
        last = self.counted.get("itch", ChannelCounters("itch"))
        assert isinstance(last, ChannelCounters)
        skews = (skew, last.skew[1]) if skew is not None else last.skew
        self.counted["itch"] = replace(last, received=last.received + received, lost=last.lost + lost, skew=skews)

    def tick(self, complete: bool = True, packets: int = 0) -> list[Event]:
        since_ns = self.now_ns - self.slowest_ns
        self.now_ns += TICK_NS
        if self._ticks % self._paced == 0:
            self._shown, self._asked_ns = self.dropped, self.now_ns
        self._ticks += 1
        row = LossSample(7, NAMES[7], "eth2", "rx_no_dma_resources", self._shown, 0.0)
        ledger = Ledger(self.now_ns, (row,), {"eth2": 2, "eth3": 3})
        return list(self.watch.look(self.counted, packets, since_ns, ledger, self._asked_ns, complete))

    def until_told(self, flow: str = "", most: int = 200) -> tuple[int, list[Event]]:
        """(ticks, events) up to the first tick with any; ``flow``: lines that go on whole."""
        for count in range(1, most):
            for line in flow.split():
                self.stream(line if line != "-" else "", received=10)
            events = self.tick()
            if events:
                return count, events
        raise AssertionError("nothing was told")


def test_a_gap_is_told_after_the_hold_off_and_once(files):
    ticks = Ticks(files, ALONE, "eth2")
    ticks.stream(received=100)
    assert ticks.tick() == []
    ticks.dropped += 5
    ticks.stream(received=100, lost=5)
    count, (event,) = ticks.until_told("-")
    assert count == HOLD_OFF_NS // TICK_NS + 1
    assert (event.level, event.where) == ("crit", "239.1.1.1:30001")
    assert event.what.startswith("5 lost: likely stage 7, no receive descriptor (eth2): rx_no_dma_resources on eth2 counted 5")
    for _ in range(50):
        ticks.stream(received=10)
        assert ticks.tick() == []


def test_reordering_is_no_loss(files):
    ticks = Ticks(files, ALONE, "eth2")
    for _ in range(40):  # always some missing, each of them late by some ticks only
        ticks.stream(received=10, lost=3)
        assert ticks.tick() == []
        ticks.stream(received=13, lost=-3)
        assert ticks.tick() == []


def test_of_a_gap_that_closes_in_part_the_rest_is_told(files):
    ticks = Ticks(files, ALONE, "eth2")
    ticks.stream(received=10, lost=9)
    ticks.tick()
    ticks.stream(received=4, lost=-4)
    _, (event,) = ticks.until_told("-")
    assert event.what.startswith("5 lost: likely stage 0")


def test_what_comes_after_the_verdict_is_taken_back(files):
    ticks = Ticks(files, ALONE, "eth2")
    ticks.stream(received=10, lost=9)
    ticks.until_told("-")
    ticks.stream(received=2, lost=-2)
    _, (event,) = ticks.until_told("-")
    assert (event.level, event.what) == ("info", "2 numbers that were told as lost came late")
    ticks.stream(received=2, lost=1)
    _, (event,) = ticks.until_told("-")
    assert event.what.startswith("1 lost:")


def test_a_verdict_waits_for_counters_that_were_read_after_the_gap(files):
    ticks = Ticks(files, ALONE, "eth2", paced=30)
    ticks.stream(received=10)
    ticks.tick()
    ticks.dropped += 7
    ticks.stream(received=10, lost=7)
    count, (event,) = ticks.until_told("-")
    assert count > 2 * HOLD_OFF_NS // TICK_NS
    assert "likely stage 7" in event.what


def test_a_drop_long_before_the_gap_that_shows_it(files):
    """The last packets of a burst are dropped, and a minute of silence follows before the next shows it."""
    ticks = Ticks(files, ALONE, "eth2")
    ticks.stream(received=100)
    ticks.tick()
    ticks.dropped += 4
    for _ in range(600):
        assert ticks.tick() == []
    ticks.stream(received=1, lost=4)
    _, (event,) = ticks.until_told("-")
    assert "likely stage 7" in event.what


def test_a_drop_before_packets_that_came_whole_explains_nothing(files):
    ticks = Ticks(files, ALONE, "eth2")
    ticks.dropped += 100
    for _ in range(5):
        ticks.stream(received=10)
        ticks.tick()
    ticks.stream(received=10, lost=100)
    _, (event,) = ticks.until_told("-")
    assert "likely stage 0" in event.what


def test_packets_that_waited_in_the_ring_are_as_old_as_they_are(files):
    """The ring is read half a second late: whole packets are read after the drop that came behind them."""
    ticks = Ticks(files, ALONE, "eth2")
    for _ in range(10):
        ticks.stream(received=10)
        ticks.tick()
    ticks.dropped += 8
    ticks.slowest_ns = 6 * TICK_NS
    for _ in range(4):
        ticks.stream(received=10)
        ticks.tick()
    ticks.stream(received=10, lost=8)
    _, (event,) = ticks.until_told("-")
    assert "likely stage 7" in event.what


def test_a_loss_that_goes_on_is_told_now_and_then(files):
    ticks = Ticks(files, ALONE, "eth2")
    found = []
    for _ in range(200):
        ticks.stream(received=10, lost=1)
        found += ticks.tick()
    for _ in range(20):
        ticks.stream(received=10)
        found += ticks.tick()
    assert 3 <= len(found) <= 6
    assert sum(int(event.what.split()[0]) for event in found) == 200


def test_a_cause_that_is_over_is_not_the_next_loss_s(files):
    """The host drops for some seconds; then the network does, without a pause between."""
    ticks = Ticks(files, ALONE, "eth2")
    found = []
    for place in range(220):
        ticks.stream(received=10, lost=1)
        ticks.dropped += place < 100
        found += ticks.tick()
    assert "likely stage 7" in found[0].what
    assert "likely stage 0" in found[-1].what


def test_a_datagram_holds_many_numbers(files):
    ticks = Ticks(files, ALONE, "eth2")
    ticks.stream(received=1_000)
    ticks.tick(packets=100)
    ticks.dropped += 5
    ticks.stream(received=10, lost=50)
    _, (event,) = ticks.until_told()
    assert "5 packets of some 10" in event.what


# ---------------------------------------------------------------------------------------------------------------- two lines


def both(ticks: Ticks) -> None:
    ticks.stream("A", received=10)
    ticks.stream("B", received=10)
    ticks.channel(received=10)


def test_one_line_s_loss_is_a_warning_and_both_lines_is_critical(files):
    ticks = Ticks(files, BOTH)
    both(ticks)
    ticks.tick()
    ticks.stream("A", received=10, lost=6)
    ticks.stream("B", received=10)
    ticks.channel(received=16)
    _, events = ticks.until_told("A B")
    assert [(each.level, each.where) for each in events] == [("warn", "itch"), ("warn", "239.1.1.1:30001")]
    assert "network A" in events[0].what
    for line in "AB":
        ticks.stream(line, received=10, lost=6)
    ticks.channel(received=10, lost=6)
    _, events = ticks.until_told("A B")
    assert [each.level for each in events] == ["crit"] * 3
    assert "missing on both lines" in events[0].what


def test_a_line_that_is_behind_makes_no_loss_on_both(files):
    ticks = Ticks(files, BOTH)
    both(ticks)
    ticks.tick()
    ticks.stream("A", received=10, lost=6)
    ticks.channel(received=10, lost=6)
    ticks.tick()
    ticks.stream("B", received=16)
    ticks.channel(received=6, lost=-6)
    _, events = ticks.until_told("A B")
    assert [(each.level, each.where) for each in events] == [("warn", "itch"), ("warn", "239.1.1.1:30001")]


@pytest.mark.parametrize(("behind_ns", "hold_off_ns"), [(3 * HOLD_OFF_NS, 3 * HOLD_OFF_NS), (10**11, LONGEST_HOLD_OFF_NS)])
def test_the_hold_off_is_as_long_as_one_line_is_behind_the_other(files, behind_ns, hold_off_ns):
    ticks = Ticks(files, BOTH)
    both(ticks)
    ticks.channel(skew=Histogram.of([behind_ns]))
    ticks.stream("A", received=10, lost=6)
    count, _ = ticks.until_told("A B")
    assert abs(count * TICK_NS - hold_off_ns) <= 2 * TICK_NS + hold_off_ns // 16


def test_a_line_that_falls_silent_is_told_once_and_its_gap_is_no_news(files):
    ticks = Ticks(files, BOTH)
    both(ticks)
    ticks.tick()
    count, (event,) = ticks.until_told("A")
    assert abs(count - SILENT_NS // TICK_NS) <= 2
    assert (event.level, event.where) == ("warn", "itch")
    assert "Line B is silent while A flows: see that its group is joined on eth3" in event.what
    assert "IGMP" in event.what
    for _ in range(100):
        ticks.stream("A", received=10)
        assert ticks.tick() == []


def test_a_silent_line_whose_packets_this_host_drops(files):
    ticks = Ticks(files, BOTH)
    both(ticks)
    ticks.tick()
    for _ in range(60):
        ticks.dropped += 10
        ticks.stream("B", received=10)
        events = ticks.tick()
        if events:
            break
    assert "Line A is silent while B flows, and rx_no_dma_resources of eth2 moved" in events[0].what


def test_the_silence_of_an_interface_that_is_gone_is_not_its_line_s(files):
    ticks = Ticks(files, BOTH)
    both(ticks)
    for _ in range(100):
        ticks.stream("A", received=10)
        assert ticks.tick(complete=False) == []


def test_both_lines_may_be_silent_and_that_is_no_event(files):
    ticks = Ticks(files, BOTH)
    both(ticks)
    assert [event for _ in range(200) for event in ticks.tick()] == []


# --------------------------------------------------------------------------------------------------------------- the ledger


def counted(stage: int, where: str, total: int, counter: str = "c", visible: bool = True) -> LossSample:
    return LossSample(stage, NAMES[stage], where, counter, total, 0.0, visible)


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        (counted(7, "eth2", 10), counted(7, "eth2", 30), 20),
        (counted(7, "eth2", 10), counted(7, "new", 30), 20),  # it is called so now
        (counted(7, "eth3", 10), counted(7, "eth2", 30), 0),  # another one: who knows since when it counts
        (counted(11, "CPU 0", 5), counted(11, "CPU 1", 3), 3),  # this CPU had none before
        (counted(11, "CPU 1", 2**32 - 2), counted(11, "CPU 1", 3), 5),  # 32 bits
        (counted(7, "eth2", 1000), counted(7, "eth2", 4), 4),  # its driver was loaded again
        (counted(7, "eth2", 1, visible=False), counted(7, "eth2", 4), 0),
        (counted(7, "eth2", 1), counted(7, "eth2", 4, visible=False), 0),
    ],
)
def test_what_a_ledger_counted_between_two_looks(before, after, moved):
    first = Ledger(10**9, (before,), {"eth2": 2, "eth3": 3})
    (row,) = Ledger(3 * 10**9, (after,), {"new": 2, "eth3": 3} if after.where == "new" else {"eth2": 2, "eth3": 3}).since(first)
    assert row.per_s * 2 == pytest.approx(moved)
    assert row.where == after.where
