"""``quietcore ring`` as people and programs use it: another process, in a namespace, ended by signals."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from veth_pair import PROJECT, VethPair

COMMAND = [sys.executable, "-m", "ui.cli.main", "ring"]


def start(pair: VethPair | None, *words: str, **environment: str) -> "subprocess.Popen[str]":
    where = ["ip", "netns", "exec", pair.far] if pair else []
    return subprocess.Popen(
        [*where, *COMMAND, *words],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    output, words = process.communicate(timeout=30)
    return process.returncode, output, words


def until_it_reads(pair: VethPair) -> None:
    """Waits until somebody has a packet socket on the interface that is past its closed filter."""
    for _ in range(200):
        shown = subprocess.run(["ip", "netns", "exec", pair.far, "cat", "/proc/net/packet"], capture_output=True, text=True)
        if len(shown.stdout.splitlines()) > 1:
            time.sleep(0.3)
            return
        time.sleep(0.05)
    raise AssertionError("nobody reads")


@pytest.mark.parametrize(("mode", "ending"), [("latency", signal.SIGINT), ("throughput", signal.SIGTERM)])
def test_the_report_as_json(pair: VethPair, mode: str, ending: signal.Signals) -> None:
    process = start(pair, f"packet:{pair.into}", "--mode", mode, "--json", "--feed", "moldudp64:30001")
    until_it_reads(pair)
    arrived = pair.send(20_000, 50_000)
    process.send_signal(ending)
    status, output, words = finish(process)
    assert (status, words) == (0, "")
    (line,) = output.splitlines()
    record = json.loads(line)
    assert list(record)[:7] == ["schema", "command", "source", "walker", "mode", "seconds", "part"]
    assert record["schema"] == "quietcore/1"
    assert (record["source"], record["mode"], record["part"]) == (f"packet:{pair.into}", mode, "whole")
    total = record["total"]
    assert total["packets"] + total["drops"] == arrived
    assert total["bytes"] == total["packets"] * 128
    assert sum(ring["packets"] for ring in record["rings"]) == total["packets"]
    for ring in record["rings"]:
        assert ring["latency"]["count"] == ring["packets"]
        assert (
            0
            < ring["latency"]["p50_ns"]
            <= ring["latency"]["p99_ns"]
            <= ring["latency"]["p99.9_ns"]
            <= ring["latency"]["max_ns"]
        )
    (feed,) = record["feeds"]
    assert (feed["format"], feed["stream"]) == ("moldudp64", "239.1.1.1:30001")
    assert (feed["received"], feed["lost"]) == (arrived, total["drops"])


def test_a_filter_is_in_the_report_and_in_force(pair: VethPair) -> None:
    wanted = "udp dst 239.1.1.1:30002"
    process = start(pair, f"packet:{pair.into}", "--json", "--filter", f"  {wanted}\n")
    until_it_reads(pair)
    assert pair.send(900, 20_000, streams=3) == 900
    process.send_signal(signal.SIGINT)
    status, output, words = finish(process)
    assert (status, words) == (0, "")
    record = json.loads(output)
    assert record["filter"] == wanted
    assert (record["total"]["packets"], record["total"]["drops"]) == (300, 0)


def test_a_filter_for_people(pair: VethPair) -> None:
    process = start(pair, f"packet:{pair.into}", "--seconds", "1", "--filter", "udp or tcp")
    until_it_reads(pair)
    status, output, words = finish(process)
    assert status == 0
    assert "until" not in words
    assert ", only 'udp or tcp'" in words
    assert "only 'udp or tcp'" in output


def test_a_line_for_each_interval(pair: VethPair) -> None:
    process = start(pair, f"packet:{pair.into}", "--seconds", "1.2", "--interval", "200ms", "--json")
    until_it_reads(pair)
    arrived = pair.send(2_000, 20_000)
    status, output, _ = finish(process)
    assert status == 0
    *parts, whole = [json.loads(line) for line in output.splitlines()]
    assert len(parts) >= 5
    assert all(part["part"] == "interval" for part in parts)
    assert sum(part["total"]["packets"] for part in parts) == whole["total"]["packets"] == arrived


def test_the_report_for_people(pair: VethPair) -> None:
    process = start(pair, f"packet:{pair.into}", "--seconds", "1.5", "--interval", "0.5", "--feed", "moldudp64")
    until_it_reads(pair)
    pair.send(1_000, 20_000)
    status, output, words = finish(process)
    assert status == 0
    assert "reading packet:qcinto, latency mode" in words
    assert "packets/s" in output
    assert "unaccounted" in output
    assert "1,000" in output
    assert "239.1.1.1:30001" in output


def test_an_interface_that_vanishes(pair: VethPair) -> None:
    process = start(pair, f"packet:{pair.into}", "--json")
    until_it_reads(pair)
    arrived = pair.send(1_000, 20_000)
    pair.link("del", pair.into)
    status, output, words = finish(process)
    assert status == 1
    record = json.loads(output)
    assert record["total"]["packets"] == arrived
    assert "vanished" in record["error"]
    assert "vanished" in words


def test_a_reader_of_the_output_that_goes_away(pair: VethPair) -> None:
    process = start(pair, f"packet:{pair.into}", "--interval", "50ms", "--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _, words = process.communicate(timeout=10)
    assert "Traceback" not in words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["packet:nosuch0"], "no interface 'nosuch0'"),
        (["packet:\x1b[31mred"], "no interface '\\x1b[31mred'"),
        (["packet:" + "x" * 16], "no interface name"),
        (["xdp:eth2"], "not built yet"),
        (["capture:"], "path of a pcap"),
        (["eth0"], "write packet:INTERFACE"),
        (["packet:lo", "--feed", "itch"], "unknown feed format"),
        (["packet:lo", "--mode", "fast"], "invalid choice"),
        (["packet:lo", "--seconds", "soon"], "not a duration"),
        (["packet:lo", "--cpu", "-1"], "'-1' is not a list of CPUs, as 2 or 2,3 or 2-5"),
        (["packet:lo", "--cpu", ""], "'' is not a list of CPUs"),
        (["packet:lo", "--cpu", "3-2"], "'3-2' is not a list of CPUs"),
        (["packet:lo", "--cpu", "all"], "'all' is not a list of CPUs"),
        (["packet:lo", "--cpu", "0-99999999"], "is not a list of CPUs"),
        (["packet:lo", "--cpu", "\x1b[2J"], "'\\x1b[2J' is not a list of CPUs"),
        (["packet:lo", "--cpu", "0-1", "--rings", "1"], "2 readers for 1 ring: nothing is left for CPU 1"),
        (["packet:lo", "--cpu", "0,16000", "--rings", "2", "--seconds", "9"], "cannot run on CPU 16000"),
        (["packet:lo", "--cpu", "0,1", "--write", "/tmp/never.pcapng"], "a file is written by one reader"),
        (["capture:/dev/null", "--cpu", "0,1"], "a capture file is read by one reader"),
        (["packet:lo", "--rings", "0"], "not a number of rings"),
        (["packet:lo", "--cpu", "16000", "--seconds", "1"], "cannot run on CPU 16000"),
        (["packet:lo", "--filter", "udp dts 10.0.0.1"], "at character 5: expected a protocol"),
        (["packet:lo", "--filter", "udp \x1b[2J"], "'\\x1b[2J' is no address"),
        (["packet:lo", "--filter", ""], "filter, at its end: expected"),
        (["packet:lo", "--filter", "udp tcp"], "no packet can match this filter"),
        (["packet:lo", "--demo"], "real interface"),
        (["packet:lo", "--root", "/tmp"], "real interface"),
        ([], "required: SOURCE"),
    ],
)
def test_errors_say_what_is_wrong(words: list[str], said: str) -> None:
    if os.geteuid() != 0 and "real" not in said:
        pytest.skip("needs root to come that far")
    status, output, spoken = finish(start(None, *words))
    assert status == 1
    assert output == ""
    assert said in spoken
    assert "Traceback" not in spoken
    assert "\x1b" not in spoken


def test_without_the_capability_it_says_so() -> None:
    drop = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 13, 0, 0, 0);"  # PR_CAPBSET_DROP, CAP_NET_RAW
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", drop, *COMMAND[1:], "packet:lo", "--seconds", "1"], cwd=PROJECT, capture_output=True, text=True
    )
    assert ran.returncode == 1
    assert "CAP_NET_RAW: run as root" in ran.stderr


def test_a_walker_that_does_not_exist_is_refused() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to come that far")
    status, _, words = finish(start(None, "packet:lo", QUIETCORE_WALKER="rust"))
    assert status == 1
    assert "must be native, numpy or python" in words


def test_loads_neither_the_app_nor_netlink() -> None:
    program = (
        "import sys; from ui.cli.main import main; main(['ring', 'packet:nosuch0']);"
        "print(sorted({'textual', 'numpy', 'pyroute2', 'asyncio', 'rich'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("environment", "user"), [({}, 65534), ({"SUDO_UID": "1234", "SUDO_GID": "1234"}, 1234), ({"SUDO_UID": "0"}, 65534)]
)
def test_it_reads_without_any_privilege(pair: VethPair, environment: dict[str, str], user: int) -> None:
    clean = {"SUDO_UID": "", "SUDO_GID": ""}
    process = start(pair, f"packet:{pair.into}", "--json", "--feed", "moldudp64", **(clean | environment))
    until_it_reads(pair)
    with open(f"/proc/{process.pid}/status", encoding="utf-8") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    arrived = pair.send(2_000, 20_000)
    process.send_signal(signal.SIGINT)
    _, output, words = finish(process)
    assert set(status["Uid"].split()) == {str(user)}
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh")} == {0}
    assert (status["Groups"].strip(), status["NoNewPrivs"]) == ("", "1")
    total = json.loads(output)["total"]
    assert (words, total["packets"], total["unaccounted"]) == ("", arrived, 0)
