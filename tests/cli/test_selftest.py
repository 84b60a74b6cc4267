"""``quietcore selftest`` as people and programs use it: another process, its exit status, its sentence."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.load.measure import Step
from ingest.load.namespaces import missing_capabilities
from ingest.rings.counters import RingCounters, RingReport
from ui.cli.main import main
from ui.cli.selftest import _tell, judge

PROJECT = Path(__file__).parents[2]
QUIETCORE = [sys.executable, "-m", "ui.cli.main"]

needs_namespaces = pytest.mark.skipif(bool(missing_capabilities()), reason=f"needs {', '.join(missing_capabilities())}")


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*QUIETCORE, "selftest", *words], cwd=PROJECT, capture_output=True, text=True, timeout=100)


def interfaces() -> list[str]:
    return sorted(os.listdir("/sys/class/net"))


@needs_namespaces
def test_the_report_as_json() -> None:
    mode, before = "throughput", interfaces()
    done = run("--rate", "20k,700k", "--seconds", "0.4", "--streams", "4", "--mode", mode, "--json")
    record = json.loads(done.stdout)
    assert list(record)[:2] == ["schema", "command"]
    assert (record["schema"], record["command"], record["mode"]) == ("quietcore/1", "selftest", mode)
    assert [step["asked_per_s"] for step in record["steps"]] == [20_000, 700_000]
    assert [step["means"] for step in record["steps"]] == ["sendmmsg", "xdp"]
    for step in record["steps"]:
        assert step["unaccounted"] == 0
        assert step["sent"] == step["read"] + step["ring_drops"] + step["before_ring"]
        assert step["missing"] == step["ring_drops"] + step["before_ring"]
        assert 0 < step["latency"]["p50_ns"] <= step["latency"]["p99_ns"] <= step["latency"]["max_ns"]
        assert step["reader"]["cpu"] == record["cpus"]["reader"]
    assert record["lost"] == sum(step["missing"] for step in record["steps"])
    assert done.returncode == (2 if record["lost"] else 0), done.stderr
    assert record["verdict"].startswith("LOST" if record["lost"] else "nothing was lost")
    assert interfaces() == before


@needs_namespaces
def test_the_report_for_people() -> None:
    done = run("--rate", "10k,20k", "--seconds", "0.4", "--size", "62-1514", "--cpu", str(max(os.sched_getaffinity(0))))
    assert done.returncode in (0, 2), done.stderr
    header, *lines, verdict = done.stdout.splitlines()
    assert header.split() == ["asked/s", "sent/s", "by", "sent", "read", "dropped", "missing", "p50", "p99", "reader"]
    assert [line.split()[0] for line in lines] == ["10,000", "20,000"]
    assert "packets" in verdict
    assert f"reader on CPU {max(os.sched_getaffinity(0))}" in done.stderr
    assert "step 2 of 2: 20,000 packets/s for 0.2 s" in done.stderr


@needs_namespaces
def test_ctrl_c_ends_it_with_what_was_counted() -> None:
    # a terminal sends Ctrl-C to the whole foreground group, so the group gets it here
    process = subprocess.Popen(
        [*QUIETCORE, "selftest", "--rate", "5k,10k", "--seconds", "200", "--json"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    while "step 1" not in process.stderr.readline():
        assert process.poll() is None
    limit = time.monotonic() + 30
    children: list[int] = []
    while not children and time.monotonic() < limit:
        children = [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        time.sleep(0.02)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    output, words = process.communicate(timeout=30)
    assert process.returncode == 130, words
    assert "Traceback" not in words
    record = json.loads(output)
    assert len(record["steps"]) == 1
    assert record["steps"][0]["unaccounted"] == 0
    assert record["steps"][0]["sent"] < 5_000 * 100
    assert record["verdict"].startswith("ended by a signal; until then: ")
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


@needs_namespaces
def test_a_quick_second_signal_leaves_no_sender() -> None:
    process = subprocess.Popen(
        [*QUIETCORE, "selftest", "--rate", "5k", "--seconds", "200"], cwd=PROJECT, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while "step 1" not in process.stderr.readline():
        assert process.poll() is None
    for _ in range(3):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    process.communicate(timeout=30)
    assert process.returncode in (130, -signal.SIGTERM)


def test_somebody_who_is_not_root_is_told_what_is_missing() -> None:
    # the interpreter may lie where only root can read: one round as root loads what the other one needs
    program = (
        "import os, sys\n"
        "from ui.cli.main import main\n"
        "main(['selftest', '--cpu', '16000', '--json'])\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "sys.exit(main(['selftest', '--json']))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert error in done.stderr
    assert "needs CAP_SYS_ADMIN and CAP_NET_ADMIN and CAP_NET_RAW: run as root" in error
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("dropped", ["12", "13", "21"])
@needs_namespaces
def test_one_missing_capability_is_enough(dropped: str) -> None:
    drop = (
        f"import ctypes, os, sys; ctypes.CDLL(None).prctl(24, {dropped}, 0, 0, 0);"  # PR_CAPBSET_DROP
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", drop, *QUIETCORE[1:], "selftest"], cwd=PROJECT, capture_output=True, text=True, timeout=60
    )
    name = {"12": "CAP_NET_ADMIN", "13": "CAP_NET_RAW", "21": "CAP_SYS_ADMIN"}[dropped]
    assert done.returncode == 1
    assert f"needs {name}: run as root" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rate", "fast"], "is no rate"),
        (["--rate", "10k,"], "is no rate"),
        (["--rate", "0"], "is no rate"),
        (["--rate", "2000M"], "is no rate"),
        (["--rate", ",".join(["1k"] * 51)], "too many"),
        (["--rate", "\x1b[31m"], "is no rate"),
        (["--seconds", "0"], "not a duration"),
        (["--size", "61"], "is no size"),
        (["--size", "200-100"], "is no size"),
        (["--size", "100-"], "is no size"),
        (["--streams", "65"], "from 1 to 64"),
        (["--cpu", "-1"], "not a CPU number"),
        (["--cpu", "16000"], "CPU 16000 is not online"),
        (["--demo"], "this machine's own kernel"),
        (["--root", "/tmp"], "this machine's own kernel"),
        (["--mode", "fast"], "invalid choice"),
    ],
)
def test_errors_say_what_is_wrong(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(["selftest", *words])
    except SystemExit as left:
        status = left.code
    output, spoken = capsys.readouterr()
    assert status == 1
    assert said in spoken
    assert output == ""
    assert "\x1b" not in spoken


def step(read: int, ring_drops: int = 0, before_ring: int = 0, unaccounted: int = 0, rate: float = 1000.0) -> Step:
    sent = read + ring_drops + before_ring + unaccounted
    report = RingReport("packet:x", "native", "latency", "whole", 1.0, (RingCounters(0),))
    return Step(1000, "sendmmsg", "", sent, sent / rate, read, ring_drops, before_ring, sent - read, 0, 0, report)


def test_the_verdict() -> None:
    assert judge([step(500), step(1000)], 2) == (0, "nothing was lost: 1,500 of 1,500 packets read, at up to 1,000 packets/s")
    status, verdict = judge([step(500), step(900, ring_drops=90, before_ring=10, rate=5000.0)], 2)
    assert status == 2
    assert "LOST 100 of 1,500 packets, each accounted for: 90 dropped by the full ring, 10 by the CPU's backlog" in verdict
    assert verdict.endswith("nothing was lost at 1,000 packets/s")
    status, verdict = judge([step(500), step(900, ring_drops=90, unaccounted=3)], 2)
    assert (status, verdict[:34]) == (1, "WRONG: 3 of 1,493 packets are unac")
    # more came than was sent, a number twice, a number missing that nobody dropped
    for wrong in (step(500, unaccounted=-2), replace(step(500), duplicate=1), replace(step(500), missing=1)):
        assert judge([wrong], 1)[0] == 1
    assert judge([step(500)], None)[0] == 130
    assert judge([], None)[0] == 130


def test_a_sender_that_does_not_keep_up_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert not step(500, rate=950.0).fell_short
    slow = step(500, rate=500.0)
    assert slow.fell_short
    _tell(slow, first=True)
    output, words = capsys.readouterr()
    assert len(output.splitlines()) == 2
    assert "the sender reached 500 of 1,000 packets/s" in words
