"""Capture files as ``quietcore ring`` reads them: whole, growing, shrinking, refused, and as another process."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from capture_images import enhanced, ethernet, interface, option, pcap, pcap_header, pcap_record, section, statistics
from ring_images import NOW_NS, mold, udp4
from veth_pair import PROJECT

from ingest.feeds.formats import parse_feed
from ingest.rings import capture
from ingest.rings.capture import CaptureError, CaptureFile
from ingest.rings.counters import RingReport
from ingest.rings.layout import Following
from ingest.rings.walk import WalkerMissing
from ui.cli.ring import report_text

MOLD = Following((parse_feed("moldudp64"),))
COMMAND = [sys.executable, "-m", "ui.cli.main", "ring"]
PACKETS = [ethernet(udp4(mold(number))) for number in (1, 2, 4)]


def pcapng(packets: list[bytes], drops: int = 0) -> bytes:
    blocks = b"".join(enhanced(data, NOW_NS + n * 500_000_000) for n, data in enumerate(packets))
    return section() + interface(options=option(9, b"\x09")) + blocks + statistics(0, drops)


def read(path: Path, **options: object) -> RingReport:
    with CaptureFile.open(str(path), following=MOLD, **options) as opened:
        assert list(opened.run()) == []
        return opened.report()


@pytest.mark.parametrize("walker", [None, "python"])
def test_the_report(tmp_path: Path, walker: str | None) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(pcapng(PACKETS, drops=9))
    report = read(path, walker=walker)
    assert (report.source, report.mode, report.part, report.error) == (f"capture:{path}", "capture", "whole", None)
    assert report.seconds == 1.0
    total = report.total
    assert (total.walked.packets, total.drops, total.unaccounted) == (3, 9, 0)
    assert total.walked.latency.percentile(50) is None
    assert report.followed.streams[0].lost == 1
    assert report.capture is not None
    assert (report.capture.read, report.capture.bytes) == (path.stat().st_size,) * 2
    assert (report.capture.first_ns, report.capture.last_ns) == (NOW_NS, NOW_NS + 1_000_000_000)


def test_a_file_longer_than_a_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "PIECE_BYTES", 300_000)
    path = tmp_path / "a.pcap"
    packets = [ethernet(udp4(mold(number, 1, bytes(number % 1400)))) for number in range(1, 2001)]
    path.write_bytes(pcap(packets))
    report = read(path)
    assert report.total.walked.packets == report.followed.streams[0].received == 2000
    assert report.total.walked.bytes == sum(map(len, packets))
    assert path.stat().st_size > 3 * 300_000


def test_a_block_that_is_skipped_though_it_is_longer_than_a_piece(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    body = bytes(5 << 20)
    total = struct.pack("<I", len(body) + 12)
    path.write_bytes(section() + b"\xad\x0b\0\0" + total + body + total + interface() + enhanced(PACKETS[0]))
    report = read(path)
    assert (report.error, report.total.walked.packets) == (None, 1)


def test_what_is_appended_later_is_not_read_but_said(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    image = pcap(PACKETS)
    path.write_bytes(image[:-10])
    with CaptureFile.open(str(path)) as opened:
        with path.open("ab") as more:
            more.write(image[-10:])
        list(opened.run())
        report = opened.report()
    assert report.total.walked.packets == 2
    assert report.error is not None
    assert "within a record" in report.error


def test_a_file_that_grows_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "PIECE_BYTES", 300_000)
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap([bytes(200_000)] * 4)[:-10])
    with CaptureFile.open(str(path)) as opened:
        with path.open("ab") as more:
            more.write(bytes(10))
        list(opened.run())
        report = opened.report()
    assert report.total.walked.packets == 3
    assert report.error is not None
    assert "is still being written: it ended within a record" in report.error


@pytest.mark.parametrize("kept", [0, 300_010, 410_000])
def test_a_file_that_shrinks_under_the_reader_is_an_error_and_no_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr(capture, "PIECE_BYTES", 300_000)
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap([bytes(100_000)] * 8))
    with CaptureFile.open(str(path)) as opened:
        os.truncate(path, kept)
        list(opened.run())
        report = opened.report()
    assert report.error is not None
    assert "became shorter while it was read" in report.error
    assert report.total.walked.packets == max(2, (kept - 24) // 100_016)


def test_a_read_error_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "PIECE_BYTES", 300_000)
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap([bytes(100_000)] * 8))

    def fails(*_: object) -> int:
        raise OSError(5, "Input/output error")

    with CaptureFile.open(str(path)) as opened:
        monkeypatch.setattr(os, "preadv", fails)
        list(opened.run())
        report = opened.report()
    assert report.total.walked.packets == 2
    assert report.error is not None
    assert "cannot be read at byte 200,056: Input/output error" in report.error


def test_a_damaged_file_is_counted_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    image = pcapng(PACKETS)
    at = len(image) - len(statistics(0, 0))
    path.write_bytes(image[:at] + b"\x06\0\0\0\x05\0\0\0" + bytes(100))
    report = read(path)
    assert report.error is not None
    assert f"is damaged at byte {at:,} of {at + 108:,}" in report.error
    assert report.total.walked.packets == 3
    assert report.total.walked.malformed_blocks == 1


REFUSED = [
    (b"", "is empty"),
    (b"hello, world", "is no capture file: it begins with 68 65 6c 6c"),
    (b"\x1f\x8b\x08\x00" + bytes(40), "is compressed by gzip"),
    (b"\x28\xb5\x2f\xfd" + bytes(40), "is compressed by zstd"),
    (struct.pack("<I", 0xA1B2CD34) + bytes(40), "Kuznetzov's modified pcap"),
    (pcap_header(version=(2, 3)), "of version 2.3; version 2.4 can be read"),
    (section(version=(2, 0)), "of version 2.0; version 1.0 can be read"),
    (pcap_header()[:20], "ends within its header"),
    (section()[:20], "ends within its header"),
    (b"\n\r\r\n" + bytes(40), "header does not hold together"),
]


@pytest.mark.parametrize(("image", "words"), REFUSED)
@pytest.mark.parametrize("walker", [None, "python"])
def test_what_is_refused(tmp_path: Path, image: bytes, words: str, walker: str | None) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(image)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(CaptureError) as raised:
        CaptureFile.open(str(path), walker=walker)
    assert words in str(raised.value)
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, words in (
        (str(tmp_path), "is a directory"),
        (str(tmp_path / "fifo"), "no regular file"),
        ("/dev/zero", "no regular file"),
        (str(tmp_path / "none"), "no file"),
        (str(tmp_path / ("x" * 300)), "File name too long"),
        (str(tmp_path / "a\x1b[31m"), r"no file '.*\\x1b\[31m'"),
    ):
        with pytest.raises(CaptureError, match=words):
            CaptureFile.open(name)


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(pcap(PACKETS))
    (tmp_path / "latest").symlink_to("a.pcap")
    assert read(tmp_path / "latest").total.walked.packets == 3


def test_an_empty_capture_is_one_without_packets(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap([]))
    report = read(path)
    assert (report.error, report.total.walked.packets, report.seconds) == (None, 0, 0.0)
    assert "no datagram of moldudp64 came" in report_text(report)
    assert report.to_json()["capture"]["duration_ns"] is None


def test_a_cpu_or_walker_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap([]))
    with pytest.raises(CaptureError, match="cannot run on CPU 16000"):
        CaptureFile.open(str(path), cpu=16000)
    with pytest.raises(WalkerMissing, match="must be native, numpy or python"):
        CaptureFile.open(str(path), walker="rust")


def test_stop_ends_it_before_the_next_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "PIECE_BYTES", 300_000)
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap([bytes(100_000)] * 8))
    with CaptureFile.open(str(path)) as opened:
        opened.stop()
        list(opened.run())
        report = opened.report()
    assert (report.error, report.total.walked.packets) == (None, 2)
    assert report.capture is not None
    assert report.capture.read < report.capture.bytes


# ---- the command


def command(*words: str, **more: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *words], cwd=PROJECT, capture_output=True, text=True, timeout=30, **more)


def test_as_json(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(pcapng(PACKETS, drops=2))
    ran = command(f"capture:{path}", "--json", "--feed", "moldudp64:30001")
    assert (ran.returncode, ran.stderr) == (0, "")
    record = json.loads(ran.stdout)
    assert list(record)[:7] == ["schema", "command", "source", "walker", "mode", "seconds", "part"]
    assert (record["mode"], record["seconds"]) == ("capture", 1.0)
    (ring,) = record["rings"]
    assert (ring["core"], ring["packets"], ring["drops"], ring["unaccounted"]) == (None, 3, 2, 0)
    assert {value for name, value in ring["latency"].items() if name.endswith("_ns")} == {None}
    assert record["feeds"][0]["lost"] == 1
    assert record["capture"]["duration_ns"] == 1_000_000_000


def test_for_people(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(pcapng(PACKETS) + interface(link_type=127) + enhanced(b"abc", NOW_NS // 1000, number=1))
    ran = command(f"capture:{path}", "--feed", "moldudp64")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "2023-11-14 22:13:20.500000000 UTC to 2023-11-14 22:13:21.500000000 UTC" in ran.stdout
    assert "1 packets (3 bytes) of link type 127 (IEEE 802.11 with radiotap), which is not decoded" in ran.stdout
    assert "239.1.1.1:30001" in ran.stdout


def test_a_cut_file_is_reported_and_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(PACKETS)[:-1])
    ran = command(f"capture:{path}", "--json")
    assert ran.returncode == 1
    assert json.loads(ran.stdout)["total"]["packets"] == 2
    assert "ends within a record, at byte" in ran.stderr


def test_options_of_live_sources_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(PACKETS))
    for words in (["--seconds", "1"], ["--interval", "1"], ["--mode", "latency"], ["--rings", "1"], ["--promiscuous"]):
        ran = command(f"capture:{path}", *words)
        assert (ran.returncode, ran.stdout) == (1, "")
        assert f"{words[0]}: for live sources only" in ran.stderr


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(PACKETS))
    path.chmod(0)
    drop = (  # PR_CAPBSET_DROP of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: root, but without its privilege to read
        "import ctypes, os, sys; [ctypes.CDLL(None).prctl(24, number, 0, 0, 0) for number in (1, 2)];"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", drop, *COMMAND[1:], f"capture:{path}"], cwd=PROJECT, capture_output=True, text=True
    )
    assert ran.returncode == 1
    assert "may not be read: Permission denied" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_interrupted_it_reports_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    record = pcap_record(ethernet(udp4(mold(1, 1, bytes(100)))))
    with path.open("wb") as file:
        file.write(pcap_header() + record * 300_000)
    process = subprocess.Popen(
        [*COMMAND, f"capture:{path}", "--json", "--feed", "moldudp64"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"QUIETCORE_WALKER": "python"},  # takes its time
    )
    for _ in range(500):
        (caught,) = (line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "SigCgt" in line)
        if int(caught.split()[1], 16) >> signal.SIGTERM - 1 & 1:  # it is reading
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, words = process.communicate(timeout=30)
    assert (process.returncode, words) == (0, "")
    found = json.loads(output)
    assert 0 < found["total"]["packets"] < 300_000
    assert found["capture"]["read"] < found["capture"]["bytes"]
