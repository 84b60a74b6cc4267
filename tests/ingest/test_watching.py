"""``quietcore watch`` as a process that goes on: interfaces that come and go, time that is taken away, readers that stop."""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
WATCH = [sys.executable, "-m", "ui.cli.main", "watch", "--interval", "0.1"]
MAKE = "ip link add qca type veth peer name qcb"
SEND = 'import socket; s = socket.socket(2, 2); [s.sendto(bytes(1000), ("10.81.9.2", 9)) for _ in range(9_000)]'
PATIENCE_S = 20.0


class Watch:
    """The process in a network namespace of its own, with a veth pair in it."""

    def __init__(self, *words: str) -> None:
        inside = f'mount -t sysfs sysfs /sys && {MAKE} && exec "$@"'
        command = ["unshare", "-mn", "sh", "-ec", inside, "sh", *WATCH, *words]
        self.process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def sample(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        return json.loads(line)

    def samples_until(self, condition: Callable[[dict[str, Any]], Any]) -> list[dict[str, Any]]:
        """All samples up to the first of which the condition is true."""
        limit, found = time.monotonic() + PATIENCE_S, [self.sample()]
        while not condition(found[-1]):
            assert time.monotonic() < limit, found[-1]["events"]
            found.append(self.sample())
        return found

    def ip(self, script: str) -> None:
        subprocess.run(["nsenter", "-t", str(self.process.pid), "-n", "sh", "-ec", script], check=True, capture_output=True)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def state(self) -> str:
        with open(f"/proc/{self.process.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]


@pytest.fixture
def watching() -> Iterator[Callable[..., Watch]]:
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        pytest.skip("network namespaces need root, iproute2 and util-linux")
    with contextlib.ExitStack() as made:

        def make(*words: str) -> Watch:
            watch = Watch(*words)
            made.callback(watch.process.communicate)
            made.callback(watch.process.kill)
            return watch

        yield make


def names(sample: dict[str, Any]) -> set[str]:
    return {nic["name"] for nic in sample["nics"]}


def events(samples: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(each["level"], each["where"], each["what"]) for sample in samples for each in sample["events"]]


def in_order(samples: list[dict[str, Any]]) -> bool:
    numbers = [sample["sequence"] for sample in samples]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


# ------------------------------------------------------------------------------------------------- interfaces come and go


def test_an_interface_is_deleted_and_made_again(watching):
    watch = watching("--json")
    first = watch.sample()
    assert {"qca", "qcb"} <= names(first)
    assert first["events"] == []
    watch.ip("ip link del qca")
    gone = watch.samples_until(lambda sample: "qca" not in names(sample))
    assert sorted(events(gone)) == [("warn", "qca", "the interface is gone"), ("warn", "qcb", "the interface is gone")]
    quiet = [watch.sample() for _ in range(3)]
    assert events(quiet) == []
    watch.ip(MAKE)
    back = watch.samples_until(lambda sample: {"qca", "qcb"} <= names(sample))
    assert sorted(events(back)) == [("info", "qca", "the interface is here"), ("info", "qcb", "the interface is here")]
    assert {row["where"] for row in back[-1]["losses"]} >= {"qca", "qcb"}
    assert in_order([first, *gone, *quiet, *back])


def test_it_is_seen_within_some_ticks(watching):
    """Interfaces are looked at closely every few seconds only; that one came or went is known from what is read anyhow."""
    watch = watching("--json")
    watch.sample()
    watch.ip("ip link del qca")
    gone = watch.samples_until(lambda sample: not {"qca", "qcb"} & names(sample))
    assert len(gone) <= 8 + gone[-1]["cost"]["late_ticks"]  # at 100 ms each; sysfs is some of them behind


def test_an_interface_is_renamed(watching):
    watch = watching("--json")
    watch.sample()
    watch.ip("ip link set qca name qcnew")
    samples = watch.samples_until(lambda sample: "qcnew" in names(sample))
    assert events(samples) == [
        ("warn", "qca", "the interface is gone: its name is qcnew now"),
        ("info", "qcnew", "the interface is here"),
    ]
    watch.ip("ip link set qcnew name qca")
    samples = watch.samples_until(lambda sample: "qca" in names(sample))
    assert ("info", "qca", "the interface is here") in events(samples)


def test_a_return_is_no_burst(watching):
    """A rename there and back: the counters go on where they were, and none of what they counted before is a rate."""
    watch = watching("--json")
    watch.sample()
    watch.ip("ip link set qca up; ip link set qcb up; ip addr add 10.81.9.1/24 dev qca")
    watch.ip("ip neigh replace 10.81.9.2 lladdr 02:51:43:81:00:01 dev qca nud permanent")
    watch.ip(f"{sys.executable} -c '{SEND}'")
    before = watch.samples_until(lambda sample: _nic(sample, "qcb")["counters"]["rx_packets"] >= 8_000)
    watch.samples_until(lambda sample: _nic(sample, "qcb")["rx_packets_per_s"] < 100)
    watch.ip("ip link set qcb down; ip link set qcb name away")
    watch.samples_until(lambda sample: "qcb" not in names(sample))
    watch.ip("ip link set away name qcb; ip link set qcb up")
    back = watch.samples_until(lambda sample: "qcb" in names(sample))
    back += [watch.sample() for _ in range(3)]
    assert _nic(back[-1], "qcb")["counters"]["rx_packets"] >= _nic(before[-1], "qcb")["counters"]["rx_packets"]
    assert all(_nic(sample, "qcb")["rx_packets_per_s"] < 1_000 for sample in back if "qcb" in names(sample))


def _nic(sample: dict[str, Any], name: str) -> dict[str, Any]:
    return next(nic for nic in sample["nics"] if nic["name"] == name)


def test_people_are_told_and_no_name_reaches_the_terminal_raw(watching):
    watch = watching()
    watch.process.stdout.readline()
    watch.ip("ip link set qca name \"$(printf 'q\\033[7m')\"")
    limit = time.monotonic() + PATIENCE_S
    told = ""
    while "is here" not in told:
        assert time.monotonic() < limit
        told += watch.process.stdout.readline()
    assert "warn: qca: the interface is gone: its name is q\\x1b[7m now" in told
    assert "info: q\\x1b[7m: the interface is here" in told
    assert "\x1b" not in told


# --------------------------------------------------------------------------------------------------------- time taken away


def test_ticks_that_a_stopped_process_missed_are_counted_and_not_made_up_for(watching):
    watch = watching("--json")
    before = watch.sample()
    watch.signal(signal.SIGSTOP)
    while watch.state() != "T":
        time.sleep(0.005)
    while select.select([watch.process.stdout], [], [], 0.1)[0]:  # what it had said before
        before = watch.sample()
    time.sleep(1.5)
    watch.signal(signal.SIGCONT)
    after = [watch.sample() for _ in range(4)]
    missed = after[0]["cost"]["late_ticks"] - before["cost"]["late_ticks"]
    assert missed >= 13
    assert after[0]["interval_s"] > 1.4
    assert in_order([before, *after])
    # one comes out of step, when the process goes on; the next are at their places again
    assert (after[-1]["monotonic_ns"] - after[0]["monotonic_ns"]) / 1e9 > 0.19
    places = (after[-1]["monotonic_ns"] - before["monotonic_ns"]) / 1e8
    assert len(after) + after[-1]["cost"]["late_ticks"] - before["cost"]["late_ticks"] == pytest.approx(places, abs=1.5)


def test_a_reader_that_stops_makes_late_ticks_and_no_queue(watching):
    watch = watching("--json")
    watch.sample()
    fcntl.fcntl(watch.process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    time.sleep(1.0)
    found = [watch.sample() for _ in range(12)]
    assert in_order(found)
    assert found[-1]["cost"]["late_ticks"] >= 3


def test_every_sample_has_its_own_cost(watching):
    watch = watching("--json", "--count", "6")
    samples = [watch.sample() for _ in range(6)]
    for sample in samples:
        cost = sample["cost"]
        assert 0 < cost["cpu_ns"] < sample["interval_s"] * 1e9 * 1.5
        assert cost["cpu_percent"] == pytest.approx(cost["cpu_ns"] / sample["interval_s"] / 1e7, abs=0.01)
        assert cost["cpus"]
    assert watch.process.wait(PATIENCE_S) == 0


# ----------------------------------------------------------------------------------------------------------------- its end


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_the_last_line_is_whole_for_a_reader_that_is_slow(watching, monkeypatch, unbuffered):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    watch = watching("--json")
    watch.sample()
    fcntl.fcntl(watch.process.stdout, fcntl.F_SETPIPE_SZ, 4096)  # a line is longer: it is being written when the signal comes
    _blocked(watch)
    watch.signal(signal.SIGTERM)
    output, words = watch.process.communicate(timeout=PATIENCE_S)
    assert (watch.process.returncode, words) == (0, "")
    assert output.endswith("\n")
    assert [json.loads(line)["schema"] for line in output.splitlines()]


def test_a_reader_that_stopped_does_not_keep_it_from_ending(watching):
    watch = watching("--json")
    watch.sample()
    fcntl.fcntl(watch.process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    _blocked(watch)
    watch.signal(signal.SIGTERM)
    assert watch.process.wait(PATIENCE_S) == 0
    assert watch.process.stderr.read() == ""


def _blocked(watch: Watch) -> None:
    """Waits until it waits for the reader."""
    limit = time.monotonic() + PATIENCE_S
    while True:
        with open(f"/proc/{watch.process.pid}/wchan") as file:
            if "pipe" in file.read():
                return
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.mark.parametrize("pause_s", [0.0, 0.01, 0.05])
def test_a_second_signal_is_no_other_end(watching, pause_s):
    watch = watching("--json")
    watch.sample()
    watch.signal(signal.SIGINT)
    time.sleep(pause_s)
    with contextlib.suppress(ProcessLookupError):
        watch.signal(signal.SIGTERM)
    _, words = watch.process.communicate(timeout=PATIENCE_S)
    assert (watch.process.returncode, words) == (0, "")


def test_a_reader_that_is_gone_ends_it(watching):
    watch = watching("--json")
    watch.sample()
    watch.process.stdout.close()
    assert watch.process.wait(PATIENCE_S) == 0
    assert watch.process.stderr.read() == ""
    watch.process.stdout = open(os.devnull)  # noqa: SIM115 (for the fixture's end)
