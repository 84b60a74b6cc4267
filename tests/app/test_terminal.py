"""The real app on a real pty: what it shows first, how it ends, and what of hostile names reaches the terminal."""

import contextlib
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from bench.app_feed import app_words, stand_in
from bench.terminal import Terminal, children, cpu_ns
from tests.app.capture import left_on, text_of, unexpected
from tests.app.hostile import PAYLOAD
from ui.app.shell import driver

HERE = Path(__file__).resolve().parent
HOST = b"ny4-md-07"
KEYS = "1234567"


@pytest.fixture
def interpreter(tmp_path):
    return stand_in(str(tmp_path), hz=5.0, cores=16)


@contextlib.contextmanager
def running(words, size=(120, 40), marker=HOST, **options):
    with Terminal(words, size, **options) as terminal:
        assert terminal.until(marker, 30), bytes(terminal.output[-2000:])
        yield terminal


def settled(terminal):
    """The modes of the line discipline: as they were before the program came."""
    modes = termios.tcgetattr(terminal.slave)
    return [modes[place] for place in (0, 1, 2, 3)] == [terminal.before[place] for place in (0, 1, 2, 3)]


def gone(pid, seconds=5.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_a_first_frame_comes_before_anything_heavy_is_loaded(interpreter):
    """CPU time, since the machine may be busy: a frame costs a part of what the whole costs."""
    with Terminal(app_words(interpreter), (120, 40)) as terminal:
        assert terminal.until(b"quietcore  starting", 30)
        first_ns = cpu_ns(terminal.pid)
        assert terminal.until(HOST, 30)
        painted_ns = cpu_ns(terminal.pid)
        assert first_ns * 2 < painted_ns
        loaded = Path(f"/proc/{terminal.pid}/maps").read_text()
        assert not [name for name in ("numpy", "libssl", "_ssl") if name in loaded]


def test_the_driver_is_ours_and_without_it_the_toolkits_own_does(interpreter):
    assert driver() is not None  # the toolkit that is locked is the one that it was written for
    words = app_words(interpreter)
    words[2] = "from ui.app import shell; shell.driver = lambda: None; " + words[2]
    with running(words) as terminal:
        seen = terminal.read_bytes
        terminal.type("2")
        assert terminal.until(b"against", 15, since=seen)
        terminal.type("q")
        assert terminal.ended() == 0


def test_the_mouse_is_heard_when_it_clicks_only(interpreter):
    with running(app_words(interpreter)) as terminal:
        assert {"1000"} == {"1000", "1003"} & set(left_on(bytes(terminal.output)))
        seen = terminal.read_bytes
        terminal.type("\x1b[<0;16;2M\x1b[<0;16;2m")  # a tab
        assert terminal.until(b"against", 15, since=seen)


@pytest.mark.parametrize("keys", ["q", "\x03"], ids=["q", "ctrl-c"])
def test_left_by_a_key_it_leaves_everything_as_it_was(interpreter, keys):
    with running(app_words(interpreter)) as terminal:
        collector = collector_of(terminal)
        terminal.type(keys)
        assert terminal.ended() == 0
        assert left_on(bytes(terminal.output)) == []
        assert settled(terminal)
        assert gone(collector)
        assert "Traceback" not in text_of(bytes(terminal.output))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_ended_by_a_signal_it_leaves_everything_as_it_was(interpreter, number):
    with running(app_words(interpreter)) as terminal:
        collector = collector_of(terminal)
        os.kill(terminal.pid, number)
        assert terminal.ended() == 128 + number
        assert left_on(bytes(terminal.output)) == []
        assert settled(terminal)
        assert gone(collector)
        assert "Traceback" not in text_of(bytes(terminal.output))


def test_ended_while_the_terminal_takes_nothing_it_goes_all_the_same(interpreter):
    with running(app_words(interpreter)) as terminal:
        for turn in range(30):  # nobody reads: what fits fits
            terminal.resize(100 + turn, 30 + turn % 20)
            time.sleep(0.02)
        os.kill(terminal.pid, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while terminal.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert terminal.process.poll() == 143
        assert settled(terminal)


def test_a_terminal_that_goes_away_takes_the_app_and_its_children_along(interpreter):
    terminal = Terminal(app_words(interpreter), (120, 40))
    try:
        assert terminal.until(HOST, 30)
        offspring = list(children(terminal.pid))
        os.close(terminal.slave)
        os.close(terminal.master)
        assert terminal.process.wait(10) in (129, -signal.SIGHUP)
        assert all(gone(pid) for pid in offspring)
    finally:
        terminal.process.poll() is None and terminal.process.kill()
        terminal.process.wait()


def test_stopped_and_continued_it_is_there_again(interpreter):
    with running(app_words(interpreter)) as terminal:
        terminal.type("\x1a")  # ctrl-z
        deadline = time.monotonic() + 10
        while state_of(terminal.pid) != "T" and time.monotonic() < deadline:
            terminal.read(0.05)
        assert state_of(terminal.pid) == "T"
        while terminal.read(0.05):
            pass
        assert left_on(bytes(terminal.output)) == []
        assert settled(terminal)
        seen = terminal.read_bytes
        os.kill(terminal.pid, signal.SIGCONT)
        assert terminal.until(HOST, 10, since=seen)
        assert terminal.until(b"Profiles", 10, since=seen)
        terminal.type("q")
        assert terminal.ended() == 0


def test_stopped_by_somebody_else_it_goes_on_with_one_reader_of_keys(interpreter):
    with running(app_words(interpreter)) as terminal:
        threads = len(os.listdir(f"/proc/{terminal.pid}/task"))
        for _ in range(3):
            os.kill(terminal.pid, signal.SIGSTOP)
            terminal.watch(0.1)
            seen = terminal.read_bytes
            os.kill(terminal.pid, signal.SIGCONT)
            assert terminal.until(b"Profiles", 10, since=seen)
        assert len(os.listdir(f"/proc/{terminal.pid}/task")) <= threads
        terminal.type("q")
        assert terminal.ended() == 0
        assert left_on(bytes(terminal.output)) == []


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def collector_of(terminal):
    return next((pid for pid, words in children(terminal.pid).items() if "watch" in words or "app_feed" in words), None)


def another(terminal, former, seconds=10.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        terminal.read(0.05)
        found = collector_of(terminal)
        if found not in (None, former):
            return found
    return None


def test_a_collector_that_is_killed_is_named_and_a_key_starts_it_again(interpreter):
    with running(app_words(interpreter), size=(160, 40)) as terminal:
        former, seen = collector_of(terminal), terminal.read_bytes
        os.kill(former, signal.SIGKILL)
        assert terminal.until(b"ENDED", 15, since=seen)
        assert terminal.until(b"p starts it again", 15, since=seen)
        assert terminal.process.poll() is None
        seen = terminal.read_bytes
        terminal.type("p")
        assert another(terminal, former)
        assert terminal.until(b"LIVE", 15, since=seen)
        terminal.type("q")
        assert terminal.ended() == 0


def test_one_that_went_well_for_a_while_is_started_again_of_itself(interpreter):
    words = app_words(interpreter)
    words[2] = "from ui.app.stream import source; source.STEADY_S = 0.1; " + words[2]
    with running(words, size=(160, 40)) as terminal:
        former, seen = collector_of(terminal), terminal.read_bytes
        os.kill(former, signal.SIGKILL)
        assert terminal.until(b"it was started again", 15, since=seen)
        assert another(terminal, former)
        terminal.type("q")
        assert terminal.ended() == 0


CRASH = """
import subprocess
import sys
from ui.app import app
def fail(self):
    raise ValueError("a cell \\x1b[31m that cannot be")
app.QuietcoreApp.tick = fail
"""


def test_a_failure_of_ours_is_told_behind_the_screen_and_kept(interpreter, tmp_path):
    words = app_words(interpreter, "--state", str(tmp_path / "state"))
    words[2] = CRASH + words[2]
    with Terminal(words, (120, 40)) as terminal:
        assert terminal.ended(30) == 1
        output = bytes(terminal.output)
        told = text_of(output)
        assert "the app failed: ValueError: a cell" in told
        assert b"\x1b[31m" not in output[output.rindex(b"?1049l") :]
        assert "quietcore status" in told
        assert left_on(output) == []
        assert settled(terminal)
        kept = list((tmp_path / "state").glob("crash-*.txt"))
        assert len(kept) == 1
        assert str(kept[0]) in told.replace("\r\n", "")
        assert "in fail" in kept[0].read_text()
        assert kept[0].stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("without", [("TERM",), ()], ids=["unset", "dumb"])
def test_a_terminal_that_cannot_show_it_is_told_what_can_be_had(interpreter, without):
    with Terminal(app_words(interpreter), more={"TERM": "dumb"}, without=without) as terminal:
        assert terminal.ended() == 1
        assert "quietcore status is a report" in text_of(bytes(terminal.output))
        assert b"\x1b" not in terminal.output


def test_what_stderr_is_makes_no_difference(interpreter, tmp_path):
    """``quietcore 2>log``: the screen is where stdout is, and nothing of it is in the log."""
    words = ["sh", "-c", f'exec "$@" 2>{tmp_path}/log', "sh", *app_words(interpreter)]
    with running(words) as terminal:
        terminal.type("q")
        assert terminal.ended() == 0
    assert (tmp_path / "log").read_bytes() == b""


def test_nothing_that_a_name_holds_reaches_the_terminal_raw(tmp_path):
    script = tmp_path / "interpreter"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={HERE.parents[1]} exec {sys.executable} {HERE / "hostile.py"} "$@"\n')
    script.chmod(0o755)
    with running(app_words(str(script), "--state", str(tmp_path / "state")), size=(200, 50), marker=b"PWNED") as terminal:
        for key in KEYS:
            seen = terminal.read_bytes
            terminal.type(key)
            terminal.watch(0.2)
            for more in ("\r", "z", "?", "?", "\x1b", "j", "j"):
                terminal.type(more)
                terminal.watch(0.05)
            assert terminal.process.poll() is None, text_of(bytes(terminal.output[-3000:]))
            assert terminal.read_bytes > seen
        for size in ((80, 24), (300, 80)):
            terminal.resize(*size)
            terminal.watch(0.4)
        terminal.type("\x03")
        assert terminal.ended() == 0
        output = bytes(terminal.output)
    assert unexpected(output) == []
    shown = text_of(output)
    assert "PWNED\\x1b]0;PWNED\\x07" in shown  # the name is there, as text
    assert "[b]x[/b]" in shown  # no markup was read into it
    assert "\\xff" in shown
    assert "\u202e" not in shown


def test_the_check_above_would_see_it():
    raw = PAYLOAD.replace("\udcff", "").replace("\udc9b", "").encode() + b"\xff"
    found = unexpected(raw)
    assert "\x1b]0;PWNED\x07" in found
    assert {"\x90", "\x9c", "\u202e", "\u2067", "\x00", "\x7f", "\ufffd"} <= set(found)
    assert left_on(b"\x1b[?1049h\x1b[?25l\x1b[?7l") == ["1049", "25", "7"]


NAMED = (
    "set -e; mount -t sysfs none /sys; "
    "name=$(printf 'P\\033[31m\\377\\233]z'); ip link add \"$name\" type veth peer name other; "
    'ip link set "$name" up; exec "$@"'
)


def test_an_interface_that_is_named_to_attack_is_shown_as_text(tmp_path):
    """The kernel's own: a real interface with escapes and bytes that are no UTF-8 in its name, in a namespace of its own."""
    words = ["unshare", "-n", "-m", "sh", "-c", NAMED, "sh"]
    tried = subprocess.run([*words, "true"], capture_output=True, text=True, errors="replace")
    if tried.returncode:
        pytest.skip(f"no interface of that name can be made: {tried.stderr.strip()[:100]}")
    with running([*words, *app_words(None, "--state", str(tmp_path / "state"))], size=(200, 50), marker=b"LIVE") as terminal:
        terminal.type("4")
        assert terminal.until(b"P\\x1b[31m\\xff\\x9b]z", 15)
        for key in KEYS:
            terminal.type(key)
            terminal.watch(0.15)
        terminal.type("q")
        assert terminal.ended() == 0
        assert unexpected(bytes(terminal.output)) == []
