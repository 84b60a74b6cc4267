"""Lines A and B over two real interfaces: the channel's accounting is exact, and each loss is blamed where it was made."""

import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from two_lines import (
    ONE_LINE,
    STREAMS,
    TWO_LINES,
    RingProcess,
    TwoLines,
    expected,
    likely,
    linked,
    missing,
    ring_command,
    until,
    verdicts,
)

from ingest.load.namespaces import NamespaceError, VethPair
from ingest.rings.packet import geometry_of

LAST = 2_000
Start = Callable[..., RingProcess]


@pytest.fixture
def lines() -> Iterator[TwoLines]:
    try:
        pair = VethPair()
    except NamespaceError as missing_here:
        pytest.skip(str(missing_here))
    with pair:
        made = TwoLines(pair)
        yield made
        made.close()


@pytest.fixture
def feed_file(tmp_path: Path) -> Path:
    path = tmp_path / "feeds.toml"
    path.write_text(TWO_LINES)
    path.chmod(0o644)
    return path


@pytest.fixture
def start(lines: TwoLines, feed_file: Path) -> Iterator[Start]:
    started = []

    def make() -> RingProcess:
        started.append(RingProcess(lines, feed_file))
        return started[-1]

    yield make
    for each in started:
        each.kill()


def send_both(lines: TwoLines, numbers: range, lost: dict[str, set[int]], seed: int) -> dict[int, str]:
    """Each number on both lines but where it is lost, now A first and now B; which one was first."""
    randoms = random.Random(seed)
    first = {}
    for number in numbers:
        order = randoms.choice(("AB", "BA"))
        first[number] = order[0]
        for line in order:
            if number not in lost.get(line, ()):
                lines.number(line, number)
    return first


def some(count: int, seed: int) -> set[int]:
    """Numbers to lose, in single ones and runs; never the first or the last, or nobody would miss them."""
    randoms = random.Random(seed)
    found: set[int] = set()
    while len(found) < count:
        start, length = randoms.randrange(2, LAST - 20), randoms.choice((1, 1, 1, 2, 7, 19))
        found |= set(range(start, start + length))
    return found


ONLY_A, ONLY_B, BOTH = some(150, 1), some(90, 2) - some(150, 1), some(60, 3) - some(150, 1) - some(90, 2)
NETWORKS = {
    "nothing": ({}, [("fine", None)]),
    "network A": ({"A": ONLY_A}, [("network", "A")]),
    "network B": ({"B": ONLY_B}, [("network", "B")]),
    "both networks": ({"A": ONLY_A, "B": ONLY_B}, [("network", "A"), ("network", "B")]),
    "upstream": ({"A": BOTH, "B": BOTH}, [("upstream", None)]),
    "upstream and network A": ({"A": BOTH | ONLY_A, "B": BOTH}, [("upstream", None), ("network", "A")]),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_what_the_network_loses(lines: TwoLines, start: Start, case: str) -> None:
    lost, verdict = NETWORKS[case]
    ring = start()
    first = send_both(lines, range(1, LAST + 1), lost, seed=len(case))
    ring.has_all()
    report = ring.report()
    arrived = {line: set(range(1, LAST + 1)) - lost.get(line, set()) for line in "AB"}
    (channel,) = report["channels"]
    assert {key: channel[key] for key in ("received", "lost", "both", "first")} == expected(arrived, first)
    for line, feed in zip("AB", report["feeds"], strict=True):
        assert (feed["line"], feed["stream"]) == (line, STREAMS[line])
        assert (feed["received"], feed["lost"]) == (len(arrived[line]), len(lost.get(line, ())))
        assert (feed["duplicate"], feed["reordered"], feed["outside"], feed["resets"]) == (0, 0, 0, 0)
        skew = channel["skew"][line]
        assert (skew["max_ns"] is not None) == any(first[n] == line for n in arrived["A"] & arrived["B"])
        assert 0 <= (skew["p50_ns"] or 0) <= (skew["p99_ns"] or 0) <= (skew["max_ns"] or 0)
    assert report["total"]["packets"] == sum(lines.sent.values())
    assert report["total"]["drops"] == 0
    assert verdicts(report) == verdict
    assert {stream: each["stage"] for stream, each in likely(report).items()} == {
        STREAMS[line]: 0 for line in lost if lost[line]
    }


def test_the_skew_of_two_lines_is_that_of_their_stamps(lines: TwoLines, start: Start) -> None:
    ring = start()
    for number in range(1, 11):
        lines.number("B", number)
        ring.has_all()  # the other line is an interval later
        lines.number("A", number)
    ring.has_all()
    (channel,) = ring.report()["channels"]
    assert channel["first"] == {"A": 0, "B": 10}
    assert channel["skew"]["A"]["max_ns"] is None
    assert channel["skew"]["B"]["p50_ns"] > 1_000_000


def full_ring(lines: TwoLines, ring: RingProcess, line: str) -> None:
    """Stops the reader and fills one line's ring to its last frame: what comes then is dropped."""
    ring.has_all()
    ring.stopped()
    lines.junk(line, geometry_of("latency", 2).units)


@pytest.mark.parametrize("line", ["A", "B"])
def test_what_this_host_s_own_ring_drops_on_one_line(lines: TwoLines, start: Start, line: str) -> None:
    ring = start()
    first = send_both(lines, range(1, 101), {}, seed=5)
    full_ring(lines, ring, line)
    first |= send_both(lines, range(101, 601), {}, seed=6)
    ring.goes_on()
    ring.has_all()
    first |= send_both(lines, range(601, 701), {}, seed=7)
    ring.has_all()
    report = ring.report()
    other = "B" if line == "A" else "A"
    whole = range(1, 701)
    arrived = {line: {*range(1, 101), *range(601, 701)}, other: set(whole)}
    (channel,) = report["channels"]
    assert {key: channel[key] for key in ("received", "lost", "both", "first")} == expected(arrived, first)
    lost = {feed["line"]: feed["lost"] for feed in report["feeds"]}
    assert lost == {line: missing(whole, arrived[line]), other: 0}
    drops = {each["interface"]: each["drops"] for each in report["rings"]}
    assert drops == {lines.into[line]: 500, lines.into[other]: 0}
    assert report["total"]["packets"] + 500 == sum(lines.sent.values())
    assert report["total"]["unaccounted"] == 0
    assert verdicts(report) == [("host-path", line)]
    (stage,) = likely(report).values()
    assert (stage["stream"], stage["stage"], stage["where"]) == (STREAMS[line], 21, lines.into[line])
    assert stage["explained"] == 500
    assert "tp_drops" in stage["why"]


def test_an_interface_that_is_renamed_meanwhile(lines: TwoLines, start: Start) -> None:
    """A ring is bound to a number; what it dropped is its line's, whatever that is called at the end."""
    ring = start()
    send_both(lines, range(1, 101), {}, seed=5)
    full_ring(lines, ring, "A")
    linked(lines.pair, lines.into["A"], ifname="qcelse")
    send_both(lines, range(101, 401), {}, seed=6)
    ring.goes_on()
    ring.has_all()
    send_both(lines, range(401, 501), {}, seed=7)
    ring.has_all()
    report = ring.report()
    assert report["verdicts"][0] == {"interface": lines.into["A"], "now": "qcelse"}
    assert verdicts(report) == [("host-path", "A")]
    (stage,) = likely(report).values()
    assert (stage["stage"], stage["where"], stage["explained"]) == (21, "qcelse", 300)


def test_a_loss_upstream_beside_one_of_this_host_s(lines: TwoLines, start: Start) -> None:
    """The ring's drops explain what A alone lost; they must not be taken for what both miss."""
    ring = start()
    send_both(lines, range(1, 101), {}, seed=5)
    full_ring(lines, ring, "A")
    send_both(lines, range(101, 401), {}, seed=6)
    ring.goes_on()
    ring.has_all()
    send_both(lines, range(441, 701), {}, seed=7)  # 401 to 440 never left the exchange
    ring.has_all()
    report = ring.report()
    (channel,) = report["channels"]
    assert (channel["received"], channel["lost"]) == (660, 40)
    assert verdicts(report) == [("upstream", None), ("host-path", "A")]
    assert {stream: each["stage"] for stream, each in likely(report).items()} == {STREAMS["A"]: 21, STREAMS["B"]: 0}


def test_a_datagram_holds_many_numbers(lines: TwoLines, start: Start) -> None:
    """200 packets are dropped, in which are 2,000 numbers."""
    ring = start()
    for number in range(1, 1_001, 10):
        for line in "AB":
            lines.number(line, number, count=10)
    full_ring(lines, ring, "A")
    for number in range(1_001, 3_001, 10):
        for line in "AB":
            lines.number(line, number, count=10)
    ring.goes_on()
    ring.has_all()
    for line in "AB":
        lines.number(line, 3_001, count=10)
    ring.has_all()
    report = ring.report()
    (channel,) = report["channels"]
    assert (channel["received"], channel["lost"], channel["both"]) == (3_010, 0, 1_010)
    assert [feed["lost"] for feed in report["feeds"]] == [2_000, 0]
    assert verdicts(report) == [("host-path", "A")]
    (stage,) = likely(report).values()
    assert (stage["stage"], stage["explained"]) == (21, 2_000)
    assert "200 packets of some 10.0 each; 2000 are missing" in stage["why"]


@pytest.mark.parametrize("silent", ["A", "B"])
def test_a_line_that_is_silent(lines: TwoLines, start: Start, silent: str) -> None:
    ring = start()
    first = send_both(lines, range(1, LAST + 1), {silent: set(range(1, LAST + 1))}, seed=8)
    ring.has_all()
    report = ring.report()
    other = "B" if silent == "A" else "A"
    (channel,) = report["channels"]
    wanted = expected({silent: (), other: range(1, LAST + 1)}, first)
    assert {key: channel[key] for key in ("received", "lost", "both", "first")} == wanted
    assert [feed["line"] for feed in report["feeds"]] == [other]
    assert verdicts(report) == [("line-silent", silent)]


def test_a_silent_line_leaves_the_other_s_gaps_unfilled(lines: TwoLines, start: Start) -> None:
    ring = start()
    send_both(lines, range(1, LAST + 1), {"A": ONLY_A, "B": set(range(1, LAST + 1))}, seed=8)
    ring.has_all()
    report = ring.report()
    (channel,) = report["channels"]
    assert (channel["received"], channel["lost"]) == (LAST - len(ONLY_A), len(ONLY_A))
    assert verdicts(report) == [("network", "A"), ("line-silent", "B")]
    (stage,) = likely(report).values()
    assert stage["stage"] == 0
    assert "misses the same" not in stage["why"]  # it brought nothing that could be compared


def test_both_lines_are_silent(lines: TwoLines, start: Start) -> None:
    ring = start()
    lines.junk("A", 10)
    ring.has_all()
    report = ring.report()
    assert (report["channels"], report["feeds"]) == ([], [])
    assert verdicts(report) == [("both-silent", None)]


def test_a_channel_of_one_line_has_no_silent_other(lines: TwoLines, start: Start, feed_file: Path) -> None:
    feed_file.write_text(ONE_LINE)
    ring = start()
    send_both(lines, range(1, LAST + 1), {"A": ONLY_A, "B": set(range(1, LAST + 1))}, seed=9)
    ring.has_all()
    report = ring.report()
    assert verdicts(report) == []
    assert likely(report)[STREAMS["A"]]["stage"] == 0


def test_the_verdict_for_people(lines: TwoLines, feed_file: Path) -> None:
    process = ring_command(lines, feed_file)
    try:
        until(lambda: "packets/s" in process.stdout.readline(), "it reads")
        send_both(lines, range(1, LAST + 1), {"A": ONLY_A}, seed=10)
        until(lambda: f"  {len(ONLY_A)} lost of the feed so far" in process.stdout.readline(), "the gaps are seen")
        until(lambda: " 0 packets/s" in process.stdout.readline(), "it has read all")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert f"itch: Line A lost {len(ONLY_A)} numbers that B brought" in output
    assert "network A, before this host" in output
    assert f"{STREAMS['A']}: likely stage 0, upstream" in output


def test_a_line_that_is_behind_at_the_beginning(lines: TwoLines, start: Start) -> None:
    """A is 50 numbers ahead when the ring is opened: B's are older than the channel, and no sequence that began anew."""
    ring = start()
    ring.stopped()
    for line, begin in (("A", 100), ("B", 50)):
        for number in range(begin, 401):
            lines.number(line, number)
    ring.goes_on()
    ring.has_all()
    send_both(lines, range(401, 501), {}, seed=11)
    ring.has_all()
    report = ring.report()
    (channel,) = report["channels"]
    assert (channel["received"], channel["lost"], channel["both"]) == (401, 0, 401)
    assert [(feed["received"], feed["lost"], feed["resets"]) for feed in report["feeds"]] == [(401, 0, 0), (451, 0, 0)]
    assert verdicts(report) == [("fine", None)]
