"""``watch --changes`` and ``watch --paced``: as a child is run by whoever shows what it says."""

import json
import os
import subprocess
import sys
import time

import pytest

from ingest.changes import Decoder
from ingest.collector import Collector
from tuner.host.files import HostFiles
from tuner.host.simulated import open_tree
from ui.cli.main import main
from ui.cli.sampling import MINIMUM_S, Pace

MAIN = [sys.executable, "-m", "ui.cli.main"]


@pytest.fixture
def pace():
    reading, writing = os.pipe()
    yield Pace(5.0, reading), writing
    os.close(reading)


def test_changes_are_the_same_samples(sim_templates):
    tree = sim_templates(nodes=1, cores=4, smt=1, nics=1, queues=2)
    words = ["--root", tree, "--json", "watch", "--interval", "0.1", "--count", "4", "--changes"]
    run = subprocess.run([*MAIN, *words], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")
    lines = run.stdout.splitlines()
    assert ["base" in json.loads(line) for line in lines] == [False, True, True, True]
    decoder = Decoder()
    samples = [decoder.take(line) for line in lines]
    assert [sample.sequence for sample in samples] == [2, 3, 4, 5]
    assert {core.cpu for core in samples[-1].cores} == {0, 1, 2, 3}


def test_changes_are_not_for_people(capsys, sim_templates):
    assert main(["--root", sim_templates(nodes=1, cores=4, smt=1, nics=1, queues=2), "watch", "--changes"]) == 1
    assert "--changes is of the stream for programs; add --json" in capsys.readouterr().err


def test_a_child_goes_on_at_another_pace(sim_templates):
    """It is the same child: its numbers go on, and it does not wait for the end of the long interval."""
    tree = sim_templates(nodes=1, cores=4, smt=1, nics=1, queues=2)
    child = subprocess.Popen(
        [*MAIN, "--root", tree, "--json", "watch", "--interval", "0.1", "--paced"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        first = json.loads(child.stdout.readline())
        child.stdin.write("interval 1h\nfaster, please\n")
        child.stdin.flush()
        said = child.stderr.readline()
        assert "'faster, please'; it goes on as before" in said
        child.stdin.write("interval 100ms\n")
        child.stdin.flush()
        child.stdin.close()
        began, seen = time.monotonic(), [first]
        while len(seen) < 8:
            seen.append(json.loads(child.stdout.readline()))
        assert time.monotonic() - began < 30
        assert [sample["sequence"] for sample in seen] == list(range(2, 10))
        child.terminate()
        assert child.wait(10) == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        child.stderr.close()


def test_the_interval_is_what_was_said_last(pace):
    pace, told = pace
    os.write(told, b"interval 2s\ninterval 300ms\ninterv")
    assert pace.wait(30.0) == pace.interval_s == 0.3
    os.write(told, b"al 1ns\n")
    assert pace.wait(30.0) == pace.interval_s == MINIMUM_S
    os.close(told)
    began = time.monotonic()
    assert pace.wait(0.05) is None
    assert pace.wait(0.05) is None
    assert time.monotonic() - began >= 0.1


@pytest.mark.parametrize("line", [b"\xff\x1b[2J", b"interval", b"interval -1s", b"interval x", b"x" * 100_000])
def test_what_is_no_pace_is_said_and_changes_nothing(pace, capfd, line):
    pace, told = pace
    for at in range(0, len(line), 4096):
        os.write(told, line[at : at + 4096])
        assert pace.wait(0.0) is None
    os.write(told, b"\n")
    assert pace.wait(0.0) is None
    assert pace.interval_s == 5.0
    said = capfd.readouterr().err
    assert "it goes on as before" in said
    assert len(said) < 300
    assert "\x1b" not in said
    os.write(told, b"interval 1s\n")
    assert pace.wait(30.0) == 1.0
    os.close(told)


def test_ticks_are_in_step_again_after_the_pace_changed(sim_templates):
    collector = Collector(open_tree(HostFiles(sim_templates(nodes=1, cores=4, smt=1, nics=1, queues=2))))
    waits, advanced = [], []

    def wait(seconds: float) -> float | None:
        waits.append(seconds)
        time.sleep(min(seconds, 0.05))
        return 0.05 if len(waits) == 1 else None

    assert len(list(collector.stream(3600.0, 3, advanced.append, wait))) == 3
    assert waits[0] > 3000
    assert max(waits[1:]) <= 0.05
    assert advanced == [0.05] * 3
