"""The app's children for real: the collector, the engine's commands, and what is left when the app is gone."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from tuner.host.simulated import write_tree
from ui.app.flow.runner import ChildRunner
from ui.app.stream.source import ChildSource


@pytest.fixture
def tree(tmp_path):
    write_tree(tmp_path / "host", nodes=1, cores=4, queues=2)
    return str(tmp_path / "host")


def wait_for(what, seconds=15.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come")


def test_samples_come_from_a_child_that_ends_with_its_source(tree):
    source = ChildSource(["--root", tree], "0.2s")
    try:
        first = wait_for(source.newest)
        assert first.source == "simulated"
        later = wait_for(lambda: source.newest() if source.newest().sequence > first.sequence else None)
        assert later.cores[0].interrupts >= first.cores[0].interrupts
        assert not source.ended
    finally:
        source.close()
    assert source._process.returncode is not None


def test_a_child_that_cannot_start_says_why(tmp_path):
    source = ChildSource(["--root", str(tmp_path)], "0.2s")
    assert "no host here" in wait_for(lambda: source.ended)
    source.close()


def test_the_collector_dies_with_its_parent(tree):
    script = (
        "import os, sys, time\nfrom ui.app.stream.source import ChildSource\n"
        f"s = ChildSource(['--root', {tree!r}], '0.2s')\nprint(s._process.pid, flush=True)\ntime.sleep(30)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()

    def gone():
        try:
            with open(f"/proc/{child}/stat") as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            return True

    assert wait_for(gone)


def test_the_engine_answers_as_json_and_words(tree):
    answer = asyncio.run(ChildRunner(["--root", tree]).run("plan", "base"))
    assert answer.status == 2
    assert answer.record["command"] == "plan"
    refused = asyncio.run(ChildRunner(["--root", tree]).run("plan", "nosuch"))
    assert refused.status == 1
    assert "no such profile" in refused.reason


def test_the_app_loads_nothing_that_a_first_paint_can_do_without():
    script = "import sys, ui.app.app, ui.app.main\nprint([m for m in ('pyroute2', 'numpy', 'psutil') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ).stdout
    assert out.strip() == "[]"
