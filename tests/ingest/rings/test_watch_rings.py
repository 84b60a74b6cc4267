"""``quietcore watch --ring``: every packet that was sent is in a sample, each loss is blamed where it was made, while it is."""

import os
import random
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import nft_rules
import pytest
from two_lines import FRAME_BYTES, IN_NAMESPACE, PORTS, PROJECT, STREAMS, TWO_LINES, TwoLines, linked, until
from watched_lines import WATCH, WatchProcess, accounted, feeds, rows

from ingest.load.namespaces import NamespaceError, VethPair
from ingest.rings.packet import default_rings, geometry_of

Start = Callable[..., WatchProcess]


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
    tmp_path.chmod(0o755)
    return path


@pytest.fixture
def start(lines: TwoLines, feed_file: Path) -> Iterator[Start]:
    started = []

    def make(*words: str, **more: str) -> WatchProcess:
        started.append(WatchProcess(lines, feed_file, *words, **more))
        return started[-1]

    yield make
    for each in started:
        each.end()


def send(lines: TwoLines, numbers: range, lost_a: range = range(0), lost_b: range = range(0)) -> None:
    for number in numbers:
        if number not in lost_a:
            lines.number("A", number)
        if number not in lost_b:
            lines.number("B", number)


# ---------------------------------------------------------------------------------------------------- where it was lost


def test_each_loss_of_a_morning_is_told_while_it_happens_and_the_sums_are_exact(lines: TwoLines, start: Start) -> None:
    """Network A, then both lines, then this host's own ring, one after the other in one watch.

    All the time netfilter drops some of line B behind the tap: those are the ledger's, and no gap of a tap.
    """
    watch = start()
    filtered(lines, "B", 128)
    send(lines, range(1, 1_001), lost_a=range(300, 350))
    level, where, what = watch.says("numbers that B brought")
    assert (level, where) == ("warn", "itch")
    assert "Line A lost 50 numbers that B brought" in what
    assert "network A, before this host" in what
    level, where, what = watch.says("likely stage")
    assert (level, where) == ("warn", STREAMS["A"])
    assert what.startswith("50 lost: likely stage 0, upstream")
    assert "stages not visible here: " in what  # veth has no MAC
    told = len(watch.events)

    send(lines, range(1_001, 2_001), lost_a=range(1_500, 1_530), lost_b=range(1_500, 1_530))
    watch.says("30 numbers are missing on both lines")
    both = watch.events[told:]
    assert [each[:2] for each in both] == [("crit", "itch"), ("crit", STREAMS["A"]), ("crit", STREAMS["B"])]
    assert "the exchange, or a switch that both lines cross" in both[0][2]
    told = len(watch.events)

    dropped = full_ring(watch, lines, range(2_001, 2_301))
    send(lines, range(2_301, 2_401))
    level, where, what = watch.says("likely stage 21")
    assert (level, where) == ("warn", STREAMS["A"])
    assert what.startswith(f"{dropped} lost: likely stage 21, packet ring (qcinto): PACKET_STATISTICS tp_drops on qcinto")
    assert [each[:2] for each in watch.events[told:]] == [("warn", "itch"), ("warn", STREAMS["A"])]
    assert "of qcinto moved: this host dropped them" in watch.events[told][2]
    lost = next(each for each in watch.alerts if "stage 21" in each[2])
    assert lost[:2] == ("warn", "qcinto")
    assert "packets lost" in lost[2]

    sample = watch.has_all(sum(lines.sent.values()))
    lost_a, lost_b = 50 + 30 + dropped, 30
    wanted = sum(number % 256 >= 128 for number in range(1, 2_401) if not 1_500 <= number < 1_530)
    assert feeds(sample) == {"A": (2_400 - lost_a, lost_a), "B": (2_400 - lost_b, lost_b), "A+B": (2_370, 30)}
    named = {f"itch {line} {STREAMS[line]}": lost for line, lost in (("A", lost_a), ("B", lost_b))}
    assert rows(sample, 26) == named | {"itch A+B": 30}
    assert rows(sample, 21) == {"qcinto": dropped, "qcinto2": 0}
    for line in "AB":
        source = lines.into[line]
        drops = dropped if line == "A" else 0
        totals = [ring["total"] for ring in sample["rings"] if ring["source"] == source]
        assert sum(each["packets"] for each in totals) + drops == lines.sent[line]
        assert sum(each["bytes"] for each in totals) == FRAME_BYTES * (lines.sent[line] - drops)
        assert sum(each["unaccounted"] for each in totals) == 0
        ticks = {name: watch.sums["ring", source, name] for name in ("packets", "drops")}
        assert ticks == {"packets": lines.sent[line] - drops, "drops": drops}
    sample = watch.until(lambda sample: sum(rows(sample, 14).values()) == wanted, "the rule's counter, read every 5 s")
    assert not [each for each in watch.events if "nftables" in each[2] or "stage 14" in each[2]]
    for where, lost in rows(sample, 26).items():  # the rates of all ticks add up to what there is in all
        assert watch.sums[26, where, "sequence gaps"] == pytest.approx(lost)
    assert watch.sums[21, "qcinto", "PACKET_STATISTICS tp_drops"] == pytest.approx(dropped)


def full_ring(watch: WatchProcess, lines: TwoLines, numbers: range) -> int:
    """Stops the reader, fills line A's ring to its last frame and sends numbers on both; how many A's ring dropped."""
    watch.has_all(sum(lines.sent.values()))
    watch.stopped()
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})  # a packet goes to the ring of the CPU that sent it
    try:
        lines.junk("A", geometry_of("latency", 2 * default_rings()).units)
        send(lines, numbers)
    finally:
        os.sched_setaffinity(0, allowed)
    watch.goes_on()
    watch.has_all(sum(lines.sent.values()))
    return len(numbers)


def filtered(lines: TwoLines, line: str, low_byte: int) -> None:
    """Netfilter drops the line's numbers whose last byte is high, once its group is joined: else IP takes none of it."""
    try:
        lines.pair.far.call(nft_rules.write, nft_rules.drop_batch([PORTS[line]], from_low_byte=low_byte), 1)
    except nft_rules.NoNftables as missing:
        pytest.skip(f"no nftables in this kernel: {missing}")
    lines.held.append(lines.pair.far.call(_joined, lines.into[line]))


def _joined(interface: str) -> socket.socket:
    member = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    request = socket.inet_aton("239.1.1.1") + bytes(4) + struct.pack("=i", socket.if_nametoindex(interface))
    member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    return member


def test_what_comes_late_is_no_loss_and_what_comes_too_late_is_taken_back(lines: TwoLines, start: Start) -> None:
    watch = start(sources="A", feed="moldudp64:30001")
    for number in (1, 2, 5, 6):
        lines.number("A", number)
    watch.until(lambda sample: feeds(sample).get(STREAMS["A"]) == (4, 2), "the gap is seen")
    assert rows(watch.samples[-1], 26) == {STREAMS["A"]: 2}
    for number in (4, 3):  # within the hold-off
        lines.number("A", number)
    watch.until(lambda sample: feeds(sample)[STREAMS["A"]] == (6, 0), "it is closed")
    for number in (7, 10, 12):
        lines.number("A", number)
    assert watch.says("likely stage")[2].startswith("3 lost: ")
    assert watch.events[0][0] == "crit"  # there is no other line
    lines.number("A", 8)
    assert watch.says("came late") == ("info", STREAMS["A"], "1 numbers that were told as lost came late")
    assert feeds(watch.samples[-1])[STREAMS["A"]] == (10, 2)
    assert all(row["per_s"] >= 0 for sample in watch.samples for row in sample["losses"])
    assert len(watch.events) == 2


def test_rubbish_on_the_wire(lines: TwoLines, start: Start) -> None:
    """Random datagrams to the feed's port and to others, and frames that are nothing: all counted, the process goes on."""
    watch = start()
    randoms = random.Random(7)
    for _ in range(400):
        frame = bytearray(randoms.randbytes(randoms.randrange(14, 200)))
        kind = randoms.randrange(3)
        if kind:  # Ethernet and IPv4 to the feed's group; the rest is noise
            lines_header = bytes.fromhex("01005e010101 02514381ffff 0800 45".replace(" ", ""))
            frame[: len(lines_header)] = lines_header
        lines._send("A", frame)
    for _ in range(50):
        lines._send("B", _short_datagram(randoms))
    sample = watch.has_all(sum(lines.sent.values()))
    odd = next(row for row in sample["losses"] if row["counter"] == "unread datagrams")
    assert odd["total"] >= 50
    send(lines, range(1, 101))
    sample = watch.has_all(sum(lines.sent.values()))
    assert feeds(sample)["B"] == (100, 0)


def _short_datagram(randoms: random.Random) -> bytes:
    """To line B's port, whole, and too short to hold a number."""
    from ingest.load.frames import header

    frame = bytearray(header(62, 30002, 1))
    frame[16:18] = (20 + 8 + 5).to_bytes(2, "big")
    frame[38:40] = (8 + 5).to_bytes(2, "big")
    frame[24:26] = frame[40:42] = bytes(2)
    return bytes(frame[:42]) + randoms.randbytes(18)


# -------------------------------------------------------------------------------------------- interfaces come, go, change


def remade(lines: TwoLines, line: str, up: bool = True) -> None:
    """Makes the pair of a line anew, under the same names."""
    from pyroute2 import IPRoute

    def make(far: int) -> None:
        with IPRoute() as netlink:
            netlink.link("add", ifname=lines.out[line], kind="veth", peer={"ifname": lines.into[line], "net_ns_fd": far})
            netlink.link("set", index=netlink.link_lookup(ifname=lines.out[line])[0], state="up")

    lines.pair.near.call(make, lines.pair.far.fileno())
    if up:
        linked(lines.pair, lines.into[line], state="up")
    lines.reopen(line)


def test_an_interface_is_deleted_and_made_again(lines: TwoLines, start: Start) -> None:
    watch = start()
    send(lines, range(1, 201))
    watch.has_all(400)
    linked(lines.pair, lines.into["B"], "del")
    assert watch.says("vanished")[:2] == ("warn", "qcinto2")
    watch.says("not read for a moment")
    for number in range(201, 301):
        lines.number("A", number)
    sample = watch.has_all(500)
    assert {ring["source"]: ring["open"] for ring in sample["rings"]} == {"qcinto": True, "qcinto2": False}
    remade(lines, "B")
    level, where, what = watch.says("the interface is back")
    assert (level, where) == ("info", "qcinto2")
    assert "what was sent meanwhile is in no counter" in what
    watch.until(lambda sample: all(ring["open"] for ring in sample["rings"]), "both are open")
    send(lines, range(301, 401), lost_b=range(320, 330))
    sample = watch.has_all(690)
    assert feeds(sample)["A"] == (400, 0)
    assert feeds(sample)["B"] == (200 + 90, 10)
    for before, after in zip(watch.samples, watch.samples[1:], strict=False):  # totals never go backwards
        assert all(accounted(after)[source] >= count for source, count in accounted(before).items())
    assert "network B" in watch.says("Line B lost 10 numbers")[2]


def test_the_only_interface_is_waited_for_until_it_is_up(lines: TwoLines, start: Start) -> None:
    watch = start(sources="A", feed="")
    for number in range(1, 101):
        lines.number("A", number)
    watch.has_all(100)
    linked(lines.pair, lines.into["A"], "del")
    watch.says("vanished")
    remade(lines, "A", up=False)
    watch.until(lambda sample: any(nic["name"] == "qcinto" and not nic["up"] for nic in sample["nics"]), "it is there, down")
    assert not watch.samples[-1]["rings"][0]["open"]
    linked(lines.pair, lines.into["A"], state="up")
    watch.says("the interface is back")
    for number in range(101, 201):
        lines.number("A", number)
    sample = watch.has_all(200)
    assert sample["feeds"] == []
    assert rows(sample, 21) == {"qcinto": 0}


def test_an_interface_is_renamed(lines: TwoLines, start: Start) -> None:
    watch = start()
    send(lines, range(1, 101))
    watch.has_all(200)
    linked(lines.pair, lines.into["A"], ifname="qcelse")
    watch.until(lambda sample: any(ring["interface"] == "qcelse" for ring in sample["rings"]), "the new name")
    dropped = full_ring(watch, lines, range(101, 201))
    send(lines, range(201, 301))
    assert "likely stage 21, packet ring (qcelse)" in watch.says("likely stage")[2]
    sample = watch.has_all(sum(lines.sent.values()))
    assert {ring["source"]: ring["interface"] for ring in sample["rings"]} == {"qcinto": "qcelse", "qcinto2": "qcinto2"}
    assert rows(sample, 21) == {"qcelse": dropped, "qcinto2": 0}
    assert feeds(sample)["A"] == (300 - dropped, dropped)


# ------------------------------------------------------------------------------------------------------ beginning and end


def test_it_ends_at_a_signal_and_leaves_nothing(lines: TwoLines, start: Start) -> None:
    watch = start()
    held = [each for each in _packet_sockets(lines) if each]
    assert len(held) >= 2 * default_rings()
    watch.process.send_signal(signal.SIGTERM)
    output, words = watch.process.communicate(timeout=20)
    assert (watch.process.returncode, words) == (0, "")
    assert not output or output.endswith("\n")
    until(lambda: not _packet_sockets(lines), "all rings are closed")


def test_it_ends_when_nobody_reads(lines: TwoLines, start: Start) -> None:
    watch = start()
    watch.process.stdout.close()
    assert watch.process.wait(20) == 0
    assert watch.process.stderr.read() == ""
    until(lambda: not _packet_sockets(lines), "all rings are closed")
    watch.process.stdout = open(os.devnull)  # noqa: SIM115 (for the fixture's end)


def _packet_sockets(lines: TwoLines) -> list[str]:
    def read() -> list[str]:
        with open("/proc/thread-self/net/packet") as file:
            return file.read().splitlines()[1:]

    return lines.pair.far.call(read)


def test_it_keeps_what_it_needs_and_no_more(lines: TwoLines, start: Start) -> None:
    watch = start()
    with open(f"/proc/{watch.process.pid}/status", encoding="utf-8") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    assert "0" not in status["Uid"].split()
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm")} == {1 << 2 | 1 << 12 | 1 << 13}
    assert (status["Groups"].strip(), status["NoNewPrivs"]) == ("", "1")
    for task in os.listdir(f"/proc/{watch.process.pid}/task"):
        with open(f"/proc/{watch.process.pid}/task/{task}/status", encoding="utf-8") as file:
            assert "CapPrm:\t0000000000003004" in file.read()


def test_the_tick_does_not_wait_for_the_ring_and_says_what_it_costs(lines: TwoLines, start: Start) -> None:
    watch = start()
    send(lines, range(1, 3_001))
    sample = watch.has_all(6_000)
    spent = [each["cost"] for each in watch.samples]
    assert any(each["ring_cpu_ns"] > 0 for each in spent)
    assert all(each["ring_cpu_ns"] <= 1.5 * each["cpu_ns"] + 5e6 for each in spent[1:])
    # were a tick to wait for a part, each would be one part later than the one before
    ticks = (sample["monotonic_ns"] - watch.samples[0]["monotonic_ns"]) / 1e8
    taken = len(watch.samples) - 1 + spent[-1]["late_ticks"] - spent[0]["late_ticks"]
    assert taken == pytest.approx(ticks, abs=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ring", "packet:nosuch0"], "no interface 'nosuch0'"),
        (["--ring", "capture:\x1b[31m"], "not live"),
        (["--ring", "packet:lo", "--ring", "packet:lo"], "different ones"),
        (["--ring", "packet:lo", "--feed", "infer"], "command ring"),
        (["--feed", "moldudp64"], "add --ring packet:INTERFACE"),
        (["--demo", "--ring", "packet:lo"], "real interface"),
    ],
)
def test_errors_say_what_is_wrong(words: list[str], said: str) -> None:
    ran = subprocess.run([*WATCH, "--count", "1", *words], cwd=PROJECT, capture_output=True, text=True, timeout=30)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "\x1b" not in ran.stderr


def test_without_the_capability_it_says_so() -> None:
    drop = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 13, 0, 0, 0);"  # PR_CAPBSET_DROP, CAP_NET_RAW
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    command = ["python", "-c", drop, *WATCH[1:], "--ring", "packet:lo", "--count", "1"]
    ran = subprocess.run(command, executable=WATCH[0], cwd=PROJECT, capture_output=True, text=True, timeout=30)
    assert ran.returncode == 1
    assert "CAP_NET_RAW: run as root" in ran.stderr


def test_for_people(lines: TwoLines, feed_file: Path) -> None:
    words = ["--ring=packet:qcinto", "--feed", "moldudp64:30001", "--filter", "udp", "--interval", "0.1"]
    command = [each for each in WATCH if each != "--json"]
    process = lines.pair.far.call(
        subprocess.Popen,
        [*IN_NAMESPACE, *command, *words],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: "ring qcinto: " in process.stdout.readline(), "it watches")
        send(lines, range(1, 101), lost_a=range(50, 60))
        found = until(lambda: _with(process.stdout.readline(), "in all 90, 10 lost"), "the feed")
        assert found.startswith(f"feed {STREAMS['A']}: ")
        found = until(lambda: _with(process.stdout.readline(), "likely stage"), "the event")
        assert found.startswith(f"crit: {STREAMS['A']}: 10 lost: likely stage 0")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert said.startswith("reading packet:qcinto, latency mode, ")
    assert "only 'udp'" in said


def _with(line: str, words: str) -> str:
    return line if words in line else ""
