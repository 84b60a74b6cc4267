"""``quietcore ring packet:IF --write FILE``: real packets to a file, read back to the same counters."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from test_ring_command import COMMAND, finish, start, until_it_reads
from veth_pair import PROJECT, VethPair


def read_back(path: Path) -> dict:
    ran = subprocess.run(
        [*COMMAND, f"capture:{path}", "--feed", "moldudp64", "--json"], cwd=PROJECT, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return json.loads(ran.stdout)


@pytest.mark.parametrize(("mode", "walker"), [("latency", ""), ("throughput", ""), ("latency", "python")])
def test_what_was_written_is_what_was_received(pair: VethPair, tmp_path: Path, mode: str, walker: str) -> None:
    path = tmp_path / "a.pcapng"
    words = (f"packet:{pair.into}", "--mode", mode, "--feed", "moldudp64", "--json", "--write", str(path))
    process = start(pair, *words, QUIETCORE_WALKER=walker)
    until_it_reads(pair)
    pair.send(5_000, 20_000, size=400, cpu=min(os.sched_getaffinity(0)))
    process.send_signal(signal.SIGINT)
    status, output, spoken = finish(process)
    assert (status, spoken) == (0, "")
    live = json.loads(output)
    written = live["written"]
    assert written["packets"] + written["lost"] == live["total"]["packets"]
    assert written["packets"] > 1_000
    assert (written["file"], written["bytes"], written["ended"]) == (str(path), path.stat().st_size, None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = read_back(path)
    assert read["total"]["packets"] == written["packets"]
    assert read["total"]["drops"] == live["total"]["drops"] + written["lost"]
    assert read["total"]["bytes"] == written["packets"] * 400
    assert read["total"]["truncated"] == (written["packets"] if mode == "latency" else 0)
    if not written["lost"]:
        assert read["feeds"] == [{key: feed[key] for key in feed if key != "latency"} for feed in live["feeds"]]
    assert 0 < read["capture"]["duration_ns"] < 60e9


def test_a_limit_of_packets(pair: VethPair, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    process = start(pair, f"packet:{pair.into}", "--write", str(path), "--write-packets", "100")
    until_it_reads(pair)
    pair.send(1_000, 20_000)
    process.send_signal(signal.SIGINT)
    status, output, _ = finish(process)
    assert status == 0
    assert f"100 packets written to {path}" in output
    (after,) = re.findall(r"writing ended early: the limit of 100 packets was reached; ([\d,]+) packets came after", output)
    assert f" {int(after.replace(',', '')) + 100:,} " in output  # the table's packets
    assert read_back(path)["total"]["packets"] == 100


def test_a_limit_of_bytes(pair: VethPair, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    process = start(pair, f"packet:{pair.into}", "--write", str(path), "--write-bytes", "16K", "--json")
    until_it_reads(pair)
    pair.send(1_000, 20_000)
    process.send_signal(signal.SIGINT)
    _, output, _ = finish(process)
    live = json.loads(output)
    assert live["written"]["packets"] + live["written"]["after"] == live["total"]["packets"] > 500
    assert live["written"]["ended"] == "the limit of 16,384 bytes was reached"
    assert 15_000 < path.stat().st_size <= 16_384
    assert read_back(path)["total"]["packets"] == live["written"]["packets"]


def test_a_full_disk_ends_the_writing_and_not_the_reading(pair: VethPair, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    path = small / "a.pcapng"
    reader = f"{' '.join(COMMAND)} packet:{pair.into} --write {path} --json"
    inside = f"mount -t tmpfs -o size=256k none {small} && {reader} && cp {path} {tmp_path}/kept"
    process = subprocess.Popen(
        ["ip", "netns", "exec", pair.far, "unshare", "-m", "sh", "-c", inside],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until_it_reads(pair)
    pair.send(5_000, 20_000)
    _terminate_reader(process.pid)
    status, output, words = finish(process)
    if "mount:" in words:
        pytest.skip(f"no tmpfs can be mounted here: {words}")
    live = json.loads(output)
    assert status == 0
    written = live["written"]
    assert written["ended"] == f"'{path}' takes no more: No space left on device; free some space, or write elsewhere"
    assert written["packets"] + written["after"] + written["lost"] == live["total"]["packets"]
    assert written["after"] > 1_000
    read = read_back(tmp_path / "kept")
    assert read["total"]["packets"] == written["packets"] > 500
    assert read["capture"]["bytes"] == written["bytes"]


def _terminate_reader(shell: int) -> None:
    """The reader is the shell's only child."""
    (child,) = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
    os.kill(int(child), signal.SIGTERM)


def refused(*words: str) -> str:
    ran = subprocess.run([*COMMAND, *words], cwd=PROJECT, capture_output=True, text=True, timeout=30)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "Traceback" not in ran.stderr
    return ran.stderr


def test_what_cannot_be_written(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to come that far")
    there = tmp_path / "there"
    there.write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    lo = ("packet:lo", "--seconds", "0.1", "--write")
    assert "exists already; name a new file" in refused(*lo, str(there))
    assert there.read_text() == "kept"
    assert "exists already" in refused(*lo, str(tmp_path / "link"))
    assert not (tmp_path / "target").exists()
    assert "no directory for" in refused(*lo, str(tmp_path / "none" / "a"))
    assert "cannot create" in refused(*lo, str(tmp_path / ("x" * 300)))
    assert "holds no packet" in refused(*lo, str(tmp_path / "a"), "--write-bytes", "1K")
    assert "not a size" in refused(*lo, str(tmp_path / "a"), "--write-bytes", "1.5G")
    assert "not a number of packets" in refused(*lo, str(tmp_path / "a"), "--write-packets", "0")
    assert "name a file" in refused("packet:lo", "--write-packets", "5")
    assert "--write: for live sources only" in refused("capture:x.pcap", "--write", str(tmp_path / "a"))
    assert not (tmp_path / "a").exists()
    assert "no interface" in refused("packet:nosuch0", "--write", str(tmp_path / "a"))
    assert not (tmp_path / "a").exists()


def test_an_interface_without_packets(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to come that far")
    path = tmp_path / "a.pcapng"
    namespace = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    ran = subprocess.run(
        [*namespace, sys.executable, "-m", "ui.cli.main", "ring", "packet:lo", "--seconds", "0.2", "--write", str(path)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert f"0 packets written to {path}" in ran.stdout
    assert read_back(path)["total"]["packets"] == 0


@pytest.mark.parametrize("mode", ["latency", "throughput"])
def test_a_tagged_frame_is_written_as_it_was_on_the_wire(pair: VethPair, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.pcapng"
    process = start(pair, f"packet:{pair.into}", "--mode", mode, "--write", str(path))
    until_it_reads(pair)
    frame = b"\xff" * 6 + bytes(6) + bytes.fromhex("8100 a005 0800") + bytes(range(100))
    sender = (
        "import socket, sys, time; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((sys.argv[1], 0));"
        "[(s.send(bytes.fromhex(sys.argv[2])), time.sleep(0.02)) for _ in range(40)]"  # the reader may begin late
    )
    subprocess.run(["ip", "netns", "exec", pair.near, sys.executable, "-c", sender, pair.out, frame.hex()], check=True)
    process.send_signal(signal.SIGINT)
    status, _, words = finish(process)
    assert status == 0, words
    assert frame in path.read_bytes()
