import json
import os
import signal
import subprocess
import sys

import pytest

from tuner.host.simulated import write_tree

QUIETCORE = [sys.executable, "-m", "ui.cli.main"]


def run(*arguments, **options):
    return subprocess.run(
        [*QUIETCORE, *arguments], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, **options
    )


def test_watch_prints_as_many_lines_as_asked_for_each_a_sample_with_rates():
    done = run("watch", "--json", "--count", "3", "--interval", "100ms")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(records) == 3
    for record in records:
        assert next(iter(record)) == "schema"
        assert record["schema"] == "quietcore/1"
        assert {core["cpu"] for core in record["cores"]} == set(range(os.cpu_count()))
        assert {"node", "role", "interruptions_per_s", "top_cause"} <= set(record["cores"][0])
        assert record["interval_s"] > 0
        assert "cpu_ns" in record["cost"]
    totals = [sum(core["interrupts"] for core in record["cores"]) for record in records]
    assert totals == sorted(totals)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_ends_cleanly_at_a_signal(number):
    process = subprocess.Popen(
        [*QUIETCORE, "watch", "--json", "--interval", "0.1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    process.send_signal(number)
    _, words = process.communicate(timeout=10)
    assert process.returncode == 0
    assert words == b""


def test_watch_ends_when_nobody_reads():
    process = subprocess.Popen(
        [*QUIETCORE, "watch", "--json", "--interval", "0.1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(10) == 0
    assert process.stderr.read() == b""


def test_watch_for_people_and_bad_counts():
    done = run("watch", "--count", "1", "--interval", "0.1")
    assert "interruptions/s" in done.stdout
    assert run("watch", "--count", "0").returncode == 1
    assert run("watch", "--interval", "soon").returncode == 1


def test_demo_lives():
    done = run("--demo", "watch", "--json", "--count", "2", "--interval", "0.2")
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first["source"] == "simulated"
    assert second["cores"][0]["interrupts"] > first["cores"][0]["interrupts"]
    assert max(core["packets_per_s"] for core in second["cores"]) > 1000


def test_without_a_command_and_without_a_terminal_it_is_the_status():
    done = run()
    assert done.returncode == 0, done.stderr
    assert "CPUs online" in done.stdout
    record = json.loads(run("status", "--json").stdout)
    assert list(record)[:2] == ["schema", "command"]
    assert record["command"] == "status"
    assert {"cores", "nics", "losses", "cost", "conflicts", "drift", "walker"} <= set(record)
    assert len(record["cores"]) == os.cpu_count()


def test_status_of_a_host_under_a_profile(tmp_path):
    root = str(tmp_path / "host")
    write_tree(root, nodes=1, cores=4, queues=2)
    assert run("--root", root, "apply", "feed-handler", "--allow", "link").returncode == 0
    record = json.loads(run("--root", root, "status", "--json").stdout)
    assert record["profile"] == "feed-handler"
    assert record["drift"] == []
    assert {core["role"] for core in record["cores"]} >= {"housekeeping", "rx"}
    with open(f"{root}/proc/sys/net/core/busy_poll", "w") as file:
        file.write("7\n")
    record = json.loads(run("--root", root, "status", "--json").stdout)
    assert [change["knob"] for change in record["drift"]] == ["sysctl.net.core.busy_poll"]
    text = run("--root", root, "status").stdout
    assert "SIMULATED" in text
    assert "1 setting differs" in text


def test_names_never_reach_the_terminal_raw(tmp_path):
    root = tmp_path / "host"
    write_tree(root, nodes=1, cores=2, queues=1)
    (root / "proc/sys/kernel/hostname").write_text("evil\x1b]0;pwned\x07host\n")
    done = run("--root", str(root), "status")
    assert "\x1b" not in done.stdout
    assert "evil\\x1b" in done.stdout
