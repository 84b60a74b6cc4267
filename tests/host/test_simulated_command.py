"""``quietcore simulate``, as a user meets it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from simulated_trees import differing, new_directory, snapshot

from tuner.host.host import open_host


def simulate(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ui.cli.main", "simulate", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_it_writes_a_host_and_names_the_next_command():
    with new_directory() as directory:
        path = os.path.join(directory, "a host")
        done = simulate(path, "--nodes", "1", "--cores", "2", "--nics", "1", "--queues", "3")
        assert (done.returncode, done.stderr) == (0, "")
        assert "SIMULATED" in done.stdout
        assert f"quietcore --root '{path}' plan feed-handler" in done.stdout
        host = open_host(path)
        assert host.simulated
        assert host.syscalls.channels("eth2").combined == 3
        assert (host.files.number("/sys/class/net/eth2/statistics/rx_packets") or 0) > 0


def test_json_is_one_object_with_the_schema_first():
    with new_directory() as directory:
        done = simulate(directory, "--nodes", "1", "--cores", "2", "--smt", "1", "--json")
        assert done.returncode == 0
        record = json.loads(done.stdout)
        assert list(record)[:2] == ["schema", "command"]
        assert record["schema"] == "quietcore/1"
        assert record["cpus"] == 2


def test_a_directory_in_use_is_refused_and_kept():
    with new_directory() as directory:
        with open(os.path.join(directory, "mine"), "w") as file:
            file.write("keep")
        before = snapshot(directory)
        for more in ((), ("--live",)):
            done = simulate(directory, *more)
            assert done.returncode == 1
            assert "not an empty directory" in done.stderr
            assert "Traceback" not in done.stderr
        assert differing(before, snapshot(directory)) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--nodes", "0"), "nodes is 0"),
        (("--cores", "99999"), "cores is 99999"),
        (("--cores", "two"), "--cores"),
        (("--nodes", "16", "--cores", "512"), "at most 1024"),
    ],
)
def test_impossible_sizes_are_said_and_write_nothing(words, said):
    with new_directory() as directory:
        done = simulate(os.path.join(directory, "new"), *words)
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert os.listdir(directory) == []


@pytest.mark.parametrize("path", ["", "/proc/quietcore", "/dev/null", "/dev/null/x"])
def test_impossible_places_are_errors_without_traceback(path):
    done = simulate(path)
    assert done.returncode == 1
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_control_characters_in_the_name_do_not_reach_the_terminal():
    with new_directory() as directory:
        done = simulate(os.path.join(directory, "a\x1b[31mb"), "--nodes", "1", "--cores", "1")
        assert done.returncode == 0
        assert "\x1b" not in done.stdout


def test_live_lets_the_counters_advance_until_it_is_interrupted():
    with new_directory() as directory:
        assert simulate(directory, "--nodes", "1", "--cores", "2").returncode == 0
        host = open_host(directory)
        before = host.files.text("/proc/uptime")
        command = [sys.executable, "-m", "ui.cli.main", "simulate", directory, "--live"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            deadline = time.monotonic() + 20
            while host.files.text("/proc/uptime") == before and time.monotonic() < deadline:
                time.sleep(0.05)
            assert float(host.files.text("/proc/uptime").split()[0]) > 3600
        finally:
            child.send_signal(signal.SIGINT)
            _, words = child.communicate(timeout=20)
        assert child.returncode == 0
        assert "Traceback" not in words
        assert "stopped" in words
