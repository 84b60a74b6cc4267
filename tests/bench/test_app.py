"""That the benchmark of the app measures what it says: small runs, no figures."""

import subprocess
import sys
import time

import pytest

from bench import app
from bench.app_feed import first, stand_in, stream
from bench.app_rivals import SHARE, Figures
from bench.figures import UnavailableError
from bench.terminal import Terminal, children, cpu_ns, memory_mb, tmux
from ingest.sample import from_json


def test_a_calm_host_changes_one_core_in_twenty_and_a_busy_one_all():
    for busy, low, high in ((False, 0.02, 0.09), (True, 1.0, 1.0)):
        samples = stream(first(), 0.5, busy=busy)
        before, moved = next(samples), 0
        for _ in range(20):
            now = next(samples)
            moved += sum(one is not other for one, other in zip(before.cores, now.cores, strict=True))
            before = now
        assert low <= moved / 20 / 128 <= high
    zero = [core.interruptions_per_s == 0 for core in next(stream(first(), 0.5, busy=False)).cores]
    assert 0.8 < sum(zero) / len(zero) < 0.97


def test_the_rivals_draw_as_many_cells_and_change_as_many():
    figures = Figures()
    assert len(figures.cells) == 512
    assert len(figures.lines()) == 8 + 64
    changed = [len(figures.step()[0]) for _ in range(50)]
    assert sum(changed) / 50 / 512 == pytest.approx(SHARE, rel=0.2)


def test_the_stand_in_prints_samples_where_watch_is_asked_for_and_is_python_elsewhere(tmp_path):
    interpreter = stand_in(str(tmp_path), hz=50.0, cores=4)
    assert subprocess.run([interpreter, "-c", "print(40 + 2)"], capture_output=True, text=True).stdout == "42\n"
    feed = subprocess.Popen([interpreter, "-m", "x", "watch", "--interval", "1s"], stdout=subprocess.PIPE)
    try:
        numbers = [from_json(feed.stdout.readline()).sequence for _ in range(3)]
    finally:
        feed.kill()
        feed.communicate()
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]


def test_cpu_time_is_that_of_all_threads_and_nobody_elses():
    spin = "import threading, time; e = time.monotonic() + 60\ndef f():\n while time.monotonic() < e: pass\n"
    busy = subprocess.Popen([sys.executable, "-c", f"{spin}threading.Thread(target=f).start()"])
    idle = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        time.sleep(0.3)
        used, slept = cpu_ns(busy.pid), cpu_ns(idle.pid)
        time.sleep(0.5)
        assert cpu_ns(busy.pid) - used > 20 * max(1, cpu_ns(idle.pid) - slept)
        assert 0 < memory_mb(idle.pid)[1] <= memory_mb(idle.pid)[0]
    finally:
        for each in (busy, idle):
            each.kill()
            each.wait()
    assert cpu_ns(busy.pid) == 0
    with pytest.raises(UnavailableError):
        app.cost_of(busy.pid, 0.0)


def test_a_window_is_one_of_tmux_or_a_pty_that_is_read():
    words = [sys.executable, app.RIVALS, "plain", "20"]
    with app.window(None, words) as made:
        assert made.cost(0.5).kb_per_s > 1
    try:
        with tmux() as server, app.window(server, words) as made:
            assert made.cost(0.5).kb_per_s > 1
            assert "·" in server.text()
    except UnavailableError as why:
        pytest.skip(str(why))


def test_a_terminal_is_read_only_when_it_is_asked():
    with Terminal(["sh", "-c", "sleep 0.1 & echo here; read word; echo got $word; wait"], (80, 24)) as terminal:
        assert terminal.until(b"here", 10)
        assert any("sleep" in words for words in children(terminal.pid).values())
        seen = terminal.read_bytes
        terminal.type("some\n")
        time.sleep(0.2)
        assert terminal.read_bytes == seen
        assert terminal.until(b"got some", 10, since=seen)
        assert terminal.ended() == 0
