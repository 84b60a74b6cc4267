"""``quietcore ring --feed`` with the formats, channels and guesses of a real namespace's traffic."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_ring_command import COMMAND, finish, start, until_it_reads
from veth_pair import PROJECT, VethPair

FEEDS = """
[format.late_mold]
endian = "big"
sequence = { at = 10, bytes = 8 }

[channel.itch]
format = "moldudp64"
a = "239.1.1.1:30001"
b = "239.1.1.9:30001"
"""


@pytest.fixture
def feed_file(tmp_path: Path) -> str:
    path = tmp_path / "feeds.toml"
    path.write_text(FEEDS)
    path.chmod(0o644)
    return str(path)


def test_a_stream_is_inferred_and_said_to_be_a_guess(pair: VethPair) -> None:
    process = start(pair, f"packet:{pair.into}", "--feed", "infer:30001", "--seconds", "20")
    until_it_reads(pair)
    pair.send(1_200, 20_000)
    status, output, words = finish(process)
    assert status == 0, words
    assert "239.1.1.1:30001: INFERRED, not known: moldudp64" in output
    assert "--feed moldudp64:30001" in output
    assert "on 1,000 of 1,000 datagrams: 0 gaps" in output
    assert "sampling packet:qcinto" in words


def test_inference_as_json_of_streams_that_are_not_full(pair: VethPair) -> None:
    process = start(pair, f"packet:{pair.into}", "--feed", "infer", "--seconds", "1.5", "--json")
    until_it_reads(pair)
    pair.send(300, 20_000, streams=2)
    status, output, words = finish(process)
    assert (status, words) == (0, "")
    (line,) = output.splitlines()
    record = json.loads(line)
    assert list(record)[:3] == ["schema", "command", "source"]
    assert len(record["inferred"]) == 2
    for each in record["inferred"]:
        assert each["best"]["format"] == "moldudp64"
        assert each["certainty"] == "sole"
        assert each["datagrams"] == 150


def test_silence_is_told(pair: VethPair) -> None:
    status, output, words = finish(start(pair, f"packet:{pair.into}", "--feed", "infer:1", "--seconds", "0.2"))
    assert (status, output) == (1, "")
    assert "no UDP datagram to port 1 came in 0.2 s" in words


def test_a_channel_shows_its_lines(pair: VethPair, feed_file: str) -> None:
    words = (f"packet:{pair.into}", "--feed", "itch", "--feed-file", feed_file)
    process = start(pair, *words)
    until_it_reads(pair)
    arrived = pair.send(500, 20_000)
    process.send_signal(signal.SIGINT)
    status, output, said = finish(process)
    assert status == 0, said
    assert f"A 239.1.1.1:30001  {arrived:>8,}     0" in output
    assert "line B (239.1.1.9:30001) is silent" in output
    process = start(pair, *words, "--json")
    until_it_reads(pair)
    arrived = pair.send(500, 20_000)
    process.send_signal(signal.SIGINT)
    status, output, said = finish(process)
    (feed,) = json.loads(output)["feeds"]
    assert (feed["line"], feed["format"], feed["received"]) == ("A", "moldudp64", arrived)


def test_a_format_of_one_s_own(pair: VethPair, feed_file: str) -> None:
    process = start(pair, f"packet:{pair.into}", "--feed", "late_mold:30001", "--feed-file", feed_file, "--json")
    until_it_reads(pair)
    arrived = pair.send(500, 20_000)
    process.send_signal(signal.SIGINT)
    status, output, words = finish(process)
    assert (status, words) == (0, "")
    (feed,) = json.loads(output)["feeds"]
    assert (feed["format"], feed["received"], feed["lost"]) == ("late_mold", arrived, 0)


def ring(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *words], cwd=PROJECT, capture_output=True, text=True)


def test_the_list(feed_file: str, tmp_path: Path) -> None:
    ran = ring("--feed", "list")
    assert ran.returncode == 0
    assert "moldudp64" in ran.stdout
    assert "TCP: not followed" in ran.stdout
    assert "captures of real traffic" in ran.stdout
    ran = ring("--feed", "list", "--json", "--feed-file", feed_file)
    (line,) = ran.stdout.splitlines()
    record = json.loads(line)
    assert record["formats"][-1]["format"] == "late_mold"
    assert record["channels"] == [
        {
            "channel": "itch",
            "format": "moldudp64",
            "lines": [{"line": "A", "stream": "239.1.1.1:30001"}, {"line": "B", "stream": "239.1.1.9:30001"}],
        }
    ]
    place = tmp_path / "etc/quietcore"
    place.mkdir(parents=True)
    os.rename(feed_file, place / "feeds.toml")
    ran = ring("--root", str(tmp_path), "--feed", "list")
    assert "A 239.1.1.1:30001, B 239.1.1.9:30001" in ran.stdout


def test_every_fault_of_the_file_is_told_on_a_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('[channel.x]\nformat = "moldudp46"\na = "nowhere"\n')
    path.chmod(0o644)
    for words in (("--feed", "list"), ("packet:lo", "--feed", "moldudp64"), ("packet:lo", "--feed", "x")):
        ran = ring(*words, "--feed-file", str(path))
        assert (ran.returncode, ran.stdout) == (1, "")
        name, line = ran.stderr.splitlines()
        assert name == "quietcore ring: bad.toml: channel.x.format: unknown feed format 'moldudp46'; did you mean moldudp64?"
        assert line.startswith("quietcore ring: bad.toml: channel.x.a: not an address and a UDP port (as ")


def test_a_packet_source_is_still_required() -> None:
    ran = ring("--feed", "infer")
    assert ran.returncode == 1
    assert "required: SOURCE" in ran.stderr


def test_feeds_load_neither_the_app_nor_netlink() -> None:
    program = (
        "import sys; from ui.cli.main import main; main(['ring', '--feed', 'list']);"
        "main(['ring', 'packet:nosuch0', '--feed', 'infer']);"
        "print(sorted({'textual', 'numpy', 'pyroute2', 'asyncio', 'rich'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "[]"
